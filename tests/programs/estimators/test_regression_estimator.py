"""RegressionEstimator: a budget without a call, for any input, the same in any process."""

import asyncio
import copy
import json
import math
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import dspy
import pytest
from fake_lm import fake_lm, sections

import tale_dspy
from tale_dspy.errors import SignatureError, StateError, UsageError
from tale_dspy.programs.estimators.regression import EmbeddingProjection, FeatureTerm, Regression
from tale_dspy.programs.estimators.regression_estimator import RegressionEstimator
from tale_dspy.programs.registry import registered_modules
from tale_dspy.programs.tale_ep import TaleEP

WORDS = FeatureTerm("question.words", centre=math.log(11), scale=0.5, weight=0.5)
LINE = Regression(math.log(40), (WORDS,), quantile=0.9, rows=400, penalty=0.02)
TEN = " ".join("word" for _ in range(10))


def estimator(signature: str = "question -> answer", **options: Any) -> RegressionEstimator:
    return RegressionEstimator(signature, **{"regression": LINE, "default": 70, **options})


def test_more_words_more_budget_and_no_call() -> None:
    with dspy.context(lm=None):
        assert [estimator()(question="word " * n).token_budget for n in (5, 10, 20)] == [22, 40, 77]


def test_the_receipt_tells_an_estimate_without_calls() -> None:
    pred = asyncio.run(estimator().acall(question=TEN))
    document = json.loads(json.dumps(pred.receipt, allow_nan=False))
    assert (pred.keys(), pred.estimate_tokens, document["calls"]) == (["token_budget"], None, [])
    assert (document["token_budget"], document["budget_source"], document["estimate"]) == (40, "estimate", 40.0)


