"""The wordings against those the authors published, typed off their repository (`utils/prompt_template.py`)."""

import pytest

from tale_dspy.prompts import ESTIMATOR_INSTRUCTIONS, TASK_PROMPTS, task_names

CHOICE = "Please Give the response by strictly following this format: [[choice]],for example: Choice: [[A]].\n"
CHOICE_DIRECT = (
    "Please answer the following question directly and give the answer directly without any reasoning process. "
    "Please strict{}y follow the format: [[choice]],for example: Choice: [[A]].\n{{question}}\n"
)
THINK = "Let's think step by step:\n"
PUBLISHED = {
    "answer": (
        "Q: {question}\nPlease Give the response by strictly following this format: [[answer]], for example: "
        "Answer: [[50]].Let's think step by step:\n",
        "Please answer the following question and give the answer directly without any reasoning process. Please Give "
        "the response by strictly following this format: [[answer]], for example: Answer: [[50]].\nQ: {question}",
    ),
    "choice": ("{question}\n" + CHOICE + THINK, CHOICE_DIRECT.format("L")),
    "gpqa": ("Q: {question}\n" + CHOICE + THINK, CHOICE_DIRECT.format("l")),
    "choice-zh": (
        "{question}\n请严格按照如下格式回答：[[选项]]，例如：选项: [[A]]。\n让我们一步一步思考：\n",
        "{question}\n请直接回答下面的问题并直接给出答案的选项序号。"
        "请严格按照如下格式回答：[[选项]]，例如：选项: [[A]]。\n",
    ),
    "cloze": (
        "Q: {question}\nLet's think step by step:\n",
        "Please answer the following question and give the answer directly\nQ: {question}",
    ),
    "cloze-zh": (
        "Q: {question}\n让我们一步一步思考来回答这个问题：\n",
        "请直接回答下面的问题并直接给出答案\nQ: {question}",
    ),
}
PHRASES = {
    "Let's think step by step:\n": "Let's think step by step and use less than 50 tokens:\n",
    "让我们一步一步思考：\n": "让我们一步一步思考并使用少于 50 tokens:\n",
    "让我们一步一步思考来回答这个问题：\n": "让我们一步一步思考并使用少于 50 tokens来回答这个问题:\n",
}
"""What the authors replace in a prompt with reasoning to add a budget (`create_prompt` and the like)."""

QUESTION = "How many {think} {budget} are {question}?\nA. 1\n"


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_prompts_without_a_budget_are_the_published_ones(name: str) -> None:
    cot, direct = (text.replace("{question}", QUESTION) for text in PUBLISHED[name])
    assert TASK_PROMPTS[name].render(QUESTION, thinks=True, budget=None) == cot
    assert TASK_PROMPTS[name].render(QUESTION, thinks=False, budget=None) == direct


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_budget_replaces_the_phrase_as_published(name: str) -> None:
    plain, budgeted = next((p, b) for p, b in PHRASES.items() if PUBLISHED[name][0].endswith(p))
    expected = (PUBLISHED[name][0].removesuffix(plain) + budgeted).replace("{question}", QUESTION)
    assert TASK_PROMPTS[name].render(QUESTION, thinks=True, budget=50) == expected


def test_the_estimator_is_asked_as_published() -> None:
    assert ESTIMATOR_INSTRUCTIONS == (
        "Task: Analyze the given question and estimate the minimum number of tokens required to generate a complete "
        "and accurate response. Please Give the response by strictly following this format: [[budget]],for example: "
        "Budget: [[12]]."
    )


def test_all_forms_are_published_ones() -> None:
    assert task_names() == ", ".join(PUBLISHED)


@pytest.mark.parametrize(
    ("thinks", "budget", "expected"),
    [
        (
            True,
            None,
            "A: 1\nPlease Give the response by strictly following this format: B: [[b]].Let's think step by step:\n",
        ),
        (
            False,
            9,
            "A: 1\nPlease Give the response by strictly following this format: B: [[b]].Use less than 9 tokens:\n",
        ),
    ],
)
def test_other_fields_are_asked_for_in_the_same_shape(thinks: bool, budget: int | None, expected: str) -> None:
    assert TASK_PROMPTS["answer"].render_fields("A: 1", "B: [[b]].", thinks=thinks, budget=budget) == expected


def test_nothing_asked_for_leaves_the_inputs_alone() -> None:
    assert TASK_PROMPTS["answer"].render_fields("A: 1", "", thinks=False, budget=None) == "A: 1"
    assert TASK_PROMPTS["answer"].render_fields("A: 1", "", thinks=False, budget=5) == "A: 1\nUse less than 5 tokens:\n"
