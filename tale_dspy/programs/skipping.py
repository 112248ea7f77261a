"""Notice a reply without its reasoning, and do what `TaleEP(on_skip=)` says.

Asked to use less than N tokens, some models write the bare answer: the tokens are saved, and the accuracy is lost
(Qwen2.5-Coder-1.5B-Instruct on GSM8K: from 55 to 8 % with the paper's phrase).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import dspy

from tale_dspy.accounting.calls import Call
from tale_dspy.errors import UsageError
from tale_dspy.task_signature import BUDGET, REASONING

SkipPolicy = Literal["unbudgeted", "floor"]
SKIP_POLICIES: tuple[SkipPolicy, ...] = ("unbudgeted", "floor")

LEAST_BUDGET = 24
"""Tokens below which an estimate cannot be meant, where no search has shown a right answer with fewer."""

_FEW_WORDS = 3
_CONTENT = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|\w+")  # Chinese and Japanese put no spaces between words


def check_on_skip(value: object) -> SkipPolicy | None:
    """Return a policy, or say which there are.

    Raises:
        UsageError: If it is none.
    """
    for policy in (*SKIP_POLICIES, None):
        if value == policy:
            return policy
    raise UsageError(f"on_skip must be {' or '.join(SKIP_POLICIES)}, or None for nothing, got {value!r}")


def skips_reasoning(fields: Mapping[str, object] | dspy.Prediction, calls: Sequence[Call]) -> bool | None:
    """Return whether an answer came without the visible reasoning asked for.

    Fewer than three words without any digit are no reasoning: a label, "Sure.", "So:". Native thinking is reasoning.

    Args:
        fields: The prediction as the predictor gave it; without a `reasoning` field none was asked for.
        calls: The calls of the answer.

    Returns:
        None where no reasoning was asked for, or no answer could be read.
    """
    names = [name for name in fields.keys() if name not in (REASONING, BUDGET)]  # noqa: SIM118  no dict
    if REASONING not in fields or all(fields.get(name) is None for name in names):
        return None
    last = next((call for call in reversed(calls) if call.role in ("reason", "recovery")), None)
    if last is not None and (last.reasoning_tokens or (last.thought or "").strip()):
        return False
    value = fields.get(REASONING)
    text = value if isinstance(value, str) else "" if value is None else str(value)
    words = _CONTENT.findall(text)
    return len(words) < _FEW_WORDS and not any(character.isdigit() for character in text)
