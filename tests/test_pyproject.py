"""The ranges of `pyproject.toml`, held against the versions that are tested."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONSTRAINTS = sorted(ROOT.glob("constraints*.txt"))
"""What CI installs: one file a set of extras that can be installed together."""
NOT_TESTED = {"bitsandbytes"}
"""Needs a GPU to be installed to any purpose."""


def pinned(requirement: Requirement) -> list[Version]:
    """Return the versions of a requirement that CI installs."""
    name = re.escape(requirement.name).replace("_", "[-_]").replace(r"\-", "[-_]")
    line = re.compile(rf"^{name}==([^\s;+]+)", re.MULTILINE | re.IGNORECASE)
    texts = [file.read_text(encoding="utf-8") for file in CONSTRAINTS]
    return [Version(version) for text in texts for version in line.findall(text)]


REQUIREMENTS = {
    str(requirement): requirement
    for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for requirement in map(Requirement, group)
    if requirement.name != PROJECT["name"]
}
BAD = [
    ("litellm", "1.82.7"),
    ("litellm", "1.82.8"),
    ("litellm", "1.83.9"),
    ("dspy", "3.5.0"),
    ("torch", "2.5.1"),
    ("transformers", "4.47.1"),
]
"""Versions that hold malware or a known hole, or whose interface is another."""


@pytest.mark.parametrize("requirement", REQUIREMENTS.values(), ids=REQUIREMENTS.keys())
def test_the_tested_versions_are_pinned_and_in_the_range(requirement: Requirement) -> None:
    versions = pinned(requirement)
    assert versions or requirement.name in NOT_TESTED, f"{requirement.name} has no line in a constraints file"
    in_range = [requirement.specifier.contains(version, prereleases=True) for version in versions]
    core = requirement in map(Requirement, PROJECT["dependencies"])  # stands in every file
    assert all(in_range) if core else any(in_range) or requirement.name in NOT_TESTED


@pytest.mark.parametrize(("name", "version"), BAD)
def test_a_known_bad_version_cannot_be_installed(name: str, version: str) -> None:
    ranges = [r.specifier for r in REQUIREMENTS.values() if r.name == name and not r.extras]
    assert ranges and not any(specifier.contains(version) for specifier in ranges)
