"""`tale_dspy.LM` is a dspy.LM but for two things: its engine is the one named, its cache tells addresses apart."""

import asyncio
import json
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy
import pytest
from dspy.lm15 import Config, Message, Request, Response, TextPart, Usage

import tale_dspy
from tale_dspy import UsageError
from tale_dspy.backends.caching import UsageKeepingLM, is_cached, request_hash
from tale_dspy.backends.redaction import public_config, without_secrets
from tale_dspy.testing import Reply, ScriptedServer

ENGINES = ["litellm", "auto", "lm15"]
KEY = "sk-very-secret-123"


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def scripted() -> Iterator[Callable[..., ScriptedServer]]:
    servers: list[ScriptedServer] = []

    def start(reply: Any = "x", **kwargs: Any) -> ScriptedServer:
        servers.append(ScriptedServer(reply, **kwargs).start())
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def lm_of(url: str, engine: Any = "auto", **kwargs: Any) -> Any:
    return tale_dspy.LM("openai/scripted", engine=engine, api_base=url, api_key=KEY, **kwargs)


def awaited(lm: Any, **kwargs: Any) -> Any:
    # Not in this thread: LiteLLM leaves a loop of its own behind in it, which asyncio.run would drop unclosed.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(lm.acall("q", **kwargs))).result()


DOORS: dict[str, Callable[..., Any]] = {
    "call": lambda lm, **kwargs: lm("q", **kwargs),
    "acall": awaited,
    "request": lambda lm, **kwargs: [lm(asked(lm), **kwargs).message.text],
}


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return DOORS[request.param]


def asked(lm: Any) -> Request:
    return Request(model=lm.model, messages=(Message.user("q"),), config=Config())


class Echo:
    """An engine of the user's own."""

    def __init__(self, text: str) -> None:
        self.text = text

    def complete(self, request: Request) -> Response:
        message = Message.assistant([TextPart(self.text)])
        return Response(id=None, model=request.model, message=message, finish_reason="stop", usage=Usage())


# Construction


