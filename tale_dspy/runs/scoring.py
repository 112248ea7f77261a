"""From a prediction and its calls to one of the six outcomes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dspy
from dspy import AdapterParseError

from tale_dspy.accounting.calls import Call, role, total_or_none
from tale_dspy.accounting.receipts import status_of
from tale_dspy.accounting.token_counts import count_cl100k
from tale_dspy.answers import Kind, answers_equal, judge, paper_judge
from tale_dspy.backends.redaction import redact
from tale_dspy.programs.base import TalePrediction
from tale_dspy.programs.skipping import skips_reasoning
from tale_dspy.prompts import EXAMPLE_ANSWER
from tale_dspy.protocols import JsonObject, Program, SettingsView
from tale_dspy.runs.records import AnswerOutcome, Record
from tale_dspy.task_signature import REASONING

Metric = Callable[..., Any]

METRIC_ERROR = "metric: "
"""Begins the error of a record whose answer the metric could not judge."""


@dataclass(frozen=True)
class Question:
    """One example, as the engine asks it."""

    id: str
    example: Any
    gold_field: str
    kind: Kind = "auto"

    @property
    def gold(self) -> Any:
        return self.example.get(self.gold_field)

    @property
    def group(self) -> str | None:
        """What sort of question it is, where its example has a label `group`."""
        group = None if "group" in self.inputs else self.example.get("group")
        return group if isinstance(group, str) else None

    @cached_property
    def inputs(self) -> JsonObject:
        """The arguments of the program.

        They are stored, since an Example copies itself each time it is asked for them.
        """
        return dict(self.example.inputs().items())


def answers_match(question: Question, pred: Any) -> bool:
    """Return whether the predicted answer equals the gold, in any form.

    It is the metric where none is given. A field that `TaleAdapter` has read is compared as it is. Free text, as other
    adapters give, may be a sentence: the answer is found in it first.
    """
    value, gold, kind = _answer_of(pred, question.gold_field), question.gold, question.kind
    if value is None:
        return False
    return answers_equal(value, gold, kind) or (isinstance(value, str) and _is_stated(value, gold, kind))


def _is_stated(value: str, gold: Any, kind: Kind) -> bool:
    """Return whether a sentence states the gold.

    A bare list such as "3, 4" is no sentence and two answers.
    """
    words = sum(w.isalpha() and len(w) > 1 for w in value.split())
    return words >= 3 and judge(value, gold, kind)


def _answer_of(pred: Any, gold_field: str) -> Any:
    if gold_field in pred:
        return pred[gold_field]
    names = [k for k in pred.keys() if k != REASONING]  # noqa: SIM118  a Prediction is no dict
    return pred[names[0]] if len(names) == 1 else None


def ask(program: Program, question: Question, metric: Metric | None, threshold: float, calls: list[Call]) -> JsonObject:
    """Ask one question and judge the answer.

    Args:
        program: The run's copy of the program.
        question: What to ask.
        metric: Judges the prediction; its LM calls are booked under `metric`. None compares answers.
        threshold: Score from which on the answer is correct.
        calls: Grows with each LM call; read for how the last reply ended.

    Returns:
        The fields of the record that come from the answer.
    """
    try:
        pred = program(**question.inputs)
    except Exception as e:  # the boundary to the user's program: one bad question never ends a run
        return _error_outcome(e, calls)
    return _judge_prediction(pred, question, metric, threshold, calls)


async def aask(
    program: Program, question: Question, metric: Metric | None, threshold: float, calls: list[Call]
) -> JsonObject:
    """Do as `ask` does, in an event loop; the metric must not block."""
    try:
        pred = await program.acall(**question.inputs)
    except Exception as e:  # the same boundary
        return _error_outcome(e, calls)
    return _judge_prediction(pred, question, metric, threshold, calls)


def _error_outcome(error: Exception, calls: list[Call]) -> JsonObject:
    if isinstance(error, AdapterParseError):  # DSPy's own adapters raise where a reply cannot be read
        return {"outcome": status_of(calls, answered=False), "reply": error.lm_response}
    return {"outcome": "error", "error": _error_text(error)}


def _judge_prediction(
    pred: Any, question: Question, metric: Metric | None, threshold: float, calls: list[Call]
) -> JsonObject:
    answer = _answer_of(pred, question.gold_field) if isinstance(pred, dspy.Prediction) else pred
    status = status_of(calls, answered=answer is not None)
    if answer is not None and isinstance(pred, TalePrediction) and pred._receipt and pred._receipt.votes is not None:
        status = pred._receipt.status  # of several replies the last need not be the one that counts
    outcome: JsonObject = {"answer": answer, **_budget_of(pred)}
    if isinstance(pred, dspy.Prediction) and "skipped" not in outcome:
        outcome["skipped"] = skips_reasoning(pred, calls)
    try:
        score = _score_of(metric, question, pred)
    except Exception as e:  # the boundary to the user's metric
        return {**outcome, "outcome": "error", "error": f"{METRIC_ERROR}{_error_text(e)}"}
    return {**outcome, "score": score, "outcome": _outcome_of(status, score, threshold)}


def _score_of(metric: Metric | None, question: Question, pred: Any) -> float:
    if metric is None:
        return float(answers_match(question, pred))
    with role("metric"):
        return score_of(metric(question.example, pred))


def _outcome_of(status: str, score: float, threshold: float) -> AnswerOutcome:
    if status == "truncated":
        return "truncated"
    if score >= threshold:
        return "correct"
    return "wrong" if status == "answered" else status  # type: ignore[return-value]


def score_of(value: Any) -> float:
    """Read what a metric gave: a bool, a number, or a Prediction with a score.

    Raises:
        TypeError: If it is anything else, such as None, text or NaN.
    """
    score: Any = value.get("score") if isinstance(value, dspy.Prediction) else value
    try:
        number = math.nan if isinstance(score, str | bytes) else float(score)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise TypeError(f"a metric must give a bool, a finite number or a Prediction with a score, gave {value!r}")
    return number


def _error_text(error: Exception) -> str:
    return redact(f"{type(error).__name__}: {error}")[:1000]


def _budget_of(pred: Any) -> JsonObject:
    if not isinstance(pred, TalePrediction) or pred._receipt is None:
        return {}
    taken_from = pred._receipt
    return {
        "token_budget": taken_from.token_budget,
        "effort": taken_from.effort,
        "budget_source": taken_from.budget_source,
        "fallback_reason": taken_from.fallback_reason,
        "skipped": taken_from.skipped,
        "votes": taken_from.votes,
        "votes_for_answer": taken_from.votes_for_answer,
        "mode": taken_from.mode,
        "reasoning_params": taken_from.reasoning_params or None,
        "reasoning_notes": taken_from.reasoning_notes or None,
    }


def record_of(
    question: Question, repeat: int, judged: JsonObject, calls: Sequence[Call], seconds: float, paper: bool
) -> Record:
    """Build the record of one finished question from its answer and its calls."""
    inputs = dict(question.inputs)
    text = inputs.pop("question") if isinstance(inputs.get("question"), str) else None

    reason: list[Call] = []
    estimate: list[Call] = []
    metric: list[Call] = []
    for call in calls:
        judging = call.role in ("metric", "shadow")  # neither is part of the answer
        (metric if judging else estimate if call.role == "estimate" else reason).append(call)
    attempts = estimate + reason
    on_truncation = [call for call in reason if call.role == "recovery"]
    last = reason[-1] if reason else None
    reply = last.text if last else None
    cached = sum(c.cached for c in calls)
    row: JsonObject = {
        "question": text,
        "inputs": inputs or None,
        "gold": question.gold,
        "group": question.group,
        "reply": reply,
        "output_tokens": total_or_none([c.output_tokens for c in reason]),
        "rescue_calls": len(on_truncation),
        "recovery_tokens": total_or_none([c.output_tokens for c in on_truncation]),
        "estimate_tokens": total_or_none([c.output_tokens for c in estimate]),
        "prompt_tokens": total_or_none([c.prompt_tokens for c in attempts]),
        "estimate_prompt_tokens": total_or_none([c.prompt_tokens for c in estimate]),
        "reasoning_tokens": total_or_none([c.reasoning_tokens for c in reason]),
        "cached_prompt_tokens": total_or_none([c.cached_prompt_tokens for c in attempts]),
        "usage_source": _weakest_source(attempts),
        "cost_usd": total_or_none([c.cost_usd for c in attempts]),
        "estimate_cost_usd": total_or_none([_full_price(c) for c in estimate]),
        "saved_cost_usd": total_or_none([c.saved_cost_usd for c in attempts if c.cached]),
        "metric_tokens": total_or_none([c.output_tokens for c in metric]),
        "metric_cost_usd": total_or_none([c.cost_usd for c in metric]),
        "latency_s": None if cached or not calls or any(c.replayed or c.batch for c in calls) else round(seconds, 6),
        "finish_reason": last.finish_reason if last else None,
        "response_model": last.response_model if last else None,
        "calls": len(calls),
        "paid_calls": len(calls) - cached,
        "batch_calls": sum(c.batch for c in calls),
        "cached_calls": cached,
    }
    if paper and reply is not None:
        kind = "choice" if question.kind == "choice" else "number"
        row["output_tokens_cl100k"] = count_cl100k(reply)
        row["paper_correct"] = paper_judge(reply, str(question.gold), cloze=kind != "choice")
    row["copied_example"] = is_copied_example(judged, reply)
    return Record(id=question.id, repeat=repeat, **{**row, **{k: v for k, v in judged.items() if v is not None}})


def is_copied_example(fields: SettingsView, reply: str | None) -> bool:
    """Return whether a wrong answer copies the paper's example, `[[50]]`.

    Weak models do so.
    """
    is_example = str(fields.get("answer")).strip() == EXAMPLE_ANSWER and f"[[{EXAMPLE_ANSWER}]]" in (reply or "")
    return is_example and fields.get("outcome") == "wrong"


def _full_price(call: Call) -> float | None:
    return call.saved_cost_usd if call.cached else call.cost_usd


def _weakest_source(calls: Sequence[Call]) -> str | None:
    sources = {c.usage_source for c in calls}
    return next((s for s in ("unknown", "tokenizer", "provider") if s in sources), None)
