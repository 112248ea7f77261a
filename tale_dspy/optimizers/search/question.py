"""The search of one question as a generator.

It yields a budget to try, is sent the result, and yields the next.

Nothing here calls a model, so that the same code is driven by threads and by asyncio (`runner`, `runs.work_runner`).
"""

import contextvars
import copy
import logging
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tale_dspy.budget import check_count
from tale_dspy.errors import UsageError
from tale_dspy.optimizers.search.budget_space import BudgetKey, BudgetSpace, EffortLadder, TokenRange
from tale_dspy.optimizers.search.records import BestBudget, ConfirmationDraws, Trial, VanillaAnswer

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial

Direction = Literal["minimize", "maximize"]
PARAMETER = "budget"
ASKED_AGAIN = 4
"""How often in a row a sampler may ask for a budget whose answer is known, until its search is over."""
LONGEST_TEST = 3
"""A test of `repeats` draws ends after this many times `repeats`: a budget still undecided is not good enough."""
MOST_REPEATS = 1_000
"""A test of more fresh draws is a slip of the keyboard: it would be the whole bill."""

WRONG = "wrong without a budget"
NO_TOKENS = "the provider does not tell the tokens of the answer"
NO_GAIN = "no budget gave a right answer with fewer tokens"
NOT_CONFIRMED = "no budget was confirmed by fresh draws"


@dataclass(frozen=True)
class BudgetQuery:
    """What is asked next."""

    budget: BudgetKey | None
    """In tokens, or an effort word; None asks without one."""
    number: int = 0
    """0 in the search; from 1 on, a fresh draw that no cache may answer."""


@dataclass(frozen=True)
class QueryResult:
    """The result of a draw."""

    tokens: int | None
    """Completion tokens of the predictor that is searched."""
    correct: bool
    text: str | None = None
    finish_reason: str | None = None
    error: str | None = None
    """Why there was no answer at all; such a trial counts for nothing."""
    delays: int = 0
    """Rounds of batches that brought no answer to it."""
    waiting: bool = False
    """Whether there is no answer yet."""


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
        check_count(self.calls_per_question, "calls_per_question")
        check_count(self.candidates, "candidates")
        if isinstance(self.repeats, bool) or not isinstance(self.repeats, int) or self.repeats < 0:
            raise UsageError(f"repeats must be a whole number of at least 0, got {self.repeats!r}")
        if self.repeats > MOST_REPEATS:
            raise UsageError(f"repeats must be at most {MOST_REPEATS:,}, got {self.repeats!r}")


@dataclass(frozen=True)
class QuestionResult:
    """What the search of a question came to."""

    trials: list[Trial]
    best: BestBudget | None
    reason: str | None
    unanswered: int = 0
    """Draws without an answer that may have led to another result."""


Search = Generator[BudgetQuery, QueryResult, QuestionResult]


def search_question(
    vanilla: VanillaAnswer,
    sampler: "BaseSampler",
    plan: SearchPlan,
    known: Sequence[Trial] = (),
    efforts: Sequence[str] = (),
) -> Search:
    """Search the budget of one question with an Optuna study.

    The result is tested on fresh draws.

    Minimises the tokens used, subject to a right answer (a constraint of the study, never a penalty), over the budgets
    from 1 to the tokens of the answer without one or, with `efforts`, over these words. A question that was wrong
    without a budget is not searched.

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
        efforts: Effort words to search, from the least to the most; none searches token budgets.

    Yields:
        What to ask next; the `QueryResult` to it must be sent in.
    """
    if not vanilla.correct:
        return QuestionResult([], None, WRONG)
    if not vanilla.tokens:
        return QuestionResult([], None, NO_TOKENS)
    space = space_of(vanilla.tokens, efforts)
    trials = yield from _try_budgets(space, sampler, plan, known)
    best = yield from _confirm_candidates(trials, space, plan)
    finish_question(sampler, vanilla.tokens, trials, efforts)
    if best is not None:
        return QuestionResult(trials, best, None)
    return QuestionResult(trials, None, NOT_CONFIRMED if cheaper_candidates(trials, space) else NO_GAIN)


def space_of(vanilla_tokens: int, efforts: Sequence[str] = ()) -> BudgetSpace:
    """Return what is searched: the effort words, or all token budgets."""
    return EffortLadder(tuple(efforts), vanilla_tokens) if efforts else TokenRange(vanilla_tokens)


