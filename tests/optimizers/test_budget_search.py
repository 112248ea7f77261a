"""BudgetSearch as a user sees it: what it returns, what it keeps, what it asks, and what it survives."""

import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import dspy
import optuna
import pytest
from elastic_replies import LONGEST, TRAIN, asking, elastic_server, need, number_in

import tale_dspy
from tale_dspy.backends.prices import Price
from tale_dspy.errors import BackendError, RunFolderError, SpendCapReached, UnpricedModelError, UsageError
from tale_dspy.optimizers.budget_search import BudgetSearch
from tale_dspy.optimizers.fit_regression import fit_regression
from tale_dspy.optimizers.search.records import load_search
from tale_dspy.programs.estimators.estimator import BudgetEstimator
from tale_dspy.programs.estimators.few_shot_estimator import FewShotEstimator
from tale_dspy.programs.estimators.regression_estimator import RegressionEstimator
from tale_dspy.programs.state import seen_by
from tale_dspy.runs.options import Tally
from tale_dspy.testing import Faults, Reply, Request, ScriptedServer

CHEAP = Price(1e-6, 1e-6)


@pytest.fixture
def student() -> tale_dspy.TaleEP:
    return tale_dspy.TaleEP("question -> answer")


def test_the_program_has_learned_and_the_student_has_not(student: Any, tmp_path: Path) -> None:
    with elastic_server() as server:
        search = BudgetSearch(lm=asking(server), out=tmp_path / "s", sampler="halving")
        program = search.compile(student, trainset=TRAIN)
        requests_before = server.stats.requests
        with dspy.context(lm=asking(server)):
            budget = program(question="What is 5 and 0?").token_budget
        assert server.stats.requests == requests_before + 1  # estimating makes no call
    assert isinstance(program.estimator, RegressionEstimator) and isinstance(student.estimator, BudgetEstimator)
    assert 15 <= budget <= 60
    assert seen_by(student) == {} and set(seen_by(program).values()) == {"search"} and len(seen_by(program)) == 12
    rows = load_search(tmp_path / "s")
    assert sorted(rows, key=lambda r: r.id) == sorted(search.rows, key=lambda r: r.id) and len(rows) == 12
    for row in rows:
        assert row.best is not None and row.vanilla.tokens == LONGEST and row.predictor == "self"
        assert row.best.confirmed.n == row.best.confirmed.right == 2
        assert row.best.tokens <= 30 + 3 * need(number_in(str(row.question)))
    assert (
        requests_before
        == sum(1 + len(r.trials) + 2 for r in rows)
        == search.summary["calls"]
        == search.summary["draws"]
    )
    summary = json.loads((tmp_path / "s" / "summary.json").read_text())
    assert summary["found"] == 12 and summary["best_tokens_mean"] < LONGEST / 2 and summary["stopped"] is None


def test_a_finished_search_is_only_read_and_a_changed_one_refused(student: Any, tmp_path: Path) -> None:
    with elastic_server() as server:
        options: dict[str, Any] = {"lm": asking(server), "out": tmp_path / "s", "sampler": "halving"}
        first = BudgetSearch(**options)
        budgets = [first.compile(student, trainset=TRAIN).estimator(question="?").token_budget]
        requests_before = server.stats.requests
        again = BudgetSearch(**options)
        budgets.append(again.compile(student, trainset=TRAIN).estimator(question="?").token_budget)
        assert server.stats.requests == requests_before and budgets[0] == budgets[1]
        assert again.summary["calls"] == first.summary["calls"]
        with pytest.raises(RunFolderError, match=r"config\.search\.repeats|search\.repeats was 2, now 0"):
            BudgetSearch(**options, repeats=0).compile(student, trainset=TRAIN)


ESTIMATES = """
import json, sys, tale_dspy
program = tale_dspy.load(sys.argv[1])
print(json.dumps([program.estimator(question=q).token_budget for q in json.loads(sys.argv[2])]))
"""


