"""What a budget for each question gains against the best one for all.

The best fixed budget is `budget:best`.

A search picks the luckiest draw of several, and so does a choice among fixed budgets: what both are worth is measured
here on fresh draws, side by side.
"""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dspy

from tale_dspy.answers import answers_equal, find_answer
from tale_dspy.comparison.compare import Comparison, compare
from tale_dspy.comparison.formatting import change_text, number, plain_json
from tale_dspy.datasets import Dataset, data_hash
from tale_dspy.errors import UsageError
from tale_dspy.optimizers.fixed_budget import BestFixedBudget, FixedBudgetTrial
from tale_dspy.optimizers.search.budget_override import ProbeContext, with_budget_override
from tale_dspy.optimizers.search.budget_space import BudgetKey, check_efforts
from tale_dspy.optimizers.search.offline_eval import TrialReplay
from tale_dspy.optimizers.search.records import SearchRow
from tale_dspy.programs.copying import copy_program
from tale_dspy.protocols import JsonObject
from tale_dspy.runs.questions import questions_of
from tale_dspy.runs.records import Run
from tale_dspy.runs.scoring import Metric
from tale_dspy.runs.shared_caps import SharedCaps
from tale_dspy.task_signature import REASONING

QUESTIONS = 400
"""Questions of a search that are asked again at most."""
MAX_LOSS = 0.01
"""Accuracy by which a fixed budget may fall short of the better side and still count as equal."""
_STEP = 1.1  # between budgets that are thought through
_STEP_ASKED = 1.25  # between budgets that are asked
_MOST = 6


@dataclass(frozen=True)
class FixedBudgetComparison:
    """Each question's best budget against one budget for all questions.

    It is over the questions of a search; `print` shows it.
    """

    budget: int | str
    """The fixed budget, in tokens or as an effort word: of those about as accurate as the budgets of their own, the one
    with the fewest tokens."""
    tried: tuple[FixedBudgetTrial, ...]
    """The fixed budgets that were asked."""
    comparison: Comparison
    """Budgets of their own (`run`) against the fixed one (`baseline`)."""

    @property
    def is_gain(self) -> bool:
        """Whether fewer tokens are shown, and no loss of accuracy.

        The 95 % interval of tokens lies below 0, and that of accuracy does not.
        """
        tokens, accuracy = self.comparison.net_tokens.interval, self.comparison.accuracy.interval
        return tokens is not None and tokens[1] < 0 and (accuracy is None or accuracy[1] >= 0)

    def __str__(self) -> str:
        c = self.comparison
        tokens, right = c.net_tokens, c.accuracy
        fixed = (
            f"effort:best ({self.budget})" if isinstance(self.budget, str) else f"budget:best ({self.budget} tokens)"
        )
        sentence = (
            f"per-question budgets against {fixed}, {c.n} questions asked again: "
            f"{number(tokens.run)} against {number(tokens.baseline)} tokens, {change_text(tokens)}; "
            f"right {number(right.run, scale=100)} % against {number(right.baseline, scale=100)} %, "
            f"{change_text(right, 100)} points"
        )
        return sentence if self.is_gain else f"no gain: {sentence}"

    def to_json(self) -> JsonObject:
        c = self.comparison
        document = {"budget": self.budget, "n": c.n, "gain": self.is_gain, "tried": [vars(t) for t in self.tried]}
        return {**document, "tokens": plain_json(vars(c.net_tokens)), "accuracy": plain_json(vars(c.accuracy))}


def compare_with_fixed(
    program: Any,
    rows: Sequence[SearchRow],
    trainset: Dataset | Sequence[Any],
    *,
    metric: Metric | None = None,
    out: str | Path | None = None,
    caps: SharedCaps | None = None,
    **options: Any,
) -> FixedBudgetComparison:
    """Compare the budgets found for each question with fixed ones.

    The questions of a search are asked again with both, on fresh draws.

    Both sides are asked the questions that were searched: those that were right without a budget. One for which no
    budget was found is asked without. Fixed budgets are asked around the one that the trials of the search speak for
    (`likely_fixed_budget`, `likely_fixed_effort`), larger and smaller ones, as far as they get better; the best of them
    is the bar. A search over effort words is compared with single words.

    Args:
        program: The program that was searched; not changed.
        rows: What was found, of one predictor.
        trainset: The questions of the search; at most `QUESTIONS` of those that were searched are asked.
        metric: As in `evaluate`.
        out: A folder for the run folders; None keeps everything in memory.
        caps: Shared with what was spent before; None makes one of `max_usd` and `max_total_output_tokens`.
        **options: Passed on to `evaluate`; caps among them hold for all runs together.

    Raises:
        UsageError: If the rows are of several predictors, or there is no question to compare on.
        SpendCapReached: If a cap ended the comparison.
    """
    names = sorted({row.predictor for row in rows})
    if len(names) != 1:
        raise UsageError(f"the rows must be of one predictor, got those of {', '.join(names) or 'none'}")
    budgets = {row.id: row.best.budget if row.best else None for row in rows if row.trials}
    words = _words_tried(rows)
    start = likely_fixed_effort(rows, words) if words else likely_fixed_budget(rows)
    if start is None:
        raise UsageError(f"no fixed budget to compare with: none of {len(rows)} questions was searched")
    data = _asked_again(trainset, budgets)
    if caps is None:
        caps = SharedCaps(options.pop("max_usd", None), options.pop("max_total_output_tokens", None))
    measuring = _ComparisonRuns(program, names[0], data, metric, None if out is None else Path(out), caps, options)
    searched_run = measuring.run("searched", budgets)
    runs = measuring.fixed(start, budgets, (searched_run.accuracy or 0.0) - MAX_LOSS, words)
    fixed_trials = [_fixed_trial(budget, run) for budget, run in runs.items()]
    best = _as_accurate(fixed_trials, searched_run.accuracy or 0.0)
    return FixedBudgetComparison(
        best.budget, tuple(fixed_trials), compare(baseline=runs[best.budget], run=searched_run)
    )


