"""What a model costs per token, from the price table that ships with DSPy (LiteLLM's)."""

from typing import Any

from tale_dspy.receipts import Price


def price_of(lm: Any) -> Price | None:
    """Look up the price of an LM.

    Args:
        lm: Any DSPy language model.

    Returns:
        The price of plain input and output tokens, or None if the table does not know the model, or the LM brings an
        engine of its own. A long context or a service tier may be dearer; the figures DSPy books per call heed that.
    """
    from dspy import LM
    from dspy.clients.model_metadata import model_info

    if not isinstance(lm, LM) or not isinstance(lm.engine, str):
        return None
    for provider, model in _names(lm):
        info = model_info(provider, model)
        if info.get("input_cost_per_token") is not None and info.get("output_cost_per_token") is not None:
            return Price(float(info["input_cost_per_token"]), float(info["output_cost_per_token"]))
    return None


def _names(lm: Any) -> list[tuple[str, str]]:
    """(provider, model) as DSPy routes it, then as the model string says."""
    from dspy.clients.capabilities import resolve
    from dspy.lm15 import LM15Error

    provider, _, model = lm.model.rpartition("/")
    names = [(provider or "openai", model)]
    try:
        route = resolve(lm)
        names.insert(0, (route.provider, route.model))
    except (LM15Error, ValueError, TypeError):  # a model only LiteLLM routes
        pass
    return names
