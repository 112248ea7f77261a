"""A scripted server with batch APIs in OpenAI's and in Anthropic's format.

Faults and bills can be counted.

POST /v1/files, GET /v1/files/ID/content                         a file of requests, a file of results
POST /v1/batches, GET /v1/batches, GET /v1/batches/ID            OpenAI's batches, of chat completions or responses
POST /v1/messages/batches, GET .../batches, .../ID, .../ID/results    Anthropic's message batches
"""

import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import count
from typing import Any

from tale_dspy.testing.batch_documents import (
    anthropic_row,
    chat_messages,
    message_document,
    openai_row,
    response_document,
)
from tale_dspy.testing.batch_faults import BatchFaults, BatchStats
from tale_dspy.testing.messages import Reply, Request, count_words, text_of
from tale_dspy.testing.problems import kind_of
from tale_dspy.testing.server import ScriptedServer
from tale_dspy.testing.wire import HttpMessage, WireAnswer, compose, encode, error_answer

_DOCUMENTS = {"messages": message_document, "responses": response_document}
"""What a chat completion becomes in the other dialects."""
_PART = re.compile(rb'name="file"[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n(.*?)\r\n--', re.DOTALL)


@dataclass(frozen=True)
class _BatchedRequest:
    custom_id: str
    dialect: str
    body: Mapping[str, Any]

    @property
    def key(self) -> str:
        """What identifies its body, in whatever order and batch it comes."""
        return blake2b(json.dumps(self.body, sort_keys=True).encode(), digest_size=16).hexdigest()


@dataclass
class _Batch:
    id: str
    requests: Sequence[_BatchedRequest]
    created: float
    endpoint: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    over_limit: bool = False
    results: list[tuple[_BatchedRequest, str, dict[str, Any]]] = field(default_factory=list)
    """Request, kind of result (`succeeded`, `errored`, `refused`, `expired`), and its body."""

    @property
    def words(self) -> int:
        """What it counts towards the limit on enqueued tokens."""
        return sum(count_words(request.body) for request in self.requests)


