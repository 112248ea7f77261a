"""From a prediction to one of the six outcomes."""

import math
from fractions import Fraction
from typing import Any

import dspy
import numpy as np
import pytest
from dspy.utils.exceptions import AdapterParseError

from tale_dspy.accounting.calls import Call
from tale_dspy.runs.records import Record
from tale_dspy.runs.scoring import Question, aask, ask, is_copied_example, record_of, score_of

Calls = list[Call]


class Given(dspy.Module):  # type: ignore[misc]
    """Answers with what it is given, or raises it; books calls as an LM would."""

    def __init__(self, answer: Any, calls: Calls | None = None, booked: Calls | None = None) -> None:
        super().__init__()
        self.answer, self.calls, self.booked = answer, calls or [], booked

    def forward(self, **inputs: Any) -> Any:
        if self.booked is not None:
            self.booked.extend(self.calls)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer if isinstance(self.answer, dspy.Prediction) else dspy.Prediction(answer=self.answer)

    async def aforward(self, **inputs: Any) -> Any:
        return self.forward(**inputs)


def question(gold: Any, kind: Any = "auto") -> Question:
    return Question("a1", dspy.Example(question="q", answer=gold).with_inputs("question"), "answer", kind)


def asked(answer: Any, gold: Any = "4", metric: Any = None, threshold: float = 1.0, *calls: Call) -> dict[str, Any]:
    booked: Calls = []
    return ask(Given(answer, list(calls), booked), question(gold), metric, threshold, booked)


def call(text: str | None = "4", finish_reason: str = "stop", **fields: Any) -> Call:
    settings = {
        "role": "reason",
        "model": "m",
        "text": text,
        "finish_reason": finish_reason,
        "output_tokens": 5,
        **fields,
    }
    return Call(**settings)


@pytest.mark.parametrize(
    ("value", "score"),
    [
        (True, 1.0),
        (False, 0.0),
        (0.25, 0.25),
        (3, 3.0),
        (np.bool_(True), 1.0),
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.int64(1), 1.0),
        (Fraction(1, 2), 0.5),
        (dspy.Prediction(score=0.75, feedback="nearly"), 0.75),
        (dspy.Prediction(score=True), 1.0),
        (dspy.Prediction(score=np.float64(0.5)), 0.5),
    ],
)
def test_a_score_may_come_in_many_forms(value: Any, score: float) -> None:
    assert score_of(value) == score and type(score_of(value)) is float


NO_SCORES = [
    *(None, "yes", "0.5", b"1", [], {"score": 1}, math.nan, math.inf, np.nan, object(), 1j, dspy.Example(score=1)),
    *(dspy.Prediction(feedback="x"), dspy.Prediction(score=None), dspy.Prediction(score="1")),
]


@pytest.mark.parametrize("value", NO_SCORES)
def test_anything_else_is_an_error_of_the_question_that_says_what_came(value: Any) -> None:
    scored = asked("4", metric=lambda example, pred: value)
    assert scored["outcome"] == "error" and scored["answer"] == "4" and "score" not in scored
    assert scored["error"].startswith("metric: TypeError: a metric must give a bool, a finite number or a Prediction")


def test_a_metric_that_raises_is_an_error_of_the_question() -> None:
    def metric(example: Any, pred: Any) -> bool:
        raise KeyError("gold")

    assert asked("4", metric=metric)["error"] == "metric: KeyError: 'gold'"


@pytest.mark.parametrize(
    ("score", "threshold", "outcome"), [(0.5, 0.5, "correct"), (0.5, 0.6, "wrong"), (1, 1.0, "correct")]
)
def test_a_score_counts_from_the_threshold_on(score: float, threshold: float, outcome: str) -> None:
    scored = asked("x", "y", lambda example, pred: score, threshold)
    assert (scored["score"], scored["outcome"]) == (score, outcome)


