"""One file and back, in another process, and only StateErrors for files of any other kind."""

import copy
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import dspy
import pydantic
import pytest
from fake_lm import fake_lm, sections

import tale_dspy
from tale_dspy import (
    BudgetedChainOfThought,
    BudgetEstimator,
    ChainOfDraft,
    Concise,
    DirectAnswer,
    StateError,
    TaleAdapter,
    TaleEP,
    VanillaCoT,
    budgeted,
)
from tale_dspy.adapter_names import describe_adapter
from tale_dspy.programs.catalog import import_programs
from tale_dspy.programs.registry import registered_modules
from tale_dspy.programs.saving import MAX_BYTES

import_programs()


class Typed(dspy.Signature):
    """Answer like a pirate."""

    question: str = dspy.InputField(desc="from a child")
    history: dspy.History = dspy.InputField()
    parts: list[str] = dspy.OutputField(desc="all of them")
    mood: Literal["good", "it's bad"] = dspy.OutputField()
    more: dict[str, int] | None = dspy.OutputField()


def full() -> TaleEP:
    """A program with something in every place that is saved."""
    estimator = BudgetEstimator("question -> x", floor=5, temperature=0.2)
    program = TaleEP(
        Typed,
        estimator,
        ["question"],
        scale=1.5,
        floor=9,
        ceiling=99,
        adapter=TaleAdapter(task="cloze"),
        max_tokens=300,
    )
    program.predict.demos = [dspy.Example(question="Q", reasoning="R", parts=["a"], mood="good", more=None)]
    program.predict.signature = program.predict.signature.with_instructions("Rewritten.")
    program.seen.add(["id"], "train")
    program.set_lm(tale_dspy.LM("openai/scripted", temperature=0.7, api_base="http://here", api_key="sk-1"))
    return program


PROGRAM = """
import json, sys, tale_dspy
p = tale_dspy.load(sys.argv[1])
s, lm = p.predict.signature, p.predict.lm
print(json.dumps({
    "program": repr(p), "types": [str(f.annotation) for f in s.fields.values()],
    "descs": [f.json_schema_extra["desc"] for f in s.fields.values()], "instructions": s.instructions,
    "demos": p.predict.demos, "limits": [p.limits.value.scale, p.limits.value.floor, p.limits.value.ceiling],
    "estimator": [repr(p.estimator), p.estimator.limits.value.floor, p.estimator.predict.config],
    "adapter": p.adapter.task, "config": p.predict.config, "seen": p.seen.roles, "from": p.estimate_from,
    "lm": [type(lm).__module__, lm.model, lm.engine, lm.kwargs.get("api_base"), p.estimator.predict.lm is lm],
}))
"""


def test_a_program_is_whole_in_another_process(tmp_path: Path) -> None:
    full().save(tmp_path / "p.json")
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "p.json")]
    document = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert document == {
        "program": "TaleEP('question, history, token_budget -> reasoning, parts, mood, more')",
        "types": [str(f.annotation).replace("dict[str, int] | None", "typing.Optional[dict[str, int]]")
                  for f in full().predict.signature.fields.values()],
        "descs": [f.json_schema_extra["desc"] for f in full().predict.signature.fields.values()],
        "instructions": "Rewritten.",
        "demos": [{"question": "Q", "reasoning": "R", "parts": ["a"], "mood": "good", "more": None}],
        "limits": [1.5, 9, 99],
        "estimator": ["BudgetEstimator('question -> token_budget')", 5, {"temperature": 0.2}],
        "adapter": "cloze",
        "config": {"max_tokens": 300},
        "seen": {"id": "train"},
        "from": ["question"],
        "lm": ["tale_dspy.backends.lm", "openai/scripted", "litellm", None, True],
    }  # fmt: skip


@pytest.mark.parametrize(
    "kind",
    [
        kind
        for kind in registered_modules().values()
        if kind.__module__.startswith("tale_dspy.") and kind is not tale_dspy.Vote
    ],
)
def test_every_module_loads_as_it_was(kind: Any, tmp_path: Path) -> None:
    module = kind("context, question -> answer: int")
    module.save(tmp_path / "p.json")
    other = tale_dspy.load(str(tmp_path / "p.json"))
    assert type(other) is kind
    assert other.dump_state() == module.dump_state()


@pytest.mark.parametrize(
    "program",
    [
        dspy.ChainOfThought("question -> answer", rationale_field_type=dspy.Reasoning),
        dspy.ChainOfThought("question -> answer", temperature=0.1),
    ],
)
def test_a_converted_program_loads_as_it_was(program: Any, tmp_path: Path) -> None:
    module = budgeted(program)
    module.save(tmp_path / "p.json")
    other = tale_dspy.load(tmp_path / "p.json")
    assert other.dump_state() == module.dump_state()
    assert (
        other.predict.signature.fields["reasoning"].annotation
        == program.predict.signature.fields["reasoning"].annotation
    )


