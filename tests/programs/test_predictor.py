"""TalePredict: saved with its field names, loaded by them, and deaf to what a file must not decide."""

import json
import logging
from pathlib import Path
from typing import Any

import dspy
import pytest
from fake_lm import fake_lm

from tale_dspy import BudgetEstimator, DirectAnswer, StateError, TaleEP, VanillaCoT, budgeted
from tale_dspy.programs.predictor import TalePredict, load_parameters


def state_of(module: Any) -> dict[str, Any]:
    """A state as it stands in a file."""
    state: dict[str, Any] = json.loads(json.dumps(module.dump_state()))
    return state


def plain(signature: Any) -> dict[str, Any]:
    return state_of(dspy.ChainOfThought(signature))


def test_field_names_are_saved() -> None:
    assert state_of(TaleEP("a, b -> c"))["predict"]["field_names"] == [
        "a",
        "b",
        "reasoning",
        "c",
        "token_budget",
    ]  # what budgeting adds comes last


@pytest.mark.parametrize("signature", ["question -> answer", "b, a -> c", "sub_total -> subTotal: int"])
def test_a_plain_state_loads_into_the_same_fields(signature: str) -> None:
    saved = dspy.ChainOfThought(dspy.Signature(signature).with_instructions("Rewritten."))
    for kind in (VanillaCoT, TaleEP):
        module = kind(signature)
        load_parameters(module, state_of(saved))
        assert module.predict.signature.instructions == "Rewritten."


@pytest.mark.parametrize(
    "other",
    [
        "question -> summary",
        "query -> answer",
        "context, question -> answer",
        "question -> answer, why",
        "answer -> question",
        "question -> final_answer",
    ],
)
@pytest.mark.parametrize("kind", [VanillaCoT, TaleEP])
def test_a_plain_state_of_other_fields_is_refused_and_nothing_changed(kind: Any, other: str) -> None:
    module = kind("question -> answer")
    before = state_of(module)
    with pytest.raises(StateError, match="not loaded"):
        module.load_state(plain(other))
    assert state_of(module) == before


def test_fields_of_a_custom_description_are_known_by_their_prefix() -> None:
    def signature(name: str, desc: str) -> Any:
        return dspy.Signature("question -> x").insert(0, name, dspy.OutputField(desc=desc)).delete("x")

    module = VanillaCoT(signature("answer", "in a word"))
    module.load_state(plain(signature("answer", "in two words")))
    with pytest.raises(StateError):
        module.load_state(plain(signature("summary", "in three words")))


def test_a_prefix_that_copro_rewrote_is_loaded() -> None:
    state = plain("question -> answer")
    state["predict"]["signature"]["fields"][-1]["prefix"] = "So the answer must be:"
    module = TaleEP("question -> answer")
    module.load_state(state)
    assert module.predict.signature.fields["answer"].json_schema_extra["prefix"] == "So the answer must be:"


@pytest.mark.parametrize(
    ("saved", "program"),
    [(VanillaCoT("q -> a"), TaleEP("q -> a")), (dspy.Predict("q -> a"), DirectAnswer("q -> a"))],
)
def test_a_state_of_a_kindred_class_is_loaded(saved: Any, program: Any) -> None:
    (saved.predict if isinstance(saved, VanillaCoT) else saved).demos = [dspy.Example(q="Q", a="A")]
    program.load_state(state_of(saved))
    assert program.predict.demos == [{"q": "Q", "a": "A"}]


@pytest.mark.parametrize(
    ("saved", "program"),
    [
        (TaleEP("q -> a"), VanillaCoT("q -> a")),
        (DirectAnswer("q -> a"), VanillaCoT("q -> a")),
        (VanillaCoT("q -> a"), BudgetEstimator("q -> a")),
        (BudgetEstimator("q -> a"), TaleEP("q -> a")),
        (dspy.Predict("q -> a"), VanillaCoT("q -> a")),
    ],
)
def test_a_state_that_lacks_or_adds_fields_is_refused(saved: Any, program: Any) -> None:
    with pytest.raises(StateError):
        program.load_state(state_of(saved))


def test_loading_keeps_what_the_state_does_not_tell() -> None:
    lm = fake_lm("")
    program = TaleEP("q -> a", scale=2)
    program.seen.add(["id"], "train")
    program.set_lm(lm)
    program.load_state(plain("q -> a"))
    assert program.limits.value.scale == 2
    assert program.seen.roles == {"id": "train"}
    assert program.estimator.predict.lm is lm


BROKEN: list[Any] = [
    {},
    {"predict": None},
    {"predict": 5},
    {"predict": []},
    {"predict": {}},
    {"predict": {"signature": None}},
    {"predict": {"signature": {"fields": 5, "instructions": ""}}},
]


