"""A local model as DSPy sees it: replies that depend on the request alone, exact counts, callers that leave."""

import asyncio
import copy
import gc
import pickle
import threading
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.lm15 import Config, Message, Request, TextPart
from tiny_models import held, make_model

from tale_dspy.backends.local.engine import AsyncLocalEngine, LocalEngine
from tale_dspy.backends.local.prompt_tokenizer import GeneratedReply
from tale_dspy.backends.local.sample_request import SampleRequest, use_sample_request
from tale_dspy.errors import MissingExtraError, UsageError

QUESTIONS = [f"What is {i} + {i * i}?{' Please.' * (i % 5)}" for i in range(32)]
HOT = {"temperature": 1.0, "max_tokens": 40}


def request(text: str = "What is 2 + 3?", **config: Any) -> Request:
    return Request(model="m", messages=(Message.user(text),), config=Config(**{"max_tokens": 40, **config}))


@pytest.fixture
def engine(base: Path) -> LocalEngine:
    return LocalEngine(f"local:{base}")


def told(response: Any) -> tuple[Any, ...]:
    usage = response.usage
    return response.message.text, response.finish_reason, usage.input_tokens, usage.output_tokens


def all_at_once(engine: LocalEngine, requests: list[Request]) -> list[tuple[Any, ...]]:
    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(lambda one: told(engine.complete(one)), requests))


CUT = {**HOT, "top_p": 0.8, "top_k": 20, "seed": 5}


@pytest.mark.parametrize("config", [{}, HOT, CUT], ids=["greedy", "hot", "cut"])
def test_a_reply_is_the_same_alone_and_among_32_whatever_the_order(engine: LocalEngine, config: dict[str, Any]) -> None:
    requests = [request(q, **config) for q in QUESTIONS]
    alone = [told(engine.complete(one)) for one in requests]
    assert all_at_once(engine, requests) == alone
    assert all_at_once(engine, requests[::-1]) == alone[::-1]
    assert len({count for *_, count in alone}) > 4


def test_a_reply_is_the_same_from_threads_and_tasks(engine: LocalEngine) -> None:
    requests = [request(q, **HOT) for q in QUESTIONS]

    async def gathered() -> list[Any]:
        return await asyncio.gather(*(AsyncLocalEngine(engine).complete(one) for one in requests))

    assert [told(r) for r in asyncio.run(gathered())] == all_at_once(engine, requests)


@pytest.mark.parametrize("width", [1, 3, 5])
def test_more_callers_than_rows_wait_for_their_turn(base: Path, engine: LocalEngine, width: int) -> None:
    requests = [request(q, **HOT) for q in QUESTIONS]
    assert all_at_once(LocalEngine(f"local:{base}", max_batch=width), requests) == all_at_once(engine, requests)


def test_another_seed_or_prompt_is_another_draw_and_no_seed_is_seed_0(engine: LocalEngine) -> None:
    replies = [told(engine.complete(request(**HOT, seed=seed))) for seed in (None, 0, 1, 2)]
    assert replies[0] == replies[1]
    assert len({*replies, told(engine.complete(request("other", **HOT)))}) == 4


def test_a_rollout_and_each_choice_is_a_draw_of_its_own(engine: LocalEngine) -> None:
    def drawn(rollout: str, choices: int) -> list[str]:
        with use_sample_request(SampleRequest(rollout, choices)):
            return [engine.complete(request(**HOT)).message.text or "" for _ in range(choices)]

    three = drawn("1", 3)
    assert len({*three, *drawn("2", 1), *drawn("", 1)}) == 5
    assert drawn("1", 2) == three[:2]
    assert drawn("1", 3) == three


def test_choices_nobody_takes_are_given_up(engine: LocalEngine) -> None:
    with use_sample_request(draw := SampleRequest("", 3)):
        engine.complete(request())
        pending = list(draw.pending)
    assert [job.future.cancelled() or job.future.done() for job in pending] == [True, True]


def test_the_counts_are_those_of_the_tokenizer(engine: LocalEngine) -> None:
    text, finish, read, written = told(engine.complete(request("Hé", max_tokens=7)))
    assert read == len("<|im_start|>" and "user\nH") + 1 + 2 + 1 + 1 + 1 + len("assistant\n")
    assert (finish, written) == ("length", 7) or (finish == "stop" and written <= 7)
    assert text


def test_a_prompt_longer_than_the_window_is_refused_in_one_sentence(engine: LocalEngine) -> None:
    from dspy.lm15 import ContextLengthError

    with pytest.raises(ContextLengthError, match=r"has \d+ tokens, but the model can look at 512, prompt and reply"):
        engine.complete(request("x" * 600))


