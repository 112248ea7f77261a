"""A loopback server that speaks as the providers do, keeps what it was sent, and refuses what they would.

http://127.0.0.1:PORT/anthropic/...   Anthropic's Messages, with Anthropic's rules for thinking
http://127.0.0.1:PORT/vllm/...        chat completions, as vLLM takes them
...                                   the names of `tests.provider_server.rules.RULES`
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from tale_dspy.testing.messages import Reply, Request
from tale_dspy.testing.problems import kind_of
from tale_dspy.testing.server import ScriptedServer
from tale_dspy.testing.wire import HttpMessage, WireAnswer, encode, error_answer
from tests.provider_server.dialects import DIALECTS, dialect_of
from tests.provider_server.rules import RULES
from tests.provider_server.turns import ChatTurn, turn_refusals, turns_of


@dataclass(frozen=True)
class SentRequest:
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

    @property
    def turns(self) -> list[ChatTurn]:
        """The conversation, system messages included."""
        return turns_of(self.dialect, self.body)

    @property
    def limit(self) -> int | None:
        """The limit on output tokens, wherever it stands."""
        return min(limits_in(self.body), default=None)

    def as_request(self) -> Request:
        """Return it as OpenAI's chat completions would have it, for reply functions such as `ThinkingReply`."""
        messages = [{"role": turn.role, "content": turn.text} for turn in self.turns]
        system = "\n".join(turn.text for turn in self.turns if turn.role == "system")
        body = {"messages": messages, **({} if self.limit is None else {"max_tokens": self.limit})}
        kind = kind_of(system, self.prompt)
        return Request(body, {}, self.prompt, system, messages, n=0, seen=0, kind=kind, authorized=False)


_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens", "num_predict", "maxTokens")


def limits_in(body: Mapping[str, object]) -> Iterator[int]:
    """Yield every limit on output tokens in a body."""
    for name, value in body.items():
        if isinstance(value, Mapping) and name not in ("reasoning", "thinking"):
            yield from limits_in(value)
        elif name in _LIMITS and isinstance(value, int):
            yield value


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

    def __init__(self, reply: Callable[[SentRequest], Reply | str] | Reply | str = "", **options: Any) -> None:
        super().__init__("", **options)
        self._answer = reply
        self.sent: list[SentRequest] = []

    def base(self, provider: str) -> str:
        """Return the address to give to a client of a provider."""
        return f"{self.url.removesuffix('/v1')}/{provider}"

    def reset(self) -> None:
        """Forget what was sent."""
        super().reset()
        self.sent.clear()

    def _answer_page(self, message: HttpMessage) -> WireAnswer:
        provider, _, rest = message.path.removeprefix("/").partition("/")
        dialect = dialect_of(message.path)
        if provider not in RULES:
            return super()._answer_page(message)
        if dialect is None:  # a client that looks around, as LiteLLM's does at Ollama
            return WireAnswer("other", body=encode({"model_info": {}, "capabilities": ["completion", "thinking"]}))
        body = json.loads(message.body)
        model = str(body.get("model") or unquote(rest.split("/")[-1 if dialect == "gemini" else -2]).partition(":")[0])
        control = "openai-responses" if (provider, dialect) == ("openai", "responses") else provider
        refusals = (*RULES[control](model, body), *turn_refusals(provider, dialect, body))
        prompt = DIALECTS[dialect].prompt(body)
        request = SentRequest(provider, dialect, message.path, model, prompt, body, refusals)
        self.sent.append(request)
        if refusals:
            return error_answer(400, "; ".join(refusals))
        reply = self._answer(request) if callable(self._answer) else self._answer
        reply = Reply(reply) if isinstance(reply, str) else reply
        return WireAnswer("answered", body=encode(DIALECTS[dialect].document(body, reply)))
