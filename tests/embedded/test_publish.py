import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tale_dspy.embedded.build import new_model
from tale_dspy.embedded.options import BuildOptions
from tale_dspy.embedded.publish import CARD, MANIFEST, publish, write_manifest
from tale_dspy.embedded.tokenizer import train_tokenizer

OPTIONS = BuildOptions(steps=3, finish=0, layers=1, width=32, heads=2, kv_heads=1, inner=48)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp("model")
    tokenizer: Any = train_tokenizer(500)
    publish(out, new_model(OPTIONS, tokenizer), tokenizer, OPTIONS)
    return out


def test_nothing_that_needs_unpickling_is_written(folder: Path) -> None:
    assert {p.suffix for p in folder.iterdir()} == {".json", ".jinja", ".safetensors", ".md"}


def test_the_manifest_has_the_checksum_of_every_file_that_decides_a_reply(folder: Path) -> None:
    listed = json.loads((folder / MANIFEST).read_text())["files"]
    assert set(listed) == {p.name for p in folder.iterdir()} - {MANIFEST, CARD}
    assert all(hashlib.sha256((folder / name).read_bytes()).hexdigest() == value for name, value in listed.items())


def test_the_manifest_follows_the_files(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    write_manifest(tmp_path)
    first = (tmp_path / MANIFEST).read_text()
    (tmp_path / "config.json").write_text("{ }")
    write_manifest(tmp_path)
    assert (tmp_path / MANIFEST).read_text() != first


def test_the_card_says_what_the_model_is_and_is_not(folder: Path) -> None:
    card = (folder / CARD).read_text()
    assert "numbers on it\nsay nothing about other models" in card
    assert "steps=3" in card and "python -m tale_dspy.embedded.build" in card


def test_the_weights_can_be_read_by_others(folder: Path) -> None:
    assert (folder / "model.safetensors").stat().st_mode & 0o044 == 0o044