def test_a_converted_predict_has_no_reasoning_after_loading_either(tmp_path: Path) -> None:
    module = budgeted(dspy.Predict("question -> answer"), include=["self"])
    module.save(tmp_path / "p.json")
    assert repr(tale_dspy.load(tmp_path / "p.json")) == "TaleEP('question, token_budget -> answer')"


def test_a_loaded_program_answers(tmp_path: Path) -> None:
    TaleEP("question -> answer").save(tmp_path / "p.json")
    lm = fake_lm(lambda p: sections(p, "7"))
    pred = tale_dspy.load(tmp_path / "p.json", lm=lm)(question="3+4?")
    assert (pred.answer, pred.token_budget) == ("7", 70)


@pytest.mark.parametrize(
    ("adapter", "name"),
    [
        (None, None),
        (TaleAdapter(), "TaleAdapter"),
        (TaleAdapter("paper", task="gpqa"), "TaleAdapter:paper:gpqa"),
        (dspy.JSONAdapter(), "JSONAdapter"),
        (dspy.ChatAdapter(), "ChatAdapter"),
        (dspy.XMLAdapter(), "XMLAdapter"),
    ],
)
def test_adapters_are_loaded_by_name(adapter: Any, name: str | None, tmp_path: Path) -> None:
    VanillaCoT("question -> answer", adapter=adapter).save(tmp_path / "p.json")
    loaded = tale_dspy.load(tmp_path / "p.json").adapter
    assert (describe_adapter(adapter), type(loaded)) == (name, type(adapter))


@pytest.mark.parametrize(
    "config",
    [
        {"reasoning": {"effort": "low"}},
        {"think": True},
        {"timeout": 30},
        {"reasoning_effort": "high"},
        {"thinking": {"type": "enabled", "budget_tokens": 2000}},
        {"extra_body": {"thinking_token_budget": 50}},
    ],
    ids=str,
)
def test_settings_that_turn_a_reasoning_control_survive_saving(config: dict[str, Any], tmp_path: Path) -> None:
    TaleEP("question -> answer", **config).save(tmp_path / "p.json")
    assert tale_dspy.load(tmp_path / "p.json").predict.config == config


def test_what_is_not_saved_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    VanillaCoT("question -> answer", extra_headers={"x": "y"}, api_base="http://here").save(tmp_path / "p.json")
    assert "not saved, give them again after loading: api_base, extra_headers" in caplog.text
    assert tale_dspy.load(tmp_path / "p.json").predict.config == {}


class OwnEP(TaleEP):
    """A user's subclass, known by being defined."""


class OwnGuided(VanillaCoT):
    guidance = "Answer in French."


@pytest.mark.parametrize("kind", [OwnEP, OwnGuided])
def test_a_subclass_of_the_users_loads_as_it_was(kind: Any, tmp_path: Path) -> None:
    module = kind("context, question -> answer: int", max_tokens=9)
    module.save(tmp_path / "p.json")
    loaded = tale_dspy.load(tmp_path / "p.json")
    assert (type(loaded), loaded.dump_state()) == (kind, module.dump_state())


def test_a_class_that_this_process_has_not_defined_is_refused_and_nothing_is_imported(tmp_path: Path) -> None:
    path = written(tmp_path, **{"class": "tests.nowhere.TaleEP"})
    with pytest.raises(StateError, match=r"tests\.nowhere\.TaleEP.*construct the program"):
        tale_dspy.load(path)


def test_a_name_that_two_places_define_is_refused(tmp_path: Path) -> None:
    def again() -> Any:
        return type("OwnTwin", (VanillaCoT,), {"__qualname__": f"place{next(places)}.OwnTwin"})

    places = iter(range(2))
    again()("question -> answer").save(tmp_path / "p.json")
    tale_dspy.load(tmp_path / "p.json")
    again()
    with pytest.raises(StateError, match=r"OwnTwin.* is defined in .*place0.* and .*place1"):
        tale_dspy.load(tmp_path / "p.json")


# ---- refused


class OwnAdapter(dspy.ChatAdapter):
    pass


class OwnEstimator(dspy.Module):
    pass


class OwnType(pydantic.BaseModel):
    pass


OWN = dspy.Signature({"question": (str, dspy.InputField()), "answer": (list[OwnType], dspy.OutputField())})


@pytest.mark.parametrize(
    ("program", "named"),
    [
        (VanillaCoT("question -> answer", adapter=OwnAdapter()), "OwnAdapter"),
        (TaleEP("question -> answer", OwnEstimator()), "OwnEstimator"),
        (VanillaCoT(OWN), "OwnType"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_only_its_source_can_build_is_named_with_advice(program: Any, named: str, tmp_path: Path) -> None:
    program.save(tmp_path / "p.json")
    with pytest.raises(StateError, match=rf"{named}.*construct the program|{named}.* cannot be built from a file"):
        tale_dspy.load(tmp_path / "p.json")


def test_a_plain_program_is_refused_with_advice(tmp_path: Path) -> None:
    dspy.ChainOfThought("question -> answer").save(tmp_path / "p.json")
    with pytest.raises(StateError, match=r"construct the program and call \.load"):
        tale_dspy.load(tmp_path / "p.json")


@pytest.mark.parametrize("name", ["p.pkl", "p", "p.jsonl", "p.json.pkl", "nothing.json", "folder.json"])
def test_what_is_no_json_file_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(StateError, match=name) as refused:
        tale_dspy.load(tmp_path / name)
    assert "Errno" not in str(refused.value)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"null", b"[]", b"{}", b'{"tale_dspy": 5}', b"[" * 100_000, b"\x80\x04K\x01."]
)
def test_a_file_of_anything_else_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_bytes(content)
    with pytest.raises(StateError, match=r"p\.json"):
        tale_dspy.load(tmp_path / "p.json")


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "p.json").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(StateError, match="bytes"):
        tale_dspy.load(tmp_path / "p.json")