def test_a_saved_program_estimates_the_same_budgets_in_a_new_process(student: Any, tmp_path: Path) -> None:
    def story(n: int) -> str:
        return f"{'It is a long story. ' * n}What is {n} and 0?"

    trainset = [dspy.Example(question=story(n), answer=str(n)).with_inputs("question") for n in range(1, 25)]
    with elastic_server() as server:
        program = BudgetSearch(lm=asking(server)).compile(student, trainset=trainset)
    program.save(tmp_path / "p.json")
    questions = [story(n) + " Or else?" for n in range(50)]
    budgets = [program.estimator(question=q).token_budget for q in questions]
    command = [sys.executable, "-c", ESTIMATES, str(tmp_path / "p.json"), json.dumps(questions)]
    document = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert document == budgets and len(set(budgets)) > 5
    loaded = tale_dspy.load(tmp_path / "p.json")
    with elastic_server() as server, pytest.raises(UsageError, match=r"were used to make this program \(search\)"):
        tale_dspy.evaluate(loaded, trainset, lm=asking(server))


def test_questions_wrong_without_a_budget_are_counted_and_not_searched(student: Any) -> None:
    with elastic_server(lambda number, budget: number > 3) as server:
        search = BudgetSearch(lm=asking(server), sampler="halving", repeats=0)
        search.compile(student, trainset=TRAIN)
    wrong = [r for r in search.rows if r.reason == "wrong without a budget"]
    assert len(wrong) == search.summary["wrong"] == 4 and all(not r.trials and r.best is None for r in wrong)


def test_where_nothing_is_gained_the_estimator_stays(student: Any, caplog: pytest.LogCaptureFixture) -> None:
    with elastic_server(lambda number, budget: budget is None) as server:
        search = BudgetSearch(lm=asking(server), sampler="halving")
        program = search.compile(student, trainset=TRAIN)
    assert isinstance(program.estimator, BudgetEstimator) and search.summary["no_gain"] == 12
    assert "no budget gained anything on 12 questions" in caplog.text
    assert len(seen_by(program)) == 12


def test_few_shot_and_ones_own_estimator_can_be_installed(student: Any) -> None:
    with elastic_server() as server:
        lm = asking(server)
        compiled = BudgetSearch(lm=lm, sampler="halving", estimator="few-shot").compile(student, trainset=TRAIN)
        assert isinstance(compiled.estimator, FewShotEstimator) and len(compiled.estimator.predict.demos) == 8
        search = BudgetSearch(lm=lm, estimator=lambda rows, signature: fit_regression(rows, signature, quantile=0.5))
        assert search.compile(student, trainset=TRAIN).estimator.fitted.quantile == 0.5


def test_without_gold_right_means_the_same_answer_and_is_labelled_so(student: Any, tmp_path: Path) -> None:
    bare = [dspy.Example(question=e.question).with_inputs("question") for e in TRAIN]
    with elastic_server() as server:
        options: dict[str, Any] = {"lm": asking(server), "sampler": "halving", "out": tmp_path / "s"}
        search = BudgetSearch("agrees-with-vanilla", **options)
        search.compile(student, trainset=bare)
    assert {r.judged_by for r in search.rows} == {"agreement"} and {r.gold for r in search.rows} == {None}
    assert search.summary["found"] == 12 and search.summary["judged_by"] == ["agreement"]
    assert any(not t.correct for r in search.rows for t in r.trials)
    assert json.loads((tmp_path / "s" / "run.json").read_text())["config"]["metric"] == "agrees-with-vanilla"


def test_an_answer_that_cannot_be_read_is_nothing_to_agree_with(student: Any) -> None:
    with ScriptedServer("so so") as server:
        search = BudgetSearch("agrees-with-vanilla", lm=asking(server), sampler="halving")
        search.compile(student, trainset=TRAIN)
    assert search.summary["wrong"] == 12


