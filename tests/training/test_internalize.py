"""From a program to the same program on a trained model: what is searched is scripted, what is tuned is real."""

import json
import logging
import re
import sys
from pathlib import Path
from typing import Any

import dspy
import pytest
from elastic_replies import TRAIN, reply
from fake_lm import AsyncFakeEngine, FakeEngine

import tale_dspy
from tale_dspy.errors import SpendCapReached, UsageError
from tale_dspy.optimizers.search.records import load_search
from tale_dspy.programs.state import seen_by
from tale_dspy.training.internalize import InternalizeBudget
from tale_dspy.training.options import DpoOptions, SftOptions

sys.path.append(str(Path(__file__).parents[1] / "backends" / "local"))  # tiny_models

VAL = [dspy.Example(question=f"What is {n} and 0?", answer=str(n)).with_inputs("question") for n in range(20, 24)]
QUICK = {"epochs": 1, "batch_size": 8, "checkpoint_every": 0}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny_models import make_model
    from transformers.utils import logging

    logging.disable_progress_bar()
    return make_model(tmp_path_factory.mktemp("models") / "base", ends=2, max_position_embeddings=2048)


def said(prompt: str) -> str:
    """Answer as a model whose replies follow their budget, in the format that is asked for."""
    text = reply(prompt)
    if "[[ ## answer ## ]]" not in prompt:
        return text
    words, answer = text.split(" Answer: ")
    fields = {"reasoning": words, "answer": re.sub(r"[^0-9x]", "", answer), "completed": ""}
    return "\n\n".join(f"[[ ## {name} ## ]]\n{value}" for name, value in fields.items())


def scripted(model: str) -> Any:
    """An LM that writes what is scripted under the name of another model."""
    engine = FakeEngine(said)
    return tale_dspy.LM(model, engine=engine, async_engine=AsyncFakeEngine(engine), max_tokens=30, cache=False)


@pytest.fixture
def lm(base: Path) -> Any:
    return scripted(f"local:{base}")


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


@pytest.mark.parametrize(("strategy", "options"), [("sft", SftOptions(**QUICK)), ("dpo", DpoOptions(**QUICK))])
def test_a_program_comes_back_on_its_tuned_model_with_the_verdict(
    strategy: Any, options: Any, lm: Any, base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    student = tale_dspy.TaleEP("question -> answer")
    tuning = InternalizeBudget(strategy, out=tmp_path, lm=lm, train=options)
    with caplog.at_level(logging.WARNING, "tale_dspy"):
        program = tuning.compile(student, trainset=TRAIN, valset=VAL)
    assert isinstance(program, tale_dspy.VanillaCoT) and isinstance(student, tale_dspy.TaleEP)
    assert program.predict.lm.model == f"local:{base}+{tmp_path / f'adapter-{strategy}'}"
    assert student.predict.lm is None and seen_by(program).keys() >= {row.id for row in tuning.rows}
    # A random model cannot learn to count in one step: it is kept, and marked.
    card = json.loads((tmp_path / f"adapter-{strategy}" / "tale_adapter.json").read_text())
    assert program.gate is tuning.verdict and card["gate"]["outcome"] == program.gate.outcome == "fail"
    assert "the tuned model is kept and marked fail: " in caplog.text
    assert lines(tmp_path / f"{strategy}.jsonl") == sum(
        row.best is not None for row in load_search(tmp_path / "search")
    )

    count = len(lm.engine.requests)
    again = InternalizeBudget(strategy, out=tmp_path, lm=lm, train=options)
    assert again.compile(student, trainset=TRAIN, valset=VAL).gate == program.gate
    assert len(lm.engine.requests) == count


def test_rows_are_rendered_as_the_deployed_program_asks(lm: Any, tmp_path: Path) -> None:
    tuning = InternalizeBudget(out=tmp_path, lm=lm, train=SftOptions(**QUICK))
    program = tuning.compile(dspy.ChainOfThought("question -> answer"), trainset=TRAIN[:6], valset=VAL)
    assert type(program) is dspy.ChainOfThought
    row = json.loads((tmp_path / "sft.jsonl").read_text().splitlines()[0])
    assert "[[ ## question ## ]]" in row["prompt"][-1]["content"]
    assert "[[ ## answer ## ]]" in row["completion"][0]["content"]


def test_a_token_cap_holds_for_evaluation_and_search_together(lm: Any, tmp_path: Path) -> None:
    tuning = InternalizeBudget(
        out=tmp_path,
        lm=lm.copy(max_tokens=120),
        train=SftOptions(**QUICK),
        max_total_output_tokens=700,  # 480 for four questions of the valset
        concurrency=1,
    )
    with pytest.raises(SpendCapReached, match="max_total_output_tokens"):
        tuning.compile(tale_dspy.VanillaCoT("question -> answer"), trainset=TRAIN, valset=VAL)
    files = [tmp_path / name / "calls.jsonl" for name in ("base", "search")]
    paid = [json.loads(row) for path in files for row in path.read_text().splitlines()]
    assert len(paid) > 4 and sum(call["usage"]["output_tokens"] for call in paid) <= 700


def test_without_a_valset_nothing_is_proven_and_that_is_said(
    lm: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tuning = InternalizeBudget(out=tmp_path, lm=lm, train=SftOptions(**QUICK))
    program = tuning.compile(tale_dspy.VanillaCoT("question -> answer"), trainset=TRAIN[:6])
    assert (program.gate, tuning.verdict, (tmp_path / "base").exists()) == (None, None, False)
    assert "no valset: whether the tuned model is shorter and not worse was not looked at" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"strategy": "ppo"}, "strategy must be one of sft, dpo, got 'ppo'"),
        ({"train": DpoOptions()}, "train holds options of dpo, but the strategy is sft"),
        ({"search": {"max_usd": 5.0}}, "search takes no max_usd: that of InternalizeBudget holds for its search, too"),
        ({"search": {"out": "b"}}, "search takes no out: that of InternalizeBudget"),
        ({"concurrency": 0}, "concurrency must be a whole number of at least 1, got 0"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused_at_once(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        InternalizeBudget(**{"out": "a", **arguments})


@pytest.mark.parametrize(
    ("model", "student", "valset", "said"),
    [
        ("openai/x", tale_dspy.TaleEP("question -> answer"), VAL, "openai/x does not: search with BudgetSearch, then"),
        (None, tale_dspy.TaleEP("question -> answer"), VAL, "none is configured: search with BudgetSearch"),
        ("local:x", tale_dspy.TaleEP("question -> answer"), TRAIN[:2], "2 questions are in both trainset and valset"),
        ("local:x", dspy.Predict("question -> answer"), VAL, "nothing to budget in Predict"),
        ("local:x", "cot", VAL, "the student must be a dspy.Module, got str"),
    ],
)
def test_what_cannot_be_tuned_is_refused_before_anything_is_asked(
    model: str | None, student: Any, valset: Any, said: str, tmp_path: Path
) -> None:
    lm = None if model is None else scripted(model)
    with pytest.raises(UsageError, match=said):
        InternalizeBudget(out=tmp_path, lm=lm).compile(student, trainset=TRAIN, valset=valset)
    assert list(tmp_path.iterdir()) == []