@pytest.mark.parametrize(
    ("answer", "gold", "right"),
    [
        ("72", "72", True),
        (72, "72", True),
        ("72 clips", "72", True),
        ("$72.00", "72", True),
        ("Natalia sold 72 clips.", "72", True),
        ("Natalia sold 72 clips in May.", "72", True),
        ("The answer is 72", "72", True),
        ("The answer is 71.", "72", False),
        ("It is not 72 but 71.", "72", False),
        ("3, 4", "4", False),
        ("3 or 4", "4", False),
        ("3 and 4", "3", False),
        ("", "4", False),
        (None, "4", False),
        ("Paris", "paris", True),
        ("The capital is Paris.", "Rome", False),
    ],
)
def test_answers_are_compared_whatever_their_form(answer: Any, gold: Any, right: bool) -> None:
    assert (asked(answer, gold)["outcome"] == "correct") == right


@pytest.mark.parametrize(
    ("pred", "answer"),
    [
        (dspy.Prediction(reasoning="r", answer="4"), "4"),
        (dspy.Prediction(reasoning="r", result="4"), "4"),
        (dspy.Prediction(first="4", second="5"), None),
        (dspy.Prediction(), None),
    ],
)
def test_the_answer_is_the_golds_field_or_the_only_output(pred: Any, answer: Any) -> None:
    scored = asked(pred)
    assert scored["answer"] == answer and scored["outcome"] == ("correct" if answer else "unreadable")


@pytest.mark.parametrize(
    ("answer", "last", "outcome"),
    [
        ("4", call(), "correct"),
        ("5", call("5"), "wrong"),
        (None, call("no idea"), "unreadable"),
        (None, call(""), "empty"),
        (None, call(None), "empty"),
        (None, call(None, "length"), "empty"),
        (None, call("I think th", "length"), "truncated"),
        ("4", call("It may be 4 or", "length"), "truncated"),
        (AdapterParseError("ChatAdapter", dspy.Signature("q -> a"), "hm"), call("hm"), "unreadable"),
        (AdapterParseError("ChatAdapter", dspy.Signature("q -> a"), ""), call(""), "empty"),
        (KeyError("mine"), call(), "error"),
    ],
)
def test_every_question_ends_as_exactly_one_outcome(answer: Any, last: Call, outcome: str) -> None:
    assert asked(answer, "4", None, 1.0, last)["outcome"] == outcome


async def test_tasks_judge_as_threads_do() -> None:
    booked: Calls = []
    assert (await aask(Given("4"), question("4"), None, 1.0, booked))["outcome"] == "correct"
    failed = await aask(Given(KeyError("mine")), question("4"), None, 1.0, booked)
    assert failed == {"outcome": "error", "error": "KeyError: 'mine'"}


def test_an_error_is_kept_short() -> None:
    assert len(asked(ValueError("x" * 5000))["error"]) == 1000


def recorded(*calls: Call, paper: bool = False, gold: Any = "4", kind: Any = "auto") -> Record:
    return record_of(question(gold, kind), 0, {"outcome": "correct"}, calls, 1.5, paper)


def test_calls_are_booked_by_role() -> None:
    calls = recorded(
        call("Budget: [[9]]", role="estimate", output_tokens=3, prompt_tokens=20, cost_usd=0.1),
        call("4", output_tokens=7, prompt_tokens=30, cost_usd=0.2, reasoning_tokens=2),
        call("right", role="metric", output_tokens=1, prompt_tokens=9, cost_usd=0.4),
    )
    assert (calls.estimate_tokens, calls.output_tokens, calls.metric_tokens) == (3, 7, 1)
    assert (calls.prompt_tokens, calls.estimate_prompt_tokens, calls.reasoning_tokens) == (50, 20, 2)
    assert calls.cost_usd == pytest.approx(0.3) and (calls.estimate_cost_usd, calls.metric_cost_usd) == (0.1, 0.4)
    assert (calls.reply, calls.calls, calls.paid_calls, calls.latency_s) == ("4", 3, 3, 1.5)