def written(tmp_path: Path, **about: Any) -> Path:
    """A saved TaleEP with other entries under `tale_dspy`."""
    path = tmp_path / "p.json"
    TaleEP("question -> answer").save(path)
    state = json.loads(path.read_text())
    state["tale_dspy"] |= about
    path.write_text(json.dumps(state))
    return path


EVIL_ESTIMATOR = {"format": 1, "class": "BudgetEstimator", "signature": [], "config": {"api_base": "http://evil"}}


@pytest.mark.parametrize(
    "about",
    [
        {"format": 2},
        {"format": None},
        {"class": "os.system"},
        {"class": None},
        {"class": ["TaleEP"]},
        {"class": "VanillaCoT"},
        {"class": "BudgetEstimator"},
        {"signature": None},
        {"signature": []},
        {"signature": "question -> answer"},
        {"signature": [["question", "in"]]},
        {"signature": [["question", "in", "__import__('os')"], ["answer", "out", "str"]]},
        {"signature": [["question", "in", 5], ["answer", "out", "str"]]},
        {"signature": [["question", "in", "dict[str]"], ["answer", "out", "str"]]},
        {"signature": [["question", "in", "Literal"], ["answer", "out", "str"]]},
        {"signature": [["question", "aside", "str"], ["answer", "out", "str"]]},
        {"signature": [["_question", "in", "str"], ["answer", "out", "str"]]},
        {"signature": [["__class__", "in", "str"], ["answer", "out", "str"]]},
        {"signature": [["a b", "in", "str"], ["answer", "out", "str"]]},
        {"signature": [[5, "in", "str"], ["answer", "out", "str"]]},
        {"signature": [["question", "in", "str"], ["question", "in", "str"], ["answer", "out", "str"]]},
        {"signature": [["query", "in", "str"], ["answer", "out", "str"]]},
        {"signature": [["question", "in", "str"], ["token_budget", "out", "int"]]},
        {"reasoning": "eval"},
        {"reasoning": 5},
        {"reasoning": None},
        {"adapter": "OwnAdapter"},
        {"adapter": "TaleAdapter:nothing"},
        {"adapter": 5},
        {"config": {"api_base": "http://evil"}},
        {"config": {"callbacks": []}},
        {"config": {"adapter": None}},
        {"config": 5},
        {"estimate_from": ["nothing"]},
        {"estimate_from": 5},
        {"estimator": "BudgetEstimator"},
        {"estimator": {"class": "TaleEP"}},
        {"estimator": {"class": "BudgetEstimator"}},
        {"estimator": EVIL_ESTIMATOR},
    ],
    ids=str,
)
def test_a_changed_description_is_refused(about: dict[str, Any], tmp_path: Path) -> None:
    path = written(tmp_path, **about)
    with pytest.raises(StateError, match=r"p\.json"):
        tale_dspy.load(path)


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydantic warns of names such as "copy"
def test_no_change_of_a_file_raises_anything_but_state_errors(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    full().save(path)
    whole = json.loads(path.read_text())
    chance = random.Random(0)
    junk: list[Any] = [None, 5, -1.5, "", "copy", [], {}, [None], {"a": []}, True, "os.system", [[]], 10**400, "\ud800"]
    for _ in range(150):
        state = copy.deepcopy(whole)
        part: Any = state
        while isinstance(part, dict | list) and part:
            key = chance.choice(list(part)) if isinstance(part, dict) else chance.randrange(len(part))
            if chance.random() < 0.3:
                if chance.random() < 0.4 and isinstance(part, dict):
                    del part[key]
                else:
                    part[key] = chance.choice(junk)
                break
            part = part[key]
        path.write_text(json.dumps(state))
        try:
            tale_dspy.load(path)
        except StateError:
            continue


@pytest.mark.parametrize("kind", [DirectAnswer, Concise, ChainOfDraft, BudgetedChainOfThought])
def test_a_state_of_its_own_class_that_lacks_a_part_is_refused(kind: Any, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    kind("question -> answer").save(path)
    state = json.loads(path.read_text())
    del state["seen"]
    path.write_text(json.dumps(state))
    with pytest.raises(StateError, match="seen: not in the saved state"):
        tale_dspy.load(path)
