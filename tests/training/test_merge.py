"""An adapter in the weights of its base."""

from pathlib import Path
from typing import Any

import pytest
from models import said

import tale_dspy
from tale_dspy.errors import RunFolderError, UsageError
from tale_dspy.training.merge import merge_adapter
from tale_dspy.training.options import SftOptions
from tale_dspy.training.sft import train_sft


def test_a_merged_model_says_the_same_and_remembers_what_it_saw(base: Path, rows: Any, tmp_path: Path) -> None:
    trained = train_sft(str(base), rows, tmp_path / "a", SftOptions(batch_size=6, epochs=4, learning_rate=1e-2))
    merged = merge_adapter(trained.model, tmp_path / "merged")
    models = (trained.model, merged, f"local:{base}")
    with_adapter, alone, plain = ([said(model, row["prompt"]) for row in rows[:4]] for model in models)
    assert with_adapter == alone != plain
    assert tale_dspy.LM(merged).seen == tale_dspy.LM(trained.model).seen == {row["id"]: "train" for row in rows}
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "merged").iterdir()}
    assert merge_adapter(trained.model, tmp_path / "merged") == merged  # as when a command is given again
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "merged").iterdir()} == times
    (tmp_path / "merged" / "tale_adapter.json").write_text("{}")
    with pytest.raises(RunFolderError, match="is there already"):
        merge_adapter(trained.model, tmp_path / "merged")


def test_there_must_be_an_adapter(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no adapter to merge"):
        merge_adapter(str(base), tmp_path / "m")
