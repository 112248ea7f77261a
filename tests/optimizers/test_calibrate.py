"""A calibration keeps its guarantee, costs no call too many, and says what it could not show."""

import random
from pathlib import Path
from typing import Any

import dspy
import pytest
from fake_lm import FakeLM, fake_lm
from scipy.stats import binomtest

import tale_dspy
from tale_dspy.backends.prices import Price
from tale_dspy.errors import UsageError
from tale_dspy.optimizers.calibrate import calibrate, in_sequence, least_n, scale_qualifies
from tale_dspy.programs.estimators.effort_estimator import OrdinalRegression
from tale_dspy.programs.estimators.regression import FeatureTerm
from tale_dspy.statistics import binomial_upper_bound
from tale_dspy.testing import EffortReply, ScriptedServer, word_problems
from tale_dspy.testing.problems import budget_of

N = 60
EPSILON, DELTA = 0.05, 0.05  # 59 questions at least
VAL = [dspy.Example(question=f"What is {n} and 0?", answer=str(n)).with_inputs("question") for n in range(N)]
SCALES = (2.0, 1.0, 0.5, 0.25)


def solve(prompt: str) -> str:
    """Right from a budget of 20 on; below, every second question is lost. Question 7 is never answered."""
    budget, number = budget_of(prompt), int(prompt.split(" and 0?")[0].rpartition(" ")[2])
    lost = number == 7 or (budget is not None and budget < 20 and number % 2)
    return "so " * min(budget or 100, 100) + f"Answer: [[{'x' if lost else number}]]"


@pytest.fixture
def lm() -> FakeLM:
    return fake_lm(solve, temperature=0.5)


@pytest.fixture
def student() -> Any:
    return tale_dspy.BudgetedChainOfThought("question -> answer", 40)


def test_the_smallest_scale_before_the_first_that_fails_is_taken(student: Any, lm: FakeLM) -> None:
    calibrated = calibrate(student, VAL, EPSILON, DELTA, scales=SCALES, lm=lm)
    assert [(t.scale, t.n, t.lost, t.passed) for t in calibrated.tests] == [
        (2.0, N, 0, True), (1.0, N, 0, True), (0.5, N, 0, True), (0.25, N, 29, False)
    ]  # fmt: skip
    assert calibrated.scale == 0.5 and calibrated.program.token_budget == 20 and student.token_budget == 40
    assert len(lm.prompts) == N + 4 * (N - 1), "a question that is wrong without a budget is not asked again"
    assert str(calibrated).startswith(
        "Scale 0.5 qualifies: at most 5 % of right answers lost, confidence 95 %. The least"
    )
    assert "scale 0.25: 29 of 60 lost, at most 59.65 %" in str(calibrated) and "(failed)" in str(calibrated)


def test_the_guarantee_is_bound_to_what_was_measured(student: Any, lm: FakeLM, tmp_path: Path) -> None:
    calibrated = calibrate(student, VAL, EPSILON, DELTA, scales=(1.0,), lm=lm)
    calibrated.program.save(tmp_path / "p.json")
    guarantee = tale_dspy.load(tmp_path / "p.json").fixed.guarantee
    assert guarantee == calibrated.program.fixed.guarantee
    assert (guarantee.model, guarantee.adapter, guarantee.temperature, guarantee.mode) == (
        "fake/model",
        "TaleAdapter",
        0.5,
        "auto",
    )
    assert (guarantee.n, guarantee.lost, guarantee.scale, guarantee.data) == (N, 0, 1.0, "examples")
    with pytest.raises(UsageError, match=r"60 of 60 questions were used to make this program \(val\)"):
        calibrate(calibrated.program, VAL, EPSILON, DELTA, lm=lm)


