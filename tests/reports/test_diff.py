import csv
import io
from pathlib import Path

import pytest
from make_runs import make_record, make_run, random_run
from rich.console import Console

from tale_dspy import reports
from tale_dspy.comparison.compare import Comparison, compare
from tale_dspy.reports.diff import changes_csv, rich_comparison

NASTY = "[/red] [[18]] [link=x]y[/link] \x1b[2J \u202e end [[42]]"


def shown(comparison: Comparison, width: int = 80, limit: int | None = 20) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(rich_comparison(comparison, width, limit))
    return console.file.getvalue()


def nasty() -> Comparison:
    run = make_run([make_record(0, outcome="wrong", reply=NASTY, answer=NASTY, question=NASTY, token_budget=40)], NASTY)
    return compare(make_run([make_record(0, question=NASTY, gold=[1, None])]), run)


@pytest.mark.parametrize("width", [40, 80, 160])
def test_text_is_printed_literally_and_commands_no_terminal(width: int) -> None:
    text = shown(nasty(), width)
    for part in ("[/red] [[18]]", "[link=x]y[/link]", "[[42]]"):
        assert part in " ".join(text.split())
    assert "\x1b" not in text
    assert "\u202e" not in text


@pytest.mark.parametrize("width", [80, 100, 160])
def test_lines_fit_the_terminal(width: int) -> None:
    comparison = compare(random_run(200), random_run(200, "tale-ep", tokens=90, estimate=(60, 10)))
    table = [line for line in shown(comparison, width).splitlines() if not line.startswith("note")]
    assert max(map(len, table)) <= width
    assert "…" not in "\n".join(table)


def test_regressions_come_first_and_what_is_left_out_is_counted() -> None:
    text = shown(compare(make_run("wcwcw"), make_run("cwecw")), limit=2)
    assert text.index("correct -> wrong") < text.index("wrong -> correct")
    assert "1 more changed question is not shown" in text


@pytest.mark.parametrize(("limit", "count"), [(None, 4), (0, 0), (-3, 0), (3, 3), (9, 4)])
def test_the_limit_bounds_the_questions_shown(limit: int | None, count: int) -> None:
    text = shown(compare(make_run("cccc"), make_run("wwww")), limit=limit)
    assert text.count("correct -> wrong") == count


def test_both_answers_budgets_tokens_and_replies_are_shown() -> None:
    run = make_run([make_record(0, outcome="truncated", token_budget=40, answer=None, reply=None, output_tokens=None)])
    text = shown(compare(make_run("c"), run))
    for part in (
        "correct -> truncated",
        "What is 0 plus 0?",
        "It is [[0]]",
        "100 tokens",
        "– tokens, budget 40",
        "no reply",
    ):
        assert part in text


def test_a_long_reply_keeps_its_beginning_and_its_end() -> None:
    run = make_run([make_record(0, outcome="wrong", reply="First. " + "so on " * 500 + "Answer: [[7]]")])
    text = shown(compare(make_run("c"), run))
    assert "First." in text
    assert "Answer: [[7]]" in text
    assert len(text) < 3000


def test_notes_and_claim_are_shown() -> None:
    text = shown(compare(make_run("cccc"), make_run("cccw", adapter="ChatAdapter", model="[bold]m")), 160)
    assert "budget saving: not claimed (other adapter)" in text
    assert "note: different model: openai/gpt-4o-mini in the baseline, [bold]m in the run" in text


def test_equal_outcomes_are_said_to_be_equal() -> None:
    assert "no outcome changed" in shown(compare(make_run("cw"), make_run("cw")))


def test_csv_holds_the_changes_whole() -> None:
    (row,) = csv.DictReader(io.StringIO(changes_csv(nasty())))
    assert (row["kind"], row["question"], row["run_reply"], row["gold"]) == ("right->wrong", NASTY, NASTY, "[1, null]")
    assert (row["baseline_budget"], row["run_budget"], row["run_tokens"]) == ("", "40", "100")


def test_csv_adds_token_changes_where_asked() -> None:
    comparison = compare(make_run("cc"), make_run([make_record(0, output_tokens=5), make_record(1, outcome="wrong")]))
    assert len(changes_csv(comparison).splitlines()) == 2
    assert len(changes_csv(comparison, token_changes=True).splitlines()) == 3


def test_csv_without_changes_is_the_header() -> None:
    assert changes_csv(compare(make_run("c"), make_run("c"))).startswith("id,kind,question,gold,")


def test_the_public_names_of_reports_are_these() -> None:
    modules = {path.stem for path in Path(reports.__path__[0]).glob("*.py")}
    public = {name for name in vars(reports) if not name.startswith("_")}
    assert set(reports.__all__) == public - modules
    assert list(reports.__all__) == sorted(reports.__all__, key=lambda n: (not n.isupper(), n.islower(), n))
