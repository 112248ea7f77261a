"""Asks a local model."""

from typing import Any

from dspy.lm15 import Config, Message, Request

from tale_dspy.backends.local.engine import LocalEngine


def said(model: str, prompt: list[dict[str, Any]]) -> str:
    """What a model replies to a system and a user message."""
    system, user = (message["content"] for message in prompt)
    request = Request(model="m", system=system, messages=(Message.user(user),), config=Config(max_tokens=20))
    text: str = LocalEngine(model).complete(request).message.text
    return text