def test_litellm_is_the_engine_unless_another_is_named() -> None:
    assert tale_dspy.LM("openai/x").engine == "litellm"
    assert tale_dspy.LM("openai/x", engine="auto").engine == "auto"


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        (("",), {}, "model must be a LiteLLM model string"),
        (("  ",), {}, "model must be a LiteLLM model string"),
        ((None,), {}, "model must be a LiteLLM model string"),
        ((7,), {}, "model must be a LiteLLM model string"),
        (("local:",), {}, "'local:' names no model: give local:PATH"),
        (("local:/some/folder",), {}, "the model must be a folder or a name of the Hugging Face hub, but /some/folder"),
        (("openai/x",), {"engine": "openai"}, "engine must be one of litellm, auto, lm15 or an engine object"),
    ],
)
def test_what_cannot_be_used_is_said(args: Any, kwargs: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        tale_dspy.LM(*args, **kwargs)


def test_the_engine_named_is_the_engine_used(engine: str, scripted: Any) -> None:
    lm = lm_of((server := scripted()).url, engine)
    lm("q")
    agent = server.requests[0].headers["user-agent"]
    assert ("lm15" in agent) is (engine != "litellm")


# The cache


def test_two_addresses_never_share_an_answer(engine: str, door: Any, scripted: Any) -> None:
    one, two = lm_of(scripted("one").url, engine), lm_of(scripted("two").url, engine)
    assert [door(lm) for lm in (one, two, one, two)] == [["one"], ["two"], ["one"], ["two"]]


@pytest.mark.parametrize("disk", [False, True])
def test_two_engines_never_share_an_answer(disk: bool, door: Any, scripted: Any, tmp_path: Any) -> None:
    dspy.configure_cache(enable_disk_cache=disk, enable_memory_cache=not disk, disk_cache_dir=str(tmp_path))
    server = scripted(lambda request: str(request.n))
    answers = [door(lm_of(server.url, engine)) for engine in ENGINES * 2]
    assert answers == [["1"], ["2"], ["3"]] * 2
    assert server.stats.requests == 3


@pytest.mark.parametrize("name", ["OPENAI_API_BASE", "OPENAI_BASE_URL"])
def test_an_address_from_the_environment_counts_too(
    name: str, door: Any, scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = []
    for text in ("one", "two"):
        monkeypatch.setenv(name, scripted(text).url)
        answers.append(door(tale_dspy.LM("openai/scripted", api_key=KEY)))
    assert answers == [["one"], ["two"]]


@pytest.mark.parametrize("name", ["api_base", "base_url"])
def test_an_address_given_with_the_call_counts_too(name: str, scripted: Any) -> None:
    lm = lm_of(scripted("one").url)
    assert [lm("q"), lm("q", **{"api_base": None, name: scripted("two").url}), lm("q")] == [["one"], ["two"], ["one"]]
    assert lm.copy(api_base=scripted("three").url)("q") == ["three"]


def test_engine_objects_never_share_an_answer_not_even_at_the_same_place_in_memory() -> None:
    answers = [tale_dspy.LM("own/x", engine=Echo(text))("q") for text in ("one", "two", "three")]
    assert answers == [["one"], ["two"], ["three"]]


def test_a_copy_with_the_same_engine_object_shares_and_one_with_another_does_not() -> None:
    engine = Echo("one")
    lm = tale_dspy.LM("own/x", engine=engine)
    lm("q")
    engine.text = "changed"
    assert (lm.copy()("q"), lm.copy(engine=Echo("two"))("q")) == (["one"], ["two"])


def test_a_hit_stays_a_hit(engine: str, door: Any, scripted: Any) -> None:
    server = scripted()
    for _ in range(3):
        door(lm_of(server.url, engine))
    assert server.stats.requests == 1


def test_a_rollout_id_separates_and_is_remembered(engine: str, door: Any, scripted: Any) -> None:
    lm = lm_of((server := scripted(lambda request: str(request.n))).url, engine, temperature=0.7)
    assert [door(lm, rollout_id=i)[0] for i in (None, 1, 2, None, 1, 2)] == ["1", "2", "3"] * 2
    assert server.stats.requests == 3


def test_the_rollout_id_of_a_copy_separates_too(engine: str, scripted: Any) -> None:
    lm = lm_of(scripted(lambda request: str(request.n)).url, engine, temperature=0.7)
    assert [lm.copy(rollout_id=i)("q") for i in (1, 2, 1)] == [["1"], ["2"], ["1"]]


def test_cache_false_asks_again(engine: str, door: Any, scripted: Any) -> None:
    lm = lm_of((server := scripted()).url, engine)
    for _ in range(2):
        door(lm, cache=False)
    assert server.stats.requests == 2


def test_no_trace_of_the_namespace_is_sent(engine: str, door: Any, scripted: Any) -> None:
    lm = lm_of((server := scripted()).url, engine, temperature=0.5)
    door(lm)
    door(lm, rollout_id=5)
    for request in server.requests:
        assert set(request.body) <= {"model", "messages", "temperature", "n"}
        assert "tale:" not in json.dumps([request.body, dict(request.headers)])


def test_an_argument_seen_by_a_callback_can_be_given_back(scripted: Any) -> None:
    one, two = lm_of(scripted("one").url), lm_of(scripted("two").url)
    keyed = one.cache_kwargs({})
    assert one.cache_kwargs(keyed) == keyed
    assert [one("q", **keyed), two("q", **keyed), one("q")] == [["one"], ["two"], ["one"]]


@pytest.mark.parametrize("make", [tale_dspy.LM, dspy.LM])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_cache_can_be_asked_without_asking_the_model(make: Any, asynchronous: bool, scripted: Any) -> None:
    server = scripted()
    lm = make("openai/scripted", engine="auto", api_base=server.url, api_key=KEY)

    def known(prompt: str, **kwargs: Any) -> bool:
        return is_cached(lm, prompt, None, kwargs, asynchronous=asynchronous)

    assert not known("q")
    DOORS["acall" if asynchronous else "call"](lm)
    assert known("q")
    assert not any([known("other"), known("q", rollout_id=1), known("q", cache=False), known("q", n="refused")])
    assert not is_cached(lm, "q", None, {}, asynchronous=not asynchronous)
    assert server.stats.requests == 1


# What DSPy's own modules do with an LM


@pytest.mark.parametrize("module", ["BestOfN", "Refine"])
def test_modules_that_count_rollout_ids_up_get_fresh_draws(module: str, engine: str, scripted: Any) -> None:
    server = scripted(lambda request: "[[ ## answer ## ]]\nx\n\n[[ ## completed ## ]]")
    program = vars(dspy)[module](dspy.Predict("question -> answer"), N=3, reward_fn=lambda *_: 0.0, threshold=1.0)
    with dspy.context(lm=lm_of(server.url, engine, rollout_id=5, temperature=1.0)):
        program(question="q")
    drawn = [request for request in server.requests if "advice" not in request.system]
    assert len(drawn) == 3


def test_the_kwargs_are_never_touched(scripted: Any) -> None:
    lm = lm_of((server := scripted()).url, rollout_id=5, temperature=1.0)
    before = dict(lm.kwargs)
    lm("q")
    assert lm.kwargs == before
    assert lm.kwargs["rollout_id"] + 1 == 6
    assert server.stats.requests == 1


def test_a_copy_may_have_another_timeout() -> None:
    lm = tale_dspy.LM("openai/x")
    assert (lm.copy(timeout=5).kwargs["timeout"], lm.copy(timeout=5).copy().kwargs["timeout"]) == (5, 5)
    assert "timeout" not in lm.kwargs


def test_a_copy_is_one_of_ours() -> None:
    copied = tale_dspy.LM("openai/x", temperature=0.5).copy(temperature=1.0, rollout_id=3)
    assert (type(copied), copied.engine, copied.kwargs["rollout_id"]) == (tale_dspy.LM, "litellm", 3)


@pytest.mark.parametrize("kwargs", [{}, {"n": 2}, {"max_tokens": 5}])
def test_no_warning_at_temperature_zero(kwargs: dict[str, Any], door: Any, scripted: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lm_of(scripted().url, temperature=0, **kwargs)("q")


def test_a_rollout_id_of_ones_own_at_temperature_zero_is_warned_of_once(engine: str, scripted: Any) -> None:
    lm = lm_of(scripted().url, engine, temperature=0)
    with pytest.warns(UserWarning, match="rollout_id has no effect") as caught:
        lm("q", rollout_id=3)
        lm("q", rollout_id=4)
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="rollout_id has no effect"):
        lm_of("http://127.0.0.1:9", engine, temperature=0, rollout_id=1)


def test_the_repeat_of_a_run_is_not_warned_of(scripted: Any) -> None:
    lm_of(scripted().url, temperature=0)("q", rollout_id="#1")


def test_the_users_usage_tracker_hears_as_ever(engine: str, scripted: Any) -> None:
    lm = lm_of((server := scripted("four words of text")).url, engine)
    with dspy.track_usage() as tracker:
        lm("q")
        lm("q")
    assert tracker.get_total_tokens()["openai/scripted"]["completion_tokens"] == server.stats.completion_tokens == 4


def test_the_usage_of_the_responses_api_survives_the_cache_too() -> None:
    class Reported(dict):  # type: ignore[type-arg]
        _hidden_params: dict[str, Any]

    response = Reported(output=[], usage={"input_tokens": 3, "output_tokens": 9})
    lm = tale_dspy.LM("openai/x", model_type="responses", engine="auto")
    assert lm._process_response(response) == [{"text": None}]
    response["_hidden_params"] = {}
    lm._process_response(response)
    assert response["_hidden_params"]["tale_usage"] == {"input_tokens": 3, "output_tokens": 9}


# Saving


def saved(**kwargs: Any) -> dict[str, Any]:
    lm = tale_dspy.LM("openai/gpt-4o-mini", **kwargs)
    state: dict[str, Any] = json.loads(json.dumps(lm.dump_state()))
    return state


def test_a_state_loads_as_a_plain_lm_without_unsafe_flags(engine: str) -> None:
    loaded = dspy.BaseLM.load_state(saved(engine=engine, api_key=KEY, temperature=0.3, max_tokens=77))
    assert (type(loaded), loaded.engine) == (dspy.LM, engine)
    assert (loaded.kwargs["temperature"], loaded.kwargs["max_tokens"]) == (0.3, 77)


def test_a_program_saved_with_it_loads_without_unsafe_flags(tmp_path: Any, scripted: Any) -> None:
    program = dspy.Predict("question -> answer")
    program.set_lm(lm_of(scripted().url))
    program.save(tmp_path / "p.json")
    again = dspy.Predict("question -> answer")
    again.load(tmp_path / "p.json")
    assert type(again.lm) is dspy.LM
    assert KEY not in (tmp_path / "p.json").read_text()


SECRETS: list[dict[str, Any]] = [
    {"api_key": KEY},
    {"headers": {"Authorization": f"Bearer {KEY}"}},
    {"extra_headers": {"x-whatever": KEY}},
    {"azure_ad_token": KEY},
    {"aws_access_key_id": KEY},
    {"aws_secret_access_key": KEY},
    {"aws_session_token": KEY},
    {"vertex_credentials": {"private_key": KEY}},
    {"client_secret": KEY},
    {"extra_body": {"nested": [{"apiKey": KEY}], "password": KEY}},
    {"tools": [{"type": "mcp", "headers": {"Authorization": KEY}, "authorization": KEY}]},
]


@pytest.mark.parametrize("secret", SECRETS, ids=lambda secret: next(iter(secret)))
def test_no_secret_is_saved_written_or_hashed(secret: dict[str, Any]) -> None:
    assert KEY not in json.dumps(saved(**secret))
    assert KEY not in json.dumps(public_config(secret))
    other = json.loads(json.dumps(secret).replace(KEY, "another"))
    assert request_hash("m", "q", secret) == request_hash("m", "q", other)


def test_a_key_stands_in_no_repr(scripted: Any) -> None:
    lm = lm_of(scripted().url)
    lm("q")
    assert KEY not in repr(lm) + repr(lm.history)


@pytest.mark.parametrize(
    "settings",
    [
        {"max_tokens": 5, "max_completion_tokens": 6, "top_k": 3, "eos_token_id": 7},
        {"thinking": {"type": "enabled", "budget_tokens": 1024}, "stop_token_ids": [1, 2]},
        {"prompt_cache_key": "shared"},
        {"tools": [{"parameters": {"properties": {"key": {"type": "string"}}, "required": ["key"]}}]},
    ],
)
def test_what_is_no_secret_is_kept(settings: dict[str, Any]) -> None:
    assert without_secrets(settings) == settings


def test_a_plain_lm_that_keeps_usage_has_dspys_own_cache(scripted: Any) -> None:
    server = scripted()
    settings = {"engine": "auto", "api_base": server.url, "api_key": KEY}
    assert [make("openai/x", **settings)("q") for make in (dspy.LM, UsageKeepingLM)] == [["x"], ["x"]]
    assert server.stats.requests == 1


def test_a_reply_without_usage_is_still_distinguished_from_a_hit(scripted: Any) -> None:
    lm = lm_of(scripted(Reply("x", usage=False)).url)
    lm("q")
    lm("q")
    assert [entry["cache_hit"] for entry in lm.history] == [False, True]


def test_litellm_without_what_it_needs_for_the_responses_api_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tale_dspy.backends.lm.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="only with the package mcp"):
        tale_dspy.LM("openai/gpt-5", model_type="responses")
    assert tale_dspy.LM("openai/gpt-5", model_type="responses", engine="auto").model_type == "responses"


def test_a_server_is_one_of_those_whose_control_is_known() -> None:
    with pytest.raises(UsageError, match="server must be one of vllm, sglang, llama"):
        tale_dspy.LM("openai/x", server="tgi")
    assert tale_dspy.LM("openai/x", server="sglang").copy(temperature=0.1).server == "sglang"


def test_the_limit_of_a_reasoning_model_may_have_either_name() -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        assert tale_dspy.LM("openai/o3", **{name: 20_000}).kwargs["max_completion_tokens"] == 20_000
    assert tale_dspy.LM("openai/x", max_completion_tokens=300).kwargs["max_completion_tokens"] == 300
    with pytest.raises(UsageError, match="are one limit"):
        tale_dspy.LM("openai/o3", max_tokens=20_000, max_completion_tokens=30_000)
