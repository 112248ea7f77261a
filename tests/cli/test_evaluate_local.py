"""`tale eval --model local:...`: it runs without a key, and a model that cannot be used is said in one sentence."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_models import Bomb, changed, make_adapter, make_model

ROWS = [{"question": f"What is {i} and 4?", "answer": str(i + 4)} for i in range(3)]


@pytest.fixture
def asking(tale: Any, tmp_path: Path) -> Callable[..., Any]:
    """Ask a local model, after something was done to its folder."""
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    make_model(tmp_path / "m", max_position_embeddings=2048)

    def ask(model: str = "local:m", **flags: Any) -> Any:
        flag_words = [part for name, value in flags.items() for part in (f"--{name.replace('_', '-')}", value)]
        return tale(
            "eval", "cot", "--data", "data.jsonl", "--model", model, "--out", "run", "--max-tokens", 20, *flag_words
        )

    return ask


def test_it_runs_and_costs_nothing(asking: Any, tmp_path: Path) -> None:
    lm = asking(max_usd=0.01)
    assert lm.code == 0, lm.err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["n"], summary["cost_usd"]) == (3, 0.0)


def cut_off(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-50])


def tamper(folder: Path) -> None:
    (folder / "manifest.json").write_text(json.dumps({"files": {"config.json": "0" * 64}}))


def pickled(folder: Path) -> None:
    import pickle

    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "m holds no weights"),
        (lambda folder: (folder / "config.json").unlink(), "m is no folder of a model: it has no config.json"),
        (cut_off, "model.safetensors is no whole safetensors file"),
        (tamper, "config.json is not the file its manifest tells of"),
        (pickled, "holds its weights as pytorch_model.bin, but only safetensors are loaded"),
        (lambda folder: changed(folder / "config.json", vocab_size=300), "are not those of its config.json"),
    ],
)
def test_a_broken_model_is_said(asking: Any, tmp_path: Path, damage: Callable[[Path], object], said: str) -> None:
    damage(tmp_path / "m")
    lm = asking()
    assert lm.code == 2
    assert said in lm.sentence


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("local:./nothing", "the model must be a folder or a name of the Hugging Face hub, but ./nothing is neither"),
        ("local:m+nothing", "the adapter must be a folder, but nothing is none"),
        ("local:m+m", "m is no folder of an adapter: it has no adapter_config.json"),
        ("local:", "names no model"),
    ],
)
def test_a_path_that_is_no_model_is_said(asking: Any, model: str, said: str) -> None:
    lm = asking(model)
    assert lm.code == 2
    assert said in lm.sentence


def test_an_adapter_of_another_base_is_said(asking: Any, tmp_path: Path) -> None:
    other = make_model(tmp_path / "other", hidden_size=64)
    make_adapter(tmp_path / "a", other)
    lm = asking("local:m+a")
    assert (lm.code, "was trained on another model" in lm.sentence) == (2, True)
    changed(tmp_path / "a" / "adapter_config.json", base_model_name_or_path="elsewhere/m")  # the name alone fits
    lm = asking("local:m+a")
    assert (lm.code, "a cannot be put on m" in lm.sentence) == (2, True)
