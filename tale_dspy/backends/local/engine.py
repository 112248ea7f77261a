"""What DSPy sees of a local model.

There is one engine for threads and one for event loops, over one thread that writes.
"""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tale_dspy.backends.local import files
from tale_dspy.backends.local.model_path import embedded_folder, parse_model_path
from tale_dspy.backends.local.prompt_tokenizer import SUPPORTED_SETTINGS, GeneratedReply
from tale_dspy.backends.local.sample_request import SampleRequest, current_sample_request
from tale_dspy.backends.local.shared_model import SharedModel, shared_model
from tale_dspy.backends.local.weights import DTYPES, require_packages, resolve_folder
from tale_dspy.dspy_bridge import EngineTimeoutError, Message, Request, Response, TextPart, Usage, response_to_events
from tale_dspy.errors import DataError, UsageError
from tale_dspy.protocols import JsonObject

if TYPE_CHECKING:
    from tale_dspy.backends.local.batch import ContinuousBatch
    from tale_dspy.backends.local.prompt_tokenizer import GenerationJob, PromptTokenizer

_DEFAULT_OPTIONS: dict[str, str | int | None] = {"device": "cpu", "dtype": "auto", "max_batch": None}


class LoadedModel(NamedTuple):
    """What writes replies."""

    model: SharedModel
    batch: "ContinuousBatch"
    tokenizer: "PromptTokenizer"


class LocalEngine:
    """A model of this process, checked when it is made, loaded at its first call.

    Args:
        model: `embedded`, `local:PATH` or `local:PATH+ADAPTER`.
        device: A torch device, such as `cpu` or `cuda:0`.
        dtype: `float32`, `bfloat16`, `float16`, `int8` for linear layers in 8 bits on a processor, or `auto` for that
            of the files.
        max_batch: Most replies that are written at once; further ones wait. None for as many as memory holds, 128 at
            most.

    Raises:
        UsageError: If there is no such model, or an option cannot be used.
        DataError: If a file of it is broken.
        MissingExtraError: If torch or transformers is not installed.
    """

    supports_function_calling = False
    supports_reasoning = False
    supports_response_schema = False
    supported_params = SUPPORTED_SETTINGS

    def __init__(self, model: str, *, device: str = "cpu", dtype: str = "auto", max_batch: int | None = None) -> None:
        if dtype not in DTYPES:
            raise UsageError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
        if max_batch is not None and (isinstance(max_batch, bool) or not isinstance(max_batch, int) or max_batch < 1):
            raise UsageError(f"max_batch must be a number of at least 1, got {max_batch!r}")
        self.model = model
        self.options: dict[str, str | int | None] = {"device": device, "dtype": dtype, "max_batch": max_batch}
        self._device, self._dtype, self._max_batch = device, dtype, max_batch
        self._path = parse_model_path(model)
        self._lock = threading.Lock()
        self._loaded: LoadedModel | None = None
        self._identity: str | None = None
        """Known once the weights are loaded; until then the files may change."""
        if self._path.folder is not None:
            self._check_files()
        require_packages("torch", "transformers", *(["peft"] if self._path.adapter else []))

    def _check_files(self) -> None:
        files.check_model(self._base_folder)
        if self._path.adapter is not None:
            files.check_adapter(self._path.adapter, self._path.base, self._base_folder)

    @cached_property
    def _base_folder(self) -> Path:
        return resolve_folder(self._path)

    @property
    def chosen(self) -> dict[str, str | int | None]:
        """The options that are not the default ones."""
        return {name: value for name, value in self.options.items() if value != _DEFAULT_OPTIONS[name]}

    @property
    def identity(self) -> str:
        """Return the hash of all files that decide replies.

        The files are those the weights were loaded from, or before that those on disk now.
        """
        return self._identity or self._hash_files()

    def _hash_files(self) -> str:
        parts = [files.contents_hash(folder) for folder in self._weight_folders()] + [self._dtype]
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]

    @property
    def seen(self) -> dict[str, str]:
        """Return id -> role of the questions the model was trained on.

        They are those that its cards list.
        """
        return {id_: role for folder in self._weight_folders() for id_, role in files.seen_by(folder).items()}

    @property
    def prompt_form(self) -> str | None:
        """Return the prompt form the model was trained on.

        It is the paper's for the embedded model, with or without an adapter, and None for others.
        """
        return "paper" if self._path.folder == embedded_folder() else None

    def _weight_folders(self) -> list[Path]:
        return [self._base_folder, *([self._path.adapter] if self._path.adapter else [])]

    @property
    def loaded(self) -> bool:
        """Whether the weights are there."""
        return self._loaded is not None

    def load(self) -> LoadedModel:
        """Load the weights, if they are not loaded, and return what writes.

        Raises:
            UsageError: If the model or its adapter cannot be used.
            DataError: If their files are broken, or are written anew at this moment.
        """
        with self._lock:
            if self._loaded is None:
                self._check_files()
                identity = self._hash_files()
                model = shared_model(self._base_folder, self._path.base, self._device, self._dtype)
                loaded = LoadedModel(model, *model.batch(self._path.adapter, self._max_batch))
                if self._hash_files() != identity:
                    raise DataError(f"{self.model} was written anew while it was loaded: call again")
                self._identity, self._loaded = identity, loaded
            return self._loaded

    def submit(self, request: Request) -> "GenerationJob":
        """Queue a reply, or return the one that is on its way for this choice."""
        sample = current_sample_request()
        if not sample.pending:
            count = max(sample.choices - sample.requested, 1)
            sample.pending = [self._start_job(request, sample, sample.requested + i) for i in range(count)]
        sample.requested += 1
        return sample.pending.pop(0)

    def _start_job(self, request: Request, sample: SampleRequest, number: int) -> "GenerationJob":
        loaded = self.load()
        job = loaded.tokenizer.job(request, sample.rollout, number)
        loaded.model.worker.submit(loaded.batch, job)
        return job

    def complete(self, request: Request) -> Response:
        """Write a reply, among those of other callers.

        Raises:
            dspy.lm15.TimeoutError: If it took longer than the call's timeout, counted from when its row was started.
        """
        sample, job = current_sample_request(), self.submit(request)
        try:
            if sample.timeout is not None:
                job.started.result()
            return _to_response(request, job.future.result(sample.timeout))
        except TimeoutError:
            sample.retry_last()
            raise _too_long(sample) from None
        finally:
            job.future.cancel()

    def stream(self, request: Request) -> Iterator[Any]:
        """Return the whole reply as the events of a stream."""
        return iter(response_to_events(self.complete(request)))

    def close(self) -> None:
        """Release the weights.

        They are freed once no other LM uses them; the next call loads them again.
        """
        with self._lock:
            self._loaded = self._identity = None

    def dump_state(self) -> JsonObject:
        """Return what rebuilds this engine: no weights."""
        return {"model": self.model, **self.options}

    @classmethod
    def load_state(cls, state: JsonObject) -> "LocalEngine":
        """Build the engine anew."""
        return cls(**state)

    def __copy__(self) -> "LocalEngine":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "LocalEngine":
        return self

    def __reduce__(self) -> str:
        raise TypeError(f"the local model {self.model} stays in its process: make it anew in another by its name")


