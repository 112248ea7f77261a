"""The settings DSPy copies for LiteLLM."""

import copy
import itertools
import threading
from typing import Any

import dspy
import litellm
import pytest
from litellm._internal_context import is_internal_call
from litellm.integrations.custom_logger import CustomLogger
from redirects import two_origins

import tale_dspy
from tale_dspy.backends.litellm_call import _SettingsForLiteLLM, _unread_log_spared
from tale_dspy.testing import Reply, ScriptedServer


def test_only_the_copy_holds_the_client() -> None:
    client = object()
    settings = _SettingsForLiteLLM({"n": [1]}, lambda *, asynchronous: client, asynchronous=False)
    copied = copy.deepcopy(settings)
    assert dict(settings) == {"n": [1]} and {**settings} == {"n": [1]}
    assert copied["n"] == [1] and copied["n"] is not settings["n"] and copied["client"] is client


@pytest.mark.parametrize(("given", "made"), [({"client": 7}, object()), ({}, None)])
def test_a_client_of_the_callers_stays_and_none_is_left_out(given: dict[str, Any], made: object) -> None:
    assert copy.deepcopy(_SettingsForLiteLLM(given, lambda *, asynchronous: made, asynchronous=True)) == given


@pytest.mark.parametrize("settings", [{}, {"extra_headers": {"x-team": "a"}}], ids=["native", "handed to LiteLLM"])
def test_engine_auto_books_callbacks_once_whoever_sends(settings: dict[str, Any]) -> None:
    with ScriptedServer("4") as server, tale_dspy.track(max_total_output_tokens=10_000) as ledger:
        lm = tale_dspy.LM("openai/x", api_base=server.url, api_key="k", engine="auto", cache=False, **settings)
        assert lm("2+2?") == ["4"]
        assert (ledger.calls, ledger.used.tokens, server.stats.requests) == (1, 1, 1)


@pytest.mark.parametrize("engine", ["litellm", "auto"])
@pytest.mark.filterwarnings("ignore:Accessing the .* attribute")  # of Pydantic, by LiteLLM
async def test_a_stream_is_booked_with_usage_and_price(engine: str) -> None:
    with ScriptedServer(Reply("[[ ## answer ## ]]\nfour it is", prompt_tokens=5)) as server:
        lm = tale_dspy.LM("openai/gpt-4o-mini", api_base=server.url, api_key="k", engine=engine, cache=False)
        program = dspy.streamify(dspy.Predict("question -> answer"), is_async_program=False)
        with tale_dspy.track(max_usd=1.0) as ledger, dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
            async for _ in program(question="2+2?"):
                pass
    assert (ledger.output_tokens, ledger.unpriced_calls, ledger.uncounted_calls) == (8, 0, 0)
    assert ledger.spent_usd == pytest.approx((5 * 0.15 + 8 * 0.60) / 1e6)


@pytest.mark.parametrize("heard_by", ["process", "call"])
def test_a_callback_of_litellms_hears_of_each_call(heard_by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    models: list[str] = []
    heard = threading.Event()

    class Listener(CustomLogger):  # functions are heard only where no callback was set in this process before
        def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            models.append(kwargs["model"])
            heard.set()

    listener = Listener()
    monkeypatch.setattr(litellm, "success_callback", [listener] if heard_by == "process" else [])
    settings: dict[str, Any] = {} if heard_by == "process" else {"success_callback": [listener]}
    with ScriptedServer("4") as server:
        tale_dspy.LM("openai/x", api_base=server.url, api_key="k", cache=False, **settings)("2+2?")
        assert heard.wait(10)
    assert models == ["x"]


@pytest.mark.parametrize(
    ("engine", "settings", "budget", "spared"),
    [
        ("litellm", {}, 0.0, True),
        ("litellm", {"success_callback": [print]}, 0.0, False),
        ("litellm", {}, 1.0, False),
        ("auto", {}, 0.0, False),
    ],
)
def test_litellms_log_is_spared_where_nobody_reads_it(
    engine: str, settings: dict[str, Any], budget: float, spared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(litellm, "max_budget", budget)
    monkeypatch.setattr(litellm, "input_callback", ["cache"])  # as Gemini's routes leave it, with no cache behind it
    with _unread_log_spared(tale_dspy.LM("openai/x", engine=engine), settings):
        assert is_internal_call.get() is spared
    assert is_internal_call.get() is False


MODELS = ["openai/x", "anthropic/claude-3-5-haiku-latest", "gemini/gemini-2.0-flash", "mistral/x", "hosted_vllm/x"]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("engine", ["litellm", "auto"])
@pytest.mark.parametrize("model", MODELS)
async def test_no_redirect_of_a_stream_carries_key_or_prompt_elsewhere(
    model: str, engine: str, asynchronous: bool
) -> None:
    with two_origins() as (server, other):
        settings: dict[str, Any] = {"num_retries": 0, "cache": False, "timeout": 5.0, "engine": engine}
        lm = tale_dspy.LM(model, api_base=server.url, api_key="secret", **settings)
        program = dspy.streamify(dspy.Predict("question -> answer"), is_async_program=asynchronous)
        adapter = dspy.ChatAdapter(use_json_adapter_fallback=False)
        with dspy.context(lm=lm, adapter=adapter), pytest.raises(Exception):  # noqa: B017
            async for _ in program(question="2+2?"):
                pass
        assert (other.requests, server.requests > 0) == (0, True)


READ = {
    "<think>20</think>18": "18",
    "<think>20": None,
    "[[17]] Wait, no: 18": "18",
    "The answer is 17. That's wrong.": None,
    "18<|im_end|>": "18",
    "Thinking...\n20\n...done thinking.\n\n18": "18",
    "I cannot answer that.": None,
}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("engine", ["litellm", "auto"])
@pytest.mark.filterwarnings("ignore:Accessing the .* attribute")  # of Pydantic, by LiteLLM
async def test_a_reply_is_read_alike_on_both_engines_whole_or_streamed(engine: str, streamed: bool) -> None:
    answers = {}
    program = tale_dspy.VanillaCoT("question -> answer")
    for reply in READ:
        with ScriptedServer(Reply(reply)) as server:
            lm = tale_dspy.LM("openai/x", api_base=server.url, api_key="k", engine=engine, cache=False, num_retries=0)
            with dspy.context(lm=lm):
                if streamed:
                    parts = [part async for part in dspy.streamify(program, is_async_program=False)(question="q?")]
                    answers[reply] = next(part for part in parts if isinstance(part, dspy.Prediction)).answer
                else:
                    answers[reply] = (await program.acall(question="q?")).answer
    assert answers == READ


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("engine", ["litellm", "auto"])
async def test_several_choices_are_not_streamed_into_one_text(engine: str, is_async: bool) -> None:
    numbers = itertools.count(1)
    with ScriptedServer(lambda _: f"[[ ## answer ## ]]\n{next(numbers)}") as server:
        lm = tale_dspy.LM("openai/x", api_base=server.url, api_key="k", engine=engine, cache=False)
        program = dspy.streamify(dspy.Predict("question -> answer", n=2), is_async_program=is_async)
        with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
            *_, prediction = [value async for value in program(question="2+2?")]
    assert sorted(prediction.completions.answer) == ["1", "2"]
