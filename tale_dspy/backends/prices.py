"""What a model costs per token, from the price table of LiteLLM."""

import math
from dataclasses import dataclass
from functools import lru_cache

from tale_dspy.backends.endpoint import fallback_lms
from tale_dspy.backends.local.model_path import is_local
from tale_dspy.errors import UsageError
from tale_dspy.protocols import LanguageModel

_NAMESPACES = {
    "bedrock": ("bedrock", "bedrock_converse"),
    "vertex_ai": ("vertex_ai", "vertex_ai-language-models"),
}
"""Providers whose models stand in the table under other names than the model string's."""

BATCH_PRICE_SHARE = 0.5
"""What a call costs in a batch, as a part of its usual price (OpenAI, Groq and Anthropic alike)."""


@dataclass(frozen=True)
class Price:
    """US dollars per token.

    The figures of `--price-in` and `--price-out` are per million.

    Raises:
        UsageError: If one is negative or no finite number.
    """

    input: float
    output: float

    def __post_init__(self) -> None:
        for name, price in vars(self).items():
            if isinstance(price, bool) or not isinstance(price, int | float) or not 0 <= price < math.inf:
                raise UsageError(f"a price must be a number of at least 0, got {name}={price!r}")


def price_of(lm: LanguageModel) -> Price | None:
    """Look up the price of an LM.

    Args:
        lm: Any DSPy language model.

    Returns:
        The price of plain input and output tokens: 0 for a local model, None if the table does not know the model, or
        the LM brings an engine of its own. A long context or a service tier may be dearer; the figures DSPy books per
        call heed that.
    """
    from dspy import LM

    if is_local(getattr(lm, "model", None)):
        return Price(0.0, 0.0)
    if not isinstance(lm, LM) or not isinstance(lm.engine, str):
        return None
    return next((price for name in _model_names(lm) if (price := _look_up(*name))), None)


def most_output(lm: LanguageModel) -> int | None:
    """Look up the most output tokens a model writes, or None if not listed."""
    from dspy import LM

    if not isinstance(lm, LM) or not isinstance(lm.engine, str):
        return None
    return next((most for name in _model_names(lm) if (most := _look_up_output(*name))), None)


@lru_cache(maxsize=256)
def _look_up_output(provider: str, model: str) -> int | None:
    from tale_dspy.dspy_bridge import model_info

    for namespaces in (None, _NAMESPACES.get(provider)):
        info = model_info(provider, model, namespaces=namespaces)
        most = info.get("max_output_tokens") if info else None
        if isinstance(most, int) and most > 0:
            return most
    return None


def highest_price(lm: LanguageModel) -> Price | None:
    """Return the highest price of an LM and its fallbacks.

    The maximum is taken of input and output separately. It is None if one price is not known.
    """
    found_prices = [price_of(one) for one in (lm, *fallback_lms(lm))]
    prices = [price for price in found_prices if price is not None]
    if len(prices) < len(found_prices):
        return None
    return Price(max(p.input for p in prices), max(p.output for p in prices))


@lru_cache(maxsize=256)
def _look_up(provider: str, model: str) -> Price | None:
    from tale_dspy.dspy_bridge import model_info, token_rate

    for namespaces in (None, _NAMESPACES.get(provider)):
        info = model_info(provider, model, namespaces=namespaces)
        paid_in, paid_out = token_rate(info, "input_cost_per_token"), token_rate(info, "output_cost_per_token")
        if paid_in is not None and paid_out is not None:
            return Price(paid_in, paid_out)
    return None


def _model_names(lm: LanguageModel) -> list[tuple[str, str]]:
    """Return (provider, model) pairs under which a price may be listed.

    The first is DSPy's route, then come the model string cut at its last and at its first slash.
    """
    from tale_dspy.dspy_bridge import LM15Error, resolve_engine

    provider, _, model = lm.model.rpartition("/")
    first, _, rest = lm.model.partition("/")
    names = [(provider or "openai", model)] + ([(first, rest)] if rest else [])
    try:
        route = resolve_engine(lm)
        names.insert(0, (route.provider, route.model))
    except (LM15Error, ValueError, TypeError):  # a model only LiteLLM routes
        pass
    return names
