"""tale_dspy.backends.local.int8: layers in 8 bits are near those in floats, and each row is on its own."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import make_adapter
from torch import nn

from tale_dspy.backends.local import weights
from tale_dspy.backends.local.decoders import TransformersDecoder, decoder_of
from tale_dspy.backends.local.int8 import Int8Linear, round_linear_layers, round_rows
from tale_dspy.errors import UsageError


@pytest.mark.parametrize(
    ("rows", "inputs", "outputs", "bias"), [(1, 7, 5, True), (64, 96, 33, False), (3, 1, 1, True), (5, 1, 8, True)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_product_is_off_by_its_rounding_alone(
    rows: int, inputs: int, outputs: int, bias: bool, dtype: torch.dtype
) -> None:
    torch.manual_seed(rows)
    linear = nn.Linear(inputs, outputs, bias=bias).to(dtype)
    x = torch.randn(2, rows, inputs, dtype=dtype)
    with torch.no_grad():
        y, exact = Int8Linear(linear)(x), nn.functional.linear(x.double(), linear.weight.double())
    exact += linear.bias.double() if bias else 0
    # Each number is off by half a scale at most: |x w - x' w'| <= |x| dw + |w| dx + dx dw, summed over the inputs.
    off_x = x.double().abs().amax(-1, keepdim=True) / 254
    off_w = linear.weight.double().abs().amax(1) / 254
    bound = x.double().abs().sum(-1, keepdim=True) * off_w + linear.weight.double().abs().sum(1) * off_x
    bound += inputs * off_x * off_w + exact.abs() * torch.finfo(dtype).eps + 1e-6
    assert y.dtype == dtype and y.shape == (2, rows, outputs)
    assert bool(((y.double() - exact).abs() <= bound).all())


def test_a_layer_of_two_parents_is_one_layer_in_8_bits() -> None:
    class TwoParents(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = self.second = nn.Linear(4, 4)
            self.head = nn.Linear(4, 9)

        def get_output_embeddings(self) -> nn.Module:
            return self.head

    model = TwoParents()
    assert round_linear_layers(model)
    assert type(model.first) is Int8Linear and model.second is model.first


def test_a_row_does_not_depend_on_the_others() -> None:
    torch.manual_seed(0)
    layer, x = Int8Linear(nn.Linear(40, 24)), torch.randn(9, 40)
    x[3] *= 1000
    x[5] = 0
    with torch.no_grad():
        together = layer(x)
        assert all(torch.equal(layer(x[i : i + 1]), together[i : i + 1]) for i in range(9))
        assert torch.equal(together[5], layer.bias)


def test_rows_are_rounded_to_the_nearest_of_127_levels() -> None:
    integers, scale = round_rows(torch.tensor([[1.0, -0.5, 0.25], [0.0, 0.0, 0.0], [-254.0, 3.0, 2.0]]))
    assert integers.tolist() == [[127, -64, 32], [0, 0, 0], [-127, 2, 1]]
    assert scale[[0, 2], 0].tolist() == pytest.approx([1 / 127, 2.0])


def test_a_model_in_8_bits_chooses_nearly_the_same(others: dict[str, Path]) -> None:
    ids = torch.arange(5, 25).reshape(2, 10)
    plain, rounded = (weights.load_model(others["qwen2"], "cpu", dtype) for dtype in ("auto", "int8"))
    assert {type(m).__name__ for m in rounded.modules()} >= {"Int8Linear", "Embedding"}
    with torch.no_grad():
        logits, exact = rounded(input_ids=ids).logits, plain(input_ids=ids).logits
    assert not torch.equal(logits, exact)
    assert torch.cosine_similarity(logits.flatten(), exact.flatten(), 0) > 0.999
    assert isinstance(decoder_of(rounded), TransformersDecoder)


def test_an_adapter_is_merged_before_it_is_rounded(base: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path / "adapter", base, seed=3)
    exact = weights.load_model(base, "cpu", "auto")
    merged: Any = weights.merge_adapter(weights.attach_adapter(exact, adapter, "base"))
    assert round_linear_layers(merged)
    loaded = weights.load_with_adapter(base, "cpu", adapter, "base")
    plain = weights.load_model(base, "cpu", "int8")
    ids = torch.arange(5, 15).reshape(1, 10)
    with torch.no_grad():
        logits, wanted, without = (m(input_ids=ids).logits for m in (loaded, merged, plain))
    assert torch.equal(logits, wanted) and not torch.equal(logits, without)


def test_models_and_devices_it_does_not_fit_are_refused(others: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="is a gpt2, which has no linear layers that dtype int8 rounds"):
        weights.load_model(others["gpt2"], "cpu", "int8")
    with pytest.raises(UsageError, match=r"dtype int8 is for processors \(device cpu\), got device cuda:0"):
        weights.load_model(others["gpt2"], "cuda:0", "int8")
