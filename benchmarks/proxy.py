"""What the budgets of a LiteLLM proxy cost a request, and what they save, against the same proxy without them.

    python benchmarks/proxy.py overhead       # a scripted backend: milliseconds added, failures, a broken policy
    python benchmarks/proxy.py saving --backend URL --model NAME --data embedded:test --limit 300
    python benchmarks/proxy.py clients --node-modules DIR     # the openai client of JavaScript
    python benchmarks/proxy.py serve-embedded              # the embedded model as a server, for `saving`

It needs the environment of `make test-integrations`: `.venv-integrations/bin/python benchmarks/proxy.py ...`.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sysconfig
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import openai

import tale_dspy
from tale_dspy.integrations.exports import export
from tale_dspy.programs.estimators.regression import Regression, Term
from tale_dspy.testing import Reply, Request, ScriptedServer, word_problems

KEY = "sk-0b1f5a7c9e2d4680f3a5c7e9b1d3f5a7c9e1b3d5f7a9c1e3"
REPLY = "3 * 12 = 36, and 36 - 5 = 31. Answer: [[31]]"


def policy_program() -> tale_dspy.TaleEP:
    """A program whose budgets are a line through counts of the question's text, so that they cost no call."""
    terms = (
        Term("question.words", centre=3.4, scale=0.45, weight=0.31),
        Term("question.numbers", centre=1.3, scale=0.4, weight=0.22),
        Term("question.sentences", centre=1.4, scale=0.35, weight=0.07),
    )
    regression = Regression(intercept=4.2, terms=terms, quantile=0.8, rows=200)
    estimator = tale_dspy.RegressionEstimator("question -> answer", regression=regression)
    return tale_dspy.TaleEP("question -> answer", estimator)