def test_a_cancelled_task_leaves_the_batch_and_the_others_go_on(base: Path) -> None:
    engine = LocalEngine(f"local:{base}", max_batch=2)
    requests = [request(q, max_tokens=60, temperature=1.0) for q in QUESTIONS[:6]]

    async def run() -> list[Any]:
        tasks = [asyncio.create_task(AsyncLocalEngine(engine).complete(one)) for one in requests]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks[4:]:
            task.cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    result = asyncio.run(run())
    assert [told(r) for r in result[:4]] == all_at_once(engine, requests[:4])
    assert all(isinstance(r, asyncio.CancelledError) or told(r) for r in result[4:])


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_caller_who_waits_too_long_is_told_and_leaves(base: Path, asynchronous: bool) -> None:
    from dspy.lm15 import TimeoutError as LateError

    engine = LocalEngine(f"local:{base}")
    with (
        held(engine),
        use_sample_request(SampleRequest(timeout=0.01)),
        pytest.raises(LateError, match="took longer than"),
    ):
        if asynchronous:
            asyncio.run(AsyncLocalEngine(engine).complete(request()))
        else:
            engine.complete(request())
    assert engine.complete(request()).message.text is not None


class RecordingFuture(Future[Any]):
    """Notes how long its result was waited for."""

    def __init__(self, name: str, waits: list[tuple[str, float | None]]) -> None:
        super().__init__()
        self._name, self._waits = name, waits

    def result(self, timeout: float | None = None) -> Any:
        self._waits.append((self._name, timeout))
        return super().result(timeout)


@pytest.mark.parametrize(
    ("timeout", "waits"), [(2.5, [("started", None), ("future", 2.5)]), (None, [("future", None)])]
)
def test_the_time_limit_counts_from_the_start_of_the_row(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch, timeout: float | None, waits: list[tuple[str, float | None]]
) -> None:
    timeouts: list[tuple[str, float | None]] = []
    job = engine.load().tokenizer.job(request(), "", 0)
    job.started, job.future = RecordingFuture("started", timeouts), RecordingFuture("future", timeouts)
    job.finish(GeneratedReply("late", "stop", 1, 1))
    monkeypatch.setattr(engine, "submit", lambda _: job)
    with use_sample_request(SampleRequest(timeout=timeout)):
        assert engine.complete(request()).message.text == "late"
    assert timeouts == waits


