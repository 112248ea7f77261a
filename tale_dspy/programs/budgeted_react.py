"""A token budget for a whole trajectory of `dspy.ReAct`.

Each step reads what is left, and thinks less near its end.

It follows the budget tracker of arXiv 2511.17006; the effort word of a step is chosen as in Ares (2603.07915), but by
what the words have cost so far and not by a trained router. Tools are called as ever.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import dspy
from dspy import AdapterParseError

from tale_dspy.accounting.calls import Call, record_calls, total_or_none
from tale_dspy.accounting.receipts import Receipt, status_of
from tale_dspy.backends.budget_planner import BudgetRequest
from tale_dspy.backends.model_control import is_reasoning_model
from tale_dspy.backends.reasoning_control import LEVELS
from tale_dspy.backends.reasoning_params import budget_request, effort_words
from tale_dspy.backends.reasoning_settings import caller_effort
from tale_dspy.budget import EFFORT_WORDS, BudgetValue, check_budget, check_effort
from tale_dspy.errors import SignatureError
from tale_dspy.programs.base import TalePrediction, with_receipt
from tale_dspy.programs.predictor import TOKENS_LEFT, TalePredict
from tale_dspy.programs.reasoning_module import language_model, without_reasoning
from tale_dspy.programs.steps import Steps, arun_steps, call_of, run_steps
from tale_dspy.protocols import CallArguments, LanguageModel

ANSWER_SHARE = 0.25
"""Share of the budget kept for the answer at the end, until it is known what answers take."""
LEAST_ROOM = 32
"""Least max_tokens of a step; with less than that left no step is asked."""
EXPECTED_STEPS = 3
"""Steps of a trajectory, until it is known how many they take."""
CUT = ("length", "max_tokens")
"""Finish reasons of a reply that ended with its room."""
NEXT_WORD = 3.0
"""How many times the tokens of an effort word the next higher one is taken to need, until it was seen."""


@dataclass
class StepCosts:
    """What the steps of all trajectories of a module have taken so far.

    Costs are kept for effort words, steps and answers. Threads share it. Its estimates only choose words; nothing is
    billed by them.
    """

    by_word: dict[str, list[float]] = field(default_factory=dict)
    """Effort word -> number of steps and their mean tokens; "" for steps without a word."""
    answer: list[float] = field(default_factory=lambda: [0, 0.0])
    steps: list[float] = field(default_factory=lambda: [0, 0.0])
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __deepcopy__(self, memo: dict[int, object]) -> "StepCosts":
        return StepCosts()  # a copy of a program is another program

    def add_step(self, word: str | None, tokens: int) -> None:
        """Count one step."""
        with self._lock:
            _update_mean(self.by_word.setdefault(word or "", [0, 0.0]), tokens)

    def add_trajectory(self, steps: int, answer_tokens: int) -> None:
        """Count a whole trajectory."""
        with self._lock:
            _update_mean(self.steps, steps)
            _update_mean(self.answer, answer_tokens)

    def tokens(self, word: str, words: Sequence[str]) -> float:
        """Return the tokens a step of an effort word is expected to take.

        A word not seen yet is estimated from the nearest seen one, times `NEXT_WORD` for each place between them; where
        none was seen, it is that of `LEVELS`.
        """
        with self._lock:
            means = {w: mean for w, (_, mean) in self.by_word.items() if w in words}
        if word in means:
            return means[word]
        if not means:
            return float(LEVELS.get(word, 0))
        place = words.index(word)
        nearest = min(means, key=lambda w: abs(words.index(w) - place))
        return means[nearest] * NEXT_WORD ** (place - words.index(nearest))

    def expected_steps(self) -> float:
        """Return the steps of a trajectory to be expected."""
        return self.steps[1] if self.steps[0] else EXPECTED_STEPS

    def answer_tokens(self, budget: int) -> float:
        """Return the tokens to keep for the answer of a trajectory of this budget."""
        # One and a half times the mean of the answers so far, so that few are cut; never more than their share of the
        # budget.
        known = 1.5 * self.answer[1] if self.answer[0] else ANSWER_SHARE * budget
        return min(known, ANSWER_SHARE * budget)


def _update_mean(mean: list[float], value: float) -> None:
    # Running mean: m_n = m_(n-1) + (x_n - m_(n-1)) / n.
    mean[0] += 1
    mean[1] += (value - mean[1]) / mean[0]


@dataclass
class TrajectoryBudget:
    """What one trajectory may spend, and has spent."""

    total: int
    costs: StepCosts
    ceiling: str | None
    """The highest effort word of a step; None takes the LM's own."""
    spent: int = 0
    receipts: list[Receipt] = field(default_factory=list)

    @property
    def left(self) -> int:
        """Tokens that are left; 0 where more were spent."""
        return max(0, self.total - self.spent)

    def room(self, *, final: bool) -> int:
        """Return the tokens the next call may take.

        A step must leave enough for the final answer, which may take all that is left.
        """
        return int(self.left if final else self.left - self.costs.answer_tokens(self.total))

    def word(self, words: Sequence[str], ceiling: str | None, *, final: bool) -> str | None:
        """Return the highest word, up to the ceiling, whose expected tokens fit.

        It is the least word where none fits.
        """
        if not words:
            return None
        highest = words.index(ceiling) if ceiling in words else len(words) // 2
        # What is left is divided evenly among the steps to be expected, at least the next one.
        steps_left = 1.0 if final else max(1.0, self.costs.expected_steps() - len(self.receipts))
        share = self.room(final=final) / steps_left
        fitting = [word for word in words[: highest + 1] if self.costs.tokens(word, words) <= share]
        return fitting[-1] if fitting else words[0]


