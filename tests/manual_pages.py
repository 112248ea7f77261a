"""Pages of the manual as blocks that run: the Python and the commands of a page in order, in one folder and process."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from local_ray import use_local_ray

from tale_dspy.cli import streams
from tale_dspy.cli.main import main
from tale_dspy.testing import EffortReply, Reply, Request, SolverReply, word_problems
from tale_dspy.testing.batches import BatchServer

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^(?:<!-- not run: ([^\n]+) -->\n)?```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
"""A fenced block: the reason why it is not run, its language and its text."""
SUBSTITUTES = {
    "local:PATH": "local:embedded",
    "http://head:4000/v1": "{server}",
    "embedded:train:2000": "embedded:train:16",
    "embedded:train:30": "embedded:train:12",
    "embedded:test:5000": "embedded:test:8",
    "/shared/": "",
}
"""What pages name and a test has not, or would wait minutes for: the one table of what is replaced."""
NOT_HERE = ("needs an environment of its own", "sets up an environment by itself")
"""Blocks whose commands are not run one by one either; those of all other blocks are."""
OTHER_CODES = {"gate": (0, 1)}
"""Exit codes beside 0: a model trained on sixteen questions need not pass a gate."""
ROBE = {
    "question": "A robe takes 2 bolts of blue fiber and half that much white. How many bolts in all?",
    "answer": "3",
}
PROBLEMS = word_problems(23)
DATA = {"gsm8k_test": [ROBE, *PROBLEMS[:11]], "gsm8k_train": PROBLEMS[11:]}
DATA |= {"questions": DATA["gsm8k_test"], "train": DATA["gsm8k_train"]}
"""Files that pages name or that lie in the data folder, and the rows in them."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str
    reason: str | None
    """Why it is not run, as the comment before it says."""
    neighbours: str
    """The paragraphs before and after it, on one line."""

    @property
    def is_run(self) -> bool:
        return self.reason is None and self.language in ("bash", "python")

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command of this package in it."""
        texts = _strings(yaml.safe_load(self.text)) if self.language == "yaml" else [self.text]
        lines = "\n".join(texts if self.language in ("bash", "yaml") else []).replace("\\\n", " ").splitlines()
        words = [_words(line.strip().removeprefix("srun ")) for line in lines]
        return [line[1:] for line in words if line[:1] == ["tale"] and len(line) > 1]


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    parts = _BLOCK.split(page.read_text(encoding="utf-8"))
    prose, blocks = parts[::4], zip(parts[1::4], parts[2::4], parts[3::4], strict=True)
    return [
        Block(language, text, reason, " ".join(f"{_paragraphs(prose[i])[-1]} {_paragraphs(prose[i + 1])[0]}".split()))
        for i, (reason, language, text) in enumerate(blocks)
    ]


class PageRunner:
    """Run the blocks of one page in the current folder, as far as this machine can.

    Args:
        address: Of the server that takes the place of providers.
    """

    def __init__(self, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.address, self.monkeypatch = address, monkeypatch
        self.names: dict[str, Any] = {"__name__": "__main__"}
        """What the Python of the page has defined so far."""

    def run(self, block: Block) -> None:
        if block.is_run and block.language == "python":
            exec(compile(self._substituted(block.text), "page.py", "exec"), self.names)
        elif block.is_run:
            for line in block.text.replace("\\\n", " ").splitlines():
                self._run_line(line)
        elif block.reason not in NOT_HERE:
            for words in block.commands:
                self._run_command(words)

    def _run_line(self, line: str) -> None:
        words = _words(line)
        match words:
            case []:
                return
            case ["export", *settings]:
                for name, _, value in (setting.partition("=") for setting in settings):
                    self.monkeypatch.setenv(name, value)
            case ["pip", "install", *wanted]:
                _check_extras(wanted)
                # Nothing is downloaded: pip reads the line, and the package is installed already.
                pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", *wanted]
                subprocess.run(pip, check=True)
            case ["tale", *arguments]:
                self._run_command(arguments)
            case _:
                pytest.fail(f"nothing here runs {line!r}: say why, <!-- not run: ... -->")

    def _run_command(self, words: list[str]) -> None:
        arguments = [os.path.expandvars(_without_sums(self._substituted(word))) for word in words]
        assert main(arguments) in OTHER_CODES.get(words[0], (0,)), arguments

    def _substituted(self, text: str) -> str:
        names = "|".join(map(re.escape, SUBSTITUTES))
        return re.sub(names, lambda name: SUBSTITUTES[name[0]].format(server=self.address), text)


@contextmanager
def provider(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Stand in for all providers, keys, a data folder, a terminal and a cluster, and give the server's address."""
    for name, rows in DATA.items():
        mark = "#### " if name.startswith("gsm8k") else ""
        lines = [json.dumps({**row, "answer": f"{mark}{row['answer']}"}) + "\n" for row in rows]
        (folder / f"{name}.jsonl").write_text("".join(lines))
    for name, value in streams._ENVIRONMENT.items():  # set as the command would, and put back afterwards
        monkeypatch.setenv(name, os.environ.get(name, value))
    monkeypatch.chdir(folder)
    monkeypatch.setattr("webbrowser.open", lambda address: True)
    use_local_ray(monkeypatch)
    bank = {row["question"]: row["answer"] for row in [ROBE, *PROBLEMS]}
    solver, thinker = SolverReply(bank), EffortReply(bank)

    def reply(request: Request) -> Reply | str:
        return thinker(request) if "gpt-5" in str(request.body.get("model")) else solver(request)

    with BatchServer(reply) as server:
        for name, value in {
            "OPENAI_API_BASE": server.url,
            "ANTHROPIC_API_BASE": server.url.removesuffix("/v1"),
            "OPENAI_API_KEY": "none",
            "ANTHROPIC_API_KEY": "none",
            "TALE_DATA": str(folder),
            "TALE_YES": "1",  # where a terminal would be asked whether calls may be paid
            "SLURM_ARRAY_TASK_ID": "1",
            "JOB_COMPLETION_INDEX": "0",
            "SKYPILOT_NODE_RANK": "0",
            "SKYPILOT_NUM_NODES": "8",
        }.items():
            monkeypatch.setenv(name, value)
        yield server.url


def _words(line: str) -> list[str]:
    """Return the words of a line of a shell, without its comment."""
    # A sum in $((...)) is one word.
    return shlex.split(re.sub(r"\$\(\((.*?)\)\)", lambda sum: sum[0].replace(" ", ""), line), comments=True)


def _without_sums(word: str) -> str:
    """Return a word with `$((NAME+1))` worked out."""
    return re.sub(r"\$\(\((\w+)\+1\)\)", lambda sum: str(int(os.environ[sum[1]]) + 1), word)


def _paragraphs(prose: str) -> list[str]:
    return [paragraph for paragraph in prose.split("\n\n") if paragraph.strip()] or [""]


def _check_extras(wanted: list[str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    extras_named = {name for word in wanted for group in re.findall(r"\[(.*?)\]", word) for name in group.split(",")}
    assert extras_named <= set(extras), extras_named


def _strings(document: object) -> list[str]:
    """Return all strings in a YAML document."""
    match document:
        case str():
            return [document]
        case dict():
            return [text for value in document.values() for text in _strings(value)]
        case list():
            return [text for value in document for text in _strings(value)]
    return []
