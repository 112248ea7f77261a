"""The search of one question in three rounds of calls.

It is for runs whose rounds take hours: those through a batch API.

A sampler decides call by call. Here all budgets of a ladder are tried at once, then the cheapest right one is drawn
again, then the others, too, where its draws do not decide for it. What is decided follows from the draws alone; a
question that is a round behind, since a batch brought no answer to one of its calls, draws at once what it may need in
the next round, and so is back in step. What is without an answer after `ROUNDS` rounds is not waited for: the question
ends with the draws that it has, and says how many it misses.
"""

from collections import defaultdict
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
ROUNDS = 2 + TEST_ROUNDS
"""Rounds of a question: the answer without a budget, the ladder, and the fresh draws. Each may take a day."""

RoundsSearch = Generator[list[BudgetQuery], Sequence[QueryResult], QuestionResult]


@dataclass
class _KnownDraws:
    """Results of the draws of one question, and the rounds they took.

    Args:
        rounds: How many rounds the question may take; None waits for every answer.
        next_round: In which one the next draws are asked.
    """

    rounds: int | None
    next_round: int
    results: dict[BudgetQuery, QueryResult] = field(default_factory=dict)
    delays: dict[BudgetQuery, int] = field(default_factory=dict)
    _asked_in: dict[BudgetQuery, int] = field(default_factory=dict)

    def ask(
        self, queries: Sequence[BudgetQuery], ahead: "Callable[[], list[BudgetQuery]]" = list
    ) -> Generator[list[BudgetQuery], Sequence[QueryResult], None]:
        """Ask until all queries are answered.

        It ends, too, where no round is left for those that are not.

        Args:
            queries: What is needed.
            ahead: Says, after each answer, what else to ask beside those that have none yet.
        """
        first = self.next_round
        asked = [*queries, *(query for query in ahead() if query not in queries)]
        for query in asked:
            self._asked_in.setdefault(query, first)
        while pending := [query for query in asked if self._may_come(query)]:
            results = yield pending
            for query, result in zip(pending, results, strict=True):
                self.delays[query] = result.delays
                if not result.waiting:
                    self.results[query] = result
            more = [query for query in ahead() if query not in asked]
            for query in more:  # a delay is heard after the first round
                self._asked_in.setdefault(query, first + 1)
            asked += more
            if not more and not any(map(self._may_come, queries)):
                break
        self.next_round = 1 + max(map(self._round_of, queries), default=first)

    def _may_come(self, query: BudgetQuery) -> bool:
        in_time = self.rounds is None or self._round_of(query) <= self.rounds
        return query not in self.results and in_time

    def _round_of(self, query: BudgetQuery) -> int:
        """Return the round that brought the answer, or may bring it."""
        return self._asked_in[query] + self.delays.get(query, 0)

    def unanswered(self, queries: Sequence[BudgetQuery]) -> int:
        """Count the queries without a result."""
        return sum(query not in self.results for query in queries)

    def trials(self, queries: Sequence[BudgetQuery]) -> list[Trial]:
        """Return the trials of those that are answered, without errors."""
        answered = [(query.budget, self.results[query]) for query in queries if query in self.results]
        return [trial_of(b, r) for b, r in answered if b is not None and r.error is None and r.tokens is not None]


