"""The model that ships, on stories it never saw: a small part of what `tale eval ... --limit 2000` measures."""

import json
from functools import cache
from pathlib import Path

import pytest

import tale_dspy
from tale_dspy.adapter import TaleAdapter
from tale_dspy.backends.local.model_path import embedded_folder
from tale_dspy.embedded.options import BuildOptions
from tale_dspy.programs.spec import program_from
from tale_dspy.runs.records import Run

QUESTIONS = 300


@cache
def asked(program: str) -> Run:
    data = tale_dspy.load_dataset("embedded:test").take(limit=QUESTIONS)
    lm = tale_dspy.LM("embedded", cache=False)
    return tale_dspy.evaluate(program_from(program, data.signature), data, lm=lm, adapter=TaleAdapter(), name=program)


def accuracy(program: str) -> float:
    return float(asked(program).summary["accuracy"])


def tokens(program: str, which: str = "output_tokens_mean") -> float:
    return float(asked(program).summary[which])


def test_it_thinks_right_at_length_and_answers_directly_what_is_easy() -> None:
    assert accuracy("cot") >= 0.93
    assert 0.15 <= accuracy("direct") <= 0.45
    assert tokens("direct") < 8


def test_tale_ep_is_as_right_for_a_third_of_the_tokens() -> None:
    assert accuracy("tale-ep") >= accuracy("cot") - 0.025
    assert tokens("tale-ep") <= 0.35 * tokens("cot")
    assert tokens("tale-ep") + tokens("tale-ep", "estimate_tokens_mean") <= 0.45 * tokens("cot")


def test_too_small_a_budget_costs_answers_and_a_far_too_small_one_tokens() -> None:
    assert accuracy("budget:27") < accuracy("budget:90") - 0.1
    assert tokens("budget:5") > tokens("budget:40") + 5
    assert tokens("budget:40") < tokens("budget:90") < tokens("budget:200") < tokens("cot")


def test_the_budget_it_states_itself_serves_as_well_as_one_asked_for_in_another_call() -> None:
    assert accuracy("self-budgeted") >= accuracy("cot") - 0.025
    assert tokens("self-budgeted") <= 0.25 * tokens("cot")
    assert {record.budget_source for record in asked("self-budgeted").records} == {"stated"}


@pytest.mark.parametrize("program", ["cot", "direct", "tale-ep", "self-budgeted"])
def test_every_reply_ends_by_itself_and_can_be_read(program: str) -> None:
    outcomes = asked(program).summary["outcomes"]
    assert outcomes["correct"] + outcomes["wrong"] == QUESTIONS


def test_its_files_are_small_and_hold_nothing_that_is_unpickled() -> None:
    files = list(Path(embedded_folder()).iterdir())
    assert sum(file.stat().st_size for file in files) < 6_000_000
    assert {file.suffix for file in files} == {".json", ".jinja", ".md", ".safetensors"}


def test_its_shape_is_that_of_the_build() -> None:
    config = json.loads((Path(embedded_folder()) / "config.json").read_text())
    options = BuildOptions()
    shape = options.layers, options.width, options.inner, options.heads, options.kv_heads
    names = "num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads"
    assert tuple(config[name] for name in names) == shape