def finish_question(
    sampler: "BaseSampler", vanilla_tokens: int, trials: Iterable[Trial], efforts: Sequence[str] = ()
) -> None:
    """Tell a sampler that learns across questions how one of them ended.

    The first draw of each budget counts.
    """
    from tale_dspy.optimizers.samplers.base import BudgetSampler, Observation, QuestionHistory

    if isinstance(sampler, BudgetSampler):
        space = space_of(vanilla_tokens, efforts)
        # Backwards, so that of several draws of a level the first one stays; the second reversal restores the order.
        # Later draws test a budget that was chosen for its luck, and would bias what is learned from it.
        first = {space.level_of(t.budget): t for t in reversed(list(trials)) if t.tokens is not None}
        observations = tuple(
            Observation(level, space.objective(t.tokens or 0), t.correct)
            for level, t in reversed(first.items())
            if level is not None
        )
        if observations:
            sampler.finish_question(QuestionHistory(space.highest, observations))


# ---- trying budgets


def _try_budgets(
    space: BudgetSpace, sampler: "BaseSampler", plan: SearchPlan, known: Sequence[Trial]
) -> Generator[BudgetQuery, QueryResult, list[Trial]]:
    from optuna.trial import TrialState

    study = new_study(sampler)
    trial_by_level: dict[int, Trial] = {}
    for trial in known:
        level = space.level_of(trial.budget)
        if level is not None and trial.tokens is not None:
            trial_by_level[level] = trial
            study.add_trial(_finished_trial(trial, level, space))
    # A sampler that knows nothing of budgets may propose one that was tried: that costs no call, and is answered from
    # what is known. After `patience` such proposals in a row it has nothing new to ask.
    calls, again, patience = len(trial_by_level), 0, ASKED_AGAIN + len(trial_by_level)
    while calls < plan.calls_per_question and again < patience and not _sampler_finished(sampler, study):
        trial_asked = study.ask()
        level = trial_asked.suggest_int(PARAMETER, 1, space.highest)
        again = again + 1 if level in trial_by_level else 0
        if level not in trial_by_level:
            calls += 1
            budget = space.budget_of(level)
            reply = yield BudgetQuery(budget)
            if reply.error is not None or reply.tokens is None:
                study.tell(trial_asked, state=TrialState.FAIL)
                continue
            trial_by_level[level] = trial_of(budget, reply)
        # Optuna's constraints: above 0 is infeasible. So a wrong answer is never the best trial, however short it is.
        trial_asked.set_constraint("wrong", 0.0 if trial_by_level[level].correct else 1.0)
        study.tell(trial_asked, space.objective(trial_by_level[level].tokens or 0))
    return list(trial_by_level.values())


def trial_of(budget: BudgetKey, reply: QueryResult) -> Trial:
    """Return what a reply makes of a budget."""
    return Trial(budget, reply.tokens, reply.correct, reply.text, reply.finish_reason)


def _sampler_finished(sampler: "BaseSampler", study: "Study") -> bool:
    from tale_dspy.optimizers.samplers.base import BudgetSampler

    return isinstance(sampler, BudgetSampler) and sampler.finished(study)


def _finished_trial(trial: Trial, level: int, space: BudgetSpace) -> "FrozenTrial":
    from optuna.distributions import IntDistribution
    from optuna.trial import create_trial

    frozen = create_trial(
        params={PARAMETER: level},
        distributions={PARAMETER: IntDistribution(1, space.highest)},
        value=space.objective(trial.tokens or 0),
    )
    frozen.set_constraint("wrong", 0.0 if trial.correct else 1.0)
    return frozen


# ---- testing what was found


def _budget_level(trial: Trial, space: BudgetSpace) -> int:
    return space.level_of(trial.budget) or 0


def cheaper_candidates(trials: Iterable[Trial], space: BudgetSpace, failed: Sequence[int] = ()) -> list[Trial]:
    """Return right trials with fewer tokens than without a budget.

    The cheapest comes first. Of equal ones an effort word comes before the same with a phrase, which has saved nothing.
    """
    good = [
        t
        for t in trials
        if t.correct
        and t.tokens is not None
        and t.tokens < space.vanilla_tokens
        and not any(space.is_weaker(_budget_level(t, space), level) for level in failed)
    ]
    return sorted(good, key=lambda t: (t.tokens, "+" in str(t.budget), _budget_level(t, space)))