@pytest.mark.parametrize("unknown", [{"output_tokens": None}, {"cost_usd": None}, {"prompt_tokens": None}])
def test_one_unknown_part_makes_the_sum_unknown(unknown: dict[str, Any]) -> None:
    known = {"output_tokens": 5, "cost_usd": 0.1, "prompt_tokens": 9}
    calls = recorded(call(**known), call(**{**known, **unknown}))
    (name,) = unknown
    assert vars(calls)[name] is None
    assert all(vars(calls)[other] for other in known if other != name)


def test_no_call_leaves_everything_unknown_and_not_0() -> None:
    calls = recorded()
    assert (calls.output_tokens, calls.estimate_tokens, calls.cost_usd, calls.latency_s) == (None, None, None, None)
    assert (calls.calls, calls.usage_source, calls.reply) == (0, None, None)


@pytest.mark.parametrize(
    "served", [{"cached": True, "cost_usd": 0.0, "saved_cost_usd": 0.2}, {"replayed": True, "cost_usd": 0.2}]
)
def test_what_was_not_asked_now_has_no_latency(served: dict[str, Any]) -> None:
    calls = recorded(call(**served))
    assert calls.latency_s is None and calls.cached_calls == int("cached" in served)
    assert calls.price_usd == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("sources", "weakest"),
    [(["provider"], "provider"), (["provider", "tokenizer"], "tokenizer"), (["tokenizer", "unknown"], "unknown")],
)
def test_the_weakest_source_is_reported(sources: list[Any], weakest: str) -> None:
    assert recorded(*(call(usage_source=s) for s in sources)).usage_source == weakest


def test_the_papers_count_and_judge_stand_beside_ours() -> None:
    calls = recorded(call("So 2+2 is [[4]]"), paper=True)
    assert (calls.output_tokens_cl100k, calls.paper_correct) == (9, True)
    assert recorded(call("Choice: [[B]]"), paper=True, gold="A", kind="choice").paper_correct is False
    assert recorded(call(None), paper=True).paper_correct is None
    assert recorded(call("[[4]]")).output_tokens_cl100k is None


def test_inputs_are_kept_where_there_are_others_than_the_question() -> None:
    example = dspy.Example(question="q", context=["c"], answer="4").with_inputs("question", "context")
    record = record_of(Question("a1", example, "answer"), 2, {"outcome": "wrong"}, [], 1.0, False)
    assert (record.question, record.inputs, record.repeat, record.gold) == ("q", {"context": ["c"]}, 2, "4")
    odd = dspy.Example(question=5, answer="4").with_inputs("question")
    record = record_of(Question("a1", odd, "answer"), 0, {"outcome": "wrong"}, [], 1.0, False)
    assert (record.question, record.inputs) == (None, {"question": 5})


@pytest.mark.parametrize(
    ("labels", "inputs", "group"),
    [
        ({"group": "hard"}, ("question",), "hard"),
        ({}, ("question",), None),
        ({"group": 3}, ("question",), None),
        ({"group": "A"}, ("question", "group"), None),
    ],
)
def test_a_questions_group_is_its_label_of_that_name(
    labels: dict[str, Any], inputs: tuple[str, ...], group: str | None
) -> None:
    example = dspy.Example(question="q", answer="1", **labels).with_inputs(*inputs)
    assert Question("id", example, "answer").group == group


@pytest.mark.parametrize(
    ("fields", "reply", "copied"),
    [
        ({"outcome": "wrong", "answer": "50"}, "Answer: [[50]]", True),
        ({"outcome": "wrong", "answer": 50}, "so 5. Answer: [[50]]", True),
        ({"outcome": "correct", "answer": "50"}, "Answer: [[50]]", False),
        ({"outcome": "wrong", "answer": "50"}, "it is 50", False),
        ({"outcome": "wrong", "answer": "5"}, "[[50]] or [[5]]", False),
        ({"outcome": "error"}, None, False),
    ],
)
def test_a_wrong_answer_that_copies_the_example_of_the_prompt_is_marked(
    fields: dict[str, Any], reply: str | None, copied: bool
) -> None:
    assert is_copied_example(fields, reply) == copied
