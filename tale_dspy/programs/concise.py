"""The control any reviewer asks for: chain of thought with "Be concise."."""

from tale_dspy.programs.thinking import ThinkingModule
from tale_dspy.prompts import CONCISE_INSTRUCTIONS


class Concise(ThinkingModule):
    """Reason, told to be concise (Renze and Guven, arXiv 2401.05618).

    Args: see `ThinkingModule`.
    """

    guidance = CONCISE_INSTRUCTIONS
