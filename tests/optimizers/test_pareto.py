"""ParetoSearch finds what makes answers right and short, within its caps, and reports it as measured again."""

import sys
from pathlib import Path
from typing import Any

import dspy
import optuna
import pytest
from fake_lm import FakeLM, fake_lm

import tale_dspy
from tale_dspy.backends.prices import Price
from tale_dspy.errors import MissingExtraError, SpendCapReached, UsageError
from tale_dspy.optimizers.pareto import ParetoSearch
from tale_dspy.optimizers.search_space import SearchSpace
from tale_dspy.testing.problems import budget_of

TRAIN = [dspy.Example(question=f"What is {n} and 0?", answer=str(n)).with_inputs("question") for n in range(24)]
BRIEF = "Be brief."
SPACE = SearchSpace(wordings=[BRIEF], demos=(0, 2), scales=(0.25, 4.0))
PRICED: dict[str, Any] = {"price": Price(1e-6, 1e-6)}


def solve(prompt: str) -> str:
    """Right from a budget of 30 on, in as many words as the budget, or half as many where it is told to be brief."""
    if "[[budget]]" in prompt:
        return "[[60]]"
    budget, number = budget_of(prompt) or 0, prompt.split(" and 0?")[-2].rpartition(" ")[2]
    words = min(budget, 200) // (2 if BRIEF in prompt else 1)
    return "so " * words + f"Answer: [[{number if budget >= 30 or int(number) % 4 == 0 else 'x'}]]"


@pytest.fixture
def lm() -> FakeLM:
    return fake_lm(solve, temperature=1.0)


@pytest.fixture
def student() -> Any:
    return tale_dspy.TaleEP("question -> answer")


def test_the_front_beats_the_program_as_it_was(student: Any, lm: FakeLM) -> None:
    search = ParetoSearch(space=SPACE, trials=16, lm=lm, max_loss=0.0, **PRICED)
    best = search.compile(student, trainset=TRAIN)
    accurate = search.front.pick(max_loss=0.0)
    assert best is accurate.program and accurate.measured.accuracy == 1.0 and accurate.is_fresh
    assert accurate.choices["wording"] == BRIEF and accurate.measured.tokens < 45, (
        "as it was: 60 words and the estimate"
    )
    assert BRIEF in best.predict.signature.instructions and student.predict.signature.instructions != BRIEF
    assert [p.measured.accuracy for p in search.front] == sorted(p.measured.accuracy for p in search.front)
    short = search.front.pick(max_tokens=accurate.measured.tokens - 1)
    assert short.measured.accuracy < 1.0 and short.measured.cost_usd is not None


def test_a_program_of_an_effort_word_is_tuned_without_a_factor(lm: FakeLM) -> None:
    student = tale_dspy.BudgetedChainOfThought("question -> answer", effort="low", mode="prompt")
    search = ParetoSearch(space=SPACE, trials=2, lm=lm, **PRICED)
    search.search(student, TRAIN)
    assert search.trials_made >= 1 and all("scale" not in point.choices for point in search.front)


