"""The wordings of the paper's prompts, as data.

Source: arXiv 2412.18547 table 1 and figure 5, and `utils/prompt_template.py` of the authors' repository, whose spelling
and spacing are kept ("Please Give", no space after some full stops): the figures of the paper belong to these strings.
"""

from dataclasses import dataclass
from typing import Final

ESTIMATOR_INSTRUCTIONS = (
    "Task: Analyze the given question and estimate the minimum number of tokens required to generate a complete and "
    "accurate response. Please Give the response by strictly following this format: [[budget]],for example: "
    "Budget: [[12]]."
)
"""Figure 5: how TALE-EP asks for a budget."""

CONCISE_INSTRUCTIONS = "Be concise."
"""The only difference between the standard and the concise prompt of Renze and Guven, arXiv 2401.05618."""

DRAFT_INSTRUCTIONS = "Think step by step, but only keep a minimum draft for each thinking step, with 5 words at most."
"""Chain of Draft, arXiv 2502.18600, without its last sentence on the answer format: the form has its own."""

SKETCH_INSTRUCTIONS = (
    "Sketch your reasoning by chunked symbolism: name each quantity once, then write only equations, one a line, in "
    "symbols and numbers with their units. No sentences, and nothing of the question again."
)
"""Sketch-of-Thought, arXiv 2503.05179, its paradigm for mathematics, in one sentence and zero-shot."""

STATED: Final = object()
"""In the place of a budget: the model states one itself before it thinks."""

ANSWER_NOW = (
    "There is no room for more reasoning. Do not think any further: give the final answer now, from what you have. "
)
"""What follows a thought that was cut and is sent back."""

ANSWER_AT_ONCE = "There is no room for reasoning. Do not think: give the final answer at once. "
"""The same where nothing of the thought is known."""

_FORMAT = "Please Give the response by strictly following this format: "
_DIRECTLY = "Please answer the following question and give the answer directly without any reasoning process. "


@dataclass(frozen=True)
class TaskPrompt:
    """The wording for one kind of data set.

    It has a form with reasoning, one with a budget, and one that asks directly.
    """

    cot: str
    """The prompt with reasoning; `{question}` and `{think}` are filled in."""
    direct: str
    """The prompt without reasoning; `{question}` is filled in."""
    think: str = "Let's think step by step:\n"
    """What makes the model reason."""
    think_budget: str = "Let's think step by step and use less than {budget} tokens:\n"
    """What makes the model reason within a budget."""
    think_stated: str = (
        "First state the minimum number of tokens that you need, for example: Budget: [[12]]. "
        "Then let's think step by step and use fewer tokens than that:\n"
    )
    """What makes the model state a budget and reason within it, after SelfBudgeter, arXiv 2505.11274."""
    stated_only: str = (
        "Before you think, settle on the minimum number of tokens that you need, and think in fewer than that. "
        "State that number first in your reply, for example: Budget: [[12]].\n"
    )
    """The same for a model that thinks natively, which writes nothing before it has thought; not in the paper."""
    budget_only: str = "Use less than {budget} tokens:\n"
    """The budget for a predictor without a reasoning field; not in the paper."""
    wanted: str | None = None
    """The answer's format for a form that asks for it in its own words; None where only the paper's wording is sent."""
    label: str | None = None
    """What the wording calls the answer; None where it names none."""
    choice: bool = False
    """Whether the answer is the letter of an option."""

    def fits(self, outputs: list[str]) -> bool:
        """Return whether the wording as published can ask for these outputs.

        It can for any single one, whatever it is called.
        """
        return len(outputs) == 1

    def phrase(self, thinks: bool, budget: object | None) -> str:
        """Return the end of the prompt.

        A budget of `STATED` is left to the model.
        """
        if budget is STATED:
            return self.think_stated if thinks else self.stated_only
        if budget is None:
            return self.think if thinks else ""
        return (self.think_budget if thinks else self.budget_only).format(budget=budget)

    def render(self, question: object, *, thinks: bool, budget: object | None, thought: bool = False) -> str:
        """Fill in the published wording.

        `thought` says that the model has thought already, by itself.
        """
        if not (thinks or thought) and budget is None:
            return self.direct.replace("{question}", str(question))
        # The question last: it may hold braces of its own.
        return self.cot.replace("{think}", self.phrase(thinks, budget)).replace("{question}", str(question))

    def render_fields(
        self, inputs: str, answer_format: str, *, thinks: bool, budget: object | None, thought: bool = False
    ) -> str:
        """Render any other signature in the same shape.

        The prompt has `Name: value` lines, the wanted format, and the phrase.
        """
        phrase, format_line = self.phrase(thinks, budget), f"{_FORMAT}{answer_format}" if answer_format else ""
        if not phrase and thought:
            return f"{inputs}\n{format_line}" if answer_format else inputs
        if not phrase:
            return f"{_DIRECTLY}{format_line}\n{inputs}" if answer_format else inputs
        return f"{inputs}\n{format_line}{phrase}"


