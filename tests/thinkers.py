"""A model that thinks natively, at a scripted server."""

from typing import Any

from tale_dspy import LM
from tale_dspy.testing import ScriptedServer


def lm(server: ScriptedServer, model: str = "openai/gpt-5", **settings: Any) -> LM:
    return LM(model, api_base=server.url, api_key="k", engine="auto", cache=False, **settings)