_current: ContextVar[TrajectoryBudget | None] = ContextVar("tale_dspy_trajectory", default=None)


class BudgetedReAct(dspy.ReAct):  # type: ignore[misc]  # dspy ships no types
    """A `dspy.ReAct` whose trajectory stays within a token budget.

    `budgeted(program, total_budget=N)` makes it.

    Attributes:
        total_budget: Completion tokens of all calls of a trajectory, thinking included. A step whose tokens the
            provider does not tell counts as all it was allowed.
        effort: The highest effort word a step may get; None takes the LM's own, or the middle one of the model's.
    """

    total_budget: int
    effort: str | None
    costs: StepCosts

    def forward(self, **kwargs: object) -> TalePrediction:
        with self._trajectory_scope() as (account, calls):
            raw = super().forward(**kwargs)
        return self._with_receipt(raw, account, calls)

    async def aforward(self, **kwargs: object) -> TalePrediction:
        with self._trajectory_scope() as (account, calls):
            raw = await super().aforward(**kwargs)
        return self._with_receipt(raw, account, calls)

    @contextmanager
    def _trajectory_scope(self) -> Iterator[tuple[TrajectoryBudget, list[Call]]]:
        account = TrajectoryBudget(self.total_budget, self.costs, self.effort)
        token = _current.set(account)
        try:
            with record_calls() as calls:
                yield account, calls
        finally:
            _current.reset(token)

    def _with_receipt(self, raw: dspy.Prediction, account: TrajectoryBudget, calls: list[Call]) -> TalePrediction:
        *steps, answer = account.receipts or [Receipt(program=type(self).__name__)]
        if answer.output_tokens is not None:
            self.costs.add_trajectory(len(steps), answer.output_tokens)
        signature: Any = self.signature
        answered = any(raw.get(name) is not None for name in signature.output_fields)
        receipt = Receipt(
            program=type(self).__name__,
            status=status_of(calls, answered),
            token_budget=account.total,
            budget_source="given",
            mode=answer.mode,
            steps=[step.to_json() for step in account.receipts],
            calls=calls,
        )
        return with_receipt(raw, receipt)