def likely_fixed_budget(rows: Sequence[SearchRow]) -> int | None:
    """Return the budget for all questions that the trials of a search support.

    It is None if no question was searched. It has the fewest tokens expected among those that are expected to lose at
    most `MAX_LOSS` of the right answers.
    """
    hindsight = TrialReplay(rows)
    searched = [row.id for row in rows if row.trials and row.id in hindsight]
    if not searched:
        return None
    # A geometric grid from 1 to the longest answer: budgets matter by their ratio.
    longest = max(row.vanilla.tokens or 1 for row in rows)
    steps = range(math.ceil(math.log(longest) / math.log(_STEP)))
    outcomes = {}
    for budget in {longest, *(round(_STEP**n) for n in steps)}:
        expected = [hindsight.expected(key, budget) for key in searched]
        outcomes[budget] = (sum(o.right for o in expected) / len(expected), sum(o.tokens for o in expected))
    bar = max(right for right, _ in outcomes.values()) - MAX_LOSS
    return min((b for b, (right, _) in outcomes.items() if right >= bar), key=lambda b: (outcomes[b][1], b))


def likely_fixed_effort(rows: Sequence[SearchRow], words: Sequence[str]) -> str | None:
    """Return the effort word for all questions that a search supports.

    It is None if no question was searched. It is the least that suffices for as many questions as the highest one does,
    less `MAX_LOSS` of them.

    Args:
        rows: What was found.
        words: Effort words, from the least to the most.
    """
    best_words = [row.best.budget for row in rows if row.best is not None and row.best.budget in words]
    if not any(row.trials for row in rows):
        return None
    # enough[n]: questions whose best word is word n or a lower one. A question without a confirmed word needs more than
    # any, so that the highest word suffices for len(best_words) of them.
    enough = [sum(words.index(str(budget)) <= n for budget in best_words) for n in range(len(words))]
    bar = len(best_words) - MAX_LOSS * sum(bool(row.trials) for row in rows)
    return next((word for word, right in zip(words, enough, strict=True) if right >= bar), words[-1])


def _words_tried(rows: Sequence[SearchRow]) -> tuple[str, ...]:
    """Return the effort words of a search.

    Words with a phrase are included where one was the best; token budgets give none.
    """
    words_of_trials = {str(t.budget) for row in rows for t in row.trials if isinstance(t.budget, str)}
    best = {str(row.best.budget) for row in rows if row.best is not None}
    words = [word for word in words_of_trials if "+" not in word or word in best]
    return check_efforts(words) if words else ()


def _fixed_trial(budget: BudgetKey, run: Run) -> FixedBudgetTrial:
    return FixedBudgetTrial(budget, run.accuracy or 0.0, run.summary["output_tokens_mean"], run.summary["n"])


def _mean_tokens(trial: FixedBudgetTrial) -> float:
    return math.inf if trial.output_tokens is None else trial.output_tokens


def _as_accurate(tried: Sequence[FixedBudgetTrial], accuracy: float) -> FixedBudgetTrial:
    """Return the cheapest fixed budget that is accurate enough.

    It is about as accurate as the budgets of each question; where none is, as the best fixed one.
    """
    # 1e-12: accuracies are quotients of floats, and a loss of exactly `MAX_LOSS` is allowed.
    bar = min(accuracy, max(t.accuracy for t in tried)) - MAX_LOSS - 1e-12
    return BestFixedBudget().choose([t for t in tried if t.accuracy >= bar])


