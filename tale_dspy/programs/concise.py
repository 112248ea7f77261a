"""The control any reviewer asks for: chain of thought with "Be concise."."""

from tale_dspy.programs.base import TaleModule
from tale_dspy.prompts import CONCISE_INSTRUCTIONS


class Concise(TaleModule):
    """Reason, told to be concise (Renze and Guven, arXiv 2401.05618).

    Args: see `TaleModule`.
    """

    guidance = CONCISE_INSTRUCTIONS