class BatchServer(ScriptedServer):
    """A scripted server that takes batches, too.

    Args:
        reply: What to answer: a function of the request, or one reply for everything.
        batch_faults: What goes wrong with batches.
        **options: As of `ScriptedServer`.

    Attributes:
        batch_stats: What was counted.

    Example:
        >>> with BatchServer("Answer: [[4]]", batch_faults=BatchFaults(expired=0.05)) as server:
        ...     url = server.url  # LM("openai/scripted", api_base=url, api_key="any")
        >>> server.batch_stats.paid_calls
        0
    """

    def __init__(
        self,
        reply: Callable[[Request], Reply | str] | Reply | str = "",
        *,
        batch_faults: BatchFaults = BatchFaults(),  # noqa: B008  (frozen)
        **options: Any,
    ) -> None:
        super().__init__(reply, **options)
        self.batch_faults = batch_faults
        self.batch_stats = BatchStats()
        self._files: dict[str, bytes] = {}
        self._batches: dict[str, _Batch] = {}
        self._seen: Counter[str] = Counter()
        self._numbers = count(1)
        self._unclear = batch_faults.unclear

    def forget_batches(self) -> None:
        """Know no batch and no file any more.

        A provider does so after some weeks, or with another key.
        """
        self._batches.clear()
        self._files.clear()

    def _answer_page(self, message: HttpMessage) -> WireAnswer:
        parts = message.path.strip("/").split("/")
        if "batches" in parts or "files" in parts:
            self.stats.other += 1
            try:
                return self._batch_page(message, parts)
            except (KeyError, ValueError, TypeError) as e:
                return error_answer(400, f"{message.method} {message.path}: {type(e).__name__}: {e}")
        return super()._answer_page(message)

    def _batch_page(self, message: HttpMessage, parts: list[str]) -> WireAnswer:
        if "files" in parts:
            if message.method == "POST":
                return self._take_file(message)
            return WireAnswer("other", body=self._files[parts[parts.index("files") + 1]])
        at = parts.index("batches")
        rest, show = parts[at + 1 :], self._as_anthropic if parts[at - 1] == "messages" else self._as_openai
        if message.method == "POST":
            return self._create(json.loads(message.body), show)
        if not rest:
            newest = sorted(self._batches.values(), key=lambda batch: batch.created, reverse=True)
            return WireAnswer("other", body=encode({"data": [show(batch) for batch in newest], "has_more": False}))
        if rest[0] not in self._batches:
            return error_answer(404, f"No batch found with id '{rest[0]}'.")
        batch = self._batches[rest[0]]
        if rest[1:] == ["results"]:
            return WireAnswer(
                "other", body=b"".join(encode(anthropic_row(r[0].custom_id, *r[1:])) + b"\n" for r in batch.results)
            )
        return WireAnswer("other", body=encode(show(batch)))

    def _take_file(self, message: HttpMessage) -> WireAnswer:
        match = _PART.search(message.body)
        if match is None:
            return error_answer(400, "a multipart body with a file is needed")
        name = f"file-{next(self._numbers)}"
        self._files[name] = match[1]
        return WireAnswer("other", body=encode({"id": name, "object": "file", "purpose": "batch"}))

    def _create(self, body: dict[str, Any], show: Callable[[_Batch], dict[str, Any]]) -> WireAnswer:
        batch = _Batch(f"batch_{next(self._numbers)}", (), time.time())
        if "requests" in body:
            batch.requests = [_BatchedRequest(row["custom_id"], "messages", row["params"]) for row in body["requests"]]
        else:
            batch.endpoint, batch.metadata = body["endpoint"], body.get("metadata") or {}
            rows = [json.loads(line) for line in self._files[body["input_file_id"]].splitlines() if line.strip()]
            dialect = "responses" if batch.endpoint.endswith("/responses") else "chat"
            batch.requests = [_BatchedRequest(row["custom_id"], dialect, row["body"]) for row in rows]
            if any(row["url"] != batch.endpoint for row in rows):
                return error_answer(400, f"the url of every request must be {batch.endpoint}")
        problem = _refusal(batch)
        if problem is not None:
            return error_answer(400, problem)
        enqueued = sum(b.words for b in self._batches.values() if not b.over_limit and not self._has_ended(b))
        limit = self.batch_faults.token_limit
        batch.over_limit = limit is not None and enqueued + batch.words > limit
        if batch.over_limit:
            self.batch_stats.over_limit += 1
            if "requests" in body:
                return error_answer(429, "Too many tokens are enqueued in the processing queue.", "rate_limit_error")
        else:
            self._answer_all(batch)
        self._batches[batch.id] = batch
        if self._unclear > 0:
            self._unclear -= 1
            return WireAnswer("dropped")
        return WireAnswer("other", body=encode(show(batch)))

    def _answer_all(self, batch: _Batch) -> None:
        faults, stats = self.batch_faults, self.batch_stats
        stats.batches += 1
        stats.requests += len(batch.requests)
        for request in batch.requests:
            stats.custom_ids[request.custom_id] += 1
            fault = faults.strike(request.key, self._seen[request.key])
            self._seen[request.key] += 1
            if fault is not None:
                stats.by_fault[fault] += 1
            if fault == "missing":
                continue
            result = self._result(request) if fault is None else (request, fault, {})
            batch.results += [result] * (2 if faults.doubles(request.key) else 1)
        if faults.shuffled:
            random.Random(len(batch.results)).shuffle(batch.results)

    def _result(self, request: _BatchedRequest) -> tuple[_BatchedRequest, str, dict[str, Any]]:
        messages = chat_messages(request.body)
        texts: dict[str, str] = dict.fromkeys(("system", "user"), "")
        for message in messages:
            texts[str(message["role"])] = text_of(message.get("content"))
        kind = kind_of(texts["system"], texts["user"])
        body = {**request.body, "messages": messages}
        scripted_request = Request(
            body, {}, texts["user"], texts["system"], messages, n=0, seen=0, kind=kind, authorized=False
        )
        reply = self._ask_reply_function(scripted_request)
        answer = compose(scripted_request, [reply])
        document = json.loads(answer.body)
        if request.dialect in _DOCUMENTS:
            document = _DOCUMENTS[request.dialect](document)
        self.batch_stats.paid[request.key] += 1
        self.batch_stats.prompt_tokens += answer.prompt_tokens
        self.batch_stats.completion_tokens += answer.completion_tokens
        return request, "succeeded", document

    def _has_ended(self, batch: _Batch) -> bool:
        return time.time() >= batch.created + self.batch_faults.delay

    def _as_openai(self, batch: _Batch) -> dict[str, Any]:
        row: dict[str, Any] = {"id": batch.id, "object": "batch", "endpoint": batch.endpoint, "errors": None}
        row |= {"created_at": int(batch.created), "metadata": dict(batch.metadata), "status": "in_progress"}
        if batch.over_limit:
            error = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached for scripted."}
            return {**row, "status": "failed", "errors": {"object": "list", "data": [error]}}
        if not self._has_ended(batch):
            return row
        files: dict[str, list[bytes]] = {"output_file_id": [], "error_file_id": []}
        for result in batch.results:
            kind = "error_file_id" if result[1] == "expired" else "output_file_id"
            files[kind].append(encode(openai_row(result[0].custom_id, *result[1:])) + b"\n")
        for kind, lines in files.items():
            name = f"{kind}-{batch.id}"
            self._files[name] = b"".join(lines)
            row[kind] = name if lines else None
        return {**row, "status": "completed"}

    def _as_anthropic(self, batch: _Batch) -> dict[str, Any]:
        ended = self._has_ended(batch)
        kinds = Counter(kind for _, kind, _ in batch.results)
        counts = {"processing": 0, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
        if ended:
            counts |= {"expired": kinds["expired"], "errored": kinds["failed"] + kinds["refused"]}
            counts["succeeded"] = len(batch.requests) - counts["expired"] - counts["errored"]
        else:
            counts["processing"] = len(batch.requests)
        created = datetime.fromtimestamp(batch.created, UTC).isoformat().replace("+00:00", "Z")
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": "ended" if ended else "in_progress",
            "request_counts": counts,
            "created_at": created,
            "results_url": None,
        }


_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def _refusal(batch: _Batch) -> str | None:
    """Say what a provider would refuse about a batch."""
    ids = [request.custom_id for request in batch.requests]
    if len(set(ids)) < len(ids):
        return "custom_id must be unique within a batch"
    if not all(_CUSTOM_ID.fullmatch(custom_id) for custom_id in ids):
        return "custom_id must be 1 to 64 letters, digits, hyphens and underscores"
    if len({str(request.body.get("model")) for request in batch.requests}) != 1:
        return "all requests of a batch must be of one model"
    return "a batch needs a request" if not ids else None