def _confirm_candidates(
    trials: list[Trial], space: BudgetSpace, plan: SearchPlan
) -> Generator[BudgetQuery, QueryResult, BestBudget | None]:
    """Test candidates until one is confirmed.

    Draws of those that are rejected are added to the trials.
    """
    failed: list[int] = []
    candidates = cheaper_candidates(trials, space)
    for _ in range(plan.candidates):
        if not candidates:
            # Of a few words, a sampler that stopped has left the higher ones out because they save nothing.
            ranges = plan.repeats and not isinstance(space, EffortLadder)
            levels_tried = [_budget_level(t, space) for t in trials] if ranges else []
            larger = yield from _try_larger(max(failed or levels_tried, default=0), space, trials)
            if larger is None:
                return None
            candidates = [larger]
        candidate = candidates[0]
        draws = yield from _draw_again(candidate, plan.repeats)
        best = confirmed_best(candidate, draws, plan.repeats)
        if best is not None and best.tokens < space.vanilla_tokens:
            return best
        trials += draws
        # A budget that fails takes those below it along: what it is too small for, they are too small for, too.
        failed.append(_budget_level(candidate, space))
        candidates = cheaper_candidates({t.budget: t for t in trials}.values(), space, failed)
    return None


def _try_larger(
    above: int, space: BudgetSpace, trials: list[Trial]
) -> Generator[BudgetQuery, QueryResult, Trial | None]:
    """Try a budget between the largest that failed and none at all."""
    level = space.between(above)
    if level is None or any(_budget_level(t, space) == level for t in trials):
        return None
    budget = space.budget_of(level)
    reply = yield BudgetQuery(budget)
    if reply.error is not None or reply.tokens is None:
        return None
    trials.append(trial_of(budget, reply))
    return trials[-1] if cheaper_candidates(trials[-1:], space) else None


def _draw_again(candidate: Trial, repeats: int) -> Generator[BudgetQuery, QueryResult, list[Trial]]:
    """Return fresh draws of a budget, until right or wrong ones have won.

    An error or unknown tokens end the test.
    """
    # A sequential test: a random walk of +1 (right) and -1 (wrong) that ends at +repeats, at -repeats, or after
    # `LONGEST_TEST * repeats` draws.
    draws: list[Trial] = []
    while len(draws) < LONGEST_TEST * repeats and abs(right_lead(draws)) < repeats:
        reply = yield BudgetQuery(candidate.budget, len(draws) + 1)
        if reply.error is not None or reply.tokens is None:
            break
        draws.append(trial_of(candidate.budget, reply))
    return draws


def right_lead(draws: Sequence[Trial]) -> int:
    """Return by how many the right draws outnumber the wrong ones."""
    return sum(1 if t.correct else -1 for t in draws)


def confirmed_best(candidate: Trial, draws: Sequence[Trial], repeats: int) -> BestBudget | None:
    """Return what is said of a budget that stood its test; None if it did not."""
    if right_lead(draws) < repeats:
        return None
    # Tokens are the mean of the fresh draws: the draw that was selected for its few tokens would be too optimistic
    # (winner's curse).
    selected = candidate.tokens or 0
    tokens = [t.tokens or 0 for t in draws]
    shortest = min((t for t in (candidate, *draws) if t.correct), key=lambda t: t.tokens or 0)
    confirmed = ConfirmationDraws(len(draws), sum(t.correct for t in draws))
    return BestBudget(
        candidate.budget, sum(tokens) / len(tokens) if tokens else selected, selected, shortest.text, confirmed
    )


# ---- a study that keeps quiet

_quiet: contextvars.ContextVar[bool] = contextvars.ContextVar("tale_dspy_quiet_optuna", default=False)


class _StudyLogFilter(logging.Filter):
    """Silences Optuna's log lines about the studies of a search.

    Studies of the user are still logged.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return not _quiet.get()


_filter = _StudyLogFilter()


def new_study(sampler: "BaseSampler", directions: Sequence[Direction] = ("minimize",)) -> "Study":
    """Return a study in memory, without a line on the screen."""
    import optuna

    logging.getLogger("optuna.storages._in_memory").addFilter(_filter)  # adding it twice does nothing
    token = _quiet.set(True)
    try:
        return optuna.create_study(sampler=sampler, directions=list(directions))
    finally:
        _quiet.reset(token)


def per_question(sampler: "BaseSampler") -> "BaseSampler":
    """Return the sampler for the next question.

    Samplers of this library serve all questions, and learn from them. Any other is copied as it was given, so that its
    random numbers do not depend on which question came first.
    """
    from tale_dspy.optimizers.samplers.base import BudgetSampler

    return sampler if isinstance(sampler, BudgetSampler) else copy.deepcopy(sampler)
