"""TaleAdapter: the paper's prompts character for character, and the programs of DSPy under it."""

import asyncio
from typing import Any, Literal

import dspy
import pytest
from dspy.signatures.signature import ensure_signature
from dspy.utils.callback import BaseCallback
from fake_lm import fake_lm, thinking
from signatures import make

from tale_dspy.accounting.token_counts import count_cl100k
from tale_dspy.adapter import SYSTEM, TaleAdapter
from tale_dspy.errors import UsageError
from tale_dspy.programs.estimators.estimator import BudgetEstimator

QUESTION = "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. How many?"
ANSWER = "Please Give the response by strictly following this format: [[answer]], for example: Answer: [[50]]."
CHOICE = "Please Give the response by strictly following this format: [[choice]],for example: Choice: [[A]].\n"
GSM8K = f"Q: {QUESTION}\n{ANSWER}Let's think step by step:\n"


def user(signature: Any, adapter: TaleAdapter | None = None, demos: Any = (), **inputs: Any) -> str:
    """The last user message, in the paper's form where no adapter is given."""
    content = (adapter or TaleAdapter("paper")).format(ensure_signature(signature), list(demos), inputs)[-1]["content"]
    assert isinstance(content, str)
    return content


# ---- the paper's prompts


@pytest.mark.parametrize(
    ("signature", "prompt"),
    [
        (
            "question -> answer",
            "Please answer the following question and give the answer directly without any reasoning process. "
            f"{ANSWER}\nQ: {QUESTION}",
        ),
        ("question -> reasoning, answer", GSM8K),
        (
            "question, token_budget: int -> reasoning, answer",
            f"Q: {QUESTION}\n{ANSWER}Let's think step by step and use less than 50 tokens:\n",
        ),
        ("question -> reasoning, choice", f"{QUESTION}\n{CHOICE}Let's think step by step:\n"),
        (
            "question, token_budget: int -> reasoning, choice",
            f"{QUESTION}\n{CHOICE}Let's think step by step and use less than 50 tokens:\n",
        ),
        (
            "question -> choice",
            "Please answer the following question directly and give the answer directly without any reasoning process. "
            f"Please strictLy follow the format: [[choice]],for example: Choice: [[A]].\n{QUESTION}\n",
        ),
        ("question -> reasoning, answer: int", GSM8K),
        ("question, context -> reasoning, answer", GSM8K),
    ],
)
def test_the_prompt_is_the_papers(signature: str, prompt: str) -> None:
    assert user(signature, question=QUESTION, token_budget=50) == prompt


def test_the_system_message_is_the_papers_and_there_is_one_user_message() -> None:
    messages = TaleAdapter().format(dspy.Signature("question -> answer"), [], {"question": QUESTION})
    assert messages[0] == {"role": "system", "content": "You are a helpful assistant."}
    assert [m["role"] for m in messages] == ["system", "user"]


def test_the_estimator_gets_its_task_and_the_bare_question() -> None:
    assert user(BudgetEstimator("question -> answer").predict.signature, question=QUESTION) == (
        "Task: Analyze the given question and estimate the minimum number of tokens required to generate a complete "
        "and accurate response. Please Give the response by strictly following this format: [[budget]],for example: "
        f'Budget: [[12]].\n\nBelow is the question:\n\nQuestion: "{QUESTION}"\n'
    )


WANTED = "Please Give the response by strictly following this format: "