def _asked_again(trainset: Dataset | Sequence[object], budgets: Mapping[str, object]) -> Dataset | list[Any]:
    """Return the questions that were searched, in their order.

    There are at most about `QUESTIONS` of them.
    """
    # Identical rows share a hash: each keeps its number only as long as those before it are there.
    plain_examples = [q.example for q in questions_of(trainset) if q.id in budgets and "-" not in q.id]
    if len(plain_examples) > QUESTIONS:
        chosen = random.Random(0).sample(range(len(plain_examples)), QUESTIONS)
        plain_examples = [plain_examples[n] for n in sorted(chosen)]
    return replace(trainset, examples=plain_examples) if isinstance(trainset, Dataset) else plain_examples


def agreement_metric(rows: Sequence[SearchRow]) -> Metric:
    """Return a metric that compares with the search's answer without a budget.

    It is for questions without gold.
    """
    answers = {row.id: find_answer(row.vanilla.text) for row in rows}

    def agrees(example: Any, pred: Any) -> bool:
        names = [k for k in pred.keys() if k != REASONING]  # noqa: SIM118  a Prediction is no dict
        answer = answers.get(dspy.settings.tale_sample.id)
        return answer is not None and bool(names) and answers_equal(pred[names[-1]], answer)

    return agrees


def _neighbour(budget: BudgetKey, words: Sequence[str], *, upwards: bool) -> BudgetKey | None:
    """Return the next budget to ask.

    Tokens change by a fixed ratio, words by one; it is None beyond the last word.
    """
    if isinstance(budget, int):
        return max(1, round(budget * (_STEP_ASKED if upwards else 1 / _STEP_ASKED)))
    place = words.index(budget) + (1 if upwards else -1)
    return words[place] if 0 <= place < len(words) else None


def _is_larger(one: BudgetKey, other: BudgetKey, words: Sequence[str]) -> bool:
    if isinstance(one, int) and isinstance(other, int):
        return one > other
    return words.index(str(one)) > words.index(str(other))


@dataclass(frozen=True)
class _ComparisonRuns:
    """What all runs of a comparison share."""

    program: Any
    predictor: str
    data: Dataset | list[Any]
    metric: Metric | None
    out: Path | None
    caps: SharedCaps
    options: JsonObject

    def fixed(
        self, start: BudgetKey, ids: Iterable[str], bar: float, words: Sequence[str] = ()
    ) -> dict[BudgetKey, Run]:
        """Ask with fixed budgets around one.

        Larger and then smaller ones are tried as long as they get better.

        Args:
            start: Where to begin.
            ids: The questions.
            bar: Accuracy that is enough. Below it a larger budget is better, above it one with fewer tokens.
            words: The effort words there are, in order; none where budgets are tokens.
        """
        ids, runs = list(ids), dict[BudgetKey, Run]()

        def ask(budget: BudgetKey) -> FixedBudgetTrial:
            if budget not in runs:
                kind = "effort" if isinstance(budget, str) else "budget"
                runs[budget] = self.run(f"{kind}:{budget}", dict.fromkeys(ids, budget))
            return _fixed_trial(budget, runs[budget])

        def better(new: FixedBudgetTrial, old: FixedBudgetTrial) -> bool:
            # Below the bar only accuracy counts, and larger budgets are tried until one reaches it, though a single one
            # may do worse by chance. From the bar on only tokens count.
            if old.accuracy < bar:
                return _is_larger(new.budget, old.budget, words)
            return new.accuracy >= bar and _mean_tokens(new) < _mean_tokens(old)

        # A line search in both directions from the start, `_MOST` budgets in all. Downwards only from a budget that is
        # accurate enough: a smaller one is less accurate still.
        for upwards in (True, False):
            last = ask(start)
            while len(runs) < _MOST and (upwards or last.accuracy >= bar):
                budget = _neighbour(last.budget, words, upwards=upwards)
                if budget is None or not better(following := ask(budget), last):
                    break
                last = following
        return runs

    def run(self, name: str, budgets: Mapping[str, int | str | None]) -> Run:
        """Ask every question with its budget, on fresh draws."""

        def probe() -> ProbeContext:
            return ProbeContext(budgets[dspy.settings.tale_sample.id])

        lm = self.options.get("lm") or dspy.settings.lm
        config: JsonObject = {
            "lm": lm if lm is None else lm.copy(cache=False),
            "name": name,
            "allow_leak": True,  # these are the very questions it was chosen on; the run is marked
            "config": {"budgets": data_hash(f"{key} {budget}" for key, budget in sorted(budgets.items()))},
            "out": None if self.out is None else self.out / name.replace(":", "-"),
        }
        program = copy_program(
            with_budget_override(self.program, self.predictor, probe), lambda held: held.copy(cache=False)
        )
        return self.caps.evaluate(program, self.data, metric=self.metric, **{**self.options, **config})
