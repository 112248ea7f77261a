"""The figures by question: drawn for anything that has curves, with the mark, and the same bytes each time."""

from pathlib import Path
from typing import Any

import pytest
from searched import search
from test_question_curves import curve

from tale_dspy.errors import UsageError
from tale_dspy.reports.canvas import blank_figure, house_style
from tale_dspy.reports.question_curves import curves_of_search, pooled
from tale_dspy.reports.question_figures import (
    elasticity_pooled,
    elasticity_questions,
    elasticity_sentence,
    log_axis,
    percent,
)

TOLD: dict[str, Any] = {"data": "stories", "notes": ["Evidence: simulated."]}
CURVES = curves_of_search(search([f"How much is ${n} $and 7 & 商?" for n in range(12)], lambda n: 20 + 5 * n))


@pytest.mark.parametrize("draw", [elasticity_questions, elasticity_pooled])
def test_it_is_drawn_with_its_provenance_and_its_numbers(draw: Any, tmp_path: Path) -> None:
    few = CURVES[::4]
    png, svg, table = draw(few, **TOLD).save(tmp_path)
    assert png.stat().st_size > 20_000 and "Evidence: simulated" in svg.read_text()
    assert len(table.read_text().splitlines()) > 5
    before = png.read_bytes(), svg.read_bytes()
    draw(few, **TOLD).save(tmp_path)
    assert (png.read_bytes(), svg.read_bytes()) == before


@pytest.mark.parametrize("draw", [elasticity_questions, elasticity_pooled])
def test_nothing_to_draw_is_said(draw: Any) -> None:
    with pytest.raises(UsageError, match=r"no (question|budget)"):
        draw([curve("a", None, (5, 6.0, 1.0))], **TOLD)


@pytest.mark.parametrize("n", [1, 5])
def test_a_few_questions_are_enough_to_show_them(n: int, tmp_path: Path) -> None:
    assert elasticity_questions(CURVES[:n], **TOLD).save(tmp_path)[0].exists()


def test_the_sentence_tells_where_tokens_rise_again() -> None:
    sentence = elasticity_sentence(pooled(CURVES))
    assert sentence.startswith("Tokens are least at budgets of 2") and "; the smallest, 7" in sentence
    only_large = [curve(k, 100, (80, 80.0, 1.0)) for k in "abc"]
    assert elasticity_sentence(pooled(only_large)).endswith("no smaller budget was tried, so no rise is seen.")


def test_a_share_keeps_its_sign_beside_it() -> None:
    assert (percent(0.004), percent(0.25), percent(1.0)) == ("0.4\xa0%", "25\xa0%", "100\xa0%")


@pytest.mark.parametrize(("low", "high"), [(1, 4), (15, 66), (0.4, 100), (1, 4000), (18, 19)])
def test_an_axis_has_round_numbers_and_not_too_many(low: float, high: float) -> None:
    with house_style():
        _, axes = blank_figure()
        log_axis(axes, low, high, most=6)
        ticks = [t for t in axes.get_xticks() if low <= t <= high]
    assert len(ticks) <= 6 and (low == 18 or len(ticks) >= 3)
