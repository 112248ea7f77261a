"""The decision on a request.

It is stored in LiteLLM's metadata of the request until the answer is counted.
"""

from collections.abc import Mapping, MutableMapping
from typing import cast

from tale_dspy.budget import BudgetValue
from tale_dspy.integrations.proxy_requests import ApiFormat, JsonObject, SkippedRequest

DECISION_KEY = "tale_dspy"
"""Key of the decision in that metadata: JSON, since LiteLLM may log it."""


def proxy_metadata(request: MutableMapping[str, object]) -> JsonObject:
    """Return LiteLLM's own metadata of a request, added where there is none.

    On the routes with `litellm_metadata` the field `metadata` is the provider's.
    """
    name = "litellm_metadata" if isinstance(request.get("litellm_metadata"), dict) else "metadata"
    metadata = request.get(name)
    if not isinstance(metadata, dict):
        metadata = request[name] = {}
    return cast("JsonObject", metadata)


def store_decision(
    request: MutableMapping[str, object], api: ApiFormat, decision: BudgetValue | SkippedRequest
) -> None:
    """Keep the budget of a request, or the reason why it has none."""
    stored: JsonObject = {"skipped": decision.reason} if isinstance(decision, SkippedRequest) else {
        "api": api, "tokens": decision.tokens, "effort": decision.effort,
    }  # fmt: skip
    proxy_metadata(request)[DECISION_KEY] = stored


def drop_decision(request: Mapping[str, object]) -> None:
    """Remove what a caller has put in the place of a decision.

    It would end in the headers of the response.
    """
    for name in ("litellm_metadata", "metadata"):
        metadata = request.get(name)
        if isinstance(metadata, dict):
            metadata.pop(DECISION_KEY, None)


def stored_decision(request: Mapping[str, object]) -> JsonObject | None:
    """Return the decision of a request, or None.

    It holds `skipped`, or `api`, `tokens`, `effort` and what `add_sent` adds.
    """
    for name in ("litellm_metadata", "metadata"):
        metadata = request.get(name)
        stored = metadata.get(DECISION_KEY) if isinstance(metadata, Mapping) else None
        if isinstance(stored, dict) and stored:
            return cast("JsonObject", stored)
    return None


def stored_budget(stored: Mapping[str, object]) -> BudgetValue | None:
    """Return the budget in a stored decision, or None."""
    tokens, effort = stored.get("tokens"), stored.get("effort")
    if tokens is None and effort is None:
        return None
    return BudgetValue(cast("int | None", tokens), cast("str | None", effort))


def add_sent(stored: JsonObject, changes: Mapping[str, object], effort: str | None) -> None:
    """Add the settings, and the effort word in them, that the model was sent."""
    stored["settings"], stored["sent_effort"] = sorted(changes), effort


def skip_reason(stored: Mapping[str, object]) -> str | None:
    """Return why a request has no budget, or None.

    It is `no-control` where the model takes no effort words.
    """
    if "skipped" in stored:
        return str(stored["skipped"])
    return "no-control" if stored.get("tokens") is None and stored.get("settings") == [] else None


def response_headers(stored: Mapping[str, object]) -> dict[str, str]:
    """Return the headers `x-tale-budget`, `x-tale-effort` and `x-tale-skipped`.

    Each says what was decided.
    """
    reason = skip_reason(stored)
    if reason is not None:
        return {"x-tale-skipped": reason}
    effort = stored.get("sent_effort") or (stored.get("effort") if stored.get("settings") else None)
    headers = {"x-tale-budget": stored.get("tokens"), "x-tale-effort": effort}
    return {name: str(value) for name, value in headers.items() if value is not None}
