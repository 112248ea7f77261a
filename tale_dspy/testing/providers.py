"""A loopback server that speaks as fourteen providers do, keeps what it was sent, and refuses what they would.

http://127.0.0.1:PORT/anthropic/...   Anthropic's Messages, with Anthropic's rules for thinking
http://127.0.0.1:PORT/vllm/...        chat completions, as vLLM takes them
...                                   the names of `tale_dspy.testing.rules.RULES`
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from tale_dspy.testing.dialects import DIALECTS, dialect_of
from tale_dspy.testing.messages import Reply
from tale_dspy.testing.rules import RULES
from tale_dspy.testing.server import ScriptedServer
from tale_dspy.testing.wire import Answer, Message, encode, error_answer


@dataclass(frozen=True)
class Sent:
    """One request that reached the server."""

    provider: str
    """The first part of its path, one of `RULES`."""
    dialect: str
    """Its wire format, one of `DIALECTS`."""
    path: str
    model: str
    prompt: str
    """Text of the last thing the user said."""
    body: Mapping[str, Any]
    refusals: tuple[str, ...]
    """What the provider would refuse or pass over in it; a request with any is answered with 400."""


class ProviderServer(ScriptedServer):
    """A recording server for all wire formats, in the place of any provider.

    Args:
        reply: What to answer: a function of the request, or one reply for everything.
        **options: As of `ScriptedServer`.

    Example:
        >>> with ProviderServer("Answer: [[4]]") as server:
        ...     url = server.base("anthropic")  # LM("anthropic/claude-sonnet-4-5", api_base=url, api_key="any")
        >>> server.sent
        []
    """

    def __init__(self, reply: Callable[[Sent], Reply | str] | Reply | str = "", **options: Any) -> None:
        super().__init__("", **options)
        self._answer = reply
        self.sent: list[Sent] = []

    def base(self, provider: str) -> str:
        """Return the address to give to a client of a provider."""
        return f"{self.url.removesuffix('/v1')}/{provider}"

    def reset(self) -> None:
        """Forget what was sent."""
        super().reset()
        self.sent.clear()

    def _page(self, message: Message) -> Answer:
        provider, _, rest = message.path.removeprefix("/").partition("/")
        dialect = dialect_of(message.path)
        if provider not in RULES:
            return super()._page(message)
        if dialect is None:  # a client that looks around, as LiteLLM's does at Ollama
            return Answer("other", body=encode({"model_info": {}, "capabilities": ["completion", "thinking"]}))
        body = json.loads(message.body)
        model = str(body.get("model") or unquote(rest.split("/")[-1 if dialect == "gemini" else -2]).partition(":")[0])
        told = "openai-responses" if (provider, dialect) == ("openai", "responses") else provider
        refusals = tuple(RULES[told](model, body))
        prompt = DIALECTS[dialect].prompt(body)
        sent = Sent(provider, dialect, message.path, model, prompt, body, refusals)
        self.sent.append(sent)
        if refusals:
            return error_answer(400, "; ".join(refusals))
        reply = self._answer(sent) if callable(self._answer) else self._answer
        reply = Reply(reply) if isinstance(reply, str) else reply
        return Answer("answered", body=encode(DIALECTS[dialect].document(body, reply)))
