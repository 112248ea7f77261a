"""Words on the command line that name a program."""

from pathlib import Path
from typing import Any

import dspy
import pytest

from tale_dspy import BudgetedChainOfThought, ChainOfDraft, Concise, DirectAnswer, StateError, TaleEP, VanillaCoT
from tale_dspy.errors import UsageError
from tale_dspy.programs.spec import imported, program_from, scale_of


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("direct", DirectAnswer),
        ("cot", VanillaCoT),
        ("dspy-cot", dspy.ChainOfThought),
        ("concise", Concise),
        ("draft", ChainOfDraft),
        ("tale-ep", TaleEP),
        ("budget:50", BudgetedChainOfThought),
        ("budget:0.25x", BudgetedChainOfThought),
        ("budget:best", BudgetedChainOfThought),
    ],
)
def test_each_word_names_a_program_for_the_signature(word: str, kind: Any) -> None:
    program = program_from(word, "question -> choice")
    assert type(program) is kind
    assert "choice" in program.predict.signature.output_fields


def test_a_budget_is_that_of_the_program() -> None:
    assert program_from("budget:50", "question -> answer").token_budget == 50
    assert program_from("budget:0.25x", "question -> answer").token_budget is None


@pytest.mark.parametrize(
    ("word", "scale"), [("budget:0.25x", 0.25), ("budget:2x", 2.0), ("budget:50", None), ("x", None)]
)
def test_a_factor_is_read(word: str, scale: float | None) -> None:
    assert scale_of(word) == scale


@pytest.mark.parametrize(
    "word",
    [
        "",
        "nothing",
        "budget:",
        "budget:0",
        "budget:-5",
        "budget:1.5",
        "budget:٥",
        "budget:" + "9" * 5000,
        "budget:0x",
        "budget:" + "9" * 400 + "x",
        "budget:x",
        "no_such_module:x",
        "json:nothing",
        "json:loads.nothing",
        "json:",
        ":x",
        ".relative:x",
        "json:dumps",
        "json:JSONEncoder",
        "builtins:dict",
        "builtins:max",
    ],
)
def test_a_word_that_names_nothing_is_a_usage_error(word: str) -> None:
    with pytest.raises(UsageError):
        program_from(word, "question -> answer")


def test_a_saved_program_is_loaded_and_a_pickle_is_not(tmp_path: Path) -> None:
    TaleEP("question -> answer").save(tmp_path / "p.json")
    assert isinstance(program_from(str(tmp_path / "p.json"), "q -> a"), TaleEP)
    with pytest.raises(StateError, match="pickles are never loaded"):
        program_from(str(tmp_path / "p.pkl"), "q -> a")


MODULE = """
import dspy
ready = dspy.Predict("question -> answer")
class Own(dspy.Module):
    pass
class Holder:
    inner = ready
def make():
    return Own()
def takes(signature):
    return dspy.Predict(signature)
def fails():
    raise ZeroDivisionError("no")
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_programs.py").write_text(MODULE)
    (tmp_path / "my_broken.py").write_text("import nothing_of_that_name")
    (tmp_path / "my_typo.py").write_text("def f(:")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("attribute", "kind"), [("ready", "Predict"), ("Own", "Own"), ("Holder.inner", "Predict"), ("make", "Own")]
)
def test_a_module_of_the_user_is_imported_from_the_current_folder(here: Path, attribute: str, kind: str) -> None:
    assert type(program_from(f"my_programs:{attribute}", "question -> answer")).__name__ == kind


@pytest.mark.parametrize(
    "word", ["my_programs:fails", "my_programs:Holder", "my_broken:x", "my_typo:f", "my_programs:dspy"]
)
def test_a_module_that_cannot_be_built_is_a_usage_error_that_names_it(here: Path, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        program_from(word, "question -> answer")


def test_any_attribute_can_be_imported(here: Path) -> None:
    assert imported("my_programs:Holder.inner") is imported("my_programs:ready")