@pytest.mark.parametrize("state", BROKEN, ids=str)
@pytest.mark.parametrize("kind", [VanillaCoT, TaleEP])
def test_a_broken_state_is_a_state_error(kind: Any, state: Any) -> None:
    with pytest.raises(StateError):
        kind("question -> answer").load_state(state)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("demos",), "abc"),
        (("demos",), [1]),
        (("traces",), {}),
        (("lm",), 5),
        (("lm",), {"model": None}),
        (("lm",), {"model": "openai/x", "_dspy_lm_class": "os.system"}),
        (("lm",), {"model": "openai/x", "engine": {"class": "os:system", "state": {}}}),
        (("lm",), {"model": "openai/x", "engine": "nonsense"}),
        (("fields",), {"nothing": {}}),
        (("field_names",), 5),
        (("field_names",), ["question"]),
        (("field_names",), [["question"], "reasoning", "answer"]),
        (("signature", "instructions"), None),
        (("signature", "instructions"), {"a": 1}),
        (("signature", "fields"), []),
        (("signature", "fields"), [{"prefix": "Question:"}] * 3),
        (("signature", "fields"), [{"prefix": 1, "description": 2}] * 3),
        (("signature",), []),
    ],
)
def test_a_predictors_state_with_a_broken_part_is_a_state_error(path: tuple[str, ...], value: Any) -> None:
    state = state_of(VanillaCoT("question -> answer"))
    part = state["predict"]
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    with pytest.raises(StateError, match="predict: "):
        VanillaCoT("question -> answer").load_state(state)


def test_a_state_can_set_no_other_attribute() -> None:
    state = state_of(VanillaCoT("question -> answer"))
    state["predict"] |= {"config": {"api_base": "http://evil"}, "forward": "x", "callbacks": [1], "stage": "s"}
    module = VanillaCoT("question -> answer")
    module.load_state(state)
    assert module.predict.config == {}
    assert "forward" not in vars(module.predict)


SECRET = {"api_key": "sk-1", "api_base": "http://u:pw@here", "extra_headers": {"x": "sk-2"}, "azure_ad_token": "sk-3"}


def test_neither_keys_nor_addresses_nor_headers_are_written(tmp_path: Path) -> None:
    module = TaleEP("question -> answer")
    module.set_lm(dspy.LM("openai/scripted", temperature=0.5, cache=False, num_retries=7, **SECRET))
    module.save(tmp_path / "p.json")
    text = (tmp_path / "p.json").read_text()
    assert not any(word in text for word in ("sk-", "http", "pw@"))
    other = TaleEP("question -> answer")
    other.load(tmp_path / "p.json")
    lm = other.predict.lm
    assert (lm.model, lm.kwargs["temperature"], lm.cache, lm.num_retries) == ("openai/scripted", 0.5, False, 7)


def test_addresses_headers_and_fallbacks_in_a_file_are_dropped(caplog: pytest.LogCaptureFixture) -> None:
    state = state_of(VanillaCoT("question -> answer"))
    evil = {
        "api_base": "http://evil",
        "fallbacks": [{"api_base": "http://evil"}],
        "extra_headers": {"a": "b"},
        "api_key": "k",
    }
    state["predict"]["lm"] = {"model": "openai/x", "temperature": 0.1, **evil}
    module = VanillaCoT("question -> answer")
    with caplog.at_level(logging.WARNING, logger="tale_dspy"):
        module.load_state(state)
    assert {k for k, v in module.predict.lm.kwargs.items() if v is not None} == {"temperature"}
    assert "api_base, api_key, extra_headers, fallbacks" in caplog.text


def test_a_trusted_file_may_set_an_address() -> None:
    state = state_of(VanillaCoT("question -> answer"))
    state["predict"]["lm"] = {"model": "openai/x", "api_base": "http://here"}
    module = VanillaCoT("question -> answer")
    module.load_state(state, allow_unsafe_lm_state=True)
    assert module.predict.lm.kwargs["api_base"] == "http://here"


def test_a_plain_state_in_a_program_of_the_user_names_the_way_out() -> None:
    class Program(dspy.Module):
        def __init__(self, kind: Any) -> None:
            super().__init__()
            self.solve = kind("question -> answer")

    with pytest.raises(StateError, match=r"convert the program with tale_dspy\.budgeted"):
        Program(VanillaCoT).load_state(state_of(Program(dspy.ChainOfThought)))
    program = budgeted(Program(dspy.ChainOfThought))
    program.load_state(state_of(Program(dspy.ChainOfThought)))


def test_a_predictor_alone_loads_what_it_saved() -> None:
    predict, other = TalePredict("question -> answer"), TalePredict("question -> answer")
    predict.signature = predict.signature.with_instructions("Rewritten.")
    assert other.load_state(state_of(predict)) is other
    assert other.signature.instructions == "Rewritten."
