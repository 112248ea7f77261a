"""Vanilla chain of thought: "Let's think step by step:", the paper's baseline."""

from tale_dspy.programs.thinking import ThinkingModule


class VanillaCoT(ThinkingModule):
    """Reason without a budget (paper, table 1). A state saved by `dspy.ChainOfThought` loads into it.

    Args: see `ThinkingModule`.

    Example:
        >>> VanillaCoT("question -> answer")
        VanillaCoT('question -> reasoning, answer')
    """
