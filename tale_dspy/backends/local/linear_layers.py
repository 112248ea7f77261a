"""Find the linear layers of a model, and put others in their place."""

from collections.abc import Callable
from typing import Any

from torch import nn


def linear_layers(model: Any) -> dict[str, nn.Linear]:
    """Return the linear layers of a model by their names, its head among them.

    A layer that two parents share has two names. Subclasses of `nn.Linear` are left out: they compute something else.

    Args:
        model: A transformers model.
    """
    named = model.named_modules(remove_duplicate=False)
    return {name: module for name, module in named if type(module) is nn.Linear}


def replace_linear_layers(model: Any, make: Callable[[nn.Linear], nn.Module]) -> None:
    """Put what `make` returns in place of each linear layer of a model.

    A shared layer is made once. Each layer is let go when it is replaced, so that both are in memory for one at a time.

    Args:
        model: A transformers model; changed in place.
        make: Returns the new layer.
    """
    places: dict[nn.Linear, list[str]] = {}
    for name, layer in linear_layers(model).items():
        places.setdefault(layer, []).append(name)
    while places:
        layer, names = places.popitem()
        made = make(layer)
        for name in names:
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, made)
        del layer
