"""A metric that fails on every answer is said after a few of them, once, by its name and the exception."""

from typing import Any

import dspy
import pytest
from fake_lm import fake_lm

from tale_dspy.programs.cot import VanillaCoT
from tale_dspy.runs.early_warnings import METRIC_WINDOW
from tale_dspy.runs.engine import evaluate

SENTENCE = (
    f"the metric {__name__}:misspelt has failed on each of the first {METRIC_WINDOW} answers, which count as errors: "
)


def misspelt(example: Any, pred: Any, trace: Any = None) -> bool:
    return bool(example.solution == pred.answer)


def seldom_wrong(example: Any, pred: Any, trace: Any = None) -> bool:
    if example.question.startswith(("0+", "3+")):
        raise ValueError("no zero, no three")
    return True


def warned(metric: Any, caplog: pytest.LogCaptureFixture, n: int) -> list[str]:
    rows = [dspy.Example(question=f"{i}+4?", answer="7").with_inputs("question") for i in range(n)]
    evaluate(VanillaCoT("question -> answer"), rows, lm=fake_lm("[[7]]"), metric=metric, concurrency=1)
    return [r.getMessage() for r in caplog.records if "the metric" in r.getMessage()]


def test_a_metric_that_fails_on_every_answer_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    messages = warned(misspelt, caplog, 4 * METRIC_WINDOW)
    assert messages == [f"{SENTENCE}AttributeError: 'Example' object has no attribute 'solution'"]


def test_what_is_no_score_is_said_likewise(caplog: pytest.LogCaptureFixture) -> None:
    (message,) = warned(lambda example, pred: None, caplog, METRIC_WINDOW)
    assert "has failed on each of the first 5 answers" in message and "gave None" in message


@pytest.mark.parametrize(("metric", "n"), [(misspelt, METRIC_WINDOW - 1), (seldom_wrong, 8), (None, 8)])
def test_few_answers_and_a_metric_that_judges_give_no_warning(
    metric: Any, n: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert warned(metric, caplog, n) == []
