import csv
from pathlib import Path

import pytest
from make_runs import make_record, make_run, random_run

from tale_dspy.errors import UsageError
from tale_dspy.reports.canvas import blank_figure, house_style
from tale_dspy.reports.tokens_figure import (
    MOST_POINTS,
    QuestionTokens,
    draw_pairs,
    paired_tokens,
    tokens_per_question,
)
from tale_dspy.runs.records import Run

LONG = "a_very_long_module.path:MyBudgetedChainOfThoughtProgram_with_$money$_and_中文"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("n", [1, 2, 151, 2000])
def test_tokens_per_question_draws_any_number_of_questions(n: int, tmp_path: Path) -> None:
    drawing = tokens_per_question(random_run(n), random_run(n, "b", tokens=90))
    png, svg, table = drawing.save(tmp_path / "tokens")
    assert (png.name, svg.name, table.name) == ("tokens.png", "tokens.svg", "tokens.csv")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert len(rows_of(table)) == n
    assert svg.stat().st_size < 300_000  # many points are one picture


def test_the_csv_beside_a_figure_holds_its_points_in_order(tmp_path: Path) -> None:
    runs = [make_run([make_record(i, output_tokens=t) for i, t in enumerate(ts)]) for ts in ([30, 10, 20], [1, 2, 3])]
    rows = rows_of(tokens_per_question(*runs).save(tmp_path / "x")[2])
    assert [(r["rank"], r["baseline"], r["run"]) for r in rows] == [
        ("1", "10.0", "2.0"),
        ("2", "20.0", "3.0"),
        ("3", "30.0", "1.0"),
    ]


def test_tokens_are_paired_averaged_over_draws_and_left_out_if_one_is_unknown() -> None:
    def run(*draws: tuple[int | None, ...]) -> Run:
        return make_run(
            [make_record(i, repeat=k, output_tokens=t) for i, d in enumerate(draws) for k, t in enumerate(d)]
        )

    pairs = paired_tokens(run((10, 20), (30, None), (5, 5)), run((1, 2), (3, 4)))
    assert [p[1:] for p in pairs.points()] == [(15.0, 1.5)]


def test_nothing_in_common_cannot_be_drawn() -> None:
    with pytest.raises(UsageError, match="no question with known tokens in common"):
        tokens_per_question(make_run("c"), make_run([make_record(5)]))


def test_zero_tokens_can_be_drawn(tmp_path: Path) -> None:
    run = make_run([make_record(i, output_tokens=0) for i in range(3)])
    assert tokens_per_question(run, run).save(tmp_path / "a")


def test_labels_of_close_means_do_not_overlap() -> None:
    points = [QuestionTokens("a", 100, 101), QuestionTokens("b", 100, 100)]
    with house_style():
        _, axes = blank_figure()
        draw_pairs(axes, points, (LONG, LONG))
        upper, lower = [text.get_window_extent() for text in axes.texts]
    assert not upper.overlaps(lower)


def test_of_very_many_questions_some_are_drawn_and_the_means_are_those_of_all() -> None:
    count = 2 * MOST_POINTS + 1
    runs = [
        make_run([make_record(i, output_tokens=1 + (i * 37 + shift) % 500) for i in range(count)]) for shift in (0, 9)
    ]
    drawing = tokens_per_question(*runs)
    assert len(drawing.rows) == MOST_POINTS
    assert (drawing.rows[0]["rank"], drawing.rows[-1]["rank"]) == (1, count)
    texts = [text.get_text() for axes in drawing.figure.axes for text in axes.texts] + [
        text.get_text() for text in drawing.figure.texts
    ]
    assert any(f"{MOST_POINTS:,} of {count:,} questions are drawn" in text for text in texts)


def test_the_places_of_questions_are_whole_numbers() -> None:
    axes = tokens_per_question(make_run("c"), make_run("c", "b")).figure.axes[0]
    assert [tick for tick in axes.get_xticks() if tick % 1] == []
