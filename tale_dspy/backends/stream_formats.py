"""The repair of a stream, by the format of its API.

The formats are chat completions and Anthropic's Messages.
"""

from collections.abc import Iterator

from tale_dspy.backends.reply_bodies import BrokenBodyError, body_excerpt
from tale_dspy.backends.stream_bodies import StreamRepair, asks_for_stream, event_bytes
from tale_dspy.protocols import JsonObject


def stream_repair(path: str, request: bytes) -> StreamRepair | None:
    """Return the repair of the stream that a request asks for.

    It is None where the request asks for no stream, or for one of another format.

    Args:
        path: The path of the request's address, without a query.
        request: The body of the request.
    """
    if not path.endswith(("/chat/completions", "/messages")) or not asks_for_stream(request):
        return None
    return MessageStreamRepair(request) if path.endswith("/messages") else StreamRepair(request)


class MessageStreamRepair(StreamRepair):
    """The repair of one stream of Anthropic's Messages.

    The counts of its start are repeated at its end, where DSPy's engine reads them; a stream without an end is refused,
    which LiteLLM takes for a whole reply.

    Args:
        request: The body of the request.
    """

    def __init__(self, request: bytes) -> None:
        super().__init__(request)
        self._counts: JsonObject = {}

    def _whole_reply(self, body: bytes) -> Iterator[bytes]:
        said = f": {body_excerpt(body)}" if body.strip() else ""
        raise BrokenBodyError(f"the stream holds no event{said}")

    def _repair_event(self, document: JsonObject, data: bytes) -> Iterator[bytes]:
        message, delta, usage = (document.get(name) for name in ("message", "delta", "usage"))
        if isinstance(message, dict):
            self._begun.add(0)
            self._counts = message["usage"] if isinstance(message.get("usage"), dict) else {}
        if document.get("type") == "message_delta":
            if isinstance(delta, dict) and delta.get("stop_reason"):
                self._ended.add(0)
            stated = usage if isinstance(usage, dict) else {}
            stated = {name: count for name, count in stated.items() if count is not None}
            nonzero = {name: count for name, count in stated.items() if count}  # proxies state 0 for the start's counts
            document = {**document, "usage": stated | self._counts | nonzero}
        yield f"event: {document.get('type', 'message')}\n".encode() + event_bytes(document)

    def _last_events(self) -> Iterator[bytes]:
        yield from ()
