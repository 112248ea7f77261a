"""tale_dspy.backends.local.upcast: the numbers of 16 bits, multiplied in 32 where that is faster."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import make_adapter
from torch import nn

from tale_dspy.backends.local import upcast as module
from tale_dspy.backends.local import weights
from tale_dspy.backends.local.upcast import UpcastLinear, gain_of_upcast, upcast_where_faster

ROOM = 1e9


@pytest.fixture
def small_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tiny models of the tests be large enough."""
    monkeypatch.setattr(module, "MIN_PARAMETERS", 1)


def gain(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "gain_of_upcast", lambda layer: value)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bias", [True, False])
def test_a_product_is_the_exact_one_rounded(dtype: torch.dtype, bias: bool) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(96, 33, bias=bias).to(dtype)
    x = torch.randn(2, 7, 96).to(dtype)
    with torch.no_grad():
        y = UpcastLinear(linear)(x)
        exact = nn.functional.linear(x.double(), linear.weight.double(), linear.bias.double() if bias else None)
    assert y.dtype == dtype and y.shape == (2, 7, 33)
    # Half a unit in the last place, and what a sum of 96 in float32 is off by.
    bound = exact.abs() * torch.finfo(dtype).eps / 2 + 1e-4
    assert bool(((y.double() - exact).abs() <= bound).all())


@pytest.mark.usefixtures("small_counts")
def test_a_model_of_16_bits_is_upcast_where_that_is_faster(
    others: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, wide = (weights.load_model(others["qwen2"], "cpu", "bfloat16") for _ in range(2))
    gain(module.MIN_GAIN - 0.01, monkeypatch)
    assert not upcast_where_faster(wide, ROOM)
    gain(module.MIN_GAIN, monkeypatch)
    assert upcast_where_faster(wide, ROOM)
    layers = [m for m in wide.modules() if isinstance(m, nn.Linear)]
    assert {type(m) for m in layers} == {UpcastLinear} and {m.weight.dtype for m in layers} == {torch.float32}
    assert wide.get_input_embeddings().weight.dtype == torch.bfloat16
    ids = torch.arange(5, 25).reshape(2, 10)
    with torch.no_grad():
        logits, near = wide(input_ids=ids).logits, plain(input_ids=ids).logits
    assert logits.dtype == torch.bfloat16
    assert torch.cosine_similarity(logits.float().flatten(), near.float().flatten(), 0) > 0.9999


@pytest.mark.usefixtures("small_counts")
def test_memory_and_precision_decide_before_anything_is_measured(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(layer: nn.Linear) -> float:
        raise AssertionError("measured")

    monkeypatch.setattr(module, "gain_of_upcast", measured)
    model = weights.load_model(base, "cpu", "bfloat16")
    size = sum(m.weight.numel() for m in model.modules() if type(m) is nn.Linear)
    assert not upcast_where_faster(model, 4 * size - 1)
    assert not upcast_where_faster(weights.load_model(base, "cpu", "float32"), ROOM)
    with pytest.raises(AssertionError, match="measured"):
        upcast_where_faster(model, 4 * size)


def test_small_models_are_left_as_they_are(base: Path) -> None:
    assert not upcast_where_faster(weights.load_model(base, "cpu", "bfloat16"), ROOM)


@pytest.mark.usefixtures("small_counts")
def test_an_adapter_goes_on_an_upcast_model(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = make_adapter(tmp_path / "adapter", base, seed=3)
    gain(2.0, monkeypatch)
    wide: Any = weights.load_model(base, "cpu", "bfloat16")
    ids = torch.arange(5, 15).reshape(1, 10)
    with torch.no_grad():
        before = weights.attach_adapter(weights.load_model(base, "cpu", "bfloat16"), adapter, "base")(ids).logits
        without = wide(input_ids=ids).logits
        assert upcast_where_faster(wide, ROOM)
        after = weights.attach_adapter(wide, adapter, "base")(ids).logits
    near, far = ((after.float() - other.float()).abs().max() for other in (before, without))
    assert near < 0.05 * far


def test_the_gain_is_that_of_the_best_rounds_after_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    took = iter([9.0, 0.1, 4.0, 2.0, 3.0, 1.5, 5.0, 9.0])  # as the files have it, and wider, in turns
    now = [0.0, False]

    def clock() -> float:
        if now[1]:
            now[0] += next(took)
        now[1] = not now[1]
        return now[0]

    monkeypatch.setattr(module.time, "perf_counter", clock)
    assert gain_of_upcast(nn.Linear(64, 32).to(torch.bfloat16)) == pytest.approx(3.0 / 1.5)