@contextmanager
def proxy(folder: Path, backend: str, model: str, *, hook: bool) -> Iterator[str]:
    """Run an exported folder in front of a backend, with or without its hook, and give the address."""
    callbacks = "[tale_hook.tale]" if hook else "[]"
    (folder / "config.yaml").write_text(
        "model_list:\n"
        f"  - model_name: {model}\n"
        f"    litellm_params: {{model: openai/{model}, api_base: '{backend}', api_key: none}}\n"
        f"litellm_settings:\n  callbacks: {callbacks}\n"
        "general_settings:\n  master_key: os.environ/LITELLM_MASTER_KEY\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = str(Path(__file__).parents[1])
    env = {
        **os.environ,
        "PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": root,
        "LITELLM_MASTER_KEY": KEY,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "PORT": str(port),
    }
    with (folder / "proxy.log").open("w") as log:
        process = subprocess.Popen(["sh", folder / "start.sh"], env=env, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        while process.poll() is None:
            try:
                urllib.request.urlopen(f"{url}/health/liveliness", timeout=5)
                break
            except OSError:
                time.sleep(0.2)
        else:
            raise SystemExit((folder / "proxy.log").read_text()[-2000:])
        yield url
    finally:
        process.terminate()
        process.wait()


def exported(folder: Path, program: tale_dspy.TaleEP | tale_dspy.BudgetedChainOfThought) -> Path:
    """Save a program and export it for the proxy."""
    folder.mkdir(parents=True)
    program.save(folder / "best.json")
    export(folder / "best.json", "litellm", folder / "proxy")
    return folder / "proxy"


async def block(
    client: openai.AsyncOpenAI, model: str, questions: Sequence[str], width: int
) -> tuple[list[float], int]:
    """Ask questions `width` at a time; return the milliseconds of each, and how many failed."""
    gate, seconds, failed = asyncio.Semaphore(width), [], 0

    async def ask(question: str) -> None:
        nonlocal failed
        async with gate:
            start = time.perf_counter()
            try:
                await client.chat.completions.create(model=model, messages=[{"role": "user", "content": question}])
            except openai.OpenAIError:
                failed += 1
            seconds.append(1000 * (time.perf_counter() - start))

    await asyncio.gather(*map(ask, questions))
    return seconds, failed


async def overhead(requests: int, width: int, latency: float) -> dict[str, object]:
    """Ask both proxies in turns, block by block, so that what else the machine does hits both."""
    questions = [str(problem["question"]) for problem in word_problems(requests, seed=1)]
    with TemporaryDirectory() as home, ScriptedServer(REPLY, latency=latency, record=0) as backend:
        folders = {side: exported(Path(home) / side, policy_program()) for side in ("without", "with")}
        with (
            proxy(folders["without"], backend.url, "scripted", hook=False) as without,
            proxy(folders["with"], backend.url, "scripted", hook=True) as with_hook,
        ):
            clients = {
                side: openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, timeout=120)
                for side, url in (("without", without), ("with", with_hook))
            }
            times: dict[str, list[float]] = {side: [] for side in clients}
            failures = dict.fromkeys(clients, 0)
            for client in clients.values():
                await block(client, "scripted", questions[:width], width)  # connections and first-time imports
            for start in range(0, requests, 100):
                order = list(clients) if start % 200 else list(reversed(clients))
                for side in order:
                    taken, failed = await block(clients[side], "scripted", questions[start : start + 100], width)
                    times[side] += taken
                    failures[side] += failed
            broken = await broken_policy(clients["with"], folders["with"] / "policy.json", questions, width)
            for client in clients.values():
                await client.close()
    median = {side: statistics.median(taken) for side, taken in times.items()}
    p95 = {side: statistics.quantiles(taken, n=20)[-1] for side, taken in times.items()}
    return {
        "requests": requests,
        "width": width,
        "backend_latency_ms": 1000 * latency,
        "median_ms": median,
        "p95_ms": p95,
        "hook_cpu_ms": await hook_cpu_ms(questions),
        "added_median_ms": median["with"] - median["without"],
        "failed": failures,
        "failed_while_policy_broken": broken,
    }


async def hook_cpu_ms(questions: Sequence[str]) -> float:
    """Return the CPU time that the callbacks take for a request, whatever else the machine does."""
    from tale_dspy.integrations.litellm_proxy import TokenBudget

    hook = TokenBudget(policy_program())
    start = time.process_time()
    for question in questions:
        data = {"model": "m", "messages": [{"role": "user", "content": question}], "metadata": {}}
        data = await hook.async_pre_call_hook(None, None, data, "acompletion")
        await hook.async_pre_call_deployment_hook({**data, "model": "openai/gpt-5-mini"}, "acompletion")
        await hook.async_post_call_response_headers_hook(data, None, None)
    return 1000 * (time.process_time() - start) / len(questions)


async def broken_policy(client: openai.AsyncOpenAI, policy: Path, questions: Sequence[str], width: int) -> int:
    """Delete and break the policy file under way; return how many requests failed."""
    good = policy.read_bytes()
    asking = asyncio.create_task(block(client, "scripted", questions, width))
    while not asking.done():
        for content in (None, b"{", b"\x00\xff", good[:200], good):
            policy.unlink(missing_ok=True) if content is None else policy.write_bytes(content)
            await asyncio.sleep(0.7)
    policy.write_bytes(good)
    return (await asking)[1]


def saving(backend: str, model: str, data: str, limit: int, budget: int | None, out: Path) -> dict[str, object]:
    """Run plain chain of thought through the proxy without and with the budgets, and compare the two, paired."""
    dataset = tale_dspy.load_dataset(data).take(0, limit)
    if budget is None:
        program: tale_dspy.TaleEP | tale_dspy.BudgetedChainOfThought = policy_program()
    else:
        program = tale_dspy.BudgetedChainOfThought("question -> answer", budget)
    runs = {}
    with TemporaryDirectory() as home:
        for side in ("without", "with"):
            folder = exported(Path(home) / side, program)
            with proxy(folder, backend, model, hook=side == "with") as url:
                lm = tale_dspy.LM(f"openai/{model}", api_base=f"{url}/v1", api_key=KEY, cache=False, temperature=0.0)
                cot = tale_dspy.VanillaCoT(dataset.signature)
                runs[side] = tale_dspy.evaluate(cot, dataset, lm=lm, out=out / side, concurrency=8)
    comparison = runs["with"].compare(runs["without"])
    print(comparison)
    return comparison.to_json()


def clients(node_modules: Path) -> dict[str, object]:
    """Ask through the proxy with the openai client of JavaScript."""
    script = (
        'import OpenAI from "openai";\n'
        "const client = new OpenAI({baseURL: process.env.URL + '/v1', apiKey: process.env.KEY});\n"
        "const asked = {model: 'scripted', messages: [{role: 'user', content: 'What is 3 * 12 - 5?'}]};\n"
        "const {data, response} = await client.chat.completions.create(asked).withResponse();\n"
        "const off = await client.chat.completions.create({...asked, metadata: {tale: 'off'}}).withResponse();\n"
        "const stream = await client.chat.completions.create({...asked, stream: true});\n"
        "let text = ''; for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? '';\n"
        "console.log(JSON.stringify({budget: response.headers.get('x-tale-budget'),"
        " skipped: off.response.headers.get('x-tale-skipped'), answer: data.choices[0].message.content, text}));\n"
    )
    with TemporaryDirectory() as home, ScriptedServer(REPLY, record=9) as backend:
        folder = exported(Path(home) / "with", policy_program())
        (folder / "node_modules").symlink_to(node_modules.resolve())
        (folder / "client.mjs").write_text(script)
        with proxy(folder, backend.url, "scripted", hook=True) as url:
            env = {**os.environ, "URL": url, "KEY": KEY}
            done = subprocess.run(
                ["node", "client.mjs"], cwd=folder, env=env, capture_output=True, text=True, check=True
            )
        return {**json.loads(done.stdout), "prompts": [request.prompt for request in backend.requests]}


def serve_embedded() -> None:
    """Serve the embedded model until interrupted: a backend for `saving`; it needs the extra `local`."""
    lm = tale_dspy.LM("embedded", cache=False, temperature=0.0)

    def answer(request: Request) -> Reply:
        text = lm(messages=list(request.messages))[0]
        usage = lm.history[-1]["usage"]
        return Reply(text, completion_tokens=usage["completion_tokens"], prompt_tokens=usage["prompt_tokens"])

    with ScriptedServer(answer, record=0) as server:
        print(server.url, flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("overhead")
    first.add_argument("--requests", type=int, default=1000)
    first.add_argument("--width", type=int, default=32)
    first.add_argument("--latency", type=float, default=0.5, help="seconds the backend takes")
    second = commands.add_parser("saving")
    second.add_argument("--backend", required=True, help="address of an OpenAI-compatible server, with /v1")
    second.add_argument("--model", required=True)
    second.add_argument("--data", default="embedded:test")
    second.add_argument("--limit", type=int, default=300)
    second.add_argument("--budget", type=int, help="a fixed budget in place of the regression")
    second.add_argument("--out", type=Path, default=Path("runs/proxy"))
    third = commands.add_parser("clients")
    third.add_argument("--node-modules", type=Path, required=True, help="where `npm install openai` put it")
    commands.add_parser("serve-embedded")
    options = parser.parse_args()
    if options.command == "serve-embedded":
        serve_embedded()
        return
    if options.command == "overhead":
        told: object = asyncio.run(overhead(options.requests, options.width, options.latency))
    elif options.command == "saving":
        told = saving(options.backend, options.model, options.data, options.limit, options.budget, options.out)
    else:
        told = clients(options.node_modules)
    print(json.dumps(told, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
