"""The LM of a run: each of its calls goes through the run's session."""

from functools import lru_cache
from typing import Any

import dspy

from tale_dspy.backends.caching import UsageKeepingLM, with_cache_hit
from tale_dspy.backends.redaction import register_secrets
from tale_dspy.protocols import JsonObject, LanguageModel
from tale_dspy.runs.session import Session, recorded_entries


class _RunLM:
    """What a run changes about an LM.

    Calls go through the session, and their history goes nowhere else.
    """

    _tale_session: Session

    def __call__(self, prompt: object = None, *, messages: object = None, **kwargs: Any) -> Any:
        return self._tale_session.call(self, super().__call__, (prompt, messages), kwargs)  # type: ignore[misc]

    async def acall(self, prompt: object = None, *, messages: object = None, **kwargs: Any) -> Any:
        return await self._tale_session.acall(self, super().acall, (prompt, messages), kwargs)  # type: ignore[misc]

    def update_history(self, entry: JsonObject) -> None:
        box = recorded_entries.get()
        if box is not None:
            box.append(with_cache_hit(entry))

    def __deepcopy__(self, memo: dict[int, Any]) -> "_RunLM":
        return self  # BestOfN, Refine and others copy their program in the middle of a question


@lru_cache(maxsize=64)
def _class_for(kind: type) -> type:
    bases = (_RunLM, UsageKeepingLM) if kind is dspy.LM else (_RunLM, kind)
    return type(f"Run{kind.__name__}", bases, {"__module__": __name__})


def run_lm(lm: LanguageModel, session: Session, timeout: float | None) -> Any:
    """Return a shallow copy of an LM that works for a session.

    Connections and weights are shared.

    Args:
        lm: Any `dspy.BaseLM`.
        session: The run's.
        timeout: Seconds a request may take, unless the LM sets its own; not for engine objects, which own their
            connection, nor for local models, whose replies take as long as the processor needs.
    """
    limits: dict[str, float | None] = (
        {"timeout": timeout} if timeout and isinstance(lm, dspy.LM) and isinstance(lm.engine, str) else {}
    )
    if isinstance(lm, dspy.BaseLM):
        register_secrets(lm.kwargs)
    if session.batches is None:
        limits = {k: v for k, v in limits.items() if lm.kwargs.get(k) is None}
    else:  # a batch takes hours
        limits = {k: None for k in ("timeout",) if lm.kwargs.get(k) is not None}
    copied: Any = lm.copy(num_retries=0, **limits)
    kind: type = type(lm)
    copied.__class__ = _class_for(kind)
    copied._tale_session = session
    return copied
