"""The control any reviewer asks for: chain of thought with "Be concise."."""

from tale_dspy.programs.reasoning_module import ReasoningModule
from tale_dspy.prompts import CONCISE_INSTRUCTIONS


class Concise(ReasoningModule):
    """Reason concisely, as the prompt asks (Renze and Guven, arXiv 2401.05618).

    Args: see `ReasoningModule`.
    """

    cli_name = "concise"
    guidance = CONCISE_INSTRUCTIONS