@pytest.mark.parametrize(
    ("task", "signature", "prompt"),
    [
        (
            "choice-zh",
            "question -> reasoning, choice",
            "Q?\n请严格按照如下格式回答：[[选项]]，例如：选项: [[A]]。\n让我们一步一步思考：\n",
        ),
        (
            "cloze",
            "question, token_budget: int -> reasoning, answer",
            "Q: Q?\nLet's think step by step and use less than 9 tokens:\n",
        ),
        ("cloze-zh", "question -> answer", "请直接回答下面的问题并直接给出答案\nQ: Q?"),
        ("gpqa", "question -> reasoning, choice", f"Q: Q?\n{CHOICE}Let's think step by step:\n"),
        (
            "answer",
            "question -> reasoning, choice",
            f"Q: Q?\n{WANTED}[[answer]], for example: Answer: [[50]].Let's think step by step:\n",
        ),
    ],
)
def test_a_task_can_be_chosen(task: str, signature: str, prompt: str) -> None:
    assert user(signature, TaleAdapter("paper", task=task), question="Q?", token_budget=9) == prompt


@pytest.mark.parametrize("task", ["choice", "gpqa", "choice-zh"])
def test_a_task_with_options_reads_a_letter_whatever_the_field_is_called(task: str) -> None:
    signature = dspy.Signature("question -> answer")
    assert TaleAdapter(task=task).parse(signature, "Choice: [[B) 5 apples]]") == {"answer": "B"}
    assert TaleAdapter().parse(signature, "Answer: [[B) 5 apples]]") == {"answer": "B) 5 apples"}


def test_an_unknown_form_or_task_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"form must be one of paper, .* got 'gsm'"):
        TaleAdapter("gsm")
    with pytest.raises(UsageError, match=r"task must be one of answer, choice, .* got 'gsm'"):
        TaleAdapter(task="gsm")


def test_next_to_nothing_is_added_to_prompt_and_reply_where_chat_adapter_adds_much() -> None:
    signature = dspy.Signature("question -> reasoning, answer")
    outputs = {"reasoning": "48 / 2 = 24, 48 + 24 = 72.", "answer": "72"}

    def added(adapter: Any) -> tuple[int, int]:
        messages = adapter.format(signature, [], {"question": QUESTION})
        prompt = sum(count_cl100k(m["content"]) for m in messages) - count_cl100k(SYSTEM) - count_cl100k(GSM8K)
        reply = count_cl100k(adapter.format_assistant_message_content(signature, outputs))
        return prompt, reply - count_cl100k(f"{outputs['reasoning']}\nAnswer: [[72]]")

    assert added(TaleAdapter()) == (0, 0)
    prompt, reply = added(dspy.ChatAdapter())
    bare = prompt + count_cl100k(SYSTEM) + count_cl100k(GSM8K) - count_cl100k(QUESTION)
    assert 140 <= bare <= 170
    assert 10 <= reply <= 20


# ---- any other signature


@pytest.mark.parametrize(
    ("signature", "inputs", "prompt"),
    [
        (
            "context, question -> reasoning, answer",
            {"context": "C", "question": "Q"},
            "Context: C\nQuestion: Q\nPlease Give the response by strictly following this format: Answer: [[answer]]."
            "Let's think step by step:\n",
        ),
        (
            "question, token_budget: int -> answer",
            {"question": "Q", "token_budget": 9},
            f"Q: Q\n{ANSWER}Use less than 9 tokens:\n",
        ),
        (
            "question -> answer: Literal['yes', 'no']",
            {"question": "Q"},
            "Please answer the following question and give the answer directly without any reasoning process. Please "
            "Give the response by strictly following this format: Answer: [[answer]] (must exactly match (no extra "
            "characters) one of: yes; no).\nQuestion: Q",
        ),
        (
            "text -> reasoning, sub_total: float, ok: bool",
            {"text": "T"},
            "Text: T\nPlease Give the response by strictly following this format: Sub Total: [[sub_total]] (must be a "
            "single float value), Ok: [[ok]] (must be True or False).Let's think step by step:\n",
        ),
        ("items: list[str] -> answer", {"items": ["a", "b"]}, 'Items: ["a", "b"]'),
    ],
)
def test_other_signatures_have_the_same_shape(signature: str, inputs: dict[str, Any], prompt: str) -> None:
    assert user(signature, **inputs).endswith(prompt)


