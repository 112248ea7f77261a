"""Vanilla chain of thought, the paper's baseline.

"Let's think step by step:".
"""

from tale_dspy.programs.reasoning_module import ReasoningModule


class VanillaCoT(ReasoningModule):
    """Reason without a budget (paper, table 1).

    A state saved by `dspy.ChainOfThought` loads into it.

    Args: see `ReasoningModule`.

    Example:
        >>> VanillaCoT("question -> answer")
        VanillaCoT('question -> reasoning, answer')
    """

    cli_name = "cot"
