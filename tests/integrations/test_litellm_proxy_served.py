"""The exported folder in a real LiteLLM proxy: what reaches the model, and what comes back to every client."""

import asyncio
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import anthropic
import openai
import pytest

from tale_dspy.integrations.exports import export
from tests.integrations.backend import RecordingBackend
from tests.integrations.programs import regression_program, saved
from tests.integrations.proxy_process import Proxy, models_config, running_proxy

QUESTION = "Tom has 3 boxes of 12 apples and eats 5. How many apples are left?"
ANSWER = "3 * 12 = 36, and 36 - 5 = 31. Answer: [[31]]"
BUDGET = regression_program().budget_for(question=QUESTION).tokens
PHRASE = f"Let's think step by step and use less than {BUDGET} tokens:"

TIER = f"""
from tale_dspy.integrations.litellm_proxy import EffortTier

tier = EffortTier(Path(__file__).with_name("policy.json"), {{{BUDGET}: "SIMPLE", 9999: "COMPLEX"}})
"""


@pytest.fixture(scope="module")
def backend() -> Iterator[RecordingBackend]:
    with RecordingBackend(ANSWER) as server:
        yield server


@pytest.fixture(scope="module")
def proxy(backend: RecordingBackend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("proxy")
    export(saved(regression_program(), folder), "litellm", folder / "served")
    (folder / "served" / "config.yaml").write_text(models_config(backend.url))
    with (folder / "served" / "tale_hook.py").open("a") as hook:
        hook.write(TIER)
    with running_proxy(folder / "served") as running:
        yield running


@dataclass(frozen=True)
class IdleConnection:
    """A connection that has answered one request, and was left alone since."""

    http: HTTPConnection
    since: float


@pytest.fixture(scope="module", autouse=True)
def idle(proxy: Proxy) -> Iterator[IdleConnection]:
    connection = HTTPConnection(proxy.url.removeprefix("http://"), timeout=60)
    with closing(connection):
        connection.request("GET", "/health/liveliness")
        connection.getresponse().read()
        yield IdleConnection(connection, time.monotonic())


@pytest.fixture(autouse=True)
def _fresh(backend: RecordingBackend) -> None:
    backend.reset()
    backend.bodies.clear()


@pytest.fixture
def client(proxy: Proxy) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{proxy.url}/v1", api_key=proxy.key, max_retries=0) as openai_client:
        yield openai_client


@pytest.fixture
def claude(proxy: Proxy) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=proxy.url, api_key=proxy.key, max_retries=0) as anthropic_client:
        yield anthropic_client


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": "Be kind."}, {"role": "user", "content": text}]


def test_a_chat_completion_gets_the_phrase_and_the_header(client: openai.OpenAI, backend: RecordingBackend) -> None:
    reply = client.chat.completions.with_raw_response.create(model="plain", messages=user(QUESTION))
    assert reply.headers["x-tale-budget"] == str(BUDGET)
    assert reply.parse().choices[0].message.content == ANSWER
    (request,) = backend.requests
    assert request.prompt == f"{QUESTION}\n{PHRASE}\n"
    assert request.body.keys() == {"model", "messages"}


def test_a_model_that_thinks_gets_its_control_beside_it(client: openai.OpenAI, backend: RecordingBackend) -> None:
    reply = client.chat.completions.with_raw_response.create(model="thinker", messages=user(QUESTION))
    assert (reply.headers["x-tale-budget"], reply.headers["x-tale-effort"]) == (str(BUDGET), "minimal")
    assert backend.requests[-1].body["reasoning_effort"] == "minimal"


def test_a_stream_comes_unharmed(client: openai.OpenAI, backend: RecordingBackend) -> None:
    with client.chat.completions.with_streaming_response.create(
        model="plain", messages=user(QUESTION), stream=True
    ) as reply:
        assert reply.headers["x-tale-budget"] == str(BUDGET)
        chunks = list(reply.parse())
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == ANSWER
    assert PHRASE in backend.requests[-1].prompt


