"""What a verdict looks like on a terminal."""

import io

import pytest
from make_runs import make_record, make_run
from rich.console import Console

from tale_dspy.comparison.gate import noninferiority_test
from tale_dspy.reports.verdict import rich_verdict


def shown(n: int, model: str = "local:tuned", width: int = 100) -> str:
    tuned = make_run([make_record(i, output_tokens=30) for i in range(n)], model=model)
    screen = Console(file=io.StringIO(), width=width)
    screen.print(rich_verdict(noninferiority_test(make_run("c" * n), tuned)))
    return screen.file.getvalue()  # type: ignore[attr-defined]


def test_figures_limits_and_the_sentence_are_there() -> None:
    text = " ".join(shown(300).split())
    assert "cot on local:tuned against cot on openai/gpt-4o-mini" in text
    assert "300 questions; 0 right->wrong, 0 wrong->right; margin 1.00 points; smallest n that could pass" in text
    assert "accuracy % 100.00 100.00 +0.00 -0.89 -1.00" in text
    assert "output tokens 100.0 30.0 saves 70.0 % 70.0 % 30.0 %" in text
    assert text.endswith("at least 70.0 % with 95 % certainty (30.0 % asked for)")


@pytest.mark.parametrize(("n", "outcome"), [(300, "pass: "), (100, "cannot decide: ")])
def test_the_last_sentence_begins_with_the_outcome(n: int, outcome: str) -> None:
    assert f"\n{outcome}accuracy" in shown(n, width=300)


def test_a_name_is_not_read_as_a_command_to_the_terminal() -> None:
    assert "\x1b" not in shown(3, model="evil\x1b[2Jmodel") and "[2Jmodel" in shown(3, model="evil\x1b[2Jmodel")
