"""The search of one question as a generator: it yields a budget to try, is sent the result, and yields the next.

Nothing here calls a model, so that the same code is driven by threads and by asyncio (`runner`, `runs.work_runner`).
"""

import contextvars
import copy
import logging
import math
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tale_dspy.budget import check_budget
from tale_dspy.errors import UsageError
from tale_dspy.optimizers.search.records import Best, Confirmed, Trial, Vanilla

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial

Direction = Literal["minimize", "maximize"]
PARAMETER = "budget"
ASKED_AGAIN = 4
"""How often in a row a sampler may ask for a budget whose answer is known, until its search is over."""
LONGEST_TEST = 3
"""A test of `repeats` draws ends after so many times as many: whatever is not decided by then is not good enough."""

WRONG = "wrong without a budget"
NO_TOKENS = "the provider does not tell the tokens of the answer"
NO_GAIN = "no budget gave a right answer with fewer tokens"
NOT_CONFIRMED = "no budget stood the fresh draws"


@dataclass(frozen=True)
class BudgetQuery:
    """What is asked next."""

    budget: int | None
    """In tokens; None asks without one."""
    number: int = 0
    """0 in the search; from 1 on, a fresh draw that no cache may answer."""


@dataclass(frozen=True)
class QueryResult:
    """What came of a draw."""

    tokens: int | None
    """Completion tokens of the predictor that is searched."""
    correct: bool
    text: str | None = None
    finish_reason: str | None = None
    error: str | None = None
    """Why there was no answer at all; such a trial counts for nothing."""


@dataclass(frozen=True)
class SearchPlan:
    """How hard to search.

    Raises:
        UsageError: If a number is out of its range.
    """

    calls_per_question: int = 8
    """Most budgets tried for a question; a sampler that knows when it is done ends earlier."""
    repeats: int = 2
    """By how many its right fresh draws must outnumber the wrong ones for a budget to be chosen; 0 for no test."""
    candidates: int = 3
    """Budgets put to that test, the cheapest first, until one stands it."""

    def __post_init__(self) -> None:
        check_budget(self.calls_per_question, "calls_per_question")
        check_budget(self.candidates, "candidates")
        if isinstance(self.repeats, bool) or not isinstance(self.repeats, int) or self.repeats < 0:
            raise UsageError(f"repeats must be a whole number of at least 0, got {self.repeats!r}")


@dataclass(frozen=True)
class QuestionResult:
    """What the search of a question came to."""

    trials: list[Trial]
    best: Best | None
    reason: str | None


Search = Generator[BudgetQuery, QueryResult, QuestionResult]


def search_question(vanilla: Vanilla, sampler: "BaseSampler", plan: SearchPlan, known: Sequence[Trial] = ()) -> Search:
    """Search the budget of one question with an Optuna study, and test what was found on fresh draws.

    Minimises the tokens really used, subject to a right answer (a constraint of the study, never a penalty), over the
    budgets from 1 to the tokens of the answer without one. A question that was wrong without a budget is not searched.

    Replies are random, so that the cheapest right one may be luck. It is drawn again until the right draws outnumber
    the wrong ones by `plan.repeats`, or the wrong ones the right by as many: then the next larger budget that was right
    is tested, or a larger one is tried, and in the end the question is said to have no gain. One unlucky draw is not
    enough to fall: where one answer in ten is wrong by chance, every tenth good budget would be lost. With
    `plan.repeats` of 0 the first draw is believed.

    Args:
        vanilla: The answer without a budget.
        sampler: Any Optuna sampler; a `BudgetSampler` says itself when it is done, and learns from the question.
        plan: How hard to search.
        known: Trials of an earlier process, in their order; none is asked again.

    Yields:
        What to ask next; the `QueryResult` to it must be sent in.
    """
    if not vanilla.correct:
        return QuestionResult([], None, WRONG)
    if not vanilla.tokens:
        return QuestionResult([], None, NO_TOKENS)
    trials = yield from _try_budgets(vanilla.tokens, sampler, plan, known)
    best = yield from _confirmed(trials, vanilla.tokens, plan)
    finish_question(sampler, vanilla.tokens, trials)
    if best is not None:
        return QuestionResult(trials, best, None)
    return QuestionResult(trials, None, NOT_CONFIRMED if _candidates(trials, vanilla.tokens) else NO_GAIN)


def finish_question(sampler: "BaseSampler", vanilla_tokens: int, trials: Iterable[Trial]) -> None:
    """Tell a sampler that learns from question to question how one ended; the first draw of each budget counts."""
    from tale_dspy.optimizers.samplers.base import BudgetSampler, History, Observation

    if isinstance(sampler, BudgetSampler):
        first = {t.budget: t for t in reversed(list(trials)) if t.tokens is not None}
        seen = tuple(Observation(t.budget, float(t.tokens or 0), t.correct) for t in reversed(first.values()))
        if seen:
            sampler.finish_question(History(vanilla_tokens, seen))


# ---- trying budgets


def _try_budgets(
    highest: int, sampler: "BaseSampler", plan: SearchPlan, known: Sequence[Trial]
) -> Generator[BudgetQuery, QueryResult, list[Trial]]:
    from optuna.trial import TrialState

    study = new_study(sampler)
    tried: dict[int, Trial] = {}
    for trial in known:
        if trial.budget <= highest and trial.tokens is not None:
            tried[trial.budget] = trial
            study.add_trial(_frozen(trial, highest))
    calls, again, patience = len(tried), 0, ASKED_AGAIN + len(tried)
    while calls < plan.calls_per_question and again < patience and not _finished(sampler, study):
        asked = study.ask()
        budget = asked.suggest_int(PARAMETER, 1, highest)
        again = again + 1 if budget in tried else 0
        if budget not in tried:
            calls += 1
            reply = yield BudgetQuery(budget)
            if reply.error is not None or reply.tokens is None:
                study.tell(asked, state=TrialState.FAIL)
                continue
            tried[budget] = trial_of(budget, reply)
        asked.set_constraint("wrong", 0.0 if tried[budget].correct else 1.0)
        study.tell(asked, float(tried[budget].tokens or 0))
    return list(tried.values())