class Described(dspy.Signature):
    """Answer like a pirate."""

    question: str = dspy.InputField(desc="from a child")
    answer: str = dspy.OutputField(desc="in one word")


def test_instructions_and_descriptions_of_the_user_are_rendered() -> None:
    assert user(Described, question="Q").startswith("Answer like a pirate.\n\nPlease answer")
    assert "Answer: [[answer]] (in one word).\nQuestion (from a child): Q" in user(Described, question="Q")


def test_an_empty_input_is_shown_and_a_missing_one_left_out() -> None:
    assert "A: \nC: 0\n" in user("a, b, c -> reasoning, d, e", a="", b=None, c=0)


def test_a_question_may_hold_braces_and_markers() -> None:
    question = "{think} {question} {0} [[ ## answer ## ]]"
    assert user("question -> reasoning, answer", question=question).startswith(f"Q: {question}\n")


# ---- demos, history, images


def demo_messages(signature: Any, demos: list[Any]) -> list[str]:
    messages = TaleAdapter("paper").format(ensure_signature(signature), demos, {"question": "last"})
    return [m["content"] for m in messages[1:-1]]


def test_a_demo_is_asked_as_the_question_and_answered_in_the_paper_s_form() -> None:
    demo = dspy.Example(question="1+1?", reasoning="One and one.", answer="2")
    user_message = f"Q: 1+1?\n{ANSWER}Let's think step by step:\n"
    assert demo_messages("question -> reasoning, answer", [demo]) == [user_message, "One and one.\nAnswer: [[2]]"]


@pytest.mark.parametrize(
    ("demo", "phrase"),
    [
        ({"question": "1+1?", "answer": "2"}, "Let's think step by step:\n"),
        (
            {"question": "1+1?", "answer": "2", "token_budget": 5},
            "Let's think step by step and use less than 5 tokens:\n",
        ),
    ],
)
def test_only_a_demo_with_a_budget_tells_one(demo: dict[str, Any], phrase: str) -> None:
    assert demo_messages("question, token_budget: int -> reasoning, answer", [demo])[0].endswith(phrase)


@pytest.mark.parametrize("demo", [{"question": "1+1?"}, {"question": "1+1?", "answer": None}, {"answer": "2"}, {}])
def test_a_demo_without_an_output_or_any_input_is_left_out(demo: dict[str, Any]) -> None:
    assert demo_messages("question -> reasoning, answer", [demo]) == []


def test_a_demo_whose_output_may_be_none_stays() -> None:
    assert demo_messages(make(answer=int | None), [{"question": "1?", "answer": None}])[1] == "Answer: [[null]]"


def test_labelled_demos_of_a_task_are_left_out_of_the_estimator() -> None:
    signature = dspy.Signature("question -> token_budget")
    assert demo_messages(signature, [{"question": "1+1?", "answer": "2"}]) == []
    messages = demo_messages(signature, [{"question": "1+1?", "token_budget": "12"}])
    assert messages == ['Below is the question:\n\nQuestion: "1+1?"\n', "Budget: [[12]]"]


def test_instructions_stand_once_before_the_question() -> None:
    signature = dspy.Signature("question -> reasoning, answer", "Be kind.")
    messages = TaleAdapter().format(signature, [{"question": "1+1?", "answer": "2"}], {"question": "2+2?"})
    assert [m["content"].startswith("Be kind.\n\nQ: ") for m in messages] == [False, False, False, True]


def test_a_demo_of_a_choice_is_labelled_as_the_prompt_labels_it() -> None:
    signature = make(label=Literal["A", "B"])
    assert demo_messages(signature, [{"question": "Q", "label": "B"}])[1] == "Choice: [[B]]"
    adapter = TaleAdapter(task="choice-zh")
    assert adapter.format_assistant_message_content(signature, {"label": "B"}) == "选项: [[B]]"


class Talk(dspy.Signature):
    question: str = dspy.InputField()
    history: dspy.History = dspy.InputField()
    reasoning: str = dspy.OutputField()
    answer: str = dspy.OutputField()


