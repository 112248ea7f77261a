"""What a sampler of budgets must do, as test classes to inherit from.

They are made like those of `optuna.testing`.

    class TestMySampler(BudgetSamplerSuite):
        def sampler(self) -> MySampler:
            return MySampler()

`SamplerSuite` is for any Optuna sampler that is to serve a `BudgetSearch`, `BudgetSamplerSuite` for those that know
when a question is done. pytest collects the inherited tests; nothing here needs it. The questions are functions of the
budget, made up: they show that a search ends, repeats and stays in its range, and nothing about language models.
"""

import copy
import math
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from tale_dspy.errors import UsageError

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import Trial

    from tale_dspy.optimizers.samplers.base import BudgetSampler

Answer = tuple[float, bool]
"""Tokens used, and whether the answer was right."""

Direction = Literal["minimize", "maximize"]

VANILLA = 160
"""Tokens of each made-up question without a budget."""
CALLS = 12
"""Trials made with a sampler that does not end by itself."""


def elastic(budget: int) -> Answer:
    """Follow the budget down to 40 tokens.

    Below 40 tokens the reply grows again; below 25 it is wrong.
    """
    return (0.9 * budget if budget >= 40 else 40 + 3 * (40 - budget)), budget >= 25


def linear(budget: int) -> Answer:
    """Follow the budget down to a single token, and always be right."""
    return budget, True


def constant(budget: int) -> Answer:
    """Ignore the budget."""
    return VANILLA, True


def always_wrong(budget: int) -> Answer:
    """Be wrong under any budget."""
    return 0.5 * budget, False


def random_replies(budget: int) -> Answer:
    """Answer as a bad die falls."""
    die = (budget * 2654435761 + 97) % 1000 / 1000
    return 1 + 2 * VANILLA * die, die > 0.4


def not_finite(budget: int) -> Answer:
    """Report numbers that are none."""
    return (math.inf, -math.inf, 0.0)[budget % 3], True


QUESTIONS = (elastic, linear, constant, always_wrong, random_replies, not_finite)

Question = Callable[[int], Answer]


def new_study(sampler: "BaseSampler", direction: Direction = "minimize") -> "Study":
    """Return a study in memory, without a line on the screen."""
    import optuna

    with _silence_optuna():
        return optuna.create_study(sampler=sampler, direction=direction)


def tell(study: "Study", trial: "Trial", answer: Answer) -> None:
    """Tell a study the result of a trial.

    It follows the conventions of `tale_dspy.optimizers.samplers.base`.
    """
    tokens, right = answer
    trial.set_constraint("wrong", 0.0 if right else 1.0)
    study.tell(trial, tokens)


def searched(sampler: "BaseSampler", question: Question, vanilla: int = VANILLA, calls: int = CALLS) -> list[int]:
    """Search one question as a `BudgetSearch` does, and return its budgets."""
    from tale_dspy.optimizers.samplers.base import BudgetSampler, history_of

    study, budgets = new_study(sampler), list[int]()
    while len(budgets) < calls and not (isinstance(sampler, BudgetSampler) and sampler.finished(study)):
        trial = study.ask()
        budgets.append(trial.suggest_int("budget", 1, vanilla))
        tell(study, trial, question(budgets[-1]))
    history = history_of(study)
    if isinstance(sampler, BudgetSampler) and history is not None:
        sampler.finish_question(history)
    return budgets