def test_the_caller_opts_out_or_sets_a_budget(client: openai.OpenAI, backend: RecordingBackend) -> None:
    ask = client.chat.completions.with_raw_response.create
    off = ask(model="thinker", messages=user(QUESTION), extra_body={"metadata": {"tale": "off"}})
    assert off.headers["x-tale-skipped"] == "off"
    assert backend.requests[-1].prompt == QUESTION
    assert "reasoning_effort" not in backend.requests[-1].body

    caller_budget = ask(model="plain", messages=user(QUESTION), extra_body={"metadata": {"tale": 33}})
    assert caller_budget.headers["x-tale-budget"] == "33"
    assert backend.requests[-1].prompt.endswith("use less than 33 tokens:\n")

    word = ask(model="thinker", messages=user(QUESTION), extra_body={"metadata": {"tale": "high"}})
    assert word.headers["x-tale-effort"] == "high"
    assert (backend.requests[-1].prompt, backend.requests[-1].body["reasoning_effort"]) == (QUESTION, "high")


def test_requests_with_tools_pass_through(client: openai.OpenAI, backend: RecordingBackend) -> None:
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
    reply = client.chat.completions.with_raw_response.create(model="plain", messages=user(QUESTION), tools=[tool])
    assert reply.headers["x-tale-skipped"] == "tools"
    assert backend.requests[-1].prompt == QUESTION


@pytest.mark.parametrize("stream", [False, True])
def test_anthropic_messages(claude: anthropic.Anthropic, backend: RecordingBackend, stream: bool) -> None:
    request = {"model": "claude", "max_tokens": 400, "messages": [{"role": "user", "content": QUESTION}]}
    if stream:
        with claude.messages.with_streaming_response.create(**request, stream=True) as reply:
            headers = reply.headers
            events = list(reply.parse())
        text = "".join(e.delta.text for e in events if e.type == "content_block_delta")
    else:
        reply = claude.messages.with_raw_response.create(**request)
        headers, text = reply.headers, reply.parse().content[0].text
    assert text == ANSWER
    assert (headers["x-tale-budget"], headers["x-tale-effort"]) == (str(BUDGET), "low")
    assert backend.last_body["output_config"] == {"effort": "low"}
    assert PHRASE in json.dumps(backend.last_body["messages"])


def test_the_anthropic_client_opts_out(claude: anthropic.Anthropic, backend: RecordingBackend) -> None:
    request = {"model": "claude", "max_tokens": 400, "messages": [{"role": "user", "content": QUESTION}]}
    reply = claude.messages.with_raw_response.create(**request, extra_body={"metadata": {"tale": "off"}})
    assert (reply.headers["x-tale-skipped"], reply.parse().content[0].text) == ("off", ANSWER)
    assert "less than" not in json.dumps(backend.last_body["messages"]) and "output_config" not in backend.last_body


@pytest.mark.parametrize("stream", [False, True])
def test_openai_responses(client: openai.OpenAI, backend: RecordingBackend, stream: bool) -> None:
    request = {"model": "thinker", "input": QUESTION, "metadata": {"tale": "off", "team": "a"}}
    client.responses.create(**request)
    assert (backend.last_body["input"], backend.last_body["metadata"]) == (QUESTION, {"team": "a"})

    request = {"model": "thinker", "input": [{"role": "user", "content": [{"type": "input_text", "text": QUESTION}]}]}
    if stream:
        with client.responses.with_streaming_response.create(**request, stream=True) as reply:
            headers = reply.headers
            text = "".join(e.delta for e in reply.parse() if e.type == "response.output_text.delta")
    else:
        raw = client.responses.with_raw_response.create(**request)
        headers, text = raw.headers, raw.parse().output_text
    assert text == ANSWER
    assert (headers["x-tale-budget"], headers["x-tale-effort"]) == (str(BUDGET), "minimal")
    assert backend.last_body["reasoning"] == {"effort": "minimal"}
    assert backend.last_body["input"][0]["content"][0]["text"] == f"{QUESTION}\n{PHRASE}\n"