def test_a_metric_of_ones_own_decides(student: Any) -> None:
    def never(example: Any, pred: Any) -> bool:
        return False

    with elastic_server() as server:
        search = BudgetSearch(never, lm=asking(server), sampler="halving")
        search.compile(student, trainset=TRAIN)
    assert search.summary["wrong"] == 12


@pytest.mark.parametrize("engine", ["litellm", "auto"])
def test_tasks_and_threads_find_the_same(engine: str, student: Any) -> None:
    with elastic_server() as server:
        search = BudgetSearch(lm=asking(server, engine=engine), sampler="halving")
        search.compile(student, trainset=TRAIN[6:])
    budgets = {number_in(str(r.question)): r.best.budget for r in search.rows if r.best}
    assert budgets == {n: 60 if n > 8 else 30 for n in range(6, 12)}  # where the tokens of the two meet


def test_any_optuna_sampler_will_do(student: Any) -> None:
    with elastic_server() as server:
        sampler = optuna.samplers.TPESampler(seed=1)
        search = BudgetSearch(lm=asking(server), sampler=sampler, calls_per_question=4, repeats=0)
        search.compile(student, trainset=TRAIN[:3])
        assert server.stats.requests == 3 * 5


class Two(dspy.Module):
    """Looks a number up, then answers: two budgeted predictors."""

    def __init__(self) -> None:
        super().__init__()
        self.look = tale_dspy.BudgetedChainOfThought("question -> answer", 100)
        self.solve = tale_dspy.TaleEP("question, hint -> answer")

    def forward(self, question: str) -> Any:
        return self.solve(question=question, hint=self.look(question=question).answer)


def test_predictors_are_searched_one_after_the_other_under_the_programs_metric(tmp_path: Path) -> None:
    student = Two()
    with elastic_server() as server:
        search = BudgetSearch(lm=asking(server), sampler="halving", out=tmp_path / "s")
        program = search.compile(student, trainset=TRAIN[:4])
        requests_before = server.stats.requests
        again = BudgetSearch(lm=asking(server), sampler="halving", out=tmp_path / "s")
        again.compile(student, trainset=TRAIN[:4])
        assert server.stats.requests == requests_before
    assert isinstance(student.look, tale_dspy.BudgetedChainOfThought)
    assert isinstance(program.look, tale_dspy.TaleEP) and isinstance(program.look.estimator, RegressionEstimator)
    assert isinstance(program.solve.estimator, RegressionEstimator)
    assert list(search.summary["predictors"]) == ["look", "solve"]
    solve = [r for r in search.rows if r.predictor == "solve"]
    assert len(solve) == 4 and all(r.inputs and r.inputs.keys() == {"question", "hint"} for r in solve)
    assert search.rows[0].vanilla.tokens == LONGEST  # the tokens of the one predictor, and not of both


def test_the_summary_of_an_interrupted_search_says_so_until_it_is_finished(student: Any, tmp_path: Path) -> None:
    def interrupt(tally: Tally) -> None:
        if tally.done == 4:
            raise KeyboardInterrupt

    with elastic_server() as server:
        options: dict[str, Any] = {"lm": asking(server), "out": tmp_path / "s", "sampler": "halving"}
        for progress, stopped in ((interrupt, "interrupted"), (None, None)):
            search = BudgetSearch(**options, progress=progress)
            with pytest.raises(KeyboardInterrupt) if progress else nullcontext():
                search.compile(student, trainset=TRAIN)
            assert json.loads((tmp_path / "s" / "summary.json").read_text())["stopped"] == stopped


def test_a_cap_keeps_what_is_finished_and_learns_from_it(student: Any, caplog: pytest.LogCaptureFixture) -> None:
    with elastic_server() as server:
        options: dict[str, Any] = {"lm": asking(server, max_tokens=130), "price": CHEAP, "concurrency": 1}
        search = BudgetSearch(max_usd=0.003, sampler="halving", **options)
        program = search.compile(student, trainset=TRAIN)
        spent = (server.stats.prompt_tokens + server.stats.completion_tokens) * 1e-6
    assert spent <= 0.003 and 0 < len(search.rows) < 12
    assert search.stopped and "spend cap reached" in search.stopped and search.summary["stopped"] == "cap"
    assert isinstance(program.estimator, RegressionEstimator) and len(seen_by(program)) == len(search.rows)
    assert "the search ended after" in caplog.text
    assert search.caps.ledger.spent_usd == pytest.approx(spent)