class SamplerSuite:
    """What a `BudgetSearch` asks of any Optuna sampler. Override `sampler`."""

    def sampler(self) -> "BaseSampler":
        """Return a new sampler, always in the same state."""
        raise NotImplementedError  # not abstract: pytest skips abstract classes without a word

    def searches(self) -> Iterator[list[int]]:
        """Search all questions with one sampler, twice over."""
        sampler = self.sampler()
        for question in QUESTIONS * 2:
            yield searched(sampler, question)

    def test_budgets_are_whole_numbers_within_the_range(self) -> None:
        for low, high, step in [(1, 1, 1), (1, 2, 1), (1, 3, 1), (1, 100_000, 1), (5, 9, 1), (7, 7, 1), (3, 33, 10)]:
            study = new_study(self.sampler())
            for _ in range(6):
                trial = study.ask()
                budget = trial.suggest_int("budget", low, high, step=step)
                assert type(budget) is int, type(budget)
                assert budget in range(low, high + 1, step), (low, high, step, budget)
                tell(study, trial, elastic(budget))

    def test_any_answer_is_borne(self) -> None:
        for budgets in self.searches():
            assert budgets
            assert all(1 <= budget <= VANILLA for budget in budgets), budgets

    def test_the_same_questions_in_the_same_order_are_searched_the_same_way(self) -> None:
        assert list(self.searches()) == list(self.searches())

    def test_failed_trials_do_not_end_the_search(self) -> None:
        from optuna.trial import TrialState

        study = new_study(self.sampler())
        for _ in range(3):
            trial = study.ask()
            trial.suggest_int("budget", 1, VANILLA)
            study.tell(trial, state=TrialState.FAIL)
        assert 1 <= study.ask().suggest_int("budget", 1, VANILLA) <= VANILLA

    def test_several_budgets_of_a_question_can_be_asked_at_once(self) -> None:
        study = new_study(self.sampler())
        for _ in range(3):
            running = [study.ask() for _ in range(4)]
            budgets = [trial.suggest_int("budget", 1, VANILLA) for trial in running]
            for trial, budget in reversed(list(zip(running, budgets, strict=True))):
                assert 1 <= budget <= VANILLA
                tell(study, trial, elastic(budget))

    def test_the_best_trial_is_the_right_answer_with_the_fewest_tokens(self) -> None:
        for question in (elastic, linear):
            study = new_study(self.sampler())
            for _ in range(CALLS):
                trial = study.ask()
                tell(study, trial, question(trial.suggest_int("budget", 1, VANILLA)))
            right = [t.value for t in study.trials if t.value is not None and question(t.params["budget"])[1]]
            assert not right or study.best_value == min(right)

    def test_threads_can_share_a_sampler(self) -> None:
        sampler = self.sampler()
        with ThreadPoolExecutor(8) as pool:
            for budgets in pool.map(lambda question: searched(sampler, question), QUESTIONS * 6):
                assert budgets
                assert all(1 <= budget <= VANILLA for budget in budgets), budgets


