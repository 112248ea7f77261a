"""The search of one question in three rounds of calls.

It is for runs whose rounds take hours: those through a batch API.

A sampler decides call by call. Here all budgets of a ladder are tried at once, then the cheapest right one is drawn
again, then the others, too, where its draws do not decide for it. What is decided follows from the draws alone; a
question that is a round behind, since a batch brought no answer to one of its calls, draws at once what it may need in
the next round, and so is back in step.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field

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

RoundsSearch = Generator[list[BudgetQuery], Sequence[QueryResult], QuestionResult]


@dataclass
class _KnownDraws:
    """Results of the draws of one question, and which took another round."""

    results: dict[BudgetQuery, QueryResult] = field(default_factory=dict)
    delayed: set[BudgetQuery] = field(default_factory=set)

    def ask(
        self, queries: Sequence[BudgetQuery], ahead: "Callable[[], list[BudgetQuery]]" = list
    ) -> Generator[list[BudgetQuery], Sequence[QueryResult], list[QueryResult]]:
        """Ask until all queries are answered; return their results.

        Args:
            queries: What is needed.
            ahead: Says, after each answer, what else to ask beside those that have none yet.
        """
        asked = list(queries)
        while unanswered := [query for query in asked if query not in self.results]:
            results = yield unanswered
            for query, result in zip(unanswered, results, strict=True):
                if result.delayed:
                    self.delayed.add(query)
                if not result.waiting:
                    self.results[query] = result
            more = [query for query in ahead() if query not in asked]
            asked += more
            if not more and all(query in self.results for query in queries):
                break
        return [self.results[query] for query in queries]

    def trials(self, queries: Sequence[BudgetQuery]) -> list[Trial]:
        """Return the trials of those that are answered, without errors."""
        answered = [(query.budget, self.results[query]) for query in queries if query in self.results]
        return [trial_of(b, r) for b, r in answered if b is not None and r.error is None and r.tokens is not None]


def search_in_rounds(
    vanilla: VanillaAnswer, plan: SearchPlan, efforts: Sequence[str] = (), *, behind: bool = False
) -> RoundsSearch:
    """Search the budget of one question in at most three rounds of calls.

    They come after the answer without a budget. As in `search_question`, a budget is chosen whose right fresh draws
    outnumber the wrong ones by `plan.repeats`, the cheapest of `plan.candidates`; here the cheapest is drawn first, and
    the others at once where it does not stand.

    Where budgets of the ladder take another round, those of all that may be the cheapest are drawn again in that round.

    Args:
        vanilla: The answer without a budget.
        plan: How hard to search; `calls_per_question` is the length of the ladder.
        efforts: Effort words to search, from the least to the most; none searches token budgets.
        behind: Whether the answer without a budget has taken another round: then the `plan.candidates` largest budgets
            of the ladder are drawn again in the round of the ladder.

    Yields:
        What to ask in one round; the results must be sent in, in the same order. Some may be `waiting`, for the next
        round: those are asked again, with what else to ask in it.
    """
    if not vanilla.correct:
        return QuestionResult([], None, WRONG)
    if not vanilla.tokens:
        return QuestionResult([], None, NO_TOKENS)
    space = space_of(vanilla.tokens, efforts)
    ladder = [BudgetQuery(space.budget_of(level)) for level in ladder_levels(space, plan.calls_per_question)]
    known = _KnownDraws()

    def draws_ahead() -> list[BudgetQuery]:
        if behind:
            first = ladder[: plan.candidates]
        elif known.delayed.isdisjoint(ladder):
            first = []
        else:
            first = _may_be_cheapest(ladder, known, space)
        return [BudgetQuery(query.budget, 1 + n) for query in first for n in range(plan.repeats)]

    yield from known.ask([*ladder, *draws_ahead()], draws_ahead)
    trials = known.trials(ladder)
    candidates = cheaper_candidates(trials, space)[: plan.candidates]
    if not candidates:
        return QuestionResult(trials, None, NO_GAIN)
    best, draws = yield from _confirmed_in_rounds(candidates, plan.repeats, space, known)
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


def _may_be_cheapest(ladder: Sequence[BudgetQuery], known: _KnownDraws, space: BudgetSpace) -> list[BudgetQuery]:
    """Return which budgets of a ladder may turn out to be the cheapest right one.

    Some of them take another round. Two things make most of these unlikely: a budget below one that was wrong is wrong,
    and replies get longer again below the budget that is kept (token elasticity, TALE section 3).

    Args:
        ladder: The largest first.
        known: Its results; nothing is read of budgets that take another round, though it may be there by now.
        space: The budgets of the question.
    """
    late = [query for query in ladder if query in known.delayed]
    in_time = {query: known.trials([query]) for query in ladder if query not in late}
    right = cheaper_candidates([trial for trials in in_time.values() for trial in trials], space)[:1]
    wrong = [i for i, query in enumerate(ladder) if any(not trial.correct for trial in in_time.get(query, ()))]
    likely = {query for query in late if ladder.index(query) < min(wrong, default=len(ladder))}
    if not right:
        return [query for query in ladder if query in likely]
    cheapest = BudgetQuery(right[0].budget)
    place, tokens = ladder.index(cheapest), right[0].tokens or 0
    if isinstance(cheapest.budget, int) and tokens > cheapest.budget:
        likely &= set(ladder[:place][-1:])
    else:
        likely &= set(ladder[place:])
    return [query for query in ladder if query in likely or query == cheapest]


def _confirmed_in_rounds(
    candidates: Sequence[Trial], repeats: int, space: BudgetSpace, known: _KnownDraws
) -> Generator[list[BudgetQuery], Sequence[QueryResult], tuple[BestBudget | None, list[Trial]]]:
    """Draw candidates again side by side.

    It returns the cheapest that is confirmed, and all draws.
    """
    draws: dict[int, list[Trial]] = {index: [] for index in range(len(candidates))}
    failed: set[int] = set()
    for number in range(TEST_ROUNDS if repeats else 0):
        # Candidates are in order of their tokens: once one stands, those after it can no longer be chosen, and are
        # not drawn.
        standing = [i for i in draws if i not in failed and right_lead(draws[i]) >= repeats]
        cheapest = min(standing, default=len(draws))
        undecided = [i for i in draws if i not in failed and i < cheapest][: None if number else 1]
        if not undecided:
            break
        numbers = range(1, repeats + 1)  # no cache answers one draw for another
        queries = [(i, BudgetQuery(candidates[i].budget, len(draws[i]) + n)) for i in undecided for n in numbers]
        results = yield from known.ask([query for _, query in queries])
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
