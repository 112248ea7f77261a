import json
from pathlib import Path
from typing import Any

import pytest

from tale_dspy.errors import RunFolderError
from tale_dspy.reports.training_run import flatten_settings, is_training, load_training, training_table

CARD: dict[str, Any] = {
    "strategy": "sft",
    "base": "embedded",
    "data": {"rows": 12, "hash": None},
    "results": {"loss": 0.5},
    "gate": {"outcome": "pass", "reason": "saves 40 %"},
    "versions": {"trl": "1"},
}


def adapter(folder: Path, card: dict[str, Any]) -> Path:
    (folder / "tale_adapter.json").write_text(json.dumps(card))
    return folder


def test_a_trained_adapter_is_shown_with_its_verdict(tmp_path: Path) -> None:
    training = load_training(adapter(tmp_path, CARD))
    assert is_training(tmp_path) and training.verdict == f"{tmp_path.name}: pass, saves 40 %."
    lines = dict(training_table(training).rows)
    assert lines["strategy"] == "sft" and lines["data.hash"] == "–" and lines["results.loss"] == "0.5"


def test_an_adapter_that_was_not_tested_says_so(tmp_path: Path) -> None:
    assert load_training(adapter(tmp_path, {**CARD, "gate": None})).verdict.endswith("was not tested.")


def test_another_folder_is_refused(tmp_path: Path) -> None:
    assert not is_training(tmp_path)
    with pytest.raises(RunFolderError, match="tale_adapter"):
        load_training(tmp_path)


def test_nested_settings_are_a_line_each() -> None:
    assert flatten_settings({"a": {"b": 1, "c": {}}, "d": [1]}) == {"a.b": "1", "a.c": "–", "d": "[1]"}