class BudgetSamplerSuite(SamplerSuite):
    """What a `BudgetSampler` promises beyond an Optuna sampler.

    Override `sampler` and, if it needs more calls, `most_calls`.
    """

    most_calls = CALLS
    """Trials within which each search of the suite must have ended."""

    def sampler(self) -> "BudgetSampler":
        """Return a new sampler, always in the same state."""
        raise NotImplementedError

    def searches(self) -> Iterator[list[int]]:
        """Search all questions with one sampler, twice over, each to its own end."""
        sampler = self.sampler()
        for question in QUESTIONS * 2:
            yield searched(sampler, question, calls=self.most_calls + 1)

    def test_every_search_ends(self) -> None:
        for budgets in self.searches():
            assert len(budgets) <= self.most_calls, budgets

    def test_a_question_without_a_trial_is_not_finished(self) -> None:
        sampler = self.sampler()
        assert not sampler.finished(new_study(sampler))

    def test_the_smallest_questions_end(self) -> None:
        for vanilla in (1, 2, 3):
            for question in QUESTIONS:
                assert len(searched(self.sampler(), question, vanilla, self.most_calls + 1)) <= self.most_calls

    def test_optimize_stops_by_itself_after_the_same_trials(self) -> None:
        for question in (elastic, linear, constant, always_wrong, random_replies):
            study = new_study(self.sampler())

            def objective(trial: "Trial", question: Question = question) -> float:
                tokens, right = question(trial.suggest_int("budget", 1, VANILLA))
                trial.set_constraint("wrong", 0.0 if right else 1.0)
                return tokens

            with _silence_optuna():
                study.optimize(objective, n_trials=self.most_calls + 1)
            alone = searched(self.sampler(), question, calls=self.most_calls + 1)
            assert [t.params["budget"] for t in study.trials] == alone

    def test_asked_on_after_the_end_it_stays_in_the_range(self) -> None:
        for question in QUESTIONS:
            study = new_study(self.sampler())
            for _ in range(self.most_calls + 3):
                trial = study.ask()
                budget = trial.suggest_int("budget", 1, VANILLA)
                assert 1 <= budget <= VANILLA
                tell(study, trial, question(budget))

    def test_asking_twice_changes_nothing(self) -> None:
        from tale_dspy.optimizers.samplers.base import Observation, QuestionHistory

        sampler = self.sampler()
        history = QuestionHistory(VANILLA, tuple(Observation(budget, *elastic(budget)) for budget in (80, 20, 45)))
        decision = (sampler.propose(history), sampler.should_stop(history))
        assert (sampler.propose(history), sampler.should_stop(history)) == decision

    def test_a_range_with_a_step_is_searched_to_its_end(self) -> None:
        for question in QUESTIONS:
            sampler, budgets = self.sampler(), list[int]()
            study = new_study(sampler)
            while len(budgets) <= self.most_calls and not sampler.finished(study):
                trial = study.ask()
                budgets.append(trial.suggest_int("budget", 10, 160, step=50))
                tell(study, trial, question(budgets[-1]))
            assert len(budgets) <= self.most_calls and set(budgets) <= {10, 60, 110, 160}, budgets

    def test_the_budget_may_have_any_name_and_other_parameters_beside_it(self) -> None:
        study = new_study(self.sampler())
        for _ in range(3):
            trial = study.ask()
            assert trial.suggest_categorical("style", ["plain", "short"]) in ("plain", "short")
            assert 0 <= trial.suggest_float("top_p", 0, 1) <= 1
            tell(study, trial, elastic(trial.suggest_int("max_tokens", 1, VANILLA)))
        named = new_study(self.sampler())
        for _ in range(3):
            trial = named.ask()
            tell(named, trial, elastic(trial.suggest_int("budget", 1, VANILLA)))
        assert [t.params["max_tokens"] for t in study.trials] == [t.params["budget"] for t in named.trials]

    def test_jobs_at_once_ask_for_different_budgets(self) -> None:
        sampler = self.sampler()
        study = new_study(sampler)
        with ThreadPoolExecutor(3) as pool:
            budgets = list(
                pool.map(lambda trial: trial.suggest_int("budget", 1, VANILLA), [study.ask() for _ in range(3)])
            )
        assert len(set(budgets)) == 3, budgets

    def test_a_copy_continues_as_the_sampler_would(self) -> None:
        sampler = self.sampler()
        searched(sampler, elastic, calls=self.most_calls + 1)
        for copied in (copy.deepcopy(sampler), pickle.loads(pickle.dumps(sampler))):
            assert searched(copied, linear, calls=4) == searched(copy.deepcopy(sampler), linear, calls=4)

    def test_it_learns_from_anything(self) -> None:
        from tale_dspy.optimizers.samplers.base import Observation, QuestionHistory

        sampler = self.sampler()
        for vanilla in (1, 3, VANILLA, 100_000):
            sampler.finish_question(QuestionHistory(vanilla))
            for question in QUESTIONS:
                budgets = [budget for budget in (1, 2, 40, 150) if budget <= vanilla]
                sampler.finish_question(
                    QuestionHistory(vanilla, tuple(Observation(budget, *question(budget)) for budget in budgets))
                )
        assert searched(sampler, elastic, calls=self.most_calls + 1)

    def test_studies_of_anything_but_a_budget_are_refused(self) -> None:
        asks: list[tuple[Direction, Callable[[Any], Any]]] = [
            ("minimize", lambda trial: trial.suggest_float("budget", 1, 9)),
            ("minimize", lambda trial: trial.suggest_int("budget", 0, 9)),
            ("maximize", lambda trial: trial.suggest_int("budget", 1, 9)),
        ]
        for direction, ask in asks:
            try:
                ask(new_study(self.sampler(), direction).ask())
            except UsageError as e:
                assert type(self.sampler()).__name__ in str(e) or "budget" in str(e)
            else:
                raise AssertionError(f"a study of another kind was searched ({direction})")


@contextmanager
def _silence_optuna() -> Iterator[None]:
    """Keep Optuna from writing a line for each study and trial."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)
