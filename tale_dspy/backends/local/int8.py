"""Linear layers in 8 bits.

Processors multiply integers faster than floats. Weights are rounded for each output channel, and inputs for each token
as they come (as LLM.int8(), arXiv 2208.07339, without its outlier columns). The scale of a token does not depend on the
other rows of a batch. Its reply may: a number whose last bit differs elsewhere can fall on another level. PyTorch's own
dynamic quantization has one scale for all rows; torchao's, run without a compiler, copies the weights at each product
and is slower than bfloat16.
"""

from typing import Any

import torch
from torch import nn

from tale_dspy.backends.local.linear_layers import linear_layers, replace_linear_layers

LEVELS = 127
"""The largest integer that numbers are rounded to; -128 is left out, so that the range is symmetric."""
_CHANNELS = 4096
"""Output channels that are rounded at once: a head of 150,000 would take a gigabyte of floats."""
_ROWS = 64
"""Rows that are multiplied at once: more are multiplied no faster, and their floats leave the processor's cache."""


class Int8Linear(nn.Module):
    """Multiply by a matrix of integers, scaled by row and output channel.

    y[r, o] = row_scale[r] * channel_scale[o] * sum_i x8[r, i] * w8[o, i] + bias[o], where the sum is exact in 32 bits.

    Args:
        linear: The layer in floating point.
    """

    weight: torch.Tensor
    """int8: (outputs, inputs)."""
    channel_scale: torch.Tensor
    """float32: (outputs,)."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        rounded = [round_rows(part) for part in linear.weight.detach().split(_CHANNELS)]
        self.register_buffer("weight", torch.cat([integers for integers, _ in rounded]))
        self.register_buffer("channel_scale", torch.cat([scale for _, scale in rounded]).squeeze(1))
        self.bias = linear.bias

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return (..., outputs) in the type of the inputs.

        Args:
            inputs: (..., inputs), floating point.
        """
        rows = inputs.reshape(-1, self.in_features)
        outputs = inputs.new_empty((len(rows), self.out_features))
        for some, place in zip(rows.split(_ROWS), outputs.split(_ROWS), strict=True):
            place.copy_(self._multiply(some))
        return outputs.view(*inputs.shape[:-1], self.out_features)

    def _multiply(self, rows: torch.Tensor) -> torch.Tensor:
        """Return (rows, outputs) in float32."""
        integers, row_scale = round_rows(rows)
        # PyTorch's product of a single column reads the wrong rows of the matrix.
        single = self.in_features == 1
        weight = self.weight.t()
        sums = integers.int() * weight if single else torch._int_mm(integers, weight)  # pyright: ignore[reportPrivateImportUsage]
        outputs = sums.float().mul_(row_scale).mul_(self.channel_scale)
        if self.bias is not None:
            outputs += self.bias
        return outputs


def round_rows(numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return integers and a scale for each row.

    The numbers are integers * scale, to half a scale.

    Args:
        numbers: (rows, columns), floating point. A row of zeros stays one.

    Returns:
        int8 of (rows, columns) and float32 of (rows, 1).
    """
    numbers = numbers.float()
    scale = numbers.abs().amax(1, keepdim=True).clamp_min_(torch.finfo(torch.float32).tiny) / LEVELS
    return (numbers / scale).round_().to(torch.int8), scale


def round_linear_layers(model: Any) -> bool:
    """Put 8 bits in place of a model's linear layers, its head among them.

    Embeddings, norms and attention keep their type.

    Args:
        model: A transformers model; changed in place.

    Returns:
        Whether there are linear layers besides the head.
    """
    head = model.get_output_embeddings()
    if all(layer is head for layer in linear_layers(model).values()):
        return False
    replace_linear_layers(model, Int8Linear)
    return True