class AsyncLocalEngine:
    """The same model for event loops.

    A task that is cancelled takes its row out of the batch.
    """

    def __init__(self, engine: LocalEngine) -> None:
        self._engine = engine

    async def complete(self, request: Request) -> Response:
        """Write a reply in one batch with those of other callers.

        The timeout is that of `LocalEngine.complete`.
        """
        sample = current_sample_request()
        if not self._engine.loaded:
            await asyncio.to_thread(self._engine.load)
        job = self._engine.submit(request)
        try:
            if sample.timeout is not None:
                await asyncio.wrap_future(job.started)
            reply = await asyncio.wait_for(asyncio.wrap_future(job.future), sample.timeout)
        except TimeoutError:
            sample.retry_last()
            raise _too_long(sample) from None
        finally:
            job.future.cancel()
        return _to_response(request, reply)

    async def stream(self, request: Request) -> AsyncIterator[Any]:
        """Return the whole reply as the events of a stream."""
        for event in response_to_events(await self.complete(request)):
            yield event

    async def aclose(self) -> None:
        """Let the weights go."""
        self._engine.close()

    def dump_state(self) -> JsonObject:
        """Return what rebuilds this engine."""
        return self._engine.dump_state()

    @classmethod
    def load_state(cls, state: JsonObject) -> "AsyncLocalEngine":
        """Build the engine anew."""
        return cls(LocalEngine(**state))

    def __copy__(self) -> "AsyncLocalEngine":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "AsyncLocalEngine":
        return self


def _too_long(sample: SampleRequest) -> EngineTimeoutError:
    return EngineTimeoutError(f"the local model took longer than {sample.timeout:g} s", status=408)


def _to_response(request: Request, reply: GeneratedReply) -> Response:
    usage = Usage(input_tokens=reply.input_tokens, output_tokens=reply.output_tokens)
    message = Message.assistant([TextPart(reply.text)])
    finish: Any = reply.finish
    return Response(id=None, model=request.model, message=message, finish_reason=finish, usage=usage)
