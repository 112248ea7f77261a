"""Ask several times and take the answer most replies give.

It stops as soon as further replies can hardly change the answer.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Self

import dspy
from dspy import AdapterParseError

from tale_dspy.accounting.calls import Call, record_calls
from tale_dspy.accounting.receipts import Receipt, Status, status_of
from tale_dspy.errors import StateError, UsageError
from tale_dspy.programs.base import TaleModule, TalePrediction, with_receipt
from tale_dspy.programs.budgeted_module import BudgetedModule
from tale_dspy.programs.copying import copy_program
from tale_dspy.programs.predictor import load_parameters
from tale_dspy.programs.reasoning_module import language_model
from tale_dspy.programs.registry import BuildContext, RegisteredModule, build_module
from tale_dspy.programs.shadow import answers_agree
from tale_dspy.programs.state import ModuleState
from tale_dspy.programs.steps import PendingCall, Steps, arun_steps, call_of, gathered, run_steps
from tale_dspy.protocols import CallArguments, JsonObject
from tale_dspy.task_signature import BUDGET, REASONING

DEFAULT_MAX_VOTES = 16
DEFAULT_CONFIDENCE = 0.95
DEFAULT_TEMPERATURE = 0.7
"""Of the votes, where the caller sets none: as in self-consistency, arXiv 2203.11171."""


@dataclass(frozen=True)
class VoteOptions:
    """When a vote ends.

    Raises:
        UsageError: If max_votes is no whole number of at least 1, or confidence is not between 0.5 and 1.
    """

    max_votes: int = DEFAULT_MAX_VOTES
    """Most replies asked for, each a whole call of the program."""
    confidence: float = DEFAULT_CONFIDENCE
    """Posterior probability of the leading answer at which no more replies are asked for; 1 asks for all that could
    still change it."""
    temperature: float | None = DEFAULT_TEMPERATURE
    """Sampling temperature of the votes; None leaves the LM's."""

    def __post_init__(self) -> None:
        if isinstance(self.max_votes, bool) or not isinstance(self.max_votes, int) or self.max_votes < 1:
            raise UsageError(f"max_votes must be a whole number of at least 1, got {self.max_votes!r}")
        if not isinstance(self.confidence, int | float) or not 0.5 < self.confidence <= 1:
            raise UsageError(f"confidence must be above 0.5 and at most 1, got {self.confidence!r}")


class VoteState(ModuleState):
    """When the votes of a module end, saved with it."""

    def __init__(self, options: VoteOptions) -> None:
        self._initial = options
        self.options = options

    def dump_state(self, json_mode: bool = True) -> JsonObject:
        return dict(vars(self.options))

    def load_state(self, state: JsonObject) -> None:
        self.options = VoteOptions(**state)

    def reset(self) -> None:
        self.options = self._initial