HISTORY = dspy.History(messages=[{"question": "1+1?", "answer": "2"}, {"question": "And 2+2?", "answer": "4"}])


def test_a_history_is_rendered_as_earlier_turns() -> None:
    messages = TaleAdapter().format(Talk, [], {"question": "And 3+3?", "history": HISTORY})
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert [m["content"] for m in messages[2::2]] == ["Answer: [[2]]", "Answer: [[4]]"]
    assert messages[-1]["content"].startswith("Q: And 3+3?\n")


def test_an_estimator_sees_what_was_said() -> None:
    signature = Talk.delete("reasoning").delete("answer").append("token_budget", dspy.OutputField(), type_=str)
    messages = TaleAdapter().format(signature, [], {"question": "And 3+3?", "history": HISTORY})
    assert [m["content"] for m in messages[1:3]] == ["Question: 1+1?", "Answer: 2"]
    assert messages[-1]["content"] == 'Below is the question:\n\nQuestion: "And 3+3?"\n'
    assert len(TaleAdapter().format(signature, [], {"question": "1?"})) == 2


def test_an_image_becomes_a_part_of_the_message() -> None:
    signature = dspy.Signature("question, picture: dspy.Image -> answer", custom_types={"dspy.Image": dspy.Image})
    picture = dspy.Image("data:image/png;base64,AAAA")
    content = TaleAdapter().format(signature, [], {"question": "What?", "picture": picture})[-1]["content"]
    assert [part["type"] for part in content] == ["text", "image_url"]


# ---- calls


def test_a_native_thinker_gets_the_papers_phrase_and_the_effort_dspy_sets() -> None:
    lm = fake_lm(thinking("natively", "Answer: [[2]]"), reasons=True)
    with dspy.context(lm=lm, adapter=TaleAdapter()):
        pred = dspy.Predict(make(reasoning=dspy.Reasoning, answer=str))(question=QUESTION)
    assert lm.prompts == [GSM8K]
    assert lm.fake.requests[0].config.reasoning.effort == "low"
    assert pred.reasoning.content == "natively"


class Count(BaseCallback):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_adapter_format_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self.seen.append("format")

    def on_adapter_parse_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self.seen.append("parse")


def test_callbacks_hear_of_each_format_and_parse_once() -> None:
    count = Count()
    with dspy.context(lm=fake_lm("[[2]]"), adapter=TaleAdapter(), callbacks=[count]):
        dspy.Predict("question -> answer")(question="Q")
        asyncio.run(dspy.Predict("question -> answer").acall(question="Q"))
    assert count.seen == ["format", "parse"] * 2


async def streamed(program: Any, listeners: Any = None) -> list[Any]:
    return [value async for value in dspy.streamify(program, stream_listeners=listeners)(question="Q")]


def test_streamify_works_without_listeners() -> None:
    with dspy.context(lm=fake_lm("So.\nAnswer: [[2]]"), adapter=TaleAdapter()):
        assert asyncio.run(streamed(dspy.ChainOfThought("question -> answer")))[-1].answer == "2"


def test_listeners_are_refused_in_one_sentence() -> None:
    listener = dspy.streaming.StreamListener(signature_field_name="answer")
    with dspy.context(lm=fake_lm("[[2]]"), adapter=TaleAdapter()), pytest.raises(UsageError, match="ChatAdapter"):
        asyncio.run(streamed(dspy.ChainOfThought("question -> answer"), [listener]))


def test_finetuning_data_is_the_prompt_and_the_reply() -> None:
    data = TaleAdapter().format_finetune_data(
        dspy.Signature("question -> reasoning, answer"),
        [],
        {"question": QUESTION},
        {"reasoning": "So.", "answer": "72"},
    )
    assert [m["content"] for m in data["messages"]] == [SYSTEM, GSM8K, "So.\nAnswer: [[72]]"]
