"""tale_dspy.backends.local.linear_layers: every plain linear layer is replaced once, wherever it stands."""

import weakref

from torch import nn

from tale_dspy.backends.local.linear_layers import linear_layers, replace_linear_layers


class Special(nn.Linear):
    """Computes something else, as far as anybody knows."""


class TwoParents(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = self.second = nn.Linear(4, 4)
        self.inner = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
        self.special = Special(4, 4)


def test_layers_are_found_by_all_their_names() -> None:
    model = TwoParents()
    assert linear_layers(model) == {"first": model.first, "second": model.first, "inner.0": model.inner[0]}


def test_a_layer_of_two_parents_is_replaced_once_and_let_go() -> None:
    model = TwoParents()
    special, gone = model.special, [weakref.ref(model.first), weakref.ref(model.inner[0])]
    alive_at: list[int] = []

    def make(layer: nn.Linear) -> nn.Module:
        alive_at.append(sum(reference() is not None for reference in gone))
        return nn.Identity()

    replace_linear_layers(model, make)
    assert type(model.first) is nn.Identity and model.second is model.first and model.special is special
    assert alive_at == [2, 1] and all(reference() is None for reference in gone)
