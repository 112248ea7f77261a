"""How a model is asked to reason, and to reason within a budget.

The prompt forms are data.

The paper's form names the answer's format first and lets the budget speak of the whole reply; small open models then
write the answer alone. The other forms ask for the reasoning first, let the budget speak of the reasoning, and name the
format last. `docs/real_models.md` has what each of them does on real models, and on what the default was chosen.
"""

from dataclasses import dataclass
from typing import Final

from tale_dspy.errors import UsageError
from tale_dspy.prompts import STATED

PAPER: Final = "paper"
"""The name of the paper's form, whose wordings are `tale_dspy.prompts.TASK_PROMPTS`."""

_ENDING = " End with one last line in this format: {format}"
_STATE_FIRST = "First state how many tokens the reasoning needs, in this format: Budget: [[number]]. Then "


@dataclass(frozen=True)
class PromptForm:
    """One way to ask for reasoning within a budget.

    Prompts without a budget are the paper's in every form.
    """

    name: str
    """What `form=` and `--form` take."""
    summary: str
    """What is particular about it."""
    budgeted: str
    """What asks for reasoning within `{budget}` tokens."""
    stated: str = _STATE_FIRST + "think step by step in fewer tokens than that."
    """What lets the model state the budget itself, after SelfBudgeter, arXiv 2505.11274."""
    ending: str = _ENDING
    """What asks for the answer in its `{format}`, last."""

    def render(self, question: object, answer_format: str, *, budget: object) -> str:
        """Return a prompt: the question, then what the form adds.

        Next come the request for reasoning and, where one is wanted, the answer's format.

        Args:
            question: The question, or the inputs as lines.
            answer_format: The answer's format, such as `Answer: [[answer]]`, or an empty text.
            budget: A number of tokens, or `STATED` where the model states it.
        """
        request = self.stated if budget is STATED else self.budgeted.replace("{budget}", str(budget))
        ending = self.ending.replace("{format}", answer_format) if answer_format else ""
        return f"{question}\n\n{request}{ending}"


_FORMS = (
    PromptForm(
        name=PAPER,
        summary="the paper's wording: the answer's format first, the budget for the whole reply",
        budgeted="Let's think step by step and use less than {budget} tokens:",
    ),
    PromptForm(
        name="short-steps",
        summary="short steps, the budget for the reasoning, the format last",
        budgeted="Think step by step. Each step is a few words and one equation; the reasoning must stay under "
        "{budget} tokens.",
    ),
    PromptForm(
        name="skeleton",
        summary="the reply's outline, with the budget at its reasoning: longer and a little more accurate",
        budgeted="Reply in this form:\nReasoning (under {budget} tokens): your steps, with every calculation",
        ending="\n{format}",
    ),
    PromptForm(
        name="sketch",
        summary="variables and formulas in place of sentences, after Sketch-of-Thought, arXiv 2503.05179",
        budgeted="Reason in a sketch: name the variables, write each calculation as a short formula with numbers, no "
        "sentences, less than {budget} tokens.",
    ),
    PromptForm(
        name="draft",
        summary="a limit for each step, after Chain of Draft, arXiv 2502.18600: the shortest, and the least accurate",
        budgeted="Think step by step, but only keep a minimum draft for each thinking step, with 5 words at most, and "
        "less than {budget} tokens in all.",
    ),
)

PROMPT_FORMS: Final = {form.name: form for form in _FORMS}
"""All forms by name."""

BUDGET_SENTENCE: Final = (
    " The reasoning is short steps, each a few words and one equation, under {budget} tokens in all."
)
"""How a budget ends the prompt of any other adapter, such as `dspy.ChatAdapter`; a bare number was ignored."""

DEFAULT_FORM: Final = "short-steps"
"""The form of models that were trained on none."""


def prompt_form(name: str) -> PromptForm:
    """Return the form of a name.

    Raises:
        UsageError: If there is none.
    """
    if name not in PROMPT_FORMS:
        raise UsageError(f"form must be one of {', '.join(PROMPT_FORMS)}, got {name!r}")
    return PROMPT_FORMS[name]