def search_in_rounds(
    vanilla: VanillaAnswer,
    plan: SearchPlan,
    efforts: Sequence[str] = (),
    *,
    delays: int = 0,
    rounds: int | None = ROUNDS,
) -> RoundsSearch:
    """Search the budget of one question in at most three rounds of calls.

    They come after the answer without a budget. As in `search_question`, a budget is chosen whose right fresh draws
    outnumber the wrong ones by `plan.repeats`, the cheapest of `plan.candidates`; here the cheapest is drawn first, and
    the others at once where it does not stand.

    Where budgets of the ladder take another round, those of all that may be the cheapest are drawn again in that round.
    Draws that have no answer after `rounds` rounds are left out, as far as they may matter counted as `unanswered`.

    Args:
        vanilla: The answer without a budget.
        plan: How hard to search; `calls_per_question` is the length of the ladder.
        efforts: Effort words to search, from the least to the most; none searches token budgets.
        delays: How many further rounds the answer without a budget has taken. If any, the `plan.candidates` largest
            budgets of the ladder are drawn again in the round of the ladder.
        rounds: How many the question may take, with that of the answer without a budget; None waits for every answer.

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
    known = _KnownDraws(rounds, 2 + delays)

    def draws_ahead() -> list[BudgetQuery]:
        if delays:
            first = ladder[: plan.candidates]
        elif not any(known.delays.get(query) for query in ladder):
            first = []
        else:
            first = _may_be_cheapest(ladder, known, space)
        return [BudgetQuery(query.budget, 1 + n) for query in first for n in range(plan.repeats)]

    yield from known.ask(ladder, draws_ahead)
    trials, unanswered = known.trials(ladder), known.unanswered(ladder)
    candidates = cheaper_candidates(trials, space)[: plan.candidates]
    if not candidates:
        return QuestionResult(trials, None, NO_GAIN, unanswered)
    best, draws, more_unanswered = yield from _confirmed_in_rounds(candidates, plan.repeats, space, known)
    chosen = None if best is None else best.budget
    trials += [draw for draw in draws if draw.budget != chosen]
    return QuestionResult(trials, best, NOT_CONFIRMED if best is None else None, unanswered + more_unanswered)


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
    late = [query for query in ladder if known.delays.get(query)]
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


@dataclass
class _Confirmation:
    """The fresh draws of the candidates of one question.

    The cheapest candidate comes first.
    """

    candidates: Sequence[Trial]
    repeats: int
    space: BudgetSpace
    known: _KnownDraws
    asked: dict[int, list[BudgetQuery]] = field(default_factory=lambda: defaultdict(list))
    """By the place of the candidate."""

    def draws(self, place: int) -> list[Trial]:
        return self.known.trials(self.asked[place])

    def missing(self, place: int) -> int:
        """Count the draws of a candidate that are not answered."""
        return self.known.unanswered(self.asked[place])

    def is_out(self, place: int) -> bool:
        """Return whether a candidate has failed: by an error, or by its wrong draws.

        The test is sequential and symmetric: `repeats` more right than wrong draws stands, as many more wrong than
        right falls.
        """
        if not self.asked[place]:
            return False
        draws = self.draws(place)
        has_error = len(draws) + self.missing(place) < len(self.asked[place])
        return has_error or right_lead(draws) + self.missing(place) <= -self.repeats

    def confirmed(self, place: int) -> BestBudget | None:
        """Return what is said of a candidate that stands.

        It stands whatever its missing draws may be.
        """
        if self.is_out(place) or self.missing(place):
            return None
        best = confirmed_best(self.candidates[place], self.draws(place), self.repeats)
        return best if best is not None and best.tokens < self.space.vanilla_tokens else None

    def next_queries(self, number: int) -> list[BudgetQuery]:
        """Return what to draw in a round of the test, and note it."""
        # Candidates are in order of their tokens: once one stands, those after it can no longer be chosen, and are
        # not drawn.
        places = range(len(self.candidates))
        standing = [i for i in places if right_lead(self.draws(i)) >= self.repeats and not self.is_out(i)]
        before = range(min(standing, default=len(places)))
        undecided = [i for i in before if not self.is_out(i) and not self.missing(i)]
        queries = []
        for i in undecided[: None if number else 1]:
            drawn = len(self.asked[i])
            budget = self.candidates[i].budget
            fresh = [BudgetQuery(budget, drawn + n) for n in range(1, self.repeats + 1)]  # no cache answers these
            self.asked[i] += fresh
            queries += fresh
        return queries

    def unanswered_before(self, place: int) -> int:
        """Count missing draws that may have confirmed a cheaper candidate.

        Cheaper means before the candidate at a place.
        """
        may_stand = [
            i
            for i in range(place)
            if not self.is_out(i) and right_lead(self.draws(i)) + self.missing(i) >= self.repeats
        ]
        return sum(map(self.missing, may_stand))


def _confirmed_in_rounds(
    candidates: Sequence[Trial], repeats: int, space: BudgetSpace, known: _KnownDraws
) -> Generator[list[BudgetQuery], Sequence[QueryResult], tuple[BestBudget | None, list[Trial], int]]:
    """Draw candidates again side by side.

    It returns the cheapest that is confirmed, all draws, and how many missing ones may have led to another.
    """
    test = _Confirmation(candidates, repeats, space, known)
    for number in range(TEST_ROUNDS if repeats else 0):
        queries = test.next_queries(number)
        if not queries:
            break
        yield from known.ask(queries)
    every = [draw for place in range(len(candidates)) for draw in test.draws(place)]
    for place in range(len(candidates)):
        best = test.confirmed(place)
        if best is not None:
            return best, every, test.unanswered_before(place)
    return None, every, test.unanswered_before(len(candidates))
