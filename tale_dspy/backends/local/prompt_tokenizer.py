"""Turn a DSPy request into tokens and settings, and tokens into a reply.

Counts: `input_tokens` are the tokens of the prompt as the model got it, chat template included; `output_tokens` are all
tokens the model wrote, the end token and those of a stop string included, as servers count them.
"""

import hashlib
import random
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol

from tale_dspy.backends.local.chat_template import ChatMessages, ChatTokenizer, render_prompt
from tale_dspy.backends.local.sampling import SamplingParams
from tale_dspy.dspy_bridge import (
    Config,
    ContextLengthError,
    InvalidRequestError,
    Request,
    TextPart,
    UnsupportedFeatureError,
)

SUPPORTED_SETTINGS = frozenset({"temperature", "top_p", "top_k", "stop", "max_tokens", "seed", "n"})
"""Settings of a call that are obeyed; every other one is refused."""
DEFAULT_MAX_TOKENS = 1024
"""Most tokens of a reply where neither the caller nor the model's generation_config sets a limit."""
_CONFIG_FIELDS = ("max_tokens", "temperature", "top_p", "top_k", "stop", "seed")


class TextTokenizer(ChatTokenizer, Protocol):
    """What is used of a tokenizer of transformers."""

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        """Return the tokens of a text as `input_ids`."""
        ...

    def decode(self, token_ids: Sequence[int], **kwargs: bool) -> str:
        """Return the text of tokens."""
        ...


@dataclass(frozen=True)
class GeneratedReply:
    """What a model wrote."""

    text: str
    finish: str
    """`stop` at an end token or a stop string, `length` at the limit or the end of the context window."""
    input_tokens: int
    output_tokens: int


@dataclass(eq=False)
class GenerationJob:
    """One reply to be written."""

    ids: list[int]
    """The prompt."""
    max_tokens: int
    """Most tokens to write."""
    sampling: SamplingParams
    stop: tuple[str, ...]
    rng: random.Random
    started: Future[None] = field(default_factory=Future)
    """Done once the job has a row, or has failed before: time limits count from then."""
    future: Future[GeneratedReply] = field(default_factory=Future)
    written: list[int] = field(default_factory=list)

    def start(self) -> None:
        """Note that the job has a row."""
        if not self.started.done():
            self.started.set_result(None)

    def finish(self, result: GeneratedReply | Exception) -> None:
        """Give the caller the result, unless the caller has gone."""
        self.start()
        if not self.future.set_running_or_notify_cancel():
            return
        if isinstance(result, Exception):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)


