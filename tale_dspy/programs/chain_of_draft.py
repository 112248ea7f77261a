"""Chain of Draft: at most five words for each step of the reasoning."""

from tale_dspy.programs.reasoning_module import ReasoningModule
from tale_dspy.prompts import DRAFT_INSTRUCTIONS


class ChainOfDraft(ReasoningModule):
    """Reason in drafts of at most five words a step, zero-shot.

    It is Chain of Draft (arXiv 2502.18600).

    Args: see `ReasoningModule`.
    """

    cli_name = "draft"
    guidance = DRAFT_INSTRUCTIONS
