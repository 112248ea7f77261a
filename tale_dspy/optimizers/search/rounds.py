"""The search of one question in three rounds of calls.

It is for runs whose rounds take hours: those through a batch API.

A sampler decides call by call. Here all budgets of a ladder are tried at once, then the cheapest right one is drawn
again, then the others, too, where its draws do not decide for it.
"""

from collections.abc import Generator, Sequence

from tale_dspy.optimizers.search.budget_space import BudgetSpace, TokenRange
from tale_dspy.optimizers.search.question import (
    NO_GAIN,
    NO_TOKENS,
    NOT_CONFIRMED,
    WRONG,
    BudgetQuery,
    QueryResult,
    QuestionResult,
    SearchPlan,
    cheaper_candidates,
    confirmed_best,
    right_lead,
    space_of,
    trial_of,
)
from tale_dspy.optimizers.search.records import BestBudget, Trial, VanillaAnswer

LADDER_CALLS = 5
"""Budgets tried at once where no number is given: halves of the answer without one, as in the paper's search."""
TEST_ROUNDS = 2
"""Rounds of fresh draws at most; a budget that is undecided after them is not good enough."""

RoundsSearch = Generator[list[BudgetQuery], list[QueryResult], QuestionResult]


def search_in_rounds(vanilla: VanillaAnswer, plan: SearchPlan, efforts: Sequence[str] = ()) -> RoundsSearch:
    """Search the budget of one question in at most three rounds of calls.

    They come after the answer without a budget.

    As in `search_question`, a budget is chosen whose right fresh draws outnumber the wrong ones by `plan.repeats`, the
    cheapest of `plan.candidates`; here the cheapest is drawn first, and the others at once where it does not stand.

    Args:
        vanilla: The answer without a budget.
        plan: How hard to search; `calls_per_question` is the length of the ladder.
        efforts: Effort words to search, from the least to the most; none searches token budgets.

    Yields:
        What to ask in one round; the results must be sent in, in the same order.
    """
    if not vanilla.correct:
        return QuestionResult([], None, WRONG)
    if not vanilla.tokens:
        return QuestionResult([], None, NO_TOKENS)
    space = space_of(vanilla.tokens, efforts)
    ladder = [space.budget_of(level) for level in ladder_levels(space, plan.calls_per_question)]
    results = yield [BudgetQuery(budget) for budget in ladder]
    trials = [trial_of(b, r) for b, r in zip(ladder, results, strict=True) if r.error is None and r.tokens is not None]
    candidates = cheaper_candidates(trials, space)[: plan.candidates]
    if not candidates:
        return QuestionResult(trials, None, NO_GAIN)
    best, draws = yield from _confirmed_in_rounds(candidates, plan.repeats, space)
    chosen = None if best is None else best.budget
    trials += [draw for draw in draws if draw.budget != chosen]
    return QuestionResult(trials, best, NOT_CONFIRMED if best is None else None)


def ladder_levels(space: BudgetSpace, count: int) -> list[int]:
    """Return the levels to try.

    They are all effort words, or halves of the tokens without a budget, the largest first.
    """
    if not isinstance(space, TokenRange):
        return [*range(space.highest, 0, -1)][:count]
    # v / 2, v / 4, ...: the reply to one of them is within a factor of 2 of the best budget's, at one round of calls.
    halves = [space.vanilla_tokens >> k for k in range(1, count + 1)]
    return [level for level in dict.fromkeys(halves) if level > 0] or [1]


def _confirmed_in_rounds(
    candidates: Sequence[Trial], repeats: int, space: BudgetSpace
) -> Generator[list[BudgetQuery], list[QueryResult], tuple[BestBudget | None, list[Trial]]]:
    """Draw candidates again side by side.

    It returns the cheapest that is confirmed, and all draws.
    """
    draws: dict[int, list[Trial]] = {index: [] for index in range(len(candidates))}
    failed: set[int] = set()
    for number in range(TEST_ROUNDS if repeats else 0):
        # Candidates are in order of their tokens: once one stands, those behind it can no longer be chosen, and are
        # not drawn.
        standing = [i for i in draws if i not in failed and right_lead(draws[i]) >= repeats]
        cheapest = min(standing, default=len(draws))
        undecided = [i for i in draws if i not in failed and i < cheapest][: None if number else 1]
        if not undecided:
            break
        numbers = range(1, repeats + 1)  # no cache answers one draw for another
        queries = [(i, BudgetQuery(candidates[i].budget, len(draws[i]) + n)) for i in undecided for n in numbers]
        results = yield [query for _, query in queries]
        for (i, query), result in zip(queries, results, strict=True):
            if result.error is not None or result.tokens is None:
                failed.add(i)
            elif query.budget is not None:
                draws[i].append(trial_of(query.budget, result))
        # Sequential test, symmetric: `repeats` more right than wrong draws stands, as many more wrong than right
        # falls.
        failed |= {i for i in undecided if right_lead(draws[i]) <= -repeats}
    every = [draw for drawn in draws.values() for draw in drawn]
    for i, candidate in enumerate(candidates):
        best = None if i in failed else confirmed_best(candidate, draws[i], repeats)
        if best is not None and best.tokens < space.vanilla_tokens:
            return best, every
    return None, every
