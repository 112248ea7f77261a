"""Bayesian search of a question's best budget.

It learns from question to question.

Each question has a posterior over a changepoint model of token elasticity (`elasticity_model`), fitted by EM to the
questions before it (`fit_elasticity`). The acquisition function is the expected saving two calls ahead
(`acquisition`); the search stops when the calibrated expected saving of a call falls below its price.
"""

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

from tale_dspy.errors import UsageError
from tale_dspy.optimizers.samplers.acquisition import Acquisition, two_step_lookahead
from tale_dspy.optimizers.samplers.base import BudgetSampler, Observation, QuestionHistory
from tale_dspy.optimizers.samplers.elasticity_model import ElasticityModel
from tale_dspy.optimizers.samplers.fit_elasticity import fit_elasticity

Lesson = tuple[QuestionHistory, tuple[float | None, ...]]
"""A finished question, and the saving that was expected before each of its trials."""
LessonExchange = Callable[[Sequence[Lesson]], Sequence[Lesson]]
"""Takes lessons of this process, and gives those of others that it has not given before."""

FORMAT = 1
EXCHANGE_S = 1.0
"""Seconds after which a sampler that has finished no question asks what others have learned."""
CACHE_SIZE = 2000
"""Acquisitions that are cached until their question is finished."""
MAX_FITTED_QUESTIONS = 300
"""Questions that a model is fitted to: the last finished ones, and as many at most that are still being searched."""
TRIALS_BEFORE_FIRST_FIT = 6
"""Trials before the first fit; each later fit waits for half as many again as there were."""
SAVING_GRADES = (0.06, 0.12, 0.25)
"""Bounds of the classes that expected savings are calibrated in, as shares of the best right answer's tokens."""
DECAY = 0.97
"""Weight of the calibration after one more question, so that it can change."""
PRIOR_SAVING = 0.15
"""Pseudo-count of savings that came as expected: small, so that useless calls are soon given up."""


