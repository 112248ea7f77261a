"""Chain of Draft: at most five words for each step of the reasoning."""

import dspy

from tale_dspy.programs.base import TaleModule, with_guidance, with_reasoning
from tale_dspy.prompts import DRAFT_INSTRUCTIONS


class ChainOfDraft(TaleModule):
    """Reason in drafts of at most five words a step (arXiv 2502.18600), zero-shot.

    Args: see `TaleModule`.
    """

    @classmethod
    def extend(cls, signature: type[dspy.Signature]) -> type[dspy.Signature]:
        return with_guidance(with_reasoning(signature), DRAFT_INSTRUCTIONS)
