"""A searched question as the deployed program asks it."""

from typing import Any

import dspy
import pytest

import tale_dspy
from tale_dspy.errors import UsageError
from tale_dspy.training.training_prompt import TrainingPrompt

TALE = "12-5=7\nAnswer: [[7]]"
CHAT = "[[ ## reasoning ## ]]\n12-5=7\n\n[[ ## answer ## ]]\n7\n\n[[ ## completed ## ]]"
SIGNATURE = "question -> answer"


@pytest.mark.parametrize(
    "program",
    [
        tale_dspy.VanillaCoT(SIGNATURE),
        tale_dspy.BudgetedChainOfThought(SIGNATURE),
        tale_dspy.TaleEP(SIGNATURE),
        tale_dspy.budgeted(tale_dspy.VanillaCoT(SIGNATURE)),
    ],
)
def test_the_prompt_is_the_plain_one_without_a_budget(program: Any) -> None:
    prompt = TrainingPrompt(program, "self").prompt({"question": "How many?"})
    assert prompt == tale_dspy.TaleAdapter().format(
        tale_dspy.VanillaCoT(SIGNATURE).predict.signature, [], {"question": "How many?"}
    )
    assert "less than" not in str(prompt)


def test_a_converted_chain_of_thought_is_asked_as_dspy_asks_it() -> None:
    plain, converted = dspy.ChainOfThought(SIGNATURE), tale_dspy.budgeted(dspy.ChainOfThought(SIGNATURE))
    inputs = {"question": "How many?"}
    assert TrainingPrompt(converted, "self").prompt(inputs) == TrainingPrompt(plain, "self").prompt(inputs)


def test_dspys_own_chain_of_thought_is_asked_through_its_own_adapter() -> None:
    prompt = TrainingPrompt(dspy.ChainOfThought(SIGNATURE), "self").prompt({"question": "How many?"})
    assert prompt is not None and "[[ ## completed ## ]]" in prompt[-1]["content"]


def test_a_reply_in_the_programs_own_format_stays_as_it_was() -> None:
    assert TrainingPrompt(tale_dspy.VanillaCoT(SIGNATURE), "self").reply(f" {TALE}\n", "7") == f" {TALE}\n"
    assert TrainingPrompt(dspy.ChainOfThought(SIGNATURE), "self").reply(CHAT, "7") == CHAT


def test_a_reply_in_another_format_is_written_anew() -> None:
    assert TrainingPrompt(dspy.ChainOfThought(SIGNATURE), "self").reply(TALE, "7") == CHAT
    assert TrainingPrompt(tale_dspy.VanillaCoT(SIGNATURE), "self").reply(CHAT, "7") == TALE
    assert TrainingPrompt(tale_dspy.VanillaCoT(SIGNATURE), "self").reply(CHAT, None) == TALE


def test_a_reply_of_the_answer_alone_is_written_with_an_empty_reasoning() -> None:
    prompt_writer = TrainingPrompt(dspy.ChainOfThought(SIGNATURE), "self")
    written = prompt_writer.reply("[[7]]", "7") or ""
    assert "None" not in written
    assert dspy.ChatAdapter().parse(prompt_writer.signature, written) == {"reasoning": "", "answer": "7"}


def test_what_the_program_writes_anew_it_reads_again() -> None:
    prompt_writer = TrainingPrompt(dspy.ChainOfThought("question -> total: int, words: list[str]"), "self")
    text = 'So.\nTotal: [[3]]\n[[ ## words ## ]]\n["a", "b"]'
    read = dspy.ChatAdapter().parse(prompt_writer.signature, prompt_writer.reply(text, None) or "")
    assert read == {"reasoning": "So.", "total": 3, "words": ["a", "b"]}


@pytest.mark.parametrize("text", ["", "no answer at all", "[[ ## answer ## ]]\n\n"])
def test_a_reply_without_an_answer_is_none(text: str) -> None:
    assert TrainingPrompt(dspy.ChainOfThought(SIGNATURE), "self").reply(text, "7") is None


def test_an_answer_that_only_a_metric_accepts_is_kept() -> None:
    assert TrainingPrompt(tale_dspy.VanillaCoT(SIGNATURE), "self").reply("Answer: [[seven or so]]", "7") is not None


def test_a_missing_input_gives_no_prompt() -> None:
    assert TrainingPrompt(dspy.ChainOfThought("question, context -> answer"), "self").prompt({"question": "?"}) is None


class Two(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.draft = tale_dspy.TaleEP("question -> answer")
        self.check = dspy.ChainOfThought("question, answer -> verdict")


@pytest.mark.parametrize("name", ["draft", "draft.predict"])
def test_the_predictor_that_was_searched_is_found_by_its_name(name: str) -> None:
    assert TrainingPrompt(Two(), name).name == "draft.predict"


def test_a_predictor_that_is_not_there_is_named() -> None:
    with pytest.raises(
        UsageError, match=r"other was searched, but Two has the predictors draft\.predict, check\.predict"
    ):
        TrainingPrompt(Two(), "other")


def test_demos_stand_in_the_prompt() -> None:
    program = tale_dspy.VanillaCoT(SIGNATURE)
    program.predict.demos = [dspy.Example(question="1+1?", reasoning="1+1=2", answer="2")]
    prompt = TrainingPrompt(program, "self").prompt({"question": "How many?"})
    assert prompt is not None and [m["role"] for m in prompt] == ["system", "user", "assistant", "user"]
