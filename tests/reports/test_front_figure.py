"""The front of a tuning is drawn with what was tried and what was chosen, and its numbers stand beside it."""

from pathlib import Path

from tale_dspy.optimizers.pareto_front import ProgramFigures
from tale_dspy.reports.front_figure import pareto_front

TRIED = [ProgramFigures(0.5, 100, None, 40), ProgramFigures(0.6, 150, None, 40), ProgramFigures(0.4, 160, None, 40)]


def test_each_program_is_a_point_and_the_chosen_one_is_marked(tmp_path: Path) -> None:
    drawing = pareto_front(TRIED, TRIED[:2], 1, "questions")
    lines = {line.get_label(): line.get_xydata().tolist() for line in drawing.figure.axes[0].lines}
    assert lines == {
        "tried": [[100, 50], [150, 60], [160, 40]],
        "front, measured again": [[100, 50], [150, 60]],
        "chosen": [[150, 60]],
    }
    assert [row["kind"] for row in drawing.rows] == ["tried"] * 3 + ["front", "chosen"]
    assert {path.name for path in drawing.save(tmp_path)} == {"front.png", "front.svg", "front.csv"}


def test_without_a_choice_nothing_is_marked() -> None:
    drawing = pareto_front(TRIED, TRIED[:2], None, "a_b $x$")
    assert {line.get_label() for line in drawing.figure.axes[0].lines} == {"tried", "front, measured again"}
