"""How one family of models takes a reasoning budget.

The fields are those of a row of `reasoning_controls`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tale_dspy.budget import EFFORT_WORDS
from tale_dspy.errors import UsageError

VALUE = "<value>"
"""Stands in a template for the number or word that is sent."""

LEVELS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 24576, "max": 32768}
"""Thinking tokens an effort word stands for where a number is wanted: DSPy's table, which is its own choice as are
LiteLLM's (1024 to 16384) and inspect_ai's (2048 to 32000). A budget is given the highest word that fits in it."""

THINKERS = re.compile(
    r"qwen-?3(?!.*(?:instruct|coder))|qwq|deepseek-(?:r1|reasoner)|gpt-oss|magistral|-thinking|glm-(?:4\.[5-9]|[5-9])|kimi-k2\.\d|kimi-k[3-9]|minimax-m[1-9]"
)
"""Open models that think by default."""


@dataclass(frozen=True, kw_only=True)
class ReasoningControl:
    """Models that take a budget in the same way."""

    name: str
    """What messages call it."""
    models: str
    """Regular expression searched in the model string, in lower case; `vllm:` and the like go in front of it where
    `tale_dspy.LM(server=...)` says what answers."""
    kind: Literal["tokens", "word", "none"]
    """A number of thinking tokens, an effort word, or no reasoning control at all."""
    on: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the call that turn the reasoning control; `VALUE` stands for the budget."""
    wire: Mapping[str, Any] = field(default_factory=dict)
    """The part of the request body that comes of it."""
    minimum: int = 1
    """Least number of thinking tokens the provider takes."""
    maximum: int | None = None
    """Most thinking tokens it takes; None where none is known."""
    words: tuple[str, ...] = ()
    """Effort words it takes, from the least to the most."""
    rule: Literal["below", "shared"] = "shared"
    """Against max_tokens: `below` where the provider refuses a budget that does not leave room for an answer, and
    wants max_tokens set; `shared` where thinking and answer share max_tokens, so that without room the answer is
    empty."""
    output: int | None = None
    """Most output tokens of the model, thinking included, where max_tokens is ours to set."""
    thinks: Literal["always", "by default", "on request", "by name"] = "on request"
    """When it thinks natively: always, unless switched off, only when asked to, or if `THINKERS` knows its name."""
    off: Mapping[str, Any] | None = None
    """Settings of the call that switch thinking off; None where the model has no such switch."""
    wire_off: Mapping[str, Any] | None = None
    """The part of the request body that comes of `off`; None where it is `off` itself, with `extra_body` unpacked."""
    drops: tuple[str, ...] = ()
    """Sampling settings the provider refuses while the model thinks."""
    litellm: bool = False
    """Whether only LiteLLM can send it: engine `auto` hands such a call to LiteLLM, `lm15` cannot."""
    on_auto: Mapping[str, Any] | None = None
    """What takes the place of `on` where DSPy's own engine can send the same."""
    wire_auto: Mapping[str, Any] | None = None
    """What takes the place of `wire` there."""
    wire_responses: Mapping[str, Any] | None = None
    """What takes the place of `wire` under `model_type="responses"`."""
    also: tuple[str, ...] = ()
    """Further settings of a call by which callers turn it, beside those of `on` and `off`; dotted paths."""
    why: str = ""
    """Why there is no control."""
    source: str = ""
    """Where this is published or was seen."""
    checked: str = ""
    """When it was last read there, as an ISO date."""

    def __post_init__(self) -> None:
        """Refuse a row that could not be sent; rows of users come from files."""
        try:
            re.compile(self.models)
        except (re.error, TypeError) as e:
            raise UsageError(f"reasoning control {self.name!r}: models is no regular expression: {e}") from e
        if self.kind not in ("tokens", "word", "none"):
            raise UsageError(f"reasoning control {self.name!r}: kind must be tokens, word or none, got {self.kind!r}")
        if self.kind != "none" and VALUE not in repr(self.on):
            raise UsageError(f"reasoning control {self.name!r}: on must hold {VALUE}, the place of the budget")
        if (self.kind == "word") != bool(self.words):
            raise UsageError(f"reasoning control {self.name!r}: a control of kind word, and only one, has words")
        if list(self.words) != sorted(set(self.words) & set(LEVELS), key=EFFORT_WORDS.index):
            raise UsageError(
                f"reasoning control {self.name!r}: words must be some of {', '.join(LEVELS)}, from the least to the "
                f"most, got {', '.join(map(str, self.words))}; none is what off sends"
            )
