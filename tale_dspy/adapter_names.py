"""The name of an adapter in a file, and the adapter of that name."""

from dspy import ChatAdapter, JSONAdapter, XMLAdapter

from tale_dspy.adapter import TaleAdapter
from tale_dspy.errors import StateError
from tale_dspy.protocols import PromptAdapter


def describe_adapter(adapter: object) -> str | None:
    """Name an adapter: its class, and the form and task of a `TaleAdapter`."""
    if adapter is None:
        return None
    chosen = (adapter.form or "", adapter.task or "") if isinstance(adapter, TaleAdapter) else ()
    return ":".join((type(adapter).__name__, *chosen)).rstrip(":")


def adapter_named(name: str | None) -> PromptAdapter | None:
    """Build the adapter that `describe_adapter` named.

    Raises:
        StateError: If it is none of DSPy's or this library's.
    """
    adapters = {"ChatAdapter": ChatAdapter, "JSONAdapter": JSONAdapter, "XMLAdapter": XMLAdapter}
    if name is None:
        return None
    kind, form, task = (*name.split(":"), "", "")[:3]
    if kind == "TaleAdapter":
        return TaleAdapter(form or None, task=task or None)
    if kind not in adapters:
        raise StateError(f"adapter {kind!r} cannot be built from a file: construct the program and call .load on it")
    adapter: PromptAdapter = adapters[kind]()
    return adapter
