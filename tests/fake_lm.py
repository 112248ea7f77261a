"""A language model in this process: a DSPy engine whose replies are written by a function."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import dspy
from dspy.lm15 import Message, Request, Response, TextPart, ThinkingPart, ToolCallPart, Usage

Reply = str | list[Any]
"""A text, or parts such as `ThinkingPart`."""


class FakeEngine:
    """Counts tokens as words. `prompts` keeps the last user message of each request, `requests` all of it."""

    supports_response_schema = False
    supports_function_calling = True

    def __init__(self, reply: Callable[[str], Reply], finish_reason: str = "stop", reasons: bool = False) -> None:
        self.reply = reply
        self.finish_reason = finish_reason
        self.supports_reasoning = reasons
        self.requests: list[Request] = []
        self.prompts: list[str] = []

    def complete(self, request: Request) -> Response:
        prompt = text_of(request.messages[-1])
        self.requests.append(request)
        self.prompts.append(prompt)
        reply = self.reply(prompt)
        parts = [TextPart(reply)] if isinstance(reply, str) else reply
        text = " ".join(p.text for p in parts if not isinstance(p, ToolCallPart))
        usage = Usage(input_tokens=len(prompt.split()), output_tokens=len(text.split()))
        message = Message.assistant(parts)
        return Response(id=None, model=request.model, message=message, finish_reason=self.finish_reason, usage=usage)

    def stream(self, request: Request) -> Iterator[Any]:
        yield from dspy.lm15.response_to_events(self.complete(request))

    def close(self) -> None: ...

    def __deepcopy__(self, memo: Any) -> "FakeEngine":
        return self


class AsyncFakeEngine:
    """The same engine for `acall`."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine

    async def complete(self, request: Request) -> Response:
        return self.engine.complete(request)

    async def aclose(self) -> None: ...

    def __deepcopy__(self, memo: Any) -> "AsyncFakeEngine":
        return self


class FakeLM(dspy.LM):
    """An LM whose engine is at hand as `fake`."""

    @property
    def fake(self) -> FakeEngine:
        return self.engine

    @property
    def prompts(self) -> list[str]:
        return self.fake.prompts


def fake_lm(*replies: Reply | Callable[[str], Reply], cache: bool = False, **kwargs: Any) -> FakeLM:
    """Return an LM that gives these replies in turn, the last one for ever; a function is asked with the prompt."""
    remaining = list(replies)

    def next_reply(prompt: str) -> Reply:
        reply = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        return reply(prompt) if callable(reply) else reply

    settings = {k: kwargs.pop(k) for k in ("finish_reason", "reasons") if k in kwargs}
    engine = FakeEngine(next_reply, **settings)
    return FakeLM("fake/model", engine=engine, async_engine=AsyncFakeEngine(engine), cache=cache, **kwargs)


def text_of(message: Message) -> str:
    return "".join(part.text for part in message.parts if isinstance(part, TextPart))


def thinking(thought: str, text: str = "") -> list[Any]:
    """A reply with native thinking."""
    return [ThinkingPart(thought), *([TextPart(text)] if text else [])]


def sections(prompt: str, value: str = "5") -> str:
    """Answer any prompt: DSPy's adapters in their markers or JSON, the paper's prompts in brackets."""
    format_line = re.search(r"Respond with (?:the corresponding output fields|a JSON object)(.*)", prompt)
    if not format_line:
        return f"Budget: [[{value}0]]" if "[[budget]]" in prompt else f"It is so.\nAnswer: [[{value}]]"
    names = [n for n in re.findall(r"`(?:\[\[ ## )?(\w+)", format_line[1]) if n != "completed"]
    if "JSON object" in format_line[0]:
        return json.dumps(dict.fromkeys(names, value))
    return "\n\n".join(f"[[ ## {name} ## ]]\n{value}" for name in names) + "\n\n[[ ## completed ## ]]"
