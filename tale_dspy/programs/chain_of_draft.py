"""Chain of Draft: at most five words for each step of the reasoning."""

from tale_dspy.programs.thinking import ThinkingModule
from tale_dspy.prompts import DRAFT_INSTRUCTIONS


class ChainOfDraft(ThinkingModule):
    """Reason in drafts of at most five words a step (arXiv 2502.18600), zero-shot.

    Args: see `ThinkingModule`.
    """

    guidance = DRAFT_INSTRUCTIONS