class Vote(RegisteredModule):
    """Take the answer that most of up to `max_votes` replies give.

    It is adaptive self-consistency.

    After each reply the posterior probability that the leading answer would win against the second one is
    computed: with v1 and v2 votes and a uniform prior it is P(p > 1/2) for p ~ Beta(v1 + 1, v2 + 1) (arXiv 2305.11860,
    the Beta criterion; 2511.02603 compares it with confidences of each reply, which hosted models do not show). The
    vote ends at `confidence`, or where the replies left cannot change the leader. Replies that are needed in any case
    are asked for together, at once under asyncio, so that as many are paid as one after another.

    Answers are compared as `tale_dspy.answers` judges them, field by field, the reasoning aside. A reply without an
    answer, or cut at its limit, is no vote for any, but counts as one of `max_votes`. Of a budgeted program the first
    reply's budget holds for all votes of the question: it is estimated once. The prediction is the first reply with the
    winning answer; its receipt holds the calls of all of them, and how many voted for it.

    Args:
        program: What is asked; any `dspy.Module`.
        max_votes: Most replies asked for.
        confidence: Posterior probability at which the vote ends, above 0.5 and at most 1.
        temperature: Sampling temperature of the votes; None leaves the LM's. At 0 all votes are one.
        callbacks: As in `dspy.Module`.

    Raises:
        UsageError: If the program is none, or an option cannot be used.

    Example:
        >>> from tale_dspy import VanillaCoT
        >>> Vote(VanillaCoT("question -> answer"), max_votes=8)
        Vote(VanillaCoT('question -> reasoning, answer'), max_votes=8, confidence=0.95)
    """

    def __init__(
        self,
        program: dspy.Module,
        max_votes: int = DEFAULT_MAX_VOTES,
        confidence: float = DEFAULT_CONFIDENCE,
        *,
        temperature: float | None = DEFAULT_TEMPERATURE,
        callbacks: list[Any] | None = None,
    ) -> None:
        super().__init__(callbacks=callbacks)
        if not isinstance(program, dspy.Module):
            raise UsageError(f"Vote takes a dspy.Module, got {type(program).__name__}")
        self.program = program
        self.vote = VoteState(VoteOptions(max_votes, confidence, temperature))

    def forward(self, **kwargs: object) -> TalePrediction:
        return run_steps(self.steps(kwargs))

    async def aforward(self, **kwargs: object) -> TalePrediction:
        return await arun_steps(self.steps(kwargs))

    def steps(self, kwargs: CallArguments) -> Steps[TalePrediction]:
        """Yield the rounds of replies of one question.

        The generator returns the prediction that won.
        """
        options: VoteOptions = self.vote.options
        tally, traces = VoteTally(), list[tuple[Any, list[Any]]]()
        with record_calls() as calls:
            while (missing := tally.needed(options)) > 0:
                if tally.replies == 0 and isinstance(self.program, BudgetedModule):
                    missing = 1  # its budget holds for the rest
                numbers = range(tally.replies, tally.replies + missing)
                votes = yield gathered([self._one_vote(kwargs, number, options) for number in numbers])
                for reply, reply_calls, trace in votes:
                    tally.add(reply, reply_calls)
                    traces.append((reply, trace))
                kwargs = self._with_budget(kwargs, tally.first)
        _extend_trace(next((trace for reply, trace in traces if reply is tally.winner), []))
        return self._winning_prediction(tally, calls)

    def _one_vote(self, kwargs: CallArguments, number: int, options: VoteOptions) -> PendingCall:
        """Return the call for one reply: a draw of its own, whatever is cached."""
        sampling: JsonObject = {} if options.temperature is None else {"temperature": options.temperature}

        def draw_of(settings: JsonObject) -> JsonObject:
            # The rollout of the caller stays part of it: `dspy.BestOfN` and `Refine` ask again by another one.
            rollout = settings.get("rollout_id")
            return {**sampling, "rollout_id": f"{'' if rollout is None else rollout}vote{number}"}

        if isinstance(self.program, TaleModule | dspy.Predict | dspy.ChainOfThought):
            predict: Any = self.program if isinstance(self.program, dspy.Predict) else self.program.predict
            lm, call_config = language_model(predict, kwargs), dict(kwargs.get("config") or {})
            draw = draw_of({**(lm.kwargs if lm is not None else {}), **predict.config, **call_config})
            call_config.pop("rollout_id", None)
            return _recorded_vote(call_of(self.program, {**kwargs, "config": {**draw, **call_config}}))
        # A program of the user's takes no settings of a call: its LMs are copied with them.
        lm = dspy.settings.lm
        scope = nullcontext() if lm is None else dspy.context(lm=lm.copy(**draw_of(lm.kwargs)))
        program = copy_program(self.program, lambda other: other.copy(**draw_of(other.kwargs)))
        return _recorded_vote(call_of(program, kwargs), scope)

    def _with_budget(self, kwargs: CallArguments, first: object) -> CallArguments:
        """Give later votes the budget that the first reply's call was sent.

        It is not estimated again.
        """
        if not isinstance(self.program, BudgetedModule) or not isinstance(first, TalePrediction):
            return kwargs
        if self.program.given_budget(kwargs) is not None:
            return kwargs
        budget_sent = {BUDGET: first.token_budget}
        if first.effort is not None and "effort" not in self.program.predict.signature.input_fields:
            budget_sent["effort"] = first.effort  # type: ignore[assignment]
        return {**kwargs, **budget_sent}

    def _winning_prediction(self, tally: "VoteTally", calls: list[Call]) -> TalePrediction:
        winner, first = tally.winner, _receipt_of(tally.first)
        base = _receipt_of(winner) or Receipt(program=type(self).__name__)
        if first is not None and base.budget_source == "given":  # the first reply's, handed on to the later ones
            base = replace(
                base,
                budget_source=first.budget_source,
                fallback_reason=first.fallback_reason,
                estimate=first.estimate,
                estimate_text=first.estimate_text,
            )
        leading = tally.ranked[0] if tally.groups else []
        receipt = replace(
            base,
            program=type(self).__name__,
            status="answered" if leading else tally.first_status,
            calls=calls,
            votes=tally.replies,
            votes_for_answer=len(leading),
        )
        return with_receipt(winner, receipt)

    # ---- saved and loaded

    def load_state(self, state: JsonObject, *, allow_unsafe_lm_state: bool = False) -> None:
        """Load what `save` wrote.

        Raises:
            StateError: If it is none of this program's.
        """
        load_parameters(self, state, allow_unsafe_lm_state=allow_unsafe_lm_state)

    def describe(self) -> JsonObject:
        known = isinstance(self.program, RegisteredModule)
        program = self.program.describe() if known else {"class": type(self.program).__name__}
        return {**super().describe(), "program": program}

    @classmethod
    def from_description(cls, about: Mapping[str, object], context: BuildContext) -> Self:
        program = about.get("program")
        if not isinstance(program, Mapping):
            raise StateError("the program that votes is not in the file")
        return cls(build_module(program, context))

    def __repr__(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]  (dspy infers LiteralString)
        options = self.vote.options
        return (
            f"{type(self).__name__}({self.program!r}, max_votes={options.max_votes}, confidence={options.confidence})"
        )