def trial_of(budget: int, reply: QueryResult) -> Trial:
    """Return what a reply makes of a budget."""
    return Trial(budget, reply.tokens, reply.correct, reply.text, reply.finish_reason)


def _finished(sampler: "BaseSampler", study: "Study") -> bool:
    from tale_dspy.optimizers.samplers.base import BudgetSampler

    return isinstance(sampler, BudgetSampler) and sampler.finished(study)


def _frozen(trial: Trial, highest: int) -> "FrozenTrial":
    from optuna.distributions import IntDistribution
    from optuna.trial import create_trial

    frozen = create_trial(
        params={PARAMETER: trial.budget},
        distributions={PARAMETER: IntDistribution(1, highest)},
        value=float(trial.tokens or 0),
    )
    frozen.set_constraint("wrong", 0.0 if trial.correct else 1.0)
    return frozen


# ---- testing what was found


def _candidates(trials: Iterable[Trial], highest: int, above: int = 0) -> list[Trial]:
    """Return right trials of fewer tokens than the answer without a budget, the cheapest first."""
    good = [t for t in trials if t.correct and t.tokens is not None and t.tokens < highest and t.budget > above]
    return sorted(good, key=lambda t: (t.tokens, t.budget))


def _confirmed(trials: list[Trial], highest: int, plan: SearchPlan) -> Generator[BudgetQuery, QueryResult, Best | None]:
    """Test candidates until one stands; draws of those that fall are added to the trials."""
    above, candidates = 0, _candidates(trials, highest)
    for _ in range(plan.candidates):
        if not candidates:
            above = above or (max((t.budget for t in trials), default=0) if plan.repeats else 0)
            larger = yield from _larger(above, highest, trials)
            if larger is None:
                return None
            candidates = [larger]
        candidate = candidates[0]
        draws = yield from _draw_again(candidate, plan.repeats)
        best = _best(candidate, draws, plan.repeats)
        if best is not None and best.tokens < highest:
            return best
        trials += draws
        # A budget that fails takes those below it along: what it is too small for, they are too small for, too.
        above = max(above, candidate.budget)
        candidates = _candidates({t.budget: t for t in trials}.values(), highest, above)
    return None


def _larger(above: int, highest: int, trials: list[Trial]) -> Generator[BudgetQuery, QueryResult, Trial | None]:
    """Try a budget half-way, in terms of ratios, between the largest that failed and none at all."""
    budget = round(math.sqrt(above * highest))
    if not 0 < above < budget < highest or any(t.budget == budget for t in trials):
        return None
    reply = yield BudgetQuery(budget)
    if reply.error is not None or reply.tokens is None:
        return None
    trials.append(trial_of(budget, reply))
    return trials[-1] if _candidates(trials[-1:], highest) else None


def _draw_again(candidate: Trial, repeats: int) -> Generator[BudgetQuery, QueryResult, list[Trial]]:
    """Return fresh draws of a budget, until right or wrong ones have won; an error or unknown tokens end the test."""
    draws: list[Trial] = []
    while len(draws) < LONGEST_TEST * repeats and abs(_lead(draws)) < repeats:
        reply = yield BudgetQuery(candidate.budget, len(draws) + 1)
        if reply.error is not None or reply.tokens is None:
            break
        draws.append(trial_of(candidate.budget, reply))
    return draws


def _lead(draws: Sequence[Trial]) -> int:
    """Return by how many the right draws outnumber the wrong ones."""
    return sum(1 if t.correct else -1 for t in draws)


def _best(candidate: Trial, draws: Sequence[Trial], repeats: int) -> Best | None:
    """Return what is said of a budget that stood its test; None if it did not."""
    if _lead(draws) < repeats:
        return None
    selected = candidate.tokens or 0
    tokens = [t.tokens or 0 for t in draws]
    shortest = min((t for t in (candidate, *draws) if t.correct), key=lambda t: t.tokens or 0)
    confirmed = Confirmed(len(draws), sum(t.correct for t in draws))
    return Best(candidate.budget, sum(tokens) / len(tokens) if tokens else selected, selected, shortest.text, confirmed)


# ---- a study that keeps quiet

_quiet: contextvars.ContextVar[bool] = contextvars.ContextVar("tale_dspy_quiet_optuna", default=False)


class _Filter(logging.Filter):
    """Keeps Optuna from announcing each of our studies; those of the user it goes on announcing."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not _quiet.get()


_filter = _Filter()


def new_study(sampler: "BaseSampler", directions: Sequence[Direction] = ("minimize",)) -> "Study":
    """Return a study in memory, without a line on the screen."""
    import optuna

    logging.getLogger("optuna.storages._in_memory").addFilter(_filter)  # adding it twice does nothing
    token = _quiet.set(True)
    try:
        return optuna.create_study(sampler=sampler, direction="minimize")
    finally:
        _quiet.reset(token)


def per_question(sampler: "BaseSampler") -> "BaseSampler":
    """Return the sampler for the next question.

    Samplers of this library serve all questions, and learn from them. Any other is copied as it was given, so that its
    random numbers do not depend on which question came first.
    """
    from tale_dspy.optimizers.samplers.base import BudgetSampler

    return sampler if isinstance(sampler, BudgetSampler) else copy.deepcopy(sampler)
