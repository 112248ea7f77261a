import csv
from itertools import combinations
from pathlib import Path

import pytest
from make_runs import make_record, make_run, random_run

from tale_dspy.errors import UsageError
from tale_dspy.reports import canvas
from tale_dspy.reports.accuracy_figure import accuracy_dollars, accuracy_tokens
from tale_dspy.reports.rows import report_rows

LONG = "a_very_long_module.path:MyBudgetedChainOfThoughtProgram_with_$money$_and_中文"


@pytest.mark.parametrize("accuracy", ["c", "w", "cwcw"])
@pytest.mark.parametrize("count", [1, 3, 12])
@pytest.mark.parametrize("draw", [accuracy_tokens, accuracy_dollars])
def test_it_draws_any_accuracy_and_number_of_runs(draw, accuracy: str, count: int, tmp_path: Path) -> None:
    rows = report_rows([make_run(accuracy * 5, f"program {i}") for i in range(count)])
    drawing = draw(rows)
    assert drawing.description.startswith(f"Accuracy of {count} run{'s' if count > 1 else ''} in percent")
    paths = drawing.save(tmp_path / "points")
    assert all(p.stat().st_size > 0 for p in paths)
    with paths[2].open(encoding="utf-8", newline="") as file:
        assert [r["program"] for r in csv.DictReader(file)] == [f"program {i}" for i in range(count)]


def test_a_run_without_known_tokens_is_named_below_the_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    sentences: list[str] = []
    footer = canvas.draw_footer
    monkeypatch.setattr(canvas, "draw_footer", lambda axes, lines: (sentences.extend(lines), footer(axes, lines)))
    unknown = make_run([make_record(0, output_tokens=None)], "lost", info={"provenance": "simulated"})
    runs = [make_run("cc", data={"name": "a"}), make_run("cw", data={"name": "b"}), unknown]
    accuracy_tokens(report_rows(runs))
    assert "Unknown, not drawn: lost." in sentences


@pytest.mark.parametrize("records", [[], [make_record(0, output_tokens=None)]])
@pytest.mark.parametrize("draw", [accuracy_tokens, accuracy_dollars])
def test_runs_without_the_figure_cannot_be_drawn(draw, records: list) -> None:
    with pytest.raises(UsageError, match="none of 1 runs has questions with known"):
        draw(report_rows([make_run(records)]))


@pytest.mark.parametrize("count", [2, 6, 40])
def test_runs_at_one_point_share_a_label_and_the_key_names_each(count: int) -> None:
    drawing = accuracy_tokens(report_rows([make_run("cw" * 20, f"{i} {LONG}") for i in range(count)]))
    label, key = [text.get_text() for text in drawing.figure.axes[0].texts[:2]]
    assert label == ", ".join(str(i) for i in range(1, count + 1))
    assert [line.split()[0] for line in key.splitlines()] == [str(i) for i in range(1, count + 1)]


def test_runs_apart_have_a_label_each() -> None:
    drawing = accuracy_tokens(report_rows([random_run(30), random_run(30, "b", tokens=50)]))
    assert [text.get_text() for text in drawing.figure.axes[0].texts[:2]] == ["1", "2"]


def test_labels_of_many_runs_do_not_cover_each_other() -> None:
    runs = [random_run(90, str(i), tokens=80 + 13 * (i % 5), accuracy=0.6 + 0.02 * (i % 7)) for i in range(12)]
    figure = accuracy_tokens(report_rows(runs)).figure
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text().replace(", ", "").isdigit()]
    assert len(boxes) > 6
    assert [(a.x0, b.x0) for a, b in combinations(boxes, 2) if a.shrunk(0.9, 0.8).overlaps(b.shrunk(0.9, 0.8))] == []


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    rows = report_rows([random_run(30), random_run(30, LONG, estimate=(60, 10))])
    once, again = (accuracy_tokens(rows).save(tmp_path / name) for name in ("a", "b"))
    assert [p.read_bytes() for p in once] == [p.read_bytes() for p in again]
