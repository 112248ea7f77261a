"""The next token of each row: as likely as told, and whatever the others of the batch ask for."""

import math
import random
from collections import Counter

import pytest
import torch

from tale_dspy.backends.local.sampling import SamplingParams, choose_tokens

HOT = SamplingParams(temperature=1.0)
ODDS = [0.05, 0.4, 0.15, 0.3, 0.1]


def logits(*rows: list[float]) -> torch.Tensor:
    return torch.tensor([[math.log(p) if p else -math.inf for p in row] for row in rows])


def draws(sampling: SamplingParams, odds: list[float] = ODDS, count: int = 4000) -> dict[int, float]:
    rows = [(sampling, random.Random(seed)) for seed in range(count)]
    tokens = choose_tokens(logits(odds).expand(count, -1), rows)
    return {token: n / count for token, n in Counter(t for t in tokens if t is not None).items()}


def test_without_temperature_the_likeliest_is_taken_and_no_number_drawn() -> None:
    rng = random.Random(0)
    assert choose_tokens(logits(ODDS, ODDS[::-1]), [(SamplingParams(), rng)] * 2) == [1, 3]
    assert rng.random() == random.Random(0).random()


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    assert draws(HOT) == pytest.approx(dict(enumerate(ODDS)), abs=0.03)


def test_the_temperature_sharpens_and_flattens() -> None:
    squared = [p**2 / sum(q**2 for q in ODDS) for p in ODDS]
    assert draws(SamplingParams(temperature=0.5)) == pytest.approx(dict(enumerate(squared)), abs=0.03)


@pytest.mark.parametrize("sampling", [SamplingParams(temperature=1e-6), SamplingParams(temperature=2.0, top_k=1)])
def test_a_setting_that_leaves_one_token_draws_nothing(sampling: SamplingParams) -> None:
    assert sampling.greedy
    assert draws(sampling, count=9) == {1: 1.0}


@pytest.mark.parametrize(
    ("sampling", "left"),
    [
        (SamplingParams(1.0, top_k=2), {1, 3}),
        (SamplingParams(1.0, top_k=9), {0, 1, 2, 3, 4}),
        (SamplingParams(1.0, top_p=0.0), {1}),
        (SamplingParams(1.0, top_p=0.39), {1}),
        (SamplingParams(1.0, top_p=0.41), {1, 3}),
        (SamplingParams(1.0, top_p=0.84), {1, 3, 2}),
        (SamplingParams(1.0, top_p=0.96), {0, 1, 2, 3, 4}),
        (SamplingParams(1.0, top_p=0.99, top_k=3), {1, 3, 2}),
    ],
)
def test_only_the_likeliest_are_left(sampling: SamplingParams, left: set[int]) -> None:
    whole = sum(ODDS[i] for i in left)
    assert draws(sampling) == pytest.approx({i: ODDS[i] / whole for i in left}, abs=0.03)


def test_top_p_is_measured_after_top_k() -> None:
    # Of the two that top_k leaves, the first has 4/7: as transformers does it.
    assert draws(SamplingParams(1.0, top_p=0.5, top_k=2)) == {1: 1.0}


SETTINGS = [
    SamplingParams(),
    HOT,
    SamplingParams(1.3, top_p=0.7),
    SamplingParams(0.7, top_k=3),
    SamplingParams(1.0, top_p=0.2, top_k=4),
]


def test_a_row_draws_the_same_alone_and_among_others() -> None:
    table = torch.randn(60, 500, generator=torch.Generator().manual_seed(0)) * 3

    def rows() -> list[tuple[SamplingParams, random.Random]]:
        return [(SETTINGS[i % 5], random.Random(i)) for i in range(60)]

    alone = [choose_tokens(table[i : i + 1], [row])[0] for i, row in enumerate(rows())]
    assert choose_tokens(table, rows()) == alone
    assert choose_tokens(table.flip(0), rows()[::-1]) == alone[::-1]
    assert len(set(alone)) > 20


class Last(random.Random):
    """Draws the largest number there is."""

    def random(self) -> float:
        return 1 - 2**-53


def test_who_asks_for_all_tokens_gets_all_whatever_a_neighbour_asks_for() -> None:
    # The first 99 make up 1, in single precision.
    odds = [1 / 99] * 99 + [1e-12]
    table = logits(odds, odds)
    alone = choose_tokens(table[:1], [(HOT, Last())])
    assert choose_tokens(table, [(HOT, Last()), (SamplingParams(1.0, top_p=0.5), Last())])[:1] == alone == [99]


def test_a_token_that_cannot_be_is_never_drawn() -> None:
    assert choose_tokens(logits([0.5, 0.5, 0.0]), [(HOT, Last())]) == [1]
    assert choose_tokens(logits([0.0, 0.5, 0.5]), [(HOT, random.Random(0))]) != [0]


@pytest.mark.parametrize("broken", [math.nan, math.inf])
@pytest.mark.parametrize("sampling", [SamplingParams(), HOT, SamplingParams(1.0, 0.5, 2)])
def test_a_row_that_is_not_finite_is_none_and_the_others_are_chosen(broken: float, sampling: SamplingParams) -> None:
    table = logits(ODDS, ODDS, ODDS)
    table[1, 2] = broken
    tokens = choose_tokens(table, [(sampling, random.Random(i)) for i in range(3)])
    whole = choose_tokens(logits(ODDS, ODDS, ODDS), [(sampling, random.Random(i)) for i in range(3)])
    assert tokens == [whole[0], None, whole[2]]


def test_half_precision_is_drawn_from_too() -> None:
    assert choose_tokens(logits(ODDS).bfloat16(), [(HOT, random.Random(0))])[0] in range(5)