class PromptTokenizer:
    """A tokenizer with its chat template, end tokens and context window.

    Args:
        tokenizer: Of transformers.
        ends: Ids of the tokens that end a reply.
        window: Tokens the model can look at, prompt and reply together; None if it sets no limit.
        max_tokens: Most tokens of a reply where the caller sets no limit.
    """

    def __init__(self, tokenizer: TextTokenizer, ends: frozenset[int], window: int | None, max_tokens: int) -> None:
        self._tokenizer = tokenizer
        self.ends = ends
        self.window = window
        self._max_tokens = max_tokens
        self._lock = threading.Lock()  # a tokenizer may not encode in two threads at once
        self.encode("warm up")

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a prompt.

        Begin-of-text tokens are added where no chat template does it.
        """
        with self._lock:
            plain = self._tokenizer.chat_template is None
            return self._tokenizer(text, add_special_tokens=plain)["input_ids"]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of a reply, without special tokens."""
        return self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def job(self, request: Request, rollout: str, sample: int) -> GenerationJob:
        """Turn a request into a job.

        The sample depends on the seed (0 if there is none), the prompt, the `rollout_id` and the number of the choice,
        and on nothing else: not on who else calls, nor on the temperature, so that two settings can be compared.

        Raises:
            UnsupportedFeatureError: If the request has settings or parts that would be ignored.
            ContextLengthError: If the prompt leaves no room for a reply.
            InvalidRequestError: If the model's chat template refuses the messages.
        """
        _refuse_unsupported(request)
        ids = self.encode(self._render_prompt(request))
        config = request.config
        max_tokens = config.max_tokens or self._max_tokens
        window = len(ids) + max(max_tokens, 1) if self.window is None else self.window
        if len(ids) >= window:
            raise ContextLengthError(
                f"the prompt has {len(ids)} tokens, but the model can look at {window}, prompt and reply together"
            )
        # A random generator a reply, seeded by what the reply may depend on: batches and other callers change nothing.
        seed = repr((config.seed or 0, ids, rollout, sample))
        return GenerationJob(
            ids=ids,
            max_tokens=min(max_tokens, window - len(ids)),
            sampling=SamplingParams(
                temperature=config.temperature or 0.0,
                top_p=1.0 if config.top_p is None else config.top_p,
                top_k=config.top_k or 0,
            ),
            stop=config.stop,
            rng=random.Random(hashlib.sha256(seed.encode()).digest()),
        )

    def _render_prompt(self, request: Request) -> str:
        from jinja2.exceptions import TemplateError

        try:
            return render_prompt(self._tokenizer, _chat_messages(request))
        except TemplateError as e:
            raise InvalidRequestError(f"the model's chat template refuses these messages: {e}") from e

    def push(self, job: GenerationJob, token: int) -> str | None:
        """Add a token to a reply.

        It returns why the reply ends with this token, or None if it goes on.
        """
        job.written.append(token)
        if token in self.ends or (job.stop and self._stop_at(job) is not None):
            return "stop"
        return "length" if len(job.written) >= job.max_tokens else None

    def _stop_at(self, job: GenerationJob) -> int | None:
        """Return where the reply is to be cut, or None.

        The whole text is searched only once a stop string is in its tail.
        """
        # A token stands for a byte at least, and a character is up to four of them.
        tail = self.decode(job.written[-4 * max(map(len, job.stop)) - 8 :])
        if not any(stop in tail for stop in job.stop):
            return None
        text = self.decode(job.written)
        return min((at for stop in job.stop if (at := text.find(stop)) >= 0), default=None)

    def reply(self, job: GenerationJob, finish: str) -> GeneratedReply:
        """Return the reply of a job that has ended."""
        # The end token is no text, but it was written, and counts as an output token.
        text = self.decode(job.written[:-1] if job.written[-1] in self.ends else job.written)
        cut = self._stop_at(job) if job.stop else None
        return GeneratedReply(text if cut is None else text[:cut], finish, len(job.ids), len(job.written))


def _refuse_unsupported(request: Request) -> None:
    # Settings this engine does not have are an error, unless they have the value that changes nothing.
    config = request.config
    settings = _config_settings(config)
    obeyed = replace(Config(), **{name: settings[name] for name in _CONFIG_FIELDS})
    if config == obeyed and not request.tools:
        return
    neutral = {"frequency_penalty": 0, "presence_penalty": 0}
    settings |= {**(config.extensions or {}), "tools": request.tools, "extensions": None}
    ignored = [
        name
        for name, value in settings.items()
        if name not in _CONFIG_FIELDS and value not in (None, ()) and value != neutral.get(name)
    ]
    if ignored:
        raise UnsupportedFeatureError(
            f"a local model obeys {', '.join(sorted(SUPPORTED_SETTINGS))} and nothing else, but {ignored[0]} is set",
            feature=f"config.{ignored[0]}",
        )


def _config_settings(config: Config) -> dict[str, object]:
    return {f.name: getattr(config, f.name) for f in fields(config)}


def _chat_messages(request: Request) -> ChatMessages:
    system = [] if request.system is None else [{"role": "system", "content": _content_text(request.system)}]
    return system + [{"role": message.role, "content": _content_text(message.parts)} for message in request.messages]


def _content_text(content: str | Sequence[Any]) -> str:
    if isinstance(content, str):
        return content
    parts: Sequence[Any] = content
    for part in parts:
        if not isinstance(part, TextPart):
            raise UnsupportedFeatureError(f"a local model reads text only, got a part of type {part.type}")
    return "".join(part.text for part in parts)
