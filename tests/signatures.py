"""Signatures for tests."""

from typing import Any

import dspy


def make(**kinds: Any) -> Any:
    """A signature of a question and these outputs."""
    return dspy.Signature(
        {"question": (str, dspy.InputField()), **{k: (t, dspy.OutputField()) for k, t in kinds.items()}}
    )
