"""Vanilla chain of thought, the paper's baseline.

Its cue is "Let's think step by step:".
"""

from tale_dspy.programs.reasoning_module import ReasoningModule


class VanillaCoT(ReasoningModule):
    """Reason without a budget (paper, table 1).

    A state saved by `dspy.ChainOfThought` can be loaded.

    Args: see `ReasoningModule`.

    Example:
        >>> VanillaCoT("question -> answer")
        VanillaCoT('question -> reasoning, answer')
    """

    cli_name = "cot"
