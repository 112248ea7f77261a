"""A run as a log of inspect_ai, for `inspect view` and its data frames."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tale_dspy.errors import MissingExtraError, UsageError
from tale_dspy.output_paths import check_file
from tale_dspy.reports.text import value_text
from tale_dspy.runs.records import Record, Run, load_run
from tale_dspy.runs.run_calls import iter_calls

if TYPE_CHECKING:
    from inspect_ai.event import Event
    from inspect_ai.log import EvalLog, EvalSample
    from inspect_ai.model import ModelOutput, ModelUsage

SCORER = "tale"
"""Name of the score in the log."""
NOTES = (
    "outcome", "token_budget", "budget_source", "mode", "output_tokens", "estimate_tokens", "prompt_tokens",
    "reasoning_tokens", "cost_usd", "saved_cost_usd", "latency_s", "finish_reason", "group",
)  # fmt: skip
"""What of a record goes into the metadata of its sample."""

EPOCH = datetime.fromtimestamp(0, UTC).isoformat()
"""Where a run folder does not say when it was made."""

CallKey = tuple[str, int]
CallRow = Mapping[str, Any]


def write_inspect_log(source: Path, out: Path) -> list[Path]:
    """Write a run as an eval log.

    A question is a sample, a repeat an epoch, and each call an event. The calls of the estimate and of the answer are
    events in spans of their own. A run folder keeps questions, not prompts, and latencies, not times: the input of each
    event is the question, and each sample starts with the run. The log of a run that is not finished is `cancelled`.

    Args:
        source: The run folder, or a folder of shards.
        out: A `.eval` or `.json` file.

    Returns:
        The file.

    Raises:
        MissingExtraError: If inspect_ai is not installed.
        UsageError: If `out` is no such file, or another file is there.
    """
    if out.suffix not in (".eval", ".json"):
        raise UsageError(f"a log of inspect_ai is a .eval or .json file, got {out}")
    check_file(out, "log of inspect_ai", b"PK\x03\x04", b'"eval"')
    try:
        from inspect_ai.log import write_eval_log
    except ImportError as error:
        raise MissingExtraError("inspect_ai", "inspect") from error
    run = load_run(source)
    log = inspect_log(run, list(iter_calls(run)))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_eval_log(log, str(out))
    return [out]


def inspect_log(run: Run, calls: Sequence[CallRow] = ()) -> "EvalLog":
    """Return a run as inspect's log.

    Args:
        run: Its records.
        calls: The rows of its `calls.jsonl`; those that failed are left out.
    """
    from inspect_ai.log import (
        EvalConfig,
        EvalDataset,
        EvalLog,
        EvalMetric,
        EvalPlan,
        EvalPlanStep,
        EvalResults,
        EvalScore,
        EvalSpec,
        EvalStats,
    )

    by_question: dict[CallKey, list[CallRow]] = {}
    for call in calls:
        if call.get("error") is None:
            by_question.setdefault((call["id"], call["repeat"]), []).append(call)
    model = str(run.info["config"].get("model"))
    summary, data, created = run.summary, run.info["config"].get("data") or {}, run.info.get("created") or EPOCH
    start = datetime.fromisoformat(created)
    samples = [
        _eval_sample(record, model, by_question.get((record.id, record.repeat), []), start) for record in run.records
    ]
    numbers = {name: value for name, value in summary.items() if isinstance(value, int | float)}
    metrics = {name: EvalMetric(name=name, value=value) for name, value in numbers.items()}
    usage = _total_usage([usage for sample in samples for usage in sample.model_usage.values()])
    return EvalLog(
        status="success" if run.stopped is None else "cancelled",
        eval=EvalSpec(
            eval_id=uuid4().hex,
            run_id=uuid4().hex,
            created=created,
            task=str(data.get("name", "questions")),
            task_id=uuid4().hex,
            solver=run.name,
            dataset=EvalDataset(name=data.get("name"), samples=len({sample.id for sample in samples})),
            model=model,
            config=EvalConfig(epochs=max((sample.epoch for sample in samples), default=1)),
            metadata={"provenance": run.info.get("provenance"), "config": run.info["config"]},
            packages={name: str(version) for name, version in (run.info.get("versions") or {}).items()},
        ),
        plan=EvalPlan(name=run.name, steps=[EvalPlanStep(solver=run.name)]),
        results=EvalResults(
            total_samples=len(samples),
            completed_samples=len(samples),
            scores=[EvalScore(name=SCORER, scorer=SCORER, metrics=metrics)],
        ),
        stats=EvalStats(started_at=created, model_usage={model: usage}),
        samples=samples,
    )


def _eval_sample(record: Record, model: str, calls: Sequence[CallRow], start: datetime) -> "EvalSample":
    from inspect_ai.log import EvalError, EvalSample
    from inspect_ai.model import ChatMessageAssistant, ChatMessageUser
    from inspect_ai.scorer import Score

    question = _question_text(record)
    notes = {name: value for name in NOTES if (value := vars(record).get(name)) is not None}
    answer = None if record.answer is None else value_text(record.answer)
    score = Score(value="C" if record.correct else "I", answer=answer, explanation=record.reply, metadata=notes)
    return EvalSample(
        id=record.id,
        epoch=record.repeat + 1,
        input=question,
        target=_target_text(record),
        messages=[ChatMessageUser(content=question), ChatMessageAssistant(content=record.reply or "")],
        output=_model_output(model, record.reply, record.finish_reason, _record_usage(record)),
        scores={SCORER: score},
        metadata=notes,
        events=[
            event.model_copy(update={"timestamp": start + timedelta(seconds=event.working_start)})
            for event in _sample_events(record, model, calls, score)
        ],
        model_usage={model: _record_usage(record)},
        total_time=record.latency_s,
        error=None if record.error is None else EvalError(message=record.error, traceback="", traceback_ansi=""),
    )


def _sample_events(record: Record, model: str, calls: Sequence[CallRow], score: object) -> "Iterator[Event]":
    """Yield the calls of a question and its score.

    Calls of one role are in one span.
    """
    from inspect_ai.dataset import Sample
    from inspect_ai.event import ModelEvent, SampleInitEvent, ScoreEvent, SpanBeginEvent, SpanEndEvent
    from inspect_ai.model import ChatMessageUser, GenerateConfig

    question, clock = _question_text(record), 0.0
    target = _target_text(record)
    yield SampleInitEvent(sample=Sample(input=question, target=target, id=record.id), working_start=0.0)
    roles = list(dict.fromkeys(call["role"] for call in calls))
    for role in roles:
        name = "answer" if role == "reason" else role
        span_id = f"{record.id}-{record.repeat}-{name}"
        yield SpanBeginEvent(id=span_id, span_id=span_id, name=name, type="tale", working_start=clock)
        for call in (call for call in calls if call["role"] == role):
            seconds = call.get("latency_s") or 0.0
            yield ModelEvent(
                model=model,
                role=name,
                input=[ChatMessageUser(content=question)],
                tools=[],
                tool_choice="none",
                config=GenerateConfig(),
                output=_model_output(model, call["reply"], call.get("finish_reason"), _call_usage(call)),
                cache="read" if call.get("cached") else None,
                span_id=span_id,
                working_start=clock,
                working_time=seconds,
                metadata={"token_budget": record.token_budget, "paid": call["paid"], "cost_usd": call["cost"]},
            )
            clock += seconds
        yield SpanEndEvent(id=span_id, span_id=span_id, working_start=clock)
    yield ScoreEvent(score=score, target=target, scorer=SCORER, working_start=clock)


def _target_text(record: Record) -> str:
    """Return the right answer as text, and an empty one where it is not known."""
    return "" if record.gold is None else value_text(record.gold)


def _question_text(record: Record) -> str:
    if record.inputs is None:
        return record.question or ""
    fields = {**({} if record.question is None else {"question": record.question}), **record.inputs}
    return "\n".join(f"{name}: {value}" for name, value in fields.items())


def _model_output(model: str, reply: str | None, finish_reason: str | None, usage: "ModelUsage") -> "ModelOutput":
    from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelOutput

    stop = "max_tokens" if finish_reason == "length" else "stop"
    message = ChatMessageAssistant(content=reply or "", source="generate")
    return ModelOutput(model=model, choices=[ChatCompletionChoice(message=message, stop_reason=stop)], usage=usage)


def _call_usage(call: CallRow) -> "ModelUsage":
    from inspect_ai.model import ModelUsage

    usage = call.get("usage") or {}
    spent = {"input": usage.get("prompt_tokens") or 0, "output": usage.get("output_tokens") or 0}
    return ModelUsage(
        input_tokens=spent["input"],
        output_tokens=spent["output"],
        total_tokens=sum(spent.values()),
        input_tokens_cache_read=usage.get("cached_prompt_tokens"),
        reasoning_tokens=usage.get("reasoning_tokens"),
        total_cost=call.get("cost"),
    )


def _record_usage(record: Record) -> "ModelUsage":
    """Return all that a question spent, the estimate included."""
    from inspect_ai.model import ModelUsage

    output = (record.output_tokens or 0) + (record.estimate_tokens or 0)
    prompt = record.prompt_tokens or 0
    return ModelUsage(
        input_tokens=prompt,
        output_tokens=output,
        total_tokens=prompt + output,
        input_tokens_cache_read=record.cached_prompt_tokens,
        reasoning_tokens=record.reasoning_tokens,
        total_cost=record.cost_usd,
    )


def _total_usage(usages: "Sequence[ModelUsage]") -> "ModelUsage":
    from inspect_ai.model import ModelUsage

    return sum(usages, start=ModelUsage())