class BudgetedStep(dspy.Module):  # type: ignore[misc]
    """One call of a trajectory.

    It is given the tokens left, the effort that fits, and a cap.
    """

    def __init__(self, predict: TalePredict, *, final: bool) -> None:
        super().__init__()
        self.predict = predict
        self.final = final

    def forward(self, **kwargs: object) -> dspy.Prediction:
        return run_steps(self.steps(kwargs))

    async def aforward(self, **kwargs: object) -> dspy.Prediction:
        return await arun_steps(self.steps(kwargs))

    def steps(self, kwargs: CallArguments) -> Steps[dspy.Prediction]:
        """Yield the call of this step, if there is room for one."""
        account = _current.get()
        if account is None:  # called by itself, outside of a trajectory
            raw: dspy.Prediction = yield call_of(self.predict, kwargs)
            return raw
        room = account.room(final=self.final)
        if room < LEAST_ROOM and not self.final:
            return self._without_answer()
        lm = language_model(self.predict, kwargs)
        word = account.word(effort_words(lm), account.ceiling or own_effort(lm), final=self.final)
        request = self._step_request(lm, word, max(room, LEAST_ROOM))
        call = {**kwargs, TOKENS_LEFT: f"{account.left} of {account.total} tokens are left for all you think and write"}
        call["config"] = {**(kwargs.get("config") or {}), **request.settings}
        with record_calls() as calls:
            try:
                raw = yield call_of(self.predict, without_reasoning(self.predict, call) if request.thinks else call)
            except AdapterParseError:
                if not calls or calls[-1].finish_reason not in CUT:
                    raise
                raw = self._without_answer()  # its room was too small: the trajectory ends with what is known
        receipt = Receipt(
            program=type(self).__name__,
            token_budget=max(room, LEAST_ROOM),
            effort=word,
            budget_source="given",
            mode=request.mode,
            reasoning_params=dict(request.wire),
            reasoning_notes=list(request.notes),
            calls=calls,
        )
        # Unknown use counts as its worst case, as in a ledger: only so is the budget kept.
        tokens = total_or_none([c.output_tokens for c in calls])
        account.spent += max(room, LEAST_ROOM) if tokens is None else tokens
        account.receipts.append(receipt)
        if not self.final and tokens is not None:
            account.costs.add_step(word, tokens)
        return raw

    def _without_answer(self) -> dspy.Prediction:
        """Return the stand-in for a reply that was not asked for or truncated.

        It finishes the trajectory, or has no answer in the final call.
        """
        if self.final:
            return dspy.Prediction(**dict.fromkeys(self.predict.signature.output_fields))
        return dspy.Prediction(next_thought="The token budget is spent.", next_tool_name="finish", next_tool_args={})

    def _step_request(self, lm: LanguageModel, word: str | None, room: int) -> BudgetRequest:
        """Return the settings of a step: its word or number, under a cap."""
        config = dict(self.predict.config)
        cap = budget_request(lm, room, "cap", config)
        if word is None:
            number = budget_request(lm, room, "auto", config)
            return number if number.settings else cap
        effort = budget_request(lm, BudgetValue(effort=word), "auto", config)
        notes = (*cap.notes, *effort.notes)
        thinks = effort.thinks or is_reasoning_model(lm, config)
        return BudgetRequest("native", {**cap.settings, **effort.settings}, {**cap.wire, **effort.wire}, notes, thinks)


def budget_react(agent: dspy.ReAct, total_budget: int, effort: str | None = None) -> BudgetedReAct:
    """Return the budgeted twin of an agent, around its own predictors and tools.

    Args:
        agent: A `dspy.ReAct`, which belongs to the caller; its parts are used.
        total_budget: Completion tokens of a trajectory.
        effort: The highest effort word of a step.

    Raises:
        SignatureError: If the signature has a field `tokens_left`.
        UsageError: If the budget is no whole number of at least 1, or the word is none.
    """
    signature: Any = agent.signature
    if TOKENS_LEFT in signature.fields:
        raise SignatureError(f"the signature has a field {TOKENS_LEFT!r}, a name a budgeted ReAct adds: rename it")
    new: Any = BudgetedReAct.__new__(BudgetedReAct)
    vars(new).update(vars(agent))
    new.total_budget = check_budget(total_budget, "total_budget")
    new.effort = None if effort is None else check_effort(effort)
    new.costs = StepCosts()
    new.react = BudgetedStep(_told_what_is_left(agent.react), final=False)
    new.extract = BudgetedStep(_told_what_is_left(agent.extract.predict), final=True)
    budgeted: BudgetedReAct = new
    return budgeted


def _told_what_is_left(old: dspy.Predict) -> TalePredict:
    """Return a copy of a predictor with an input for the tokens left.

    Everything else is as before.
    """
    described = dspy.InputField(desc="finish in time: an answer that comes after the budget is lost")
    signature: Any = old.signature
    predict: TalePredict = TalePredict(signature.append(TOKENS_LEFT, described, type_=str))
    state: Any = predict.__dict__
    state.update({k: v for k, v in vars(old).items() if k != "signature"})
    return predict


def own_effort(lm: LanguageModel) -> str | None:
    """Return the effort word that is set on an LM, or None."""
    setting = caller_effort(lm.kwargs) if lm is not None else None
    word = None if setting is None else setting.rpartition(" ")[2]
    return word if word in EFFORT_WORDS else None