_CHOICE = _FORMAT + "[[choice]],for example: Choice: [[A]].\n"
_CHOICE_DIRECT = (
    "Please answer the following question directly and give the answer directly without any reasoning process. "
    "Please {strictly} follow the format: [[choice]],for example: Choice: [[A]].\n{{question}}\n"
)
EXAMPLE_ANSWER = "50"
"""The answer in the example of the paper's format, which weak models copy."""
_ANSWER = f"{_FORMAT}[[answer]], for example: Answer: [[{EXAMPLE_ANSWER}]]."
_CHOICE_ZH = "请严格按照如下格式回答：[[选项]]，例如：选项: [[A]]。\n"
_STATE_ZH = "请先写出所需的最少 token 数，例如：预算: [[12]]。"
_SETTLE_ZH = (
    "思考之前请先确定所需的最少 token 数，并使用少于该数量的 tokens 思考；回答时请先写出该数量，例如：预算: [[12]]。\n"
)

TASK_PROMPTS: dict[str, TaskPrompt] = {
    "answer": TaskPrompt(
        cot="Q: {question}\n" + _ANSWER + "{think}",
        direct=_DIRECTLY + _ANSWER + "\nQ: {question}",
        wanted="Answer: [[answer]]",
        label="Answer",
    ),
    "choice": TaskPrompt(
        cot="{question}\n" + _CHOICE + "{think}",
        direct=_CHOICE_DIRECT.format(strictly="strictLy"),
        wanted="Choice: [[letter]]",
        label="Choice",
        choice=True,
    ),
    "gpqa": TaskPrompt(
        cot="Q: {question}\n" + _CHOICE + "{think}",
        direct=_CHOICE_DIRECT.format(strictly="strictly"),
        wanted="Choice: [[letter]]",
        label="Choice",
        choice=True,
    ),
    "choice-zh": TaskPrompt(
        cot="{question}\n" + _CHOICE_ZH + "{think}",
        direct="{question}\n请直接回答下面的问题并直接给出答案的选项序号。" + _CHOICE_ZH,
        think="让我们一步一步思考：\n",
        think_budget="让我们一步一步思考并使用少于 {budget} tokens:\n",
        think_stated=_STATE_ZH + "然后让我们一步一步思考并使用少于该数量的 tokens:\n",
        stated_only=_SETTLE_ZH,
        budget_only="使用少于 {budget} tokens:\n",
        label="选项",
        choice=True,
    ),
    "cloze": TaskPrompt(
        cot="Q: {question}\n{think}",
        direct="Please answer the following question and give the answer directly\nQ: {question}",
    ),
    "cloze-zh": TaskPrompt(
        cot="Q: {question}\n{think}",
        direct="请直接回答下面的问题并直接给出答案\nQ: {question}",
        think="让我们一步一步思考来回答这个问题：\n",
        think_budget="让我们一步一步思考并使用少于 {budget} tokens来回答这个问题:\n",
        think_stated=_STATE_ZH + "然后让我们一步一步思考并使用少于该数量的 tokens来回答这个问题:\n",
        stated_only=_SETTLE_ZH,
        budget_only="使用少于 {budget} tokens来回答这个问题:\n",
    ),
}
"""`answer` is GSM8K's; `choice` and `cloze` (and their Chinese forms) MathBench's; `gpqa` GPQA's."""


def task_names() -> str:
    """Name all tasks, for messages."""
    return ", ".join(TASK_PROMPTS)
