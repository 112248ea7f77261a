"""An adapter in the weights of its base."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from models import said
from safetensors.torch import load_file

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


def test_a_part_of_an_adapter_lies_between_the_base_and_the_whole(base: Path, rows: Any, tmp_path: Path) -> None:
    trained = train_sft(str(base), rows, tmp_path / "a", SftOptions(batch_size=6, epochs=1, learning_rate=1e-2))
    half = merge_adapter(trained.model, tmp_path / "half", strength=0.5)
    whole = merge_adapter(trained.model, tmp_path / "whole")
    folders = (base, tmp_path / "half", tmp_path / "whole")
    plain, between, full = (load_file(folder / "model.safetensors") for folder in folders)
    changed = [name for name in plain if not torch.equal(plain[name], full[name])]
    assert changed
    for name in changed:
        torch.testing.assert_close(between[name], (plain[name] + full[name]) / 2)
    assert merge_adapter(trained.model, tmp_path / "half", strength=0.5) == half
    assert json.loads((tmp_path / "half" / "tale_adapter.json").read_text())["merge_strength"] == 0.5
    for other in ({"strength": 0.4}, {}):
        with pytest.raises(RunFolderError, match="is there already"):
            merge_adapter(trained.model, tmp_path / "half", **other)
    assert tale_dspy.LM(half).seen == tale_dspy.LM(whole).seen
    with pytest.raises(UsageError, match="above 0 and at most 1, got 0"):
        merge_adapter(trained.model, tmp_path / "none", strength=0)


def test_there_must_be_an_adapter(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no adapter to merge"):
        merge_adapter(str(base), tmp_path / "m")