@dataclass
class VoteTally:
    """The replies of one question, grouped by answer."""

    replies: int = 0
    first: Any = None
    first_status: Status = "unreadable"
    """How the first reply ended."""
    groups: list[list[Any]] = field(default_factory=list)
    """In the order of their first replies."""

    def add(self, reply: object, calls: Sequence[Call] = ()) -> None:
        """Count a reply.

        None, one without any answer and one that was cut are votes for none.

        Args:
            reply: A prediction, or None where it could not be read.
            calls: Its LM calls, which say how it ended where it has no receipt.
        """
        self.replies += 1
        names = [] if reply is None else _answer_fields(reply)
        receipt = _receipt_of(reply)
        status = status_of(calls, bool(names)) if receipt is None else receipt.status
        if self.first is None:
            self.first, self.first_status = reply, status
        # What looks like an answer in a reply that was cut may be a step.
        if not names or status != "answered":
            return
        for group in self.groups:
            if answers_agree(group[0], reply, names):
                group.append(reply)
                break
        else:
            self.groups.append([reply])

    @property
    def ranked(self) -> list[list[Any]]:
        """The groups, the largest first; of equal ones the one that was begun first."""
        return sorted(self.groups, key=len, reverse=True)

    @property
    def winner(self) -> Any:
        """The first reply with the leading answer.

        It is the first reply of all where none has an answer.
        """
        reply = self.ranked[0][0] if self.groups else self.first
        return dspy.Prediction() if reply is None else reply

    def needed(self, options: VoteOptions) -> int:
        """Return how many more replies are needed in any case.

        It is 0 where the vote is decided. The least number that could decide it is that of further votes for the leader
        alone.
        """
        votes_left = options.max_votes - self.replies
        lead, second = ([len(group) for group in self.ranked] + [0, 0])[:2]
        if votes_left <= 0 or lead > second + votes_left:
            return 0
        # The least `more` with which the vote could end, if all of them were for the leader: by the Beta criterion, or
        # because the second could not catch up with the votes then left.
        for more in range(votes_left + 1):
            decided = leader_probability(lead + more, second) >= options.confidence
            if decided or lead + more > second + (votes_left - more):
                return more
        return votes_left


def leader_probability(first: int, second: int) -> float:
    """Return P(p > 1/2) for p ~ Beta(first + 1, second + 1).

    It is the chance that the leading answer is the more frequent one. For whole numbers the incomplete beta function is
    a binomial tail: the sum over j <= first of C(n, j) / 2^n with n = first + second + 1.

    Example:
        >>> [round(leader_probability(votes, 0), 3) for votes in (1, 3, 4)]
        [0.75, 0.938, 0.969]
    """
    trials = first + second + 1
    favourable = sum(math.comb(trials, j) for j in range(first + 1))
    return float(favourable / 2**trials)


def _answer_fields(reply: Any) -> list[str]:
    """Return the names of the outputs of a reply that has an answer."""
    names = [name for name in reply.keys() if name not in (REASONING, BUDGET)]  # noqa: SIM118  a Prediction is no dict
    return names if any(reply.get(name) is not None for name in names) else []


def _receipt_of(reply: object) -> Receipt | None:
    return reply._receipt if isinstance(reply, TalePrediction) else None


def _extend_trace(steps: list[Any]) -> None:
    """Add the steps of the winning reply to DSPy's trace.

    An optimizer makes demos of the trace: those of the replies that lost are left out, as in `dspy.BestOfN`.
    """
    trace = dspy.settings.trace
    if trace is not None and dspy.settings.max_trace_size:
        trace.extend(steps)


def _recorded_vote(pending: PendingCall, scope: AbstractContextManager[object] | None = None) -> PendingCall:
    """Return a call that gives a reply, the LM calls it took and its trace.

    The reply is None where an adapter cannot read it: adapters of DSPy raise then.
    """

    def call() -> tuple[Any, list[Call], list[Any]]:
        trace: list[Any] = []
        with scope or nullcontext(), record_calls(trace=None if dspy.settings.trace is None else trace) as calls:
            try:
                return pending.call(), calls, trace
            except AdapterParseError:
                return None, calls, trace

    async def acall() -> tuple[Any, list[Call], list[Any]]:
        trace: list[Any] = []
        with scope or nullcontext(), record_calls(trace=None if dspy.settings.trace is None else trace) as calls:
            try:
                return await pending.acall(), calls, trace
            except AdapterParseError:
                return None, calls, trace

    return PendingCall(call, acall)