def test_the_sampler_is_asked_for_more_accuracy_and_for_fewer_tokens_and_dollars(
    student: Any, lm: FakeLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    goals: list[list[tuple[str, float]]] = []

    def after_trial(sampler: Any, study: Any, trial: Any, state: Any, values: Any) -> None:
        goals.append([(direction.name, value) for direction, value in zip(study.directions, values, strict=True)])

    monkeypatch.setattr(optuna.samplers.TPESampler, "after_trial", after_trial)
    ParetoSearch(space=SPACE, trials=2, lm=lm, **PRICED).compile(student, trainset=TRAIN)
    (accuracy, tokens, usd), *_ = goals
    assert [accuracy[0], tokens[0], usd[0]] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE"]
    assert accuracy[1] <= 1 < tokens[1] and 0 < usd[1] < 1


def test_it_remembers_what_it_was_tuned_on(student: Any, lm: FakeLM) -> None:
    search = ParetoSearch(space=SPACE, trials=3, lm=lm, **PRICED)
    best = search.compile(student, trainset=TRAIN)
    roles = list(best.seen.roles.values())
    assert (roles.count("train"), roles.count("val")) == (6, 18) and best.seen.model == lm.model
    with pytest.raises(UsageError, match="24 of 24 questions were used to make this program"):
        tale_dspy.evaluate(best, TRAIN, lm=lm)
    assert student.seen.roles == {}


def test_a_killed_search_goes_on_and_asks_nothing_again(student: Any, lm: FakeLM, tmp_path: Path) -> None:
    first = ParetoSearch(space=SPACE, trials=6, lm=lm, out=tmp_path, **PRICED)
    first.compile(student, trainset=TRAIN)
    count = len(lm.prompts)
    again = ParetoSearch(space=SPACE, trials=6, lm=lm, out=tmp_path, **PRICED)
    again.compile(student, trainset=TRAIN)
    assert len(lm.prompts) == count and str(again.front) == str(first.front)
    saved = tale_dspy.load(tmp_path / "front" / "program-01.json")
    assert saved.dump_state() == again.front[0].program.dump_state()


def test_the_front_is_measured_on_fresh_uncached_draws(student: Any) -> None:
    lm = fake_lm(solve, cache=True)
    search = ParetoSearch(space=SearchSpace(wordings=[BRIEF], demos=(), scales=None), trials=4, lm=lm)
    search.compile(student, trainset=TRAIN)
    assert [p.choices for p in search.front] == [{"wording": BRIEF}] and search.trials_made == 2
    reasoned = [p for p in lm.prompts if "[[budget]]" not in p]
    assert len(reasoned) == 2 * len(TRAIN) + len(TRAIN), "two wordings, and the winner once more"


def test_a_cap_keeps_what_was_finished(student: Any) -> None:
    lm = fake_lm(solve, max_tokens=250)
    options: dict[str, Any] = {"lm": lm, "price": Price(0, 1e-6), "concurrency": 1}
    space = SearchSpace(wordings=[BRIEF], demos=(), scales=(0.5, 2.0))
    search = ParetoSearch(space=space, trials=9, max_usd=0.005, **options)
    assert isinstance(search.compile(student, trainset=TRAIN), tale_dspy.TaleEP)
    assert search.stopped and "spend cap reached" in search.stopped and 0 < search.trials_made < 9
    assert not search.front[0].is_fresh and "(not measured again)" in str(search.front)
    with pytest.raises(SpendCapReached):
        ParetoSearch(space=space, max_usd=0.0005, **options).compile(student, trainset=TRAIN)


def test_a_metric_of_ones_own_and_a_valset(student: Any, lm: FakeLM) -> None:
    def never(example: Any, pred: Any, trace: Any = None) -> bool:
        return False

    search = ParetoSearch(never, space=SPACE, trials=2, lm=lm)
    search.compile(student, trainset=TRAIN[:4], valset=TRAIN[4:])
    assert search.front[0].measured.accuracy == 0.0 and search.front[0].measured.n == 20


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"trials": 0}, "trials must be a whole number"),
        ({"max_loss": 2}, "max_loss must be a fraction"),
        ({"max_usd": 0}, "max_usd must be a number above 0"),
        ({"concurrency": 0}, "concurrency must be a whole number"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ParetoSearch(**options)


def test_without_optuna_the_pip_line_is_said(student: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tale-dspy\[search\]'"):
        ParetoSearch().compile(student, trainset=TRAIN)


def test_a_provider_that_tells_no_tokens_is_said(student: Any) -> None:
    class Silent(dspy.BaseLM):  # type: ignore[misc]
        def forward(self, prompt: Any = None, messages: Any = None, **kwargs: Any) -> Any:
            raise NotImplementedError

        def __call__(self, prompt: Any = None, messages: Any = None, **kwargs: Any) -> list[str]:
            return ["[[5]]"]

    with pytest.raises(UsageError, match="the provider tells no tokens"):
        ParetoSearch(space=SPACE, lm=Silent("x")).compile(student, trainset=TRAIN)
