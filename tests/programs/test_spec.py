"""From a word to a program."""

import sys
from pathlib import Path
from typing import Any

import dspy
import pytest

import tale_dspy
from tale_dspy.errors import StateError, UsageError
from tale_dspy.programs.spec import imported, program_from, program_words, scale_of


@pytest.mark.parametrize(
    ("word", "class_"),
    [
        ("direct", tale_dspy.DirectAnswer),
        ("cot", tale_dspy.VanillaCoT),
        ("dspy-cot", dspy.ChainOfThought),
        ("concise", tale_dspy.Concise),
        ("draft", tale_dspy.ChainOfDraft),
        ("tale-ep", tale_dspy.TaleEP),
        ("budget:50", tale_dspy.BudgetedChainOfThought),
        ("budget:best", tale_dspy.BudgetedChainOfThought),
        ("budget:0.25x", tale_dspy.BudgetedChainOfThought),
    ],
)
def test_a_word_names_a_program_for_the_task(word: str, class_: type) -> None:
    program = program_from(word, "context, question -> label")
    assert type(program) is class_
    (predictor,) = [p for name, p in program.named_predictors() if "estimator" not in name]
    assert {"context", "question"} <= predictor.signature.input_fields.keys()
    assert "label" in predictor.signature.output_fields


@pytest.mark.parametrize(("word", "budget"), [("budget:1", 1), ("budget:007", 7), ("budget:1000000000", 10**9)])
def test_a_budget_is_set(word: str, budget: int) -> None:
    assert program_from(word, "question -> answer").token_budget == budget


@pytest.mark.parametrize(
    "word",
    [
        "budget:0",
        "budget:",
        "budget:-1",
        "budget:1.5",
        "budget:1e9",
        "budget:abc",
        "budget:٣",
        "budget: 5",
        "budget:" + "9" * 5000,
    ],
)
def test_a_budget_that_is_none_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="whole number of tokens"):
        program_from(word, "question -> answer")


@pytest.mark.parametrize(
    ("word", "factor"),
    [
        ("budget:0.25x", 0.25),
        ("budget:2x", 2.0),
        ("budget:50", None),
        ("budget:best", None),
        ("cot", None),
        ("budget:x", None),
    ],
)
def test_a_factor_is_read(word: str, factor: float | None) -> None:
    assert scale_of(word) == factor


@pytest.mark.parametrize("word", ["budget:0x", "budget:0.00x", "budget:" + "9" * 400 + "x"])
def test_a_factor_must_be_above_0_and_finite(word: str) -> None:
    with pytest.raises(UsageError, match="above 0 and finite"):
        scale_of(word)


@pytest.mark.parametrize("word", ["COT", "cot "])
def test_a_word_that_is_nearly_a_name_is_answered_with_that_name(word: str) -> None:
    with pytest.raises(UsageError, match="did you mean cot"):
        program_from(word, "question -> answer")


@pytest.mark.parametrize("word", ["", "nonsense", "best", "json"])
def test_the_error_of_an_unknown_word_lists_what_there_is(word: str) -> None:
    with pytest.raises(UsageError, match="give concise, cot, direct"):
        program_from(word, "question -> answer")


def test_a_saved_program_is_loaded_and_a_pickle_is_not(tmp_path: Path) -> None:
    tale_dspy.BudgetedChainOfThought("question -> answer", 33).save(tmp_path / "p.json")
    assert program_from(str(tmp_path / "p.json"), "x -> y").token_budget == 33
    (tmp_path / "p.pkl").write_bytes(b"cos\nsystem\n")
    with pytest.raises(StateError, match="never loaded"):
        program_from(str(tmp_path / "p.pkl"), "x -> y")


