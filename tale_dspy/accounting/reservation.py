"""The most that one call can cost, told before it is sent: what a ledger holds back for it."""

import json
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tale_dspy.accounting.receipts import Price

RESERVED_TOKENS = 4096
"""Output tokens reserved for (and in a run, allowed to) a call that sets no max_tokens, while a cap is set."""
LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
"""Names of the setting that limits the output tokens of a call."""
_SENT_ALONG = ("tools", "functions", "response_format")
"""Settings that the provider counts as part of the prompt."""


@dataclass(frozen=True)
class Reservation:
    """The worst case of one call."""

    usd: float = 0.0
    tokens: int = 0
    choices: int = 1
    thread: int = field(default_factory=threading.get_ident, compare=False)
    """Who holds it: a thread must not wait for itself."""


def worst_case(request: Any, config: Mapping[str, Any], price: Price | None) -> Reservation:
    """Return the worst case of a call: the bytes of its prompt, an upper bound of the tokens, and all it may write.

    Args:
        request: Messages, prompt or an `lm15.Request`.
        config: The merged settings of the call.
        price: Price per token; None where money is not capped.
    """
    n = config.get("n")
    choices = n if isinstance(n, int) and n > 0 else 1
    tokens = choices * (allowance(config) or RESERVED_TOKENS)
    if price is None:
        return Reservation(0.0, tokens, choices)
    along = [config[name] for name in _SENT_ALONG if config.get(name) is not None]
    text = json.dumps([request, *along], ensure_ascii=False, default=_text)
    # DSPy's own engine asks for n choices in n requests.
    size = choices * len(text.encode("utf-8", "surrogatepass"))
    return Reservation(size * price.input + tokens * price.output, tokens, choices)


def allowance(config: Mapping[str, Any]) -> int | None:
    """Return the output tokens the settings of a call allow, or None if they set no limit."""
    limits = [config.get(name) for name in LIMITS]
    known = [math.ceil(x) for x in limits if isinstance(x, int | float) and 0 < x < math.inf]
    return max(known, default=None)


def _text(value: Any) -> Any:
    from pydantic import BaseModel

    return value.model_json_schema() if isinstance(value, type) and issubclass(value, BaseModel) else str(value)