class ElasticSampler(BudgetSampler):
    """Search by the trials of a question and what earlier questions have taught.

    The model assumes what the paper reports: replies follow their budget down to a changepoint and grow again below
    it, and below some required budget the answer is wrong. Both are unknown for a question, and its trials narrow them
    down. How replies follow and grow, where changepoints lie relative to the answer without a budget (questions of
    about the same length weigh most) and the noise of all this are learned from the questions before. Each call goes
    where it is expected to save the most together with the one after it. The search ends when a call is no longer worth
    its price, judged by what such calls have saved so far.

    One sampler serves all questions of a search: call `finish_question` for each finished one. It learns as well from
    questions that are still being searched (`observe`), so that many at once do not all start from the prior. What it
    learned from finished ones is saved as JSON. Deterministic: the same calls in the same order give the same budgets.

    Args:
        price: Saving that a call must be expected to bring, as a share of the tokens of the best right answer so far.
            A smaller price finds shorter answers with more calls.
        max_calls: Maximum number of trials of a question.

    Raises:
        UsageError: If price is not a share above 0 and below 1, or max_calls not at least 1.

    Example:
        >>> sampler = ElasticSampler()
        >>> sampler.finish_question(QuestionHistory(200, (Observation(40, 38.0, True), Observation(25, 70.0, False))))
        >>> sampler.propose(QuestionHistory(vanilla_tokens=300)) < 300
        True
    """

    def __init__(self, price: float = 0.025, max_calls: int = 10) -> None:
        if not 0 < price < 1:
            raise UsageError(f"price must be a share above 0 and below 1, got {price}")
        if max_calls < 1:
            raise UsageError(f"max_calls must be at least 1, got {max_calls}")
        self.price, self.max_calls = price, max_calls
        self._learned: list[QuestionHistory] = []
        self._active: Counter[QuestionHistory] = Counter()
        self._model, self._trial_count, self._next_fit = ElasticityModel(), 0, TRIALS_BEFORE_FIRST_FIT
        self._calibration = SavingsCalibration()
        self._exchange: LessonExchange | None = None
        self._exchanged = 0.0
        self._acquisitions: dict[QuestionHistory, Acquisition | None] = {}
        self._expected_savings: dict[QuestionHistory, float | None] = {}  # outlives the model it was computed with

    def propose(self, history: QuestionHistory) -> int:
        """Return the budget expected to save most, with the best one after it."""
        acquisition = self._cached_acquisition(history)
        if acquisition is not None:
            return acquisition.budget
        return history.best.budget if history.best else history.vanilla_tokens

    def should_stop(self, history: QuestionHistory) -> bool:
        """Return whether no call is expected to be worth its price."""
        if not history.trials:
            return False
        if len(history.trials) >= self.max_calls:
            return True
        with self._lock:
            acquisition = self._cached_acquisition(history)
            return acquisition is None or self._calibration.calibrated(acquisition.expected_saving) < self.price

    def observe(self, history: QuestionHistory) -> None:
        """Learn from a question that is still being searched."""
        plain = _without_pending(history)
        with self._lock:
            # Each stage of a question is a fact of the fit until the next replaces it. With `n_jobs` trials may end in
            # another order than they were started in: the stage before lacks any one of the trials, most likely the
            # last.
            one_less = [plain.trials[:i] + plain.trials[i + 1 :] for i in reversed(range(len(plain.trials)))]
            watched = self._stop_observing([QuestionHistory(plain.vanilla_tokens, rest) for rest in one_less])
            self._active[plain] += 1
            if len(self._active) > MAX_FITTED_QUESTIONS:  # searches that were given up
                del self._active[next(iter(self._active))]
            self._count_trials(len(plain.trials) - watched)
            if time.monotonic() > self._exchanged + EXCHANGE_S:
                self._exchange_lessons([])

    def finish_question(self, history: QuestionHistory) -> None:
        """Learn from a question whose search is over.

        One without any trial changes nothing.
        """
        if not history.trials:
            return
        plain = _without_pending(history)
        with self._lock:
            stages = [QuestionHistory(plain.vanilla_tokens, plain.trials[:n]) for n in range(len(plain.trials))]
            expected = tuple(self._expected_saving(stage) for stage in stages)
            self._calibration.record(plain, expected)
            watched = self._stop_observing([plain, *reversed(stages)])
            self._learned.append(plain)
            for stage in (*stages, plain):  # not asked again
                self._acquisitions.pop(stage, None)
            self._count_trials(len(plain.trials) - watched)
            self._exchange_lessons([(plain, expected)])

    def join(self, exchange: LessonExchange) -> None:
        """Exchange finished questions with samplers of other processes.

        Those that the others have shared already are learned at once.
        """
        with self._lock:
            self._exchange = exchange
            self._exchange_lessons([])

    def _exchange_lessons(self, lessons: Sequence[Lesson]) -> None:
        """Hand on what was learned, and learn from the questions of others."""
        if self._exchange is None:
            return
        others = self._exchange(lessons)
        self._exchanged = time.monotonic()
        # One after another, as those searched here: a fit is a few steps of EM, from the model before.
        for history, expected in others:
            self._calibration.record(history, expected)
            self._learned.append(history)
            self._count_trials(len(history.trials))

    def save(self, path: str | Path) -> None:
        """Write all that was learned from finished questions to a JSON file."""
        with self._lock:
            questions = [
                {
                    "vanilla_tokens": q.vanilla_tokens,
                    "trials": [[o.budget, o.tokens if math.isfinite(o.tokens) else None, o.right] for o in q.trials],
                }
                for q in self._learned
            ]
        state = {"format": FORMAT, "price": self.price, "max_calls": self.max_calls, "questions": questions}
        Path(path).write_text(json.dumps(state), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "ElasticSampler":
        """Return the sampler that was saved.

        It continues as if it had never been interrupted.

        Raises:
            UsageError: If `save` did not write the file.
        """
        try:
            state = json.loads(Path(path).read_text(encoding="utf-8"))
            if state["format"] != FORMAT:
                raise UsageError(f"{path} has the format {state['format']}; this version reads {FORMAT}")
            sampler = cls(state["price"], state["max_calls"])
            for question in state["questions"]:
                sampler.finish_question(
                    QuestionHistory(question["vanilla_tokens"], tuple(map(_read_observation, question["trials"])))
                )
        except (OSError, ValueError, KeyError, TypeError, IndexError) as e:
            if isinstance(e, UsageError):
                raise
            raise UsageError(f"{path} holds no saved ElasticSampler: {type(e).__name__}: {e}") from e
        return sampler

    def _cached_acquisition(self, history: QuestionHistory) -> Acquisition | None:
        """Return the acquisition of a question.

        It comes from the cache if `should_stop` has just computed it.
        """
        with self._lock:
            if history not in self._acquisitions:
                for cache in (self._acquisitions, self._expected_savings):
                    if len(cache) > CACHE_SIZE:
                        cache.clear()
                acquisition = self._acquisitions[history] = two_step_lookahead(self._model, history)
                self._expected_savings[history] = None if acquisition is None else acquisition.expected_saving
            return self._acquisitions[history]

    def _stop_observing(self, stages: Sequence[QuestionHistory]) -> int:
        """Stop observing the first of these stages that is observed.

        It returns the number of its trials, 0 where none is observed.
        """
        for stage in stages:
            if stage in self._active:
                self._active[stage] -= 1
                if not self._active[stage]:
                    del self._active[stage]
                return len(stage.trials)
        return 0

    def _count_trials(self, trials: int) -> None:
        """Count trials, and fit the model again when enough have come."""
        self._trial_count += trials
        if self._trial_count >= self._next_fit:
            self._model = fit_elasticity(
                [*self._learned[-MAX_FITTED_QUESTIONS:], *islice(self._active.elements(), MAX_FITTED_QUESTIONS)],
                self._model,
            )
            # A fit is linear in the trials it is given: fitting at t, 1.5 t, 1.5^2 t ... trials keeps all fits of a
            # search of t trials together in O(t).
            self._next_fit = max(self._trial_count + TRIALS_BEFORE_FIRST_FIT, self._trial_count * 3 // 2)
            self._acquisitions.clear()

    def _expected_saving(self, history: QuestionHistory) -> float | None:
        """Return the saving expected at this stage of a question.

        It is computed here only if no call has computed it before.
        """
        if history in self._expected_savings:
            return self._expected_savings.pop(history)
        acquisition = self._cached_acquisition(history)
        self._expected_savings.pop(history, None)
        return None if acquisition is None else acquisition.expected_saving


def _without_pending(history: QuestionHistory) -> QuestionHistory:
    return QuestionHistory(history.vanilla_tokens, history.trials)


def _read_observation(row: tuple[int, float | None, bool]) -> Observation:
    budget, tokens, right = row
    return Observation(int(budget), math.inf if tokens is None else float(tokens), bool(right))


class SavingsCalibration:
    """Expected against realised savings, by small and large expectations.

    It is not thread-safe. The model is coarse. Where a language model answers in a few fixed lengths, say, the small
    savings it expects around the best budget never come. So expectations are compared with the realised savings, and
    later ones are discounted.
    """

    def __init__(self) -> None:
        self._expected_savings = [0.0] * (len(SAVING_GRADES) + 1)
        self._realised = [0.0] * (len(SAVING_GRADES) + 1)

    def calibrated(self, expected_saving: float) -> float:
        """Return an expected saving, scaled by what earlier ones of its size brought."""
        # Shrunk ratio of sums, (realised + a) / (expected + a) with a = `PRIOR_SAVING`: 1 before any question, the
        # measured ratio after many.
        grade = _saving_grade(expected_saving)
        return expected_saving * (self._realised[grade] + PRIOR_SAVING) / (self._expected_savings[grade] + PRIOR_SAVING)

    def record(self, history: QuestionHistory, expected_savings: Sequence[float | None]) -> None:
        """Add the trials of a finished question.

        Args:
            history: The question; its search is over.
            expected_savings: The saving expected before each of its trials; None where none was.
        """
        # Exponential forgetting, once a question: a sum weighs about the last 1 / (1 - DECAY) questions, since the
        # model behind the expectations improves.
        self._expected_savings = [DECAY * p for p in self._expected_savings]
        self._realised = [DECAY * k for k in self._realised]
        # best[n]: tokens of the best right answer after n trials.
        best = [
            QuestionHistory(history.vanilla_tokens, history.trials[:n]).best_tokens
            for n in range(len(history.trials) + 1)
        ]
        for number, expected_saving in enumerate(expected_savings):
            if expected_saving is None or best[number] <= 0:
                continue
            one = 1 - best[number + 1] / best[number]
            two = 1 - best[min(number + 2, len(expected_savings))] / best[number]
            grade = _saving_grade(expected_saving)
            self._expected_savings[grade] += expected_saving
            # An expectation is that of one call, or half that of two: the realised saving is counted in the same way.
            self._realised[grade] += min(1.0, max(one, two / 2))


def _saving_grade(expected_saving: float) -> int:
    return sum(expected_saving >= least for least in SAVING_GRADES)
