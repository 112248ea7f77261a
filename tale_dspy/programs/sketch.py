"""Sketch-of-Thought: equations and symbols in place of sentences."""

from tale_dspy.programs.reasoning_module import ReasoningModule
from tale_dspy.prompts import SKETCH_INSTRUCTIONS


class SketchOfThought(ReasoningModule):
    """Reason in symbols and equations alone.

    It is the chunked symbolism of Sketch-of-Thought (arXiv 2503.05179), zero-shot. The paper chooses among three
    paradigms by a trained router; this is the one for mathematics.

    Args: see `ReasoningModule`.

    Example:
        >>> SketchOfThought("question -> answer")
        SketchOfThought('question -> reasoning, answer')
    """

    cli_name = "sketch"
    guidance = SKETCH_INSTRUCTIONS
