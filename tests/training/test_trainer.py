"""Trainings that begin, are killed, go on, and end."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from tale_dspy.backends.local.files import file_hash
from tale_dspy.errors import MissingExtraError, UsageError
from tale_dspy.training.options import DpoOptions, SftOptions, TrainOptions
from tale_dspy.training.plan import plan_training
from tale_dspy.training.trainer import TrainingStep, setup_of


def trained(base: Path, rows: Any, out: Path, options: TrainOptions, progress: Any = None) -> Any:
    from tale_dspy.training.dpo import train_dpo
    from tale_dspy.training.sft import train_sft

    if isinstance(options, DpoOptions):
        return train_dpo(str(base), rows, out, options, progress=progress)
    assert isinstance(options, SftOptions)
    return train_sft(str(base), rows, out, options, progress=progress)


def killed_at(step: int) -> Any:
    def progress(told: TrainingStep) -> None:
        if told.step == step:
            raise KeyboardInterrupt

    return progress


def write_manifest(folder: Path) -> None:
    names = [path.name for path in folder.iterdir() if path.is_file()]
    (folder / "manifest.json").write_text(json.dumps({"files": {n: file_hash(folder / n) for n in names}}))


@pytest.mark.parametrize("kind", [SftOptions, DpoOptions])
def test_a_killed_training_goes_on_to_the_same_end(kind: Any, base: Path, rows: Any, tmp_path: Path) -> None:
    options = kind(batch_size=4, epochs=2, checkpoint_every=2, dropout=0.1)
    whole = trained(base, rows, tmp_path / "whole", options)
    with pytest.raises(KeyboardInterrupt):
        trained(base, rows, tmp_path / "cut", options, killed_at(5))
    assert (tmp_path / "cut" / "checkpoints" / "checkpoint-4" / "manifest.json").is_file()
    steps: list[TrainingStep] = []
    cut = trained(base, rows, tmp_path / "cut", options, steps.append)
    assert steps[0].step == 4 and steps[-1].step == 6 == steps[-1].steps
    assert cut.card["results"]["losses"] == pytest.approx(whole.card["results"]["losses"], abs=1e-3)
    assert cut.card["results"]["loss"] == pytest.approx(whole.card["results"]["loss"], abs=1e-3)
    assert not (tmp_path / "cut" / "checkpoints").exists()


def test_the_time_of_a_continued_training_is_that_of_all_its_steps(base: Path, rows: Any, tmp_path: Path) -> None:
    options = SftOptions(batch_size=4, epochs=2, checkpoint_every=2)
    with pytest.raises(KeyboardInterrupt):
        trained(base, rows, tmp_path, options, killed_at(5))
    checkpoint = tmp_path / "checkpoints" / "checkpoint-4"
    (checkpoint / "tale_time.json").write_text('{"seconds": 1000}')
    (checkpoint / "manifest.json").unlink()
    write_manifest(checkpoint)
    results = trained(base, rows, tmp_path, options).card["results"]
    tokens = plan_training(str(base), rows, tmp_path, options).tokens
    assert results["seconds"] > 1000
    assert results["tokens_per_s"] == pytest.approx(2 * tokens / results["seconds"], abs=0.06)


def test_a_finished_training_is_not_done_again(base: Path, rows: Any, tmp_path: Path, capfd: Any) -> None:
    options = SftOptions(batch_size=6, epochs=1)
    first = trained(base, rows, tmp_path / "a", options)
    again = trained(base, rows, tmp_path / "a", options, killed_at(0))
    assert first == again
    assert capfd.readouterr() == ("", "")


def test_a_batch_that_does_not_divide_among_processes_is_refused(
    base: Path, rows: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    plan = plan_training(str(base), rows, tmp_path / "a", SftOptions(batch_size=4))
    with pytest.raises(UsageError, match="batch_size 4 must be a multiple of the 3 processes"):
        setup_of(plan, [])


@pytest.mark.parametrize(
    ("installed", "error", "said"),
    [
        (None, MissingExtraError, r"^bitsandbytes is not installed: pip install 'tale-dspy\[qlora\]'$"),
        (object(), UsageError, "quantize=4bit needs a GPU"),
    ],
)
def test_qlora_without_its_package_or_a_gpu_is_refused(
    installed: Any, error: Any, said: str, base: Path, rows: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_training(str(base), rows, tmp_path / "a", SftOptions(quantize="4bit"))
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: installed if name == "bitsandbytes" else find_spec(name)
    )
    with pytest.raises(error, match=said):
        setup_of(plan, [])


def test_a_step_in_parts_learns_the_same(base: Path, rows: Any, tmp_path: Path) -> None:
    options = {"batch_size": 6, "epochs": 2}
    whole = trained(base, rows, tmp_path / "a", SftOptions(**options))
    parts = trained(base, rows, tmp_path / "b", SftOptions(**options, micro_batch=2))
    assert parts.card["results"]["losses"] == pytest.approx(whole.card["results"]["losses"], abs=1e-3)
