"""Streams as servers really send them end alike on both engines: no answer lost, no count that none stated."""

import asyncio
import json
import random
from typing import Any

import dspy
import pytest
from faulty_streams import READ, REFUSED, WHOLE
from stream_server import CLEAN, DONE, ROLE, STOP, chunk, stream_server

import tale_dspy
from tale_dspy.accounting.calls import record_calls
from tale_dspy.backends import attempts, stream_bodies
from tale_dspy.backends.reply_bodies import BrokenBodyError
from tale_dspy.backends.stream_bodies import StreamRepair, asks_for_stream

pytestmark = pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning")  # LiteLLM's own streams


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "retry_delay", lambda *_: 0.0)


def ask(url: str, engine: str, *, is_async: bool = False, model: str = "openai/x") -> Any:
    """Stream one answer, and return the prediction."""

    async def last() -> Any:
        program = dspy.streamify(tale_dspy.VanillaCoT("question -> answer"), is_async_program=is_async)
        *_, prediction = [value async for value in program(question="2+2?")]
        return prediction

    lm = tale_dspy.LM(model, api_base=url, api_key="k", engine=engine, cache=False, num_retries=0)
    with dspy.context(lm=lm):
        return asyncio.run(last())


@pytest.mark.parametrize("engine", ["litellm", "auto"])
@pytest.mark.parametrize("name", READ)
def test_a_stream_is_read_as_it_is_meant(name: str, engine: str) -> None:
    case = READ[name]
    with stream_server(case.pieces, **case.options) as server, record_calls() as calls:
        prediction = ask(server.url, engine)
    (call,) = calls
    assert (prediction.reasoning, prediction.answer) == (case.reasoning, "4")
    assert (call.prompt_tokens, call.output_tokens, call.thought) == (
        case.prompt_tokens,
        case.output_tokens,
        case.thought,
    )
    assert call.finish_reason == case.finish_reason
    assert call.cost_usd is None
    assert len(server.requests) == 1


@pytest.mark.parametrize("engine", ["litellm", "auto"])
@pytest.mark.parametrize("name", REFUSED)
def test_a_stream_that_is_no_reply_is_refused_and_says_why(name: str, engine: str) -> None:
    pieces, options, message = REFUSED[name]
    failure = pytest.raises(Exception, match=message)
    with stream_server(pieces, **options) as server, record_calls() as calls, failure:
        ask(server.url, engine)
    assert calls == []


@pytest.mark.parametrize("engine", ["litellm", "auto"])
@pytest.mark.parametrize("name", ["no empty lines", "counts as texts", "broken off behind the reason", "text as parts"])
def test_an_asynchronous_program_reads_it_alike(name: str, engine: str) -> None:
    case = READ[name]
    with stream_server(case.pieces, **case.options) as server, record_calls() as calls:
        assert ask(server.url, engine, is_async=True).answer == "4"
    assert calls[0].output_tokens == case.output_tokens


def repaired(pieces: list[bytes], request: bytes = b"{}") -> bytes:
    repair = StreamRepair(request)
    return b"".join([*map(repair.feed, pieces), repair.finish()])


def test_a_clean_stream_comes_as_it_is() -> None:
    assert repaired(CLEAN) == WHOLE


@pytest.mark.parametrize("name", READ)
def test_where_a_stream_is_cut_does_not_matter(name: str) -> None:
    stream, rng = b"".join(READ[name].pieces), random.Random(name)
    cuts = sorted(rng.sample(range(1, len(stream)), 20))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert repaired(pieces) == repaired([stream])


def test_each_choice_that_was_asked_for_comes() -> None:
    pieces = [chunk({"content": "b"}, index=1), chunk({"content": "a"}), chunk({"content": "c"}, index=2)]
    events = [json.loads(line[6:]) for line in repaired([*pieces, *CLEAN], b'{"n": 2}').split(b"\n\n")[:3]]
    assert [[choice["index"] for choice in event["choices"]] for event in events] == [[1], [0], []]


def test_a_reply_is_whole_when_each_of_its_choices_is() -> None:
    pieces, request = [chunk({"content": "a"}), chunk({"content": "b"}, index=1)], b'{"n": 2}'
    with pytest.raises(BrokenBodyError, match="ended before the reply did"):
        repaired([*pieces, STOP], request)
    events = repaired([*pieces, STOP, DONE], request).split(b"\n\n")
    assert json.loads(events[3][6:])["choices"] == [{"index": 1, "delta": {}, "finish_reason": "stop"}]


@pytest.mark.parametrize("character", ["x", "ж", "\N{PILE OF POO}"])
def test_no_event_is_too_long_for_the_engine_of_dspy(character: str) -> None:
    message = {"role": "assistant", "content": character * 9_000, "reasoning": character * 9_000}
    body = json.dumps({"id": 1, "choices": [{"message": message}]}).encode()
    pieces = [chunk({"content": character * 7_000}, id=1), STOP]
    for stream in ([body], pieces):
        assert max(map(len, repaired(stream).split(b"\n"))) < 65_536


def test_a_long_line_is_looked_through_once_and_one_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    content = "x" * 4_000_000
    stream = json.dumps({"choices": [{"message": {"content": content}}]}).encode()
    assert repaired([stream[at : at + 1_000] for at in range(0, len(stream), 1_000)]).count(b"x") >= len(content)
    monkeypatch.setattr(stream_bodies, "_MAX_LINE", 5_000)
    with pytest.raises(BrokenBodyError, match="a line of the stream is longer than 5000 bytes"):
        repaired([ROLE, *[b"data: " + b"x" * 994] * 6])


def test_a_hostile_stream_is_refused_in_time_and_not_held_twice() -> None:
    with pytest.raises(BrokenBodyError, match="an event of the stream is no JSON"):
        repaired([b"data: [\n" * 20_000])
    with pytest.raises(BrokenBodyError, match="the reply is no JSON"):
        repaired([b"[" * 100_000])


@pytest.mark.parametrize(
    ("request_body", "wanted"),
    [
        (b'{"stream": true}', True),
        (b'{"stream": false}', False),
        (b'{"messages": ["\\"stream\\""]}', False),
        (b"{}", False),
    ],
)
def test_whether_a_stream_is_asked_for(request_body: bytes, wanted: bool) -> None:
    assert asks_for_stream(request_body) is wanted


@pytest.mark.parametrize("name", ["thought of OpenRouter", "a whole body", "counts as texts", "no empty lines"])
@pytest.mark.parametrize("model", ["openrouter/x", "hosted_vllm/x"])
def test_the_handlers_of_litellm_read_it_alike(model: str, name: str) -> None:
    case = READ[name]
    with stream_server(case.pieces, **case.options) as server, record_calls() as calls:
        assert ask(server.url, "litellm", model=model).answer == "4"
    assert (calls[0].output_tokens, calls[0].thought) == (case.output_tokens, case.thought)


def test_a_long_thought_comes_in_pieces_and_whole() -> None:
    thought = " ".join(map(str, range(20_000)))
    lines = repaired([chunk({"reasoning": thought}), *CLEAN]).split(b"\n\n")
    deltas = [json.loads(line[6:])["choices"][0]["delta"] for line in lines[:-4]]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == thought
    assert max(map(len, lines)) < 65_536