@pytest.mark.parametrize(
    ("inputs", "budget", "source"),
    [
        ({}, 70, "fallback"),
        ({"question": None}, 70, "fallback"),
        ({"question": " \n"}, 70, "fallback"),
        pytest.param({"question": object()}, 70, "fallback", id="no text"),
        ({"question": 7}, 8, "estimate"),
        ({"question": ["a b c d e", "f g h i j"]}, 40, "estimate"),
        ({"question": "\ud800 " * 8}, 70, "estimate"),
        ({"question": "word " * 200_000}, 296, "estimate"),
        ({"question": TEN, "other": 1, "lm": None}, 40, "estimate"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_any_input_gets_a_sensible_budget(inputs: dict[str, Any], budget: int, source: str) -> None:
    pred = estimator()(**inputs)
    assert (pred.token_budget, pred.receipt["budget_source"]) == (budget, source)


def test_limits_hold() -> None:
    limited = estimator(floor=35, ceiling=45)
    assert [limited(question="word " * n).token_budget for n in (5, 10, 20)] == [35, 40, 45]


def test_one_that_was_not_fitted_gives_the_default() -> None:
    empty = RegressionEstimator("question -> answer", default=33)
    assert (empty.fitted, empty(question=TEN).token_budget) == (None, 33)


def test_several_inputs_are_counted_apart_and_outputs_not_at_all() -> None:
    line = Regression(LINE.intercept, (FeatureTerm("context.words", math.log(11), 0.5, 0.5),), 0.9, 400)
    both = estimator("context: list[str], question -> a, b: int", regression=line)
    assert both(context=TEN, question="word " * 500).token_budget == 40
    assert repr(both) == "RegressionEstimator('context, question -> token_budget')"


@pytest.mark.parametrize(
    ("signature", "options", "error", "said"),
    [
        ("question, token_budget -> answer", {}, SignatureError, "token_budget"),
        ("-> answer", {}, UsageError, "must have an input"),
        ("question -> answer", {"floor": 0}, UsageError, "floor must be"),
        ("question -> answer", {"embedder": len}, UsageError, "embedder must be a dspy.Embedder"),
        ("query -> answer", {"regression": LINE}, StateError, "question.words"),
    ],
)
def test_what_cannot_be_built_is_refused(signature: str, options: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        RegressionEstimator(signature, **options)


# ---- within a program


def test_a_program_reasons_within_its_budget_for_one_call() -> None:
    lm = fake_lm(lambda p: sections(p, "7"))
    program = TaleEP("question -> answer", estimator())
    with dspy.context(lm=lm):
        pred = program(question=TEN)
    assert (pred.token_budget, pred.receipt["budget_source"], len(lm.prompts)) == (40, "estimate", 1)
    assert (pred.estimate_tokens, pred.output_tokens, len(pred.receipt["calls"])) == (None, 5, 1)
    assert "under 40 tokens" in lm.prompts[0]


def test_the_programs_scale_holds_for_estimates_and_not_for_the_default() -> None:
    program = TaleEP("question -> answer", estimator(), scale=2)
    with dspy.context(lm=fake_lm("[[7]]")):
        assert [program(question=q).token_budget for q in (TEN, "")] == [80, 70]


def test_it_is_no_predictor_and_its_copy_is_whole() -> None:
    program = TaleEP("question -> answer", estimator())
    copied = copy.deepcopy(program)
    assert [name for name, _ in program.named_predictors()] == ["predict"]
    assert copied.estimator(question=TEN).token_budget == 40
    assert copied.estimator.regression is not program.estimator.regression


# ---- saved


LOADED = """
import sys, tale_dspy
program = tale_dspy.load(sys.argv[1])
print(*[program.estimator(question="word " * n).token_budget for n in range(40)], "sklearn" in sys.modules)
"""


def test_a_saved_program_estimates_the_same_in_another_process(tmp_path: Path) -> None:
    program = TaleEP("question -> answer", estimator(floor=12, ceiling=200))
    program.estimator.seen.add(["id"], "search")
    program.save(tmp_path / "p.json")
    command = [sys.executable, "-c", LOADED, str(tmp_path / "p.json")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert printed == [*(str(program.estimator(question="word " * n).token_budget) for n in range(40)), "False"]
    assert tale_dspy.load(tmp_path / "p.json").dump_state() == program.dump_state()


def test_a_saved_program_loads_into_one_that_has_such_an_estimator_and_no_other(tmp_path: Path) -> None:
    TaleEP("question -> answer", estimator()).save(tmp_path / "p.json")
    built = TaleEP("question -> answer", RegressionEstimator("question -> answer"))
    built.load(tmp_path / "p.json")
    assert built.estimator.fitted == LINE
    with pytest.raises(StateError, match=r"estimator\.predict"):
        TaleEP("question -> answer").load(tmp_path / "p.json")


@pytest.mark.parametrize("name", ["BudgetEstimator", "FewShotEstimator", "RegressionEstimator"])
def test_every_estimator_is_loaded_with_its_program(name: str, tmp_path: Path) -> None:
    estimator: Any = registered_modules()[name]
    program = TaleEP("context, question -> answer", estimator("question -> answer", floor=3), ["question"])
    program.save(tmp_path / "p.json")
    loaded = tale_dspy.load(tmp_path / "p.json")
    assert (type(loaded.estimator).__name__, loaded.estimator.limits.value.floor) == (name, 3)
    assert loaded.dump_state() == program.dump_state()


JUNK: list[Any] = [None, 5, -1.5, "", "question.words", [], {}, [None], {"a": []}, True, [[]], 10**400, "\ud800", 1e300]


def test_no_change_of_a_file_raises_anything_but_state_errors_then_or_later(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    estimator().save(path)
    whole = json.loads(path.read_text())
    chance = random.Random(0)
    for _ in range(300):
        state = copy.deepcopy(whole)
        part: Any = state
        while isinstance(part, dict | list) and part:
            key = chance.choice(list(part)) if isinstance(part, dict) else chance.randrange(len(part))
            if chance.random() < 0.3:
                part[key] = chance.choice(JUNK)
                break
            part = part[key]
        path.write_text(json.dumps(state))
        try:
            assert tale_dspy.load(path)(question=TEN).token_budget >= 1
        except StateError:
            continue


# ---- with an embedder


def lengths(texts: list[str]) -> list[list[float]]:
    return [[float(len(text)), 1.0] for text in texts]


EMBEDDER = dspy.Embedder(lengths, caching=False)
BY_LENGTH = Regression(
    math.log(40),
    (FeatureTerm("embedding.0", 0.0, 10.0, 0.5),),
    0.9,
    400,
    0.02,
    "",
    EmbeddingProjection((49.0, 1.0), ((1.0, 0.0),)),
)


def test_features_of_an_embedding_are_used_in_threads_and_tasks() -> None:
    program = estimator("question, hint -> answer", regression=BY_LENGTH, embedder=EMBEDDER)
    assert program(question="x" * 49, hint=" ").token_budget == 40
    assert asyncio.run(program.acall(question="x" * 49, hint="y" * 9)).token_budget == math.ceil(40 * math.exp(0.5))
    assert program(question="").token_budget == 70


def test_an_embedder_is_given_again_to_load_and_shared_by_copies(tmp_path: Path) -> None:
    program = TaleEP("question -> answer", estimator(regression=BY_LENGTH, embedder=EMBEDDER))
    program.save(tmp_path / "p.json")
    with pytest.raises(StateError, match=r"fitted with an embedder, which no file holds.*embedder="):
        tale_dspy.load(tmp_path / "p.json")
    loaded = tale_dspy.load(tmp_path / "p.json", embedder=EMBEDDER)
    assert loaded.estimator(question="x" * 49).token_budget == 40
    assert copy.deepcopy(loaded).estimator.embedder is EMBEDDER


def test_another_embedder_is_noticed() -> None:
    other = estimator(regression=BY_LENGTH, embedder=dspy.Embedder(lambda texts: [[1.0, 2.0, 3.0]], caching=False))
    with pytest.raises(UsageError, match="gives 3 numbers, the estimator was fitted with 2"):
        other(question="x")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_embedding_that_is_no_number_gives_a_budget_all_the_same(value: float) -> None:
    odd = estimator(regression=BY_LENGTH, embedder=dspy.Embedder(lambda texts: [[value, 1.0]], caching=False))
    assert odd(question="x").token_budget >= 1
