"""The most that one call can cost.

A ledger reserves it before the call is sent.
"""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tale_dspy.backends.output_limit import max_output_tokens
from tale_dspy.backends.prices import Price

RESERVED_TOKENS = 4096
"""Output tokens reserved for (and in a run, allowed to) a call that sets no max_tokens, while a cap is set."""
_SENT_ALONG = ("tools", "functions", "response_format")
"""Settings that the provider counts as part of the prompt."""


@dataclass(frozen=True)
class Reservation:
    """The worst case of one call."""

    usd: float = 0.0
    tokens: int = 0
    choices: int = 1
    thread: int | None = field(default_factory=threading.get_ident, compare=False)
    """Who holds it: a thread must not wait for itself. None for a call in an event loop, which nobody waits for: DSPy
    ends it with the help of a thread, and all that there are may be the ones that wait."""


def worst_case(request: object, config: Mapping[str, object], price: Price | None) -> Reservation:
    """Return the worst case of a call.

    It is the bytes of its prompt, an upper bound of the tokens, and all the call may write.

    Args:
        request: Messages, prompt or an `lm15.Request`.
        config: The merged settings of the call.
        price: Price per token; None where money is not capped.
    """
    n = config.get("n")
    choices = n if isinstance(n, int) and n > 0 else 1
    tokens = choices * (max_output_tokens(config) or RESERVED_TOKENS)
    if price is None:
        return Reservation(0.0, tokens, choices)
    along = [config[name] for name in _SENT_ALONG if config.get(name) is not None]
    text = json.dumps([request, *along], ensure_ascii=False, default=_value_text)
    # DSPy's engine sends n requests for n choices.
    size = choices * len(text.encode("utf-8", "surrogatepass"))
    return Reservation(size * price.input + tokens * price.output, tokens, choices)


def _value_text(value: object) -> Any:
    from pydantic import BaseModel

    return value.model_json_schema() if isinstance(value, type) and issubclass(value, BaseModel) else str(value)
