"""Linear layers of 16 bits that are multiplied in 32.

A processor without matrix units for bfloat16 multiplies float32 faster, since it widens each number anyway. The product
of two numbers of 16 bits is exact in float32, and both ways sum in float32 and round the sum to 16 bits: the numbers
are the same but for the order of the sum. It costs the memory of the wider weights.
"""

import time
from typing import Any

import torch
from torch import nn

from tale_dspy.backends.local.linear_layers import linear_layers, replace_linear_layers

MIN_PARAMETERS = 20_000_000
"""Parameters of the linear layers below which it is not worth a measurement."""
MIN_GAIN = 1.25
"""How many times as fast the wider product must be."""
_ROWS, _ROUNDS = 256, 3
"""Rows that are multiplied, between a step of many replies and the reading of prompts, and how often."""


class UpcastLinear(nn.Linear):
    """Multiply numbers of 16 bits in float32, and return 16 bits.

    Args:
        linear: The layer of 16 bits.
    """

    def __init__(self, linear: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight = nn.Parameter(linear.weight.detach().float(), requires_grad=False)
        bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().float(), requires_grad=False)
        self.register_parameter("bias", bias)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return (..., outputs) in the type of the input.

        Args:
            input: (..., inputs), floating point.
        """
        return nn.functional.linear(input.float(), self.weight, self.bias).to(input.dtype)


def upcast_where_faster(model: Any, free_bytes: float) -> bool:
    """Multiply the linear layers of a model of 16 bits in 32.

    This is done where it is faster here and memory allows it.

    Args:
        model: A transformers model; changed in place.
        free_bytes: What the wider weights may take.

    Returns:
        Whether it was done.
    """
    if not _is_worthwhile(model, free_bytes):
        return False
    replace_linear_layers(model, lambda layer: UpcastLinear(layer) if _is_narrow(layer) else layer)
    return True


def _is_worthwhile(model: Any, free_bytes: float) -> bool:
    layers = [layer for layer in set(linear_layers(model).values()) if _is_narrow(layer)]
    size = sum(layer.weight.numel() for layer in layers)
    if size < MIN_PARAMETERS or size * torch.float32.itemsize > free_bytes:
        return False
    head = model.get_output_embeddings()
    inner = [layer for layer in layers if layer is not head] or layers
    return gain_of_upcast(max(inner, key=lambda layer: layer.weight.numel())) >= MIN_GAIN


def _is_narrow(layer: nn.Linear) -> bool:
    return layer.weight.dtype.itemsize == 2 and layer.weight.device.type == "cpu"


def gain_of_upcast(layer: nn.Linear) -> float:
    """Measure how many times as fast a layer is in float32.

    The best of some rounds of each counts.
    """
    upcast, inputs = UpcastLinear(layer), layer.weight.new_ones((_ROWS, layer.in_features))
    with torch.inference_mode():
        seconds: dict[nn.Linear, list[float]] = {layer: [], upcast: []}
        for _ in range(1 + _ROUNDS):  # the first round wakes threads and picks kernels
            for way, taken in seconds.items():
                started = time.perf_counter()
                way(inputs)
                taken.append(time.perf_counter() - started)
    return min(seconds[layer][1:]) / min(seconds[upcast][1:])
