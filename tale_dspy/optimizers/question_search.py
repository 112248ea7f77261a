"""The search of one question, as a conversation: it names a budget, is told what came of it, and names the next.

Nothing here calls a model. The search is a generator of `Draw`s, so that the same code is driven by threads and by
asyncio (`budget_search.py`).
"""

import contextvars
import logging
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tale_dspy.optimizers.search_rows import Best, Confirmed, Trial, Vanilla

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.study import Study

PARAMETER = "budget"
ASKED_AGAIN = 4
"""How often in a row a sampler may ask for a budget whose answer is known, until its search is over."""

WRONG = "wrong without a budget"
NO_TOKENS = "the provider does not tell the tokens of the answer"
NO_GAIN = "no budget gave a right answer with fewer tokens"
NOT_CONFIRMED = "no budget stood the fresh draws"


@dataclass(frozen=True)
class Draw:
    """What is asked next."""

    budget: int
    number: int = 0
    """0 in the search; from 1 on, a fresh draw that no cache may answer."""


@dataclass(frozen=True)
class Reply:
    """What came of a draw."""

    tokens: int | None
    correct: bool
    text: str | None = None
    finish_reason: str | None = None
    error: str | None = None
    """Why there was no answer at all; such a trial counts for nothing."""


@dataclass(frozen=True)
class SearchPlan:
    """How hard to search."""

    calls_per_question: int = 8
    """Most budgets tried for a question; a sampler that knows when it is done ends earlier."""
    repeats: int = 2
    """Fresh draws that confirm a budget; 0 for none."""
    candidates: int = 3
    """Budgets put to that test, the cheapest first, until one stands it."""


@dataclass(frozen=True)
class Found:
    """What the search of a question came to."""

    trials: list[Trial]
    best: Best | None
    reason: str | None


Search = Generator[Draw, Reply, Found]


def search_question(
    vanilla: Vanilla, sampler: "BaseSampler", plan: SearchPlan, known: Sequence[Trial] = ()
) -> Search:
    """Search the budget of one question with an Optuna study.

    Minimises the tokens really used, subject to a right answer (a constraint of the study, never a penalty), over the
    budgets from 1 to the tokens of the answer without one. A question that was wrong without a budget is not searched.

    Args:
        vanilla: The answer without a budget.
        sampler: Any Optuna sampler; one with a method `finished(study)` says itself when it is done.
        plan: How hard to search.
        known: Trials of an earlier process, in their order; none is asked again.

    Yields:
        What to ask next; the `Reply` to it must be sent in.
    """
    if not vanilla.correct:
        return Found([], None, WRONG)
    if not vanilla.tokens:
        return Found([], None, NO_TOKENS)
    trials = yield from _try_budgets(vanilla.tokens, sampler, plan, known)
    candidates = sorted(
        (t for t in trials if t.correct and t.tokens is not None and t.tokens < vanilla.tokens),
        key=lambda t: (t.tokens, t.budget),
    )
    if not candidates:
        return Found(trials, None, NO_GAIN)
    for candidate in candidates[: plan.candidates]:
        best = yield from _confirm(candidate, plan.repeats, vanilla.tokens)
        if best is not None:
            return Found(trials, best, None)
    return Found(trials, None, NOT_CONFIRMED)


def _try_budgets(
    highest: int, sampler: "BaseSampler", plan: SearchPlan, known: Sequence[Trial]
) -> Generator[Draw, Reply, list[Trial]]:
    from optuna.trial import TrialState

    study = new_study(sampler)
    tried: dict[int, Trial] = {}
    for trial in known:
        if trial.budget <= highest and trial.tokens is not None:
            tried[trial.budget] = trial
            study.add_trial(_frozen(trial, highest))
    calls, again = len(tried), 0
    while calls < plan.calls_per_question and again < ASKED_AGAIN and not _finished(sampler, study):
        asked = study.ask()
        budget = asked.suggest_int(PARAMETER, 1, highest)
        again = again + 1 if budget in tried else 0
        if budget not in tried:
            calls += 1
            reply = yield Draw(budget)
            if reply.error is not None or reply.tokens is None:
                study.tell(asked, state=TrialState.FAIL)
                continue
            tried[budget] = Trial(budget, reply.tokens, reply.correct, reply.text, reply.finish_reason)
        asked.set_constraint("wrong", 0.0 if tried[budget].correct else 1.0)
        study.tell(asked, float(tried[budget].tokens or 0))
    return list(tried.values())


def _confirm(candidate: Trial, repeats: int, vanilla_tokens: int) -> Generator[Draw, Reply, Best | None]:
    """Ask for fresh draws of a budget; return it if all are right and, on the mean, shorter than without a budget."""
    selected = candidate.tokens or 0
    replies: list[Reply] = []
    for number in range(1, repeats + 1):
        reply = yield Draw(candidate.budget, number)
        if reply.error is not None or not reply.correct or reply.tokens is None:
            return None
        replies.append(reply)
    drawn = [r.tokens or 0 for r in replies]
    mean = sum(drawn) / len(drawn) if drawn else float(selected)
    if mean >= vanilla_tokens:
        return None
    texts = [(selected, candidate.text), *((r.tokens or 0, r.text) for r in replies)]
    shortest = min(texts, key=lambda t: t[0])[1]
    return Best(candidate.budget, mean, selected, shortest, Confirmed(len(replies), len(replies)))


def _finished(sampler: "BaseSampler", study: "Study") -> bool:
    from tale_dspy.optimizers.samplers.base import BudgetSampler

    return isinstance(sampler, BudgetSampler) and sampler.finished(study)


def _frozen(trial: Trial, highest: int) -> Any:
    from optuna.distributions import IntDistribution
    from optuna.trial import create_trial

    frozen = create_trial(
        params={PARAMETER: trial.budget},
        distributions={PARAMETER: IntDistribution(1, highest)},
        value=float(trial.tokens or 0),
    )
    frozen.set_constraint("wrong", 0.0 if trial.correct else 1.0)
    return frozen


_quiet: contextvars.ContextVar[bool] = contextvars.ContextVar("tale_dspy_quiet_optuna", default=False)


class _Filter(logging.Filter):
    """Keeps Optuna from announcing each of our studies; those of the user it goes on announcing."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not _quiet.get()


_filter = _Filter()


def new_study(sampler: "BaseSampler") -> "Study":
    """Return a study in memory that minimises, without a line on the screen."""
    import optuna

    with _silent():
        return optuna.create_study(sampler=sampler, direction="minimize")


@contextmanager
def _silent() -> Iterator[None]:
    logging.getLogger("optuna.storages._in_memory").addFilter(_filter)  # adding it twice does nothing
    token = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(token)