def test_in_an_event_loop_it_counts_from_there_too(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    job = engine.load().tokenizer.job(request(), "", 0)
    monkeypatch.setattr(engine, "submit", lambda _: job)

    async def run() -> Any:
        call = asyncio.create_task(AsyncLocalEngine(engine).complete(request()))
        await asyncio.wait([call], timeout=0.05)  # five times the limit
        assert not call.done()
        job.start()
        return await call

    with use_sample_request(SampleRequest(timeout=0.01)), pytest.raises(dspy.lm15.TimeoutError, match="longer than"):
        asyncio.run(run())


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_choice_that_came_too_late_is_the_same_draw_when_tried_again(engine: LocalEngine, asynchronous: bool) -> None:
    from dspy.lm15 import TimeoutError as LateError

    def complete() -> Any:
        hot_request = request(**HOT)
        return (
            asyncio.run(AsyncLocalEngine(engine).complete(hot_request))
            if asynchronous
            else engine.complete(hot_request)
        )

    wanted = told(complete())
    with use_sample_request(draw := SampleRequest(timeout=0.01)):
        with held(engine), pytest.raises(LateError):
            complete()
        draw.timeout = None
        assert told(complete()) == wanted


def test_it_streams_the_whole_reply(engine: LocalEngine) -> None:
    reply = engine.complete(request())
    assert "".join(e.delta.text for e in engine.stream(request()) if e.type == "delta") == reply.message.text

    async def streamed() -> str:
        events = AsyncLocalEngine(engine).stream(request())
        return "".join([e.delta.text async for e in events if e.type == "delta"])

    assert asyncio.run(streamed()) == reply.message.text


# Sharing


def test_two_lms_of_one_model_share_weights_and_the_last_frees_them(base: Path) -> None:
    one, two = LocalEngine(f"local:{base}"), LocalEngine(f"local:{base}/")
    (shared, batch, _), (also_shared, same_batch, _) = one.load(), two.load()
    assert (shared, batch) == (also_shared, same_batch)
    gone = weakref.ref(shared._model)
    one.complete(request())
    del shared, also_shared, batch, same_batch
    one.close()
    del two
    gc.collect()
    assert gone() is None
    assert one.complete(request()).message.text is not None


def test_adapters_share_the_tensors_of_their_base_and_leave_its_replies_alone(base: Path, adapters: list[Path]) -> None:
    plain, *tuned = (LocalEngine(f"local:{base}{plus}") for plus in ("", *(f"+{a}" for a in adapters)))
    requests = [request(q) for q in QUESTIONS[:8]]
    before = [told(plain.complete(one)) for one in requests]
    each = [[told(engine.complete(one)) for one in requests] for engine in tuned]
    assert plain.load()[0] is tuned[0].load()[0] is tuned[1].load()[0]
    with ThreadPoolExecutor(24) as pool:
        engines = [e for e in (plain, *tuned) for _ in requests]
        mixed = list(pool.map(lambda e, one: told(e.complete(one)), engines, requests * 3))
    assert mixed == before + each[0] + each[1]
    assert all(x != y for x, y in [(before, each[0]), (before, each[1]), (each[0], each[1])])


def test_a_retrained_model_at_the_same_path_is_another(base: Path, tmp_path: Path) -> None:
    old = LocalEngine(f"local:{make_model(tmp_path / 'm')}")
    before = told(old.complete(request()))
    new = LocalEngine(f"local:{make_model(tmp_path / 'm', seed=9)}")
    assert told(new.complete(request())) != before
    assert new.identity != old.identity


def test_the_identity_is_that_of_the_files_and_not_of_the_path(base: Path, copied: Any, adapters: list[Path]) -> None:
    names = [f"local:{base}", f"local:{copied(base)}", f"local:{base}+{adapters[0]}", f"local:{base}+{adapters[1]}"]
    identities = [LocalEngine(name).identity for name in names]
    assert identities[0] == identities[1]
    assert len(set(identities)) == 3


# An engine among DSPy's things


def test_copies_are_the_engine_itself_and_it_stays_in_its_process(engine: LocalEngine) -> None:
    both = (engine, AsyncLocalEngine(engine))
    assert all(copy.copy(e) is e and copy.deepcopy(e) is e for e in both)
    with pytest.raises(TypeError, match="stays in its process"):
        pickle.dumps(engine)


def test_its_state_builds_it_anew(base: Path) -> None:
    engine = LocalEngine(f"local:{base}", max_batch=3)
    again = [type(e).load_state(e.dump_state()) for e in (engine, AsyncLocalEngine(engine))]
    assert [e.dump_state() for e in again] == [engine.dump_state()] * 2
    asyncio.run(AsyncLocalEngine(engine).aclose())
    assert not engine.loaded


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int3"}, "dtype must be one of auto, float32, bfloat16, float16, int8, got 'int3'"),
        ({"max_batch": 0}, "max_batch must be a number of at least 1, got 0"),
        ({"max_batch": True}, "max_batch must be"),
        ({"max_batch": "4"}, "max_batch must be"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused(base: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LocalEngine(f"local:{base}", **options)


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_lower_precision_writes_too(base: Path, dtype: str) -> None:
    engine = LocalEngine(f"local:{base}", dtype=dtype)
    assert all_at_once(engine, [request(q, max_tokens=5) for q in QUESTIONS[:4]])


@pytest.mark.parametrize(("package", "plus"), [("torch", False), ("transformers", False), ("peft", True)])
def test_a_missing_package_is_named_with_the_line_to_install_it(
    base: Path, adapters: list[Path], monkeypatch: pytest.MonkeyPatch, package: str, plus: bool
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, package, None)  # type: ignore[arg-type]
    with pytest.raises(MissingExtraError, match=rf"{package} is not installed: pip install 'tale-dspy\[local\]'"):
        LocalEngine(f"local:{base}{f'+{adapters[0]}' if plus else ''}")


def test_a_part_that_is_no_text_and_a_setting_that_is_not_obeyed_are_refused(engine: LocalEngine) -> None:
    from dspy.lm15 import ImagePart, UnsupportedFeatureError

    picture = Message.user([TextPart("look"), ImagePart(url="http://127.0.0.1/x.png")])
    with pytest.raises(UnsupportedFeatureError, match="reads text only, got a part of type image"):
        engine.complete(Request(model="m", messages=(picture,)))


def test_a_failing_step_reaches_every_caller_and_the_next_call_works(engine: LocalEngine) -> None:
    from dspy.lm15 import ProviderError

    _, batch, _ = engine.load()
    right, failing = batch._decoder, threading.Event()

    def broken(*args: Any) -> Any:
        if failing.is_set():
            raise RuntimeError("out of memory\nmore")
        return right(*args)

    batch._decoder = broken
    good = told(engine.complete(request()))
    failing.set()
    with ThreadPoolExecutor(6) as pool:
        errors = [f.exception() for f in [pool.submit(engine.complete, request(q)) for q in QUESTIONS[:6]]]
    assert {(type(e), str(e)) for e in errors} == {(ProviderError, "the local model failed: out of memory (HTTP 400)")}
    failing.clear()
    assert told(engine.complete(request())) == good
