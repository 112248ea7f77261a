"""From a DSPy request to tokens and settings, and from the tokens a model wrote to a reply.

Counts: `input_tokens` are the tokens of the prompt as the model got it, chat template included; `output_tokens` are all
tokens the model wrote, the end token and those of a stop string included, as servers count them.
"""

import hashlib
import random
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field, fields, replace
from typing import Any

from tale_dspy.backends.local.sampling import Sampling
from tale_dspy.dspy_bridge import (
    Config,
    ContextLengthError,
    InvalidRequestError,
    Request,
    TextPart,
    UnsupportedFeatureError,
)

SUPPORTED = frozenset({"temperature", "top_p", "top_k", "stop", "max_tokens", "seed", "n"})
"""Settings of a call that are obeyed; every other one is refused."""
DEFAULT_TOKENS = 1024
"""Most tokens of a reply where neither the caller nor the model's generation_config sets a limit."""
_CONFIG = ("max_tokens", "temperature", "top_p", "top_k", "stop", "seed")


@dataclass(frozen=True)
class Reply:
    """What a model wrote."""

    text: str
    finish: str
    """`stop` at an end token or a stop string, `length` at the limit or the end of the context window."""
    input_tokens: int
    output_tokens: int


@dataclass(eq=False)
class Job:
    """One reply to be written."""

    ids: list[int]
    """The prompt."""
    limit: int
    """Most tokens to write."""
    sampling: Sampling
    stop: tuple[str, ...]
    rng: random.Random
    future: Future[Reply] = field(default_factory=Future)
    written: list[int] = field(default_factory=list)


class Tongue:
    """A tokenizer and what belongs to it: chat template, end tokens, context window.

    Args:
        tokenizer: Of transformers.
        ends: Ids of the tokens that end a reply.
        window: Tokens the model can look at, prompt and reply together; None if it sets no limit.
        most: Most tokens of a reply where the caller sets no limit.
    """

    def __init__(self, tokenizer: Any, ends: frozenset[int], window: int | None, most: int) -> None:
        self._tokenizer = tokenizer
        self.ends = ends
        self.window = window
        self._most = most
        self._lock = threading.Lock()  # a tokenizer may not encode in two threads at once
        self.encode("warm up")

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a prompt; those that mark its beginning are added where no chat template does it."""
        with self._lock:
            bare = self._tokenizer.chat_template is None
            ids: list[int] = self._tokenizer(text, add_special_tokens=bare)["input_ids"]
        return ids

    def decode(self, ids: list[int]) -> str:
        """Return the text of a reply, without special tokens."""
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def job(self, request: Request, rollout: str, sample: int) -> Job:
        """Turn a request into a job.

        The draw depends on the seed (0 if there is none), the prompt, the `rollout_id` and the number of the choice,
        and on nothing else: not on who else asks, nor on the temperature, so that two settings can be compared.

        Raises:
            UnsupportedFeatureError: If the request has settings or parts that would be ignored.
            ContextLengthError: If the prompt leaves no room for a reply.
            InvalidRequestError: If the model's chat template refuses the messages.
        """
        _refuse_unsupported(request)
        ids = self.encode(self._prompt(request))
        config = request.config
        room = len(ids) + max(config.max_tokens or self._most, 1) if self.window is None else self.window
        if len(ids) >= room:
            raise ContextLengthError(
                f"the prompt has {len(ids)} tokens, but the model can look at {room}, prompt and reply together"
            )
        told = repr((config.seed or 0, ids, rollout, sample))
        return Job(
            ids=ids,
            limit=min(config.max_tokens or self._most, room - len(ids)),
            sampling=Sampling(
                temperature=config.temperature or 0.0,
                top_p=1.0 if config.top_p is None else config.top_p,
                top_k=config.top_k or 0,
            ),
            stop=config.stop,
            rng=random.Random(hashlib.sha256(told.encode()).digest()),
        )

    def _prompt(self, request: Request) -> str:
        from jinja2.exceptions import TemplateError

        try:
            return prompt_text(self._tokenizer, _messages(request))
        except TemplateError as e:
            raise InvalidRequestError(f"the model's chat template refuses these messages: {e}") from e

    def push(self, job: Job, token: int) -> str | None:
        """Add a token to a reply, and return why the reply ends with it, if it does."""
        job.written.append(token)
        if token in self.ends or (job.stop and self._stop_at(job) is not None):
            return "stop"
        return "length" if len(job.written) >= job.limit else None

    def _stop_at(self, job: Job) -> int | None:
        """Return where the reply is to be cut. Looks at the whole text only once a stop string is in its tail."""
        # A token stands for a byte at least, and a character is up to four of them.
        tail = self.decode(job.written[-4 * max(map(len, job.stop)) - 8 :])
        if not any(stop in tail for stop in job.stop):
            return None
        text = self.decode(job.written)
        return min((at for stop in job.stop if (at := text.find(stop)) >= 0), default=None)

    def reply(self, job: Job, finish: str) -> Reply:
        """Return the reply of a job that has ended."""
        text = self.decode(job.written[:-1] if job.written[-1] in self.ends else job.written)
        cut = self._stop_at(job) if job.stop else None
        return Reply(text if cut is None else text[:cut], finish, len(job.ids), len(job.written))


def prompt_text(tokenizer: Any, messages: list[dict[str, str]]) -> str:
    """Return the text a model is given for messages, up to where its reply begins.

    Args:
        tokenizer: Of transformers; where it has no chat template, each message is a paragraph behind its role.
        messages: Each with `role` and `content`.
    """
    if tokenizer.chat_template is None:  # a base model: nothing better is known
        lines = [f"{m['role'].capitalize()}: {m['content']}" for m in messages]
        return "\n\n".join([*lines, "Assistant:"])
    text: str = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return text


def _refuse_unsupported(request: Request) -> None:
    config = request.config
    obeyed = replace(Config(), **{name: value for name, value in _settings(config).items() if name in _CONFIG})
    if config == obeyed and not request.tools:
        return
    told = {**_settings(config), **(config.extensions or {}), "tools": request.tools, "extensions": None}
    neutral = {"frequency_penalty": 0, "presence_penalty": 0}
    asked = [k for k, v in told.items() if k not in _CONFIG and v not in (None, ()) and v != neutral.get(k)]
    if asked:
        raise UnsupportedFeatureError(
            f"a local model obeys {', '.join(sorted(SUPPORTED))} and nothing else, but {asked[0]} is set",
            feature=f"config.{asked[0]}",
        )


def _settings(config: Config) -> dict[str, Any]:
    return {f.name: getattr(config, f.name) for f in fields(config)}


def _messages(request: Request) -> list[dict[str, str]]:
    told = [] if request.system is None else [("system", request.system)]
    told += [(m.role, m.parts) for m in request.messages]
    return [{"role": role, "content": _text(content)} for role, content in told]


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    for part in content:
        if not isinstance(part, TextPart):
            raise UnsupportedFeatureError(f"a local model reads text only, got a part of type {part.type}")
    return "".join(part.text for part in content)
