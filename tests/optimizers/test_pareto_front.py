"""The front: nothing in it is beaten in everything, and a program is picked by what matters."""

import json
from pathlib import Path
from typing import Any

import pytest

import tale_dspy
from tale_dspy.errors import UsageError
from tale_dspy.optimizers.pareto_front import FrontPoint, ParetoFront, ProgramFigures


def point(accuracy: float, tokens: float, cost: float | None = None, **choices: Any) -> FrontPoint:
    figures = ProgramFigures(accuracy, tokens, cost, 50)
    program = tale_dspy.BudgetedChainOfThought("question -> answer", round(tokens))
    return FrontPoint(program, choices or {"scale": tokens / 10}, figures, figures, True)


POINTS = [point(0.8, 40), point(0.9, 60), point(0.95, 200), point(0.85, 70), point(0.9, 60)]


def test_what_another_beats_in_everything_is_left_out() -> None:
    front = ParetoFront(POINTS)
    assert [(p.measured.accuracy, p.measured.tokens) for p in front] == [(0.8, 40), (0.9, 60), (0.95, 200)]
    assert front[0] is POINTS[0] and len(front) == 3


def test_money_is_a_goal_of_its_own_where_it_is_known() -> None:
    assert len(ParetoFront([point(0.9, 60, 1e-5), point(0.9, 50, 2e-5)])) == 2
    assert len(ParetoFront([point(0.9, 60, 1e-5), point(0.9, 50, None)])) == 1


@pytest.mark.parametrize(
    ("rule", "tokens"),
    [
        ({"max_loss": 0.0}, 200),
        ({"max_loss": 0.05}, 60),
        ({"max_loss": 1.0}, 40),
        ({"max_tokens": 199}, 60),
        ({"max_tokens": 40}, 40),
    ],
)
def test_a_program_is_picked_by_loss_or_by_tokens(rule: dict[str, float], tokens: float) -> None:
    assert ParetoFront(POINTS).pick(**rule).measured.tokens == tokens


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({}, "either max_loss or max_tokens"),
        ({"max_loss": 0.1, "max_tokens": 9}, "either max_loss or max_tokens"),
        ({"max_loss": 1.1}, "fraction from 0 to 1"),
        ({"max_tokens": 39}, "no program takes at most 39 tokens: the shortest takes 40.0"),
    ],
)
def test_a_rule_that_picks_nothing_is_refused(rule: dict[str, float], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ParetoFront(POINTS).pick(**rule)


def test_the_programs_are_saved_with_their_figures(tmp_path: Path) -> None:
    ParetoFront(POINTS).save(tmp_path / "f")
    files = ParetoFront(POINTS[:2], "stories").save(tmp_path / "f")
    assert sorted(p.name for p in (tmp_path / "f").iterdir()) == ["front.json", "program-01.json", "program-02.json"]
    document = json.loads(files[-1].read_text())
    assert document["data"] == "stories" and [row["accuracy"] for row in document["programs"]] == [0.8, 0.9]
    assert tale_dspy.load(tmp_path / "f" / document["programs"][1]["file"]).token_budget == 60


def test_where_it_cannot_be_written_it_is_said() -> None:
    with pytest.raises(UsageError, match="the front cannot be written"):
        ParetoFront(POINTS).save("/proc/nothing")


def test_a_front_prints_a_line_a_program() -> None:
    text = str(ParetoFront([point(0.8, 40.04, 1e-5, scale=0.5, wording="own")], "stories"))
    assert text == ("1 programs on 50 questions of stories:\n80.0 % right, 40.0 tokens, $0.0100 per 1000: scale 0.5")
