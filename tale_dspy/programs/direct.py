"""Direct answering: no reasoning at all, the paper's lower bound."""

import dspy

from tale_dspy.programs.base import TaleModule


class DirectAnswer(TaleModule):
    """Answer at once, without any reasoning (paper, table 3).

    Args: see `TaleModule`.

    Example:
        >>> DirectAnswer("question -> answer")
        DirectAnswer('question -> answer')
    """

    cli_name = "direct"

    @classmethod
    def extend_signature(cls, signature: type[dspy.Signature]) -> type[dspy.Signature]:
        return signature