MODULE = """
import dspy
made = []
class Plain(dspy.Module):
    pass
class Told(dspy.Module):
    def __init__(self, signature):
        super().__init__()
        self.signature = signature
class Greedy(dspy.Module):
    def __init__(self, one, two):
        super().__init__()
instance = Plain()
def factory():
    return instance
def told(signature, other=None):
    return Told(signature)
def failing():
    raise KeyError("mine")
class callable_object:
    inside = instance
number = 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of the user's in the current folder."""
    (tmp_path / "own_programs.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield imported("own_programs:instance")
    del sys.modules["own_programs"]


@pytest.mark.parametrize("attribute", ["instance", "factory", "callable_object.inside"])
def test_an_attribute_is_a_module_or_gives_one(attribute: str, own: Any) -> None:
    assert program_from(f"own_programs:{attribute}", "question -> answer") is own


@pytest.mark.parametrize("attribute", ["Told", "told"])
def test_a_class_or_factory_that_wants_the_signature_gets_it(attribute: str, own: Any) -> None:
    assert program_from(f"own_programs:{attribute}", "question -> answer").signature == "question -> answer"


def test_a_class_without_arguments_is_built(own: Any) -> None:
    assert type(program_from("own_programs:Plain", "question -> answer")) is type(own)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("own_programs:number", "must be a dspy.Module or give one when called, got int"),
        ("own_programs:callable_object", "must be a dspy.Module"),
        ("own_programs:failing", "cannot be built: KeyError: 'mine'"),
        ("own_programs:Greedy", "cannot be built: TypeError"),
        ("own_programs:nothing", "'own_programs' has no attribute 'nothing'"),
        ("own_programs:instance.nothing", "no attribute 'instance.nothing'"),
        ("own_programs:", "no attribute ''"),
        ("nowhere:x", "No module named 'nowhere'"),
        (":x", "Empty module name"),
        (".x:y", "relative import"),
        ("a b:x", "No module named"),
        ("own_programs.py:x", "cannot be imported"),
    ],
)
def test_what_cannot_be_imported_is_said(word: str, said: str, own: Any) -> None:
    with pytest.raises(UsageError, match=said):
        program_from(word, "question -> answer")


@pytest.mark.parametrize(
    "body", ["1 / 0", "import sys; sys.exit(3)", "def (", "from nowhere import x", "raise OSError"]
)
def test_a_module_that_fails_at_import_is_one_sentence(
    body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "failing_module.py").write_text(body)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match=r"module 'failing_module' cannot be imported: [A-Z]"):
        imported("failing_module:x")


def test_the_current_folder_is_searched_as_with_python_m(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only_here.py").write_text("x = 5")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    assert imported("only_here:x") == 5
    assert sys.path.count(str(tmp_path)) == 1 and imported("only_here:x") == 5 and sys.path.count(str(tmp_path)) == 1


def test_all_named_programs_are_listed() -> None:
    with pytest.raises(UsageError) as refused:
        program_from("?", "question -> answer")
    assert all(name in str(refused.value) for name in program_words())


@pytest.mark.parametrize(
    ("spec", "shown"),
    [
        ("vote:cot", "Vote(VanillaCoT('question -> reasoning, answer'), max_votes=16, confidence=0.95)"),
        ("vote:4:sketch", "Vote(SketchOfThought('question -> reasoning, answer'), max_votes=4, confidence=0.95)"),
    ],
)
def test_a_vote_holds_any_other_program(spec: str, shown: str) -> None:
    assert repr(program_from(spec, "question -> answer")) == shown


def test_a_vote_of_a_budgeted_program_keeps_its_budget() -> None:
    assert program_from("vote:4:budget:50", "question -> answer").program.token_budget == 50


@pytest.mark.parametrize(("spec", "budget"), [("effort:low", (None, "low")), ("effort:max+50", (50, "max"))])
def test_an_effort_is_a_budget(spec: str, budget: tuple[int | None, str]) -> None:
    program = program_from(spec, "question -> answer")
    assert (program.token_budget, program.effort) == budget


@pytest.mark.parametrize("spec", ["effort:fast", "effort:50", "effort:", "effort:low+", "effort:+5"])
def test_a_word_no_model_takes_is_refused(spec: str) -> None:
    with pytest.raises(UsageError, match=r"none, minimal, low"):
        program_from(spec, "question -> answer")