def test_the_router_chooses_the_model_by_the_budget(client: openai.OpenAI, backend: RecordingBackend) -> None:
    client.chat.completions.create(model="auto", messages=user(QUESTION))
    client.chat.completions.create(model="auto", messages=user(f"{QUESTION} {'And 7 more, and 8 more? ' * 12}"))
    assert [request.body["model"] for request in backend.requests] == ["gpt-4o-mini", "gpt-5-mini"]


def ask_by_curl(proxy: Proxy, **fields: object) -> str:
    """Return headers and body of a chat completion as curl prints them."""
    body = json.dumps({"model": "plain", "messages": user(QUESTION), **fields})
    headers = ["-H", f"Authorization: Bearer {proxy.key}", "-H", "Content-Type: application/json"]
    command = ["curl", "-sS", "-N", "-D", "-", *headers, "-d", body, f"{proxy.url}/v1/chat/completions"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_curl(proxy: Proxy, backend: RecordingBackend) -> None:
    printed = ask_by_curl(proxy)
    assert f"x-tale-budget: {BUDGET}" in printed and "[[31]]" in printed
    assert PHRASE in backend.requests[-1].prompt


def test_curl_reads_a_stream(proxy: Proxy, backend: RecordingBackend) -> None:
    head, *lines = ask_by_curl(proxy, stream=True).replace("\r", "").partition("\n\n")[::2]
    events = [line.removeprefix("data: ") for line in "".join(lines).splitlines() if line.startswith("data: ")]
    choices = [choice for event in events if event != "[DONE]" for choice in json.loads(event)["choices"]]
    assert f"x-tale-budget: {BUDGET}" in head and events[-1] == "[DONE]"
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == ANSWER
    assert PHRASE in backend.requests[-1].prompt


def test_curl_opts_out(proxy: Proxy, backend: RecordingBackend) -> None:
    printed = ask_by_curl(proxy, metadata={"tale": "off"})
    assert "x-tale-skipped: off" in printed and "x-tale-budget" not in printed
    assert backend.requests[-1].prompt == QUESTION


JAVASCRIPT = """
import OpenAI from "openai";
const client = new OpenAI({baseURL: process.env.URL + "/v1", apiKey: process.env.KEY, maxRetries: 0});
const asked = {model: "plain", messages: [{role: "user", content: process.env.QUESTION}]};
const plain = await client.chat.completions.create(asked).withResponse();
const off = await client.chat.completions.create({...asked, metadata: {tale: "off"}}).withResponse();
const streamed = await client.chat.completions.create({...asked, stream: true}).withResponse();
let text = "";
for await (const chunk of streamed.data) text += chunk.choices[0]?.delta?.content ?? "";
const effort = await client.responses.create({model: "thinker", input: process.env.QUESTION}).withResponse();
console.log(JSON.stringify({
  answers: [plain.data.choices[0].message.content, off.data.choices[0].message.content, text, effort.data.output_text],
  budgets: [plain, off, streamed, effort].map((reply) => reply.response.headers.get("x-tale-budget")),
  skipped: off.response.headers.get("x-tale-skipped"),
  effort: effort.response.headers.get("x-tale-effort"),
}));
"""


def test_the_openai_client_of_javascript(proxy: Proxy, backend: RecordingBackend, tmp_path: Path) -> None:
    (tmp_path / "client.mjs").write_text(JAVASCRIPT)
    (tmp_path / "node_modules").symlink_to(Path(sys.prefix, "node_modules"))  # make test-integrations
    env = {**os.environ, "URL": proxy.url, "KEY": proxy.key, "QUESTION": QUESTION}
    result = subprocess.run(["node", "client.mjs"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    budget = str(BUDGET)
    assert json.loads(result.stdout) == {
        "answers": [ANSWER] * 4,
        "budgets": [budget, None, budget, budget],
        "skipped": "off",
        "effort": "minimal",
    }
    assert [PHRASE in request.prompt for request in backend.requests] == [True, False, True]
    assert (backend.last_body["reasoning"], PHRASE in backend.last_body["input"]) == ({"effort": "minimal"}, True)


def test_without_the_key_nobody_is_answered(proxy: Proxy, backend: RecordingBackend) -> None:
    with (
        openai.OpenAI(base_url=f"{proxy.url}/v1", api_key="sk-other", max_retries=0) as stranger,
        pytest.raises(openai.APIStatusError) as refused,
    ):
        stranger.chat.completions.create(model="plain", messages=user(QUESTION))
    assert refused.value.status_code in (400, 401)  # 400: it has no database of other keys
    assert backend.requests == []


async def test_a_policy_file_that_breaks_or_is_deleted_fails_no_request(
    proxy: Proxy, backend: RecordingBackend
) -> None:
    policy = proxy.folder / "policy.json"
    good = policy.with_suffix(".good")
    shutil.copy(policy, good)
    headers: dict[str, set[str]] = {}
    expected = {"deleted": 1, "broken": 2, "mended": 2}  # warnings: the file is looked at once in a while only

    async with openai.AsyncOpenAI(base_url=f"{proxy.url}/v1", api_key=proxy.key, max_retries=0) as client:

        async def ask_until(header: str, name: str) -> None:
            end = time.monotonic() + 30
            while time.monotonic() < end:
                replies = await asyncio.gather(
                    *(
                        client.chat.completions.with_raw_response.create(model="plain", messages=user(QUESTION))
                        for _ in range(8)
                    )
                )
                headers.setdefault(name, set()).update(h for r in replies for h in r.headers if h.startswith("x-tale"))
                warned = proxy.log.read_text().count("until the file is mended")
                if all(header in reply.headers for reply in replies) and warned >= expected[name]:
                    return
            pytest.fail(f"no {header} after the policy file was {name}")

        for name, spoil in {
            "deleted": policy.unlink,
            "broken": lambda: policy.write_text('{"tale_dspy": {"class": '),
            "mended": lambda: shutil.copy(good, policy),
        }.items():
            spoil()
            await ask_until("x-tale-budget" if name == "mended" else "x-tale-skipped", name)

    log = proxy.log.read_text()
    assert log.count("cannot be read: No such file or directory; requests pass through") == 1
    assert log.count("requests pass through unchanged until the file is mended") == 2


def test_what_was_spent_is_counted(proxy: Proxy, client: openai.OpenAI) -> None:
    client.chat.completions.create(model="plain", messages=user(QUESTION))
    end = time.monotonic() + 30
    wanted = 'tale_requests_total{group="budgeted",model="plain"}'
    while time.monotonic() < end:
        result = subprocess.run(
            ["curl", "-sSL", "-H", f"Authorization: Bearer {proxy.key}", f"{proxy.url}/metrics"],
            capture_output=True,
            text=True,
            check=True,
        )
        counts = dict(line.rsplit(" ", 1) for line in result.stdout.splitlines() if line.startswith("tale_"))
        if wanted in counts:
            break
        time.sleep(0.2)
    requests, tokens = float(counts[wanted]), float(counts[wanted.replace("requests", "output_tokens")])
    assert tokens == requests * len(ANSWER.split())
    assert float(counts[wanted.replace("requests", "budget_tokens")]) >= BUDGET


def test_an_idle_connection_stays_open_for_longer_than_clients_keep_it(idle: IdleConnection) -> None:
    # The web server's default is 5 s, that of the clients of Python too: whoever is later loses the request.
    patience = max(0.0, 6.0 - (time.monotonic() - idle.since))  # mostly over: the other tests of this file came between
    is_closed, _, _ = select.select([idle.http.sock], [], [], patience)
    assert not is_closed
    idle.http.request("GET", "/health/liveliness")
    assert idle.http.getresponse().status == 200
