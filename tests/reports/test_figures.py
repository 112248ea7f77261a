import csv
from pathlib import Path

import pytest
from make_runs import make_record, make_run, random_run

from tale_dspy.errors import UsageError
from tale_dspy.reports import canvas, figures
from tale_dspy.reports.canvas import blank, styled
from tale_dspy.reports.figures import accuracy_tokens, paired_tokens, tokens_per_question
from tale_dspy.reports.rows import report_rows
from tale_dspy.runs.records import Run

LONG = "a_very_long_module.path:MyBudgetedChainOfThoughtProgram_with_$money$_and_中文"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("n", [1, 2, 151])
def test_tokens_per_question_draws_any_number_of_questions(n: int, tmp_path: Path) -> None:
    png, svg, table = tokens_per_question(random_run(n), random_run(n, "b", tokens=90), tmp_path / "tokens")
    assert (png.name, svg.name, table.name) == ("tokens.png", "tokens.svg", "tokens.csv")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert len(rows_of(table)) == n


def test_the_csv_beside_a_figure_holds_its_points_in_order(tmp_path: Path) -> None:
    runs = [make_run([make_record(i, output_tokens=t) for i, t in enumerate(ts)]) for ts in ([30, 10, 20], [1, 2, 3])]
    rows = rows_of(tokens_per_question(*runs, tmp_path / "x")[2])
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
    assert [p[1:] for p in pairs] == [(15.0, 1.5)]


def test_nothing_in_common_cannot_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no question with known tokens in common"):
        tokens_per_question(make_run("c"), make_run([make_record(5)]), tmp_path / "x")


@pytest.mark.parametrize("accuracy", ["c", "w", "cwcw"])
@pytest.mark.parametrize("count", [1, 3, 12])
def test_accuracy_tokens_draws_any_accuracy_and_number_of_runs(accuracy: str, count: int, tmp_path: Path) -> None:
    paths = accuracy_tokens([make_run(accuracy * 5, f"program {i}") for i in range(count)], tmp_path / "points")
    assert all(p.stat().st_size > 0 for p in paths)
    assert [r["program"] for r in rows_of(paths[2])] == [f"program {i}" for i in range(count)]


def test_a_run_without_known_tokens_is_named_below_the_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    footer = canvas.footer
    monkeypatch.setattr(canvas, "footer", lambda axes, lines: (told.extend(lines), footer(axes, lines)))
    unknown = make_run([make_record(0, output_tokens=None)], "lost", info={"provenance": "simulated"})
    accuracy_tokens([make_run("cc", data={"name": "a"}), make_run("cw", data={"name": "b"}), unknown], tmp_path / "x")
    assert "Tokens unknown, not drawn: lost." in told
    assert "Evidence of lost: simulated." in told


@pytest.mark.parametrize("records", [[], [make_record(0, output_tokens=None)]])
def test_runs_without_tokens_cannot_be_drawn(records: list, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none of 1 runs has questions with known tokens"):
        accuracy_tokens([make_run(records)], tmp_path / "x")


def test_zero_tokens_can_be_drawn(tmp_path: Path) -> None:
    run = make_run([make_record(i, output_tokens=0) for i in range(3)])
    assert tokens_per_question(run, run, tmp_path / "a") + accuracy_tokens([run], tmp_path / "b")


@pytest.mark.parametrize("count", [2, 6, 10, 11, 40])
def test_no_two_labels_overlap(count: int) -> None:
    # The worst case: all runs at one point, with long names.
    rows = report_rows([make_run("cw" * 20, f"{i} {LONG}") for i in range(count)])
    with styled():
        figure, axes = blank()
        figures._draw_runs(axes, rows)
        figures._label_points(figure, axes, [row.program for row in rows], rows)
        boxes = [text.get_window_extent() for text in axes.texts]
        dot = axes.transData.transform((rows[0].output_tokens, 50))
    assert len(boxes) == count + (count > 10)
    assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
    assert not any(box.contains(*dot) for box in boxes)


def test_labels_of_close_means_do_not_overlap() -> None:
    points = [figures.QuestionTokens("a", 100, 101), figures.QuestionTokens("b", 100, 100)]
    with styled():
        _, axes = blank()
        figures.draw_pairs(axes, points, (LONG, LONG))
        upper, lower = [text.get_window_extent() for text in axes.texts]
    assert not upper.overlaps(lower)


@pytest.mark.parametrize("draw", [lambda r, out: tokens_per_question(r[0], r[1], out), accuracy_tokens])
def test_the_same_runs_give_the_same_bytes(draw, tmp_path: Path) -> None:
    runs = [random_run(30), random_run(30, LONG, estimate=(60, 10))]
    once, again = draw(runs, tmp_path / "a"), draw(runs, tmp_path / "b")
    assert [p.read_bytes() for p in once] == [p.read_bytes() for p in again]
