"""A tuning chooses by some questions, saves what it chose, and measures it on others, within its caps."""

from pathlib import Path
from typing import Any

import dspy
import pytest
from fake_lm import FakeLM, fake_lm

import tale_dspy
from tale_dspy.backends.prices import Price
from tale_dspy.datasets import Dataset
from tale_dspy.errors import UsageError
from tale_dspy.optimizers.search_space import SearchSpace
from tale_dspy.optimizers.tuning import Tuning, TuningOptions, deal_questions
from tale_dspy.runs.records import load_run
from tale_dspy.runs.shared_caps import SharedCaps
from tale_dspy.runs.tuning_folder import FRESH_RUNS, PROGRAM_FILE
from tale_dspy.testing.problems import budget_of

BRIEF = "Be brief."
SPACE = SearchSpace(wordings=[BRIEF], demos=(0,), scales=None)
DATA = Dataset(
    name="numbers",
    examples=[dspy.Example(question=f"What is {n} and 0?", answer=str(n)).with_inputs("question") for n in range(30)],
    task="answer",
    signature="question -> answer",
    gold="answer",
    kind="number",
    split="train",
    source="numbers",
)


def solve(prompt: str) -> str:
    """Always right: in 200 words without a budget, else in as many as the budget, or half of them if told so."""
    number = prompt.split(" and 0?")[-2].rpartition(" ")[2]
    words = (budget_of(prompt) or 200) // (2 if BRIEF in prompt else 1)
    return "so " * words + f"Answer: [[{number}]]"


@pytest.fixture
def lm() -> FakeLM:
    return fake_lm(solve, temperature=1.0, max_tokens=300)


def tuning(lm: FakeLM, out: Path, caps: SharedCaps | None = None, **options: Any) -> Tuning:
    chosen = TuningOptions(**{"trials": 3, "space": SPACE, **options})
    return Tuning(chosen, caps=caps, out=out, lm=lm, price=Price(1e-6, 1e-6))


def test_the_chosen_program_is_saved_and_measured_on_questions_it_was_not_chosen_by(lm: FakeLM, tmp_path: Path) -> None:
    result = tuning(lm, tmp_path).run(tale_dspy.BudgetedChainOfThought("question -> answer", 60), DATA)
    assert result.chosen.choices["wording"] == BRIEF and result.stopped is None
    assert BRIEF in tale_dspy.load(tmp_path / PROGRAM_FILE).predict.signature.instructions
    comparison = result.comparison
    assert comparison is not None and comparison.n == 10
    before, after = (load_run(tmp_path / name) for name in FRESH_RUNS)
    assert {r.question for r in after.records} == {e.question for e in DATA.examples[20:]}
    assert before.summary["output_tokens_mean"] > 200 and after.summary["output_tokens_mean"] < 40
    assert result.cost_usd is not None and result.cost_usd > 0


def test_the_same_tuning_again_asks_nothing(lm: FakeLM, tmp_path: Path) -> None:
    student = tale_dspy.BudgetedChainOfThought("question -> answer", 60)
    first = tuning(lm, tmp_path).run(student, DATA)
    count = len(lm.prompts)
    second = tuning(lm, tmp_path).run(student, DATA)
    assert len(lm.prompts) == count
    assert [p.measured for p in second.front] == [p.measured for p in first.front]


def test_a_cap_ends_it_with_what_was_measured(lm: FakeLM, tmp_path: Path) -> None:
    caps = SharedCaps(max_total_output_tokens=5000)
    result = tuning(lm, tmp_path, caps, max_tokens=1000).run(
        tale_dspy.BudgetedChainOfThought("question -> answer", 60), DATA
    )
    assert result.stopped is not None and "cap" in result.stopped
    assert result.comparison is None and (tmp_path / PROGRAM_FILE).is_file()
    assert caps.ledger.used.tokens <= 5000


def test_gepa_and_mipro_rewrite_with_their_own_model(tmp_path: Path) -> None:
    for optimizer in ("mipro", "gepa"):
        lm, writer = (
            fake_lm(solve),
            fake_lm(lambda prompt: "```\nBe brief.\n```\n[[ ## proposed_instruction ## ]]\nBe brief."),
        )
        result = tuning(lm, tmp_path / optimizer, optimizer=optimizer, trials=1, prompt_lm=writer).run(
            tale_dspy.BudgetedChainOfThought("question -> answer", 60), DATA
        )
        assert writer.prompts, "the instructions come from the other model"
        assert {p.choices["optimizer"] for p in result.front} <= {"student", optimizer}
        assert result.comparison is not None


def test_the_last_questions_are_kept_back() -> None:
    first, fresh = deal_questions(DATA, None)
    assert (len(first), len(fresh), fresh[0].question) == (20, 10, "What is 20 and 0?")
    assert len(deal_questions(DATA, 3)[1]) == 3


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"optimizer": "random"}, "optimizer must be one of pareto, mipro, gepa, got 'random'"),
        ({"max_drop": 2}, "max_drop must be a fraction from 0 to 1, got 2"),
        ({"max_tokens": 0}, "max_tokens must be a number above 0, got 0"),
        ({"fresh": 0}, "fresh must be a whole number"),
        ({"trials": 0}, "trials must be a whole number"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        TuningOptions(**options)


def test_too_few_questions_are_refused() -> None:
    with pytest.raises(UsageError, match="30 questions are too few to keep 29 back"):
        deal_questions(DATA, 29)
