"""A model is loaded once per process, and freed with the last that uses it."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import changed, config_of
from transformers import AutoModelForCausalLM

from tale_dspy.backends.local import shared_model as module
from tale_dspy.backends.local.shared_model import MAX_ROWS, MIN_ROWS, SharedModel, rows_in_memory, shared_model

Copied = Callable[[Path], Path]


def test_a_model_is_loaded_once_for_each_device_and_precision(base: Path, copied: Copied) -> None:
    def of(folder: Path, dtype: str = "auto") -> SharedModel:
        return shared_model(folder, "name", "cpu", dtype)

    one = of(base)
    assert one is of(base / ".") is of(base)
    assert len({one, of(base, "bfloat16"), of(copied(base))}) == 3


def test_files_written_anew_are_another_model(base: Path, copied: Copied) -> None:
    folder = copied(base)
    one = shared_model(folder, "name", "cpu", "auto")
    changed(folder / "generation_config.json", max_new_tokens=7)
    assert shared_model(folder, "name", "cpu", "auto") is not one


def test_weights_are_freed_with_the_last_that_uses_them(base: Path) -> None:
    shared = shared_model(base, "name", "cpu", "auto")
    rows = shared.batch(None, 4)
    gone = weakref.ref(shared._model)
    assert shared.batch(None, 4)[0] is rows[0] is not shared.batch(None, 5)[0]
    del shared, rows
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    ("kind", "dtype", "per_token"),
    [("llama", torch.float32, 256), ("llama", torch.bfloat16, 128), ("gpt2", torch.float32, 512)],
)
def test_as_many_rows_as_memory_holds(
    monkeypatch: pytest.MonkeyPatch, kind: str, dtype: torch.dtype, per_token: int
) -> None:
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config_of(kind), dtype=dtype)

    def rows(free: int) -> int:
        monkeypatch.setattr(module, "_free_memory", lambda _: free)
        return rows_in_memory(model)

    room = per_token * module.TOKENS_PER_ROW / module.MEMORY_SHARE
    assert rows(int(50.5 * room)) == 50
    assert rows(10) == MIN_ROWS
    assert rows(1 << 60) == MAX_ROWS


def test_free_memory_is_what_the_system_says() -> None:
    assert 1 << 20 < module._free_memory(torch.device("cpu")) < 1 << 50