def test_a_program_that_is_changed_afterwards_has_no_guarantee(
    student: Any, lm: FakeLM, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calibrate(student, VAL, EPSILON, DELTA, scales=(1.0,), lm=lm).program.save(tmp_path / "p.json")
    program, fresh = tale_dspy.load(tmp_path / "p.json"), [dspy.Example(question="What is 99 and 0?", answer="99")]
    examples = [example.with_inputs("question") for example in fresh]
    tale_dspy.evaluate(program, examples, lm=lm)
    assert "void" not in caplog.text
    program.predict.signature = program.predict.signature.with_instructions("Sing.")
    tale_dspy.evaluate(program, examples, lm=lm)
    assert "void here: the program was changed afterwards" in caplog.text


def test_when_nothing_qualifies_it_says_so(student: Any, lm: FakeLM) -> None:
    calibrated = calibrate(student, VAL, EPSILON, DELTA, scales=(0.25, 0.1), lm=lm)
    assert (calibrated.scale, calibrated.program, len(calibrated.tests)) == (None, None, 1)
    assert str(calibrated).startswith("No scale qualifies: at most 5 %")
    assert "The least number of questions is 59, with none lost." in str(calibrated)


@pytest.mark.parametrize(
    ("epsilon", "delta", "n"), [(0.01, 0.05, 299), (0.05, 0.05, 59), (0.5, 0.5, 1), (0.1, 0.1, 22)]
)
def test_the_least_number_is_the_one_from_which_on_none_lost_is_proof(epsilon: float, delta: float, n: int) -> None:
    assert least_n(epsilon, delta) == n
    assert scale_qualifies(0, n, epsilon, delta) and (n == 1 or not scale_qualifies(0, n - 1, epsilon, delta))


@pytest.mark.parametrize(("lost", "n"), [(0, 299), (3, 400), (1, 1), (40, 60)])
def test_the_bound_is_that_of_clopper_and_pearson(lost: int, n: int) -> None:
    exact = binomtest(lost, n).proportion_ci(0.9, method="exact")  # two-sided: 5 % on each side
    assert binomial_upper_bound(lost, n, 0.05) == pytest.approx(exact.high)
    assert scale_qualifies(lost, n, min(1.0, binomial_upper_bound(lost, n, 0.05) + 1e-9), 0.05) == (lost < n)


def test_a_scale_behind_one_that_failed_is_not_looked_at() -> None:
    scales: list[float] = []

    def counts() -> Any:
        for scale, lost in ((3.0, 0), (2.0, 9), (1.0, 0)):
            scales.append(scale)
            yield scale, 300, lost, None

    assert [t.passed for t in in_sequence(counts(), 0.01, 0.05)] == [True, False]
    assert scales == [3.0, 2.0]


def test_over_400_resampled_splits_the_guarantee_is_broken_no_more_often_than_allowed() -> None:
    # The share lost grows as budgets shrink; scale 0.5 lies just beyond the guarantee, the worst case for a test.
    chance, epsilon, delta = random.Random(0), 0.02, 0.1
    truth = {2.0: 0.004, 1.0: 0.008, 0.5: 0.0201, 0.25: 0.06}
    population = {s: [chance.random() < p for _ in range(5000)] for s, p in truth.items()}
    population[0.5] = [i < 101 for i in range(5000)]
    broken = 0
    for _ in range(400):
        drawn = chance.choices(range(5000), k=400)
        counts = ((s, 400, sum(population[s][i] for i in drawn), None) for s in truth)
        passed = [t.scale for t in in_sequence(counts, epsilon, delta) if t.passed]
        broken += bool(passed) and sum(population[min(passed)]) / 5000 > epsilon
    assert broken > 0, "the case is no test if the guarantee is never in danger"
    assert binomtest(broken, 400, delta, alternative="greater").pvalue > 0.01


def test_replies_that_grow_again_are_reported(student: Any) -> None:
    def rebound(prompt: str) -> str:
        return ("so " * (200 if (budget_of(prompt) or 99) < 30 else 30)) + solve(prompt)

    calibrated = calibrate(student, VAL, EPSILON, DELTA, scales=(1.0, 0.5), lm=fake_lm(rebound))
    assert calibrated.scale == 0.5 and "Scale 1 qualifies, too, with fewer tokens" in str(calibrated)


def test_a_cap_keeps_the_scales_finished_until_then(student: Any, lm: FakeLM) -> None:
    options: dict[str, Any] = {"price": Price(0, 1e-6), "concurrency": 1, "max_usd": 0.0122}
    capped = fake_lm(solve, max_tokens=120)
    calibrated = calibrate(student, VAL, EPSILON, DELTA, scales=(1.0, 0.9, 0.5), lm=capped, **options)
    assert [t.scale for t in calibrated.tests] == [1.0, 0.9] and calibrated.scale == 0.9
    assert calibrated.stopped and "spend cap reached" in str(calibrated)


def test_a_cap_before_the_first_scale_leaves_none(student: Any) -> None:
    lm = fake_lm(solve, max_tokens=120)
    calibrated = calibrate(student, VAL, EPSILON, DELTA, lm=lm, price=Price(0, 1e-6), max_usd=0.001, concurrency=1)
    assert (calibrated.scale, calibrated.program, calibrated.tests) == (None, None, ())


def test_a_killed_calibration_goes_on_where_it_was(student: Any, lm: FakeLM, tmp_path: Path) -> None:
    calibrate(student, VAL, EPSILON, DELTA, scales=(1.0, 0.5), lm=lm, out=tmp_path)
    count = len(lm.prompts)
    assert calibrate(student, VAL, EPSILON, DELTA, scales=(1.0, 0.5), lm=lm, out=tmp_path).scale == 0.5
    assert len(lm.prompts) == count


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epsilon": 0.01}, r"60 questions cannot prove .* at least 299 are needed"),
        ({"epsilon": 0}, "epsilon must be between 0 and 1"),
        ({"delta": 1}, "delta must be between 0 and 1"),
        ({"scales": []}, "scales must be one or more positive numbers"),
        ({"scales": [1, -1]}, "scales must be one or more positive numbers"),
        ({"repeats": 2}, "asks every question once"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(student: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        calibrate(student, VAL, **{"epsilon": EPSILON, "delta": DELTA, **options})


def test_a_model_that_is_never_right_is_not_calibrated(student: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none of 60 questions is answered rightly without a budget: see .*vanilla"):
        calibrate(student, VAL, EPSILON, DELTA, lm=fake_lm("Answer: [[x]]"), out=tmp_path)


def thinking_model() -> EffortReply:
    bank = {p["question"]: p["answer"] for p in word_problems(N)}
    ordered = sorted(bank, key=len)
    place = {question: n / len(ordered) for n, question in enumerate(ordered)}
    return EffortReply(bank, default="high", words=("none", "low", "high"), difficulty=lambda q: 0.66 * place[q])


def asked_of(model: EffortReply, program: Any, **settings: Any) -> tuple[Any, list[Any]]:
    """Calibrate on a model of words, and return what came of it with the bodies of the requests."""
    examples = [dspy.Example(question=q, answer=a).with_inputs("question") for q, a in model.right.bank.items()]
    with ScriptedServer(model) as server:
        gpt = tale_dspy.LM("openai/gpt-5.2", api_base=server.url, api_key="any", engine="auto", cache=False)
        calibrated = calibrate(program, examples, EPSILON, DELTA, lm=gpt, **settings)
        return calibrated, [request.body for request in server.requests]


def test_the_lowest_word_that_keeps_the_guarantee_is_taken() -> None:
    program = tale_dspy.BudgetedChainOfThought("question -> answer", effort="high")
    calibration, _ = asked_of(thinking_model(), program, efforts=["none", "low", "high"])
    assert [(str(t), t.passed) for t in calibration.tests] == [
        ("effort high", True),
        ("effort low", True),
        ("effort none", False),
    ]
    assert calibration.scale == "low" and calibration.program.effort == "low" and program.effort == "high"
    assert str(calibration).startswith("Effort low qualifies: at most 5 % of right answers lost")
    assert calibration.program.fixed.guarantee.scale == "low"


def test_thinking_is_switched_off_where_that_loses_nothing() -> None:
    model = thinking_model()
    model.difficulty = lambda question: 0.0
    program = tale_dspy.BudgetedChainOfThought("question -> answer", effort="high")
    calibration, bodies = asked_of(model, program, efforts=["none", "low"])
    assert calibration.scale == "none" and bodies[-1]["reasoning_effort"] == "none"


def test_the_confidence_of_an_estimator_of_words_is_turned_down_as_far_as_the_guarantee_holds(tmp_path: Path) -> None:
    terms = (FeatureTerm("question.characters", 5.0, 0.2, 3.0),)
    estimator = tale_dspy.EffortEstimator(
        "question -> answer", regression=OrdinalRegression(("none", "low"), (-2.0, 30.0), terms, 0.999, 60)
    )
    program = tale_dspy.TaleEP("question -> answer", estimator)
    calibration, _ = asked_of(thinking_model(), program, confidences=[0.5, 0.999, 0.01])
    assert (
        calibration.tests[0].passed
        and not calibration.tests[-1].passed
        and str(calibration.tests[0]) == "confidence 0.999"
    )
    assert (
        calibration.program.estimator.fitted.confidence == calibration.scale
        and program.estimator.fitted.confidence == 0.999
    )
    calibration.program.save(tmp_path / "p.json")
    assert tale_dspy.load(tmp_path / "p.json").limits.guarantee.scale == calibration.scale


def test_what_cannot_be_turned_down_is_said_before_anything_is_asked(student: Any, lm: FakeLM) -> None:
    with pytest.raises(UsageError, match="efforts or confidences, not both"):
        calibrate(student, VAL, efforts=["low"], confidences=[0.9], lm=lm)
    with pytest.raises(UsageError, match="no fitted EffortEstimator"):
        calibrate(student, VAL, EPSILON, DELTA, confidences=[0.9], lm=lm)
    worded = tale_dspy.BudgetedChainOfThought("question -> answer", effort="low")
    with pytest.raises(UsageError, match="effort low cannot be multiplied"):
        calibrate(worded, VAL, EPSILON, DELTA, lm=lm)
    assert lm.prompts == []
