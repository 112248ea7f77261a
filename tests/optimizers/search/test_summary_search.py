"""The figures of a search: every question counted once, means over those with a best budget, unknown is None."""

import pytest
from searched import row

from tale_dspy.optimizers.search.question import NO_GAIN, NO_TOKENS, NOT_CONFIRMED, WRONG
from tale_dspy.optimizers.search.records import BestBudget, ConfirmationDraws, VanillaAnswer
from tale_dspy.optimizers.search.summary import search_figures


def test_every_question_is_in_exactly_one_place() -> None:
    rows = [
        row(1, [(50, 40, True)], longest=100, best=BestBudget(50, 44.0, 40, None, ConfirmationDraws(3, 2))),
        row(
            2,
            [(60, 60, True), (30, 70, False)],
            longest=200,
            best=BestBudget(60, 64.0, 60, None, ConfirmationDraws(1, 1)),
        ),
    ]
    wrong = row(6, [], best=None, reason=WRONG, vanilla=VanillaAnswer(90, None, correct=False))
    none = [row(3 + n, [], best=None, reason=r) for n, r in enumerate([NO_GAIN, NOT_CONFIRMED, NO_TOKENS])]
    figures = search_figures([*rows, *none, wrong, row(7, [], best=None, reason="error: 400")])
    places = ("found", "no_gain", "not_confirmed", "wrong", "unknown_tokens", "errors")
    assert [figures[k] for k in places] == [2, 1, 1, 1, 1, 1] and figures["n"] == 7
    assert (figures["vanilla_tokens_mean"], figures["best_tokens_mean"], figures["selected_tokens_mean"]) == (
        150,
        54,
        50,
    )
    assert (figures["confirmed_right"], figures["trials_mean"], figures["draws"]) == (0.75, 1.5, 7 + 3 + 4)
    assert figures["vanilla_right"] == 6 and figures["judged_by"] == ["gold"]


@pytest.mark.parametrize("rows", [[], [row(1, [], best=None, reason=NO_GAIN)]])
def test_what_nobody_knows_is_none(rows: list[object]) -> None:
    figures = search_figures(rows)  # type: ignore[arg-type]
    assert figures["best_tokens_mean"] is figures["confirmed_right"] is figures["vanilla_tokens_mean"] is None
