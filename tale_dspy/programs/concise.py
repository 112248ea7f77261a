"""The control any reviewer asks for: chain of thought with "Be concise."."""

import dspy

from tale_dspy.programs.base import TaleModule, with_guidance, with_reasoning
from tale_dspy.prompts import CONCISE_INSTRUCTIONS


class Concise(TaleModule):
    """Reason, told to be concise (Renze and Guven, arXiv 2401.05618).

    Args: see `TaleModule`.
    """

    @classmethod
    def extend(cls, signature: type[dspy.Signature]) -> type[dspy.Signature]:
        return with_guidance(with_reasoning(signature), CONCISE_INSTRUCTIONS)