def test_a_cap_before_the_first_question_is_raised(student: Any) -> None:
    with elastic_server() as server, pytest.raises(SpendCapReached, match="spend cap reached"):
        lm = asking(server, max_tokens=130)
        BudgetSearch(max_usd=0.0001, price=CHEAP, lm=lm, sampler="halving").compile(student, trainset=TRAIN)


def test_a_cap_without_a_price_is_refused(student: Any) -> None:
    with elastic_server() as server, pytest.raises(UnpricedModelError, match="max_usd needs a price"):
        BudgetSearch(max_usd=1, lm=asking(server), sampler="halving").compile(student, trainset=TRAIN)


def test_a_question_that_cannot_be_asked_is_told_and_asked_again(student: Any, tmp_path: Path) -> None:
    with elastic_server() as server:
        server.faults = Faults(server_error=1.0, tries=None, only="What is 3 and 0?")
        options: dict[str, Any] = {"lm": asking(server), "sampler": "halving", "out": tmp_path / "s", "retries": 0}
        search = BudgetSearch(**options)
        search.compile(student, trainset=TRAIN)
        assert search.summary["errors"] == 1 and search.summary["found"] == 11
        server.faults = Faults()
        again = BudgetSearch(**options)
        again.compile(student, trainset=TRAIN)
    assert again.summary["errors"] == 0 and len(load_search(tmp_path / "s")) == 12


def test_a_refusal_of_everything_ends_the_search(student: Any) -> None:
    with elastic_server(faults=Faults(unauthorized=True)) as server, pytest.raises(BackendError, match="refuses"):
        BudgetSearch(lm=asking(server), sampler="halving").compile(student, trainset=TRAIN)
    with elastic_server(faults=Faults(bad_request=True)) as server, pytest.raises(BackendError, match="no question"):
        BudgetSearch(lm=asking(server), sampler="halving").compile(student, trainset=TRAIN)


def test_fresh_draws_never_come_from_the_cache(student: Any) -> None:
    prompts: list[str] = []

    def reply(request: Request) -> Reply:
        prompts.append(request.prompt)
        return Reply("so " * (30 if "tokens" in request.prompt else 100) + f"Answer: [[{number_in(request.prompt)}]]")

    with ScriptedServer(reply) as server:
        options: dict[str, Any] = {"lm": asking(server, cache=True, temperature=0.7), "sampler": "halving"}
        BudgetSearch(**options, repeats=2).compile(student, trainset=TRAIN[:1])
    assert max(prompts.count(prompt) for prompt in prompts) == 3  # the trial, and two draws that are really sent


def test_there_must_be_a_model(student: Any) -> None:
    with pytest.raises(UsageError, match="no language model"):
        BudgetSearch(sampler="halving").compile(student, trainset=TRAIN)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"metric": "accuracy"}, "metric must be a function, None or 'agrees-with-vanilla'"),
        ({"sampler": "random"}, "sampler must be one of"),
        ({"estimator": "guess"}, "estimator must be regression or few-shot"),
        ({"calls_per_question": 0}, "calls_per_question must be"),
        ({"repeats": -1}, "repeats must be"),
        ({"max_usd": 0}, "max_usd must be a number above 0"),
        ({"concurrency": 0}, "concurrency must be"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        BudgetSearch(**options)


def test_what_is_no_sampler_is_refused(student: Any) -> None:
    with elastic_server() as server, pytest.raises(UsageError, match="an Optuna sampler, got 3"):
        BudgetSearch(sampler=3, lm=asking(server)).compile(student, trainset=TRAIN)  # type: ignore[arg-type]
