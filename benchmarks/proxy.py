"""What the budgets of a LiteLLM proxy cost a request, and what they save, against the same proxy without them.

    python benchmarks/proxy.py overhead       # a scripted backend: milliseconds added, failures, a broken policy
    python benchmarks/proxy.py saving --backend URL --model NAME --data embedded:test --limit 300
    python benchmarks/proxy.py serve-embedded              # the embedded model as a server, for `saving`

It needs the environment of `make test-integrations`: `.venv-integrations/bin/python benchmarks/proxy.py ...`.
"""

import argparse
import asyncio
import json
import math
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import openai

import tale_dspy
from tale_dspy.integrations.exports import export
from tale_dspy.programs.estimators.regression import FeatureTerm, Regression
from tale_dspy.testing import Reply, Request, ScriptedServer, word_problems

KEY = "sk-0b1f5a7c9e2d4680f3a5c7e9b1d3f5a7c9e1b3d5f7a9c1e3"
SIDES = ("without", "with")
REPLY = "3 * 12 = 36, and 36 - 5 = 31. Answer: [[31]]"


def policy_program() -> tale_dspy.TaleEP:
    """A program whose budgets are a line through counts of the question's text, so that they cost no call."""
    terms = (
        FeatureTerm("question.words", centre=3.4, scale=0.45, weight=0.31),
        FeatureTerm("question.numbers", centre=1.3, scale=0.4, weight=0.22),
        FeatureTerm("question.sentences", centre=1.4, scale=0.35, weight=0.07),
    )
    regression = Regression(intercept=4.2, terms=terms, quantile=0.8, rows=200)
    estimator = tale_dspy.RegressionEstimator("question -> answer", regression=regression)
    return tale_dspy.TaleEP("question -> answer", estimator)


@dataclass(frozen=True)
class RunningProxy:
    """A proxy that answers."""

    url: str
    process_id: int

    def cpu_s(self) -> float:
        """CPU seconds that its process has used."""
        fields = Path(f"/proc/{self.process_id}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def proxy(folder: Path, backend: str, model: str, *, hook: bool) -> Iterator[RunningProxy]:
    """Run an exported folder in front of a backend, with or without its hook."""
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
    env = {
        **os.environ,
        "PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parents[1]),
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
        yield RunningProxy(url, process.pid)
    finally:
        process.terminate()
        process.wait()


def exported(folder: Path, program: tale_dspy.TaleEP | tale_dspy.BudgetedChainOfThought) -> Path:
    """Save a program and export it for the proxy."""
    folder.mkdir(parents=True)
    program.save(folder / "best.json")
    export(folder / "best.json", "litellm", folder / "proxy")
    return folder / "proxy"


async def ask_all(client: openai.AsyncOpenAI, questions: Sequence[str], width: int, latency: float) -> list[float]:
    """Ask questions by `width` callers; return milliseconds, NaN of those that failed, whose errors are printed."""
    waiting = iter(enumerate(questions))
    times = [math.nan] * len(questions)

    async def caller(number: int) -> None:
        await asyncio.sleep(latency * number / width)  # independent callers: not all at once
        for place, question in waiting:
            start = time.perf_counter()
            try:
                await client.chat.completions.create(model="scripted", messages=[{"role": "user", "content": question}])
                times[place] = 1000 * (time.perf_counter() - start)
            except openai.OpenAIError as error:
                print(f"failed: {error!r}, caused by {error.__cause__!r}", file=sys.stderr)

    await asyncio.gather(*map(caller, range(width)))
    return times


async def overhead(requests: int, width: int, latency: float) -> dict[str, object]:
    """Ask two proxies the same at the same time, so that whatever else the machine does hits both."""
    questions = [str(problem["question"]) for problem in word_problems(requests, seed=1)]
    with (
        TemporaryDirectory() as home,
        ScriptedServer(REPLY, latency=latency, record=0) as backend,
        ExitStack() as open_,
    ):
        folders = {side: exported(Path(home) / side, policy_program()) for side in SIDES}
        proxies = {
            side: open_.enter_context(proxy(folders[side], backend.url, "scripted", hook=side == "with"))
            for side in SIDES
        }
        clients = [
            openai.AsyncOpenAI(base_url=f"{proxies[side].url}/v1", api_key=KEY, max_retries=0, timeout=120)
            for side in SIDES
        ]
        warm_up = [ask_all(client, questions[: 2 * width], width, latency) for client in clients]
        await asyncio.gather(*warm_up)  # connections and first-time imports
        before = [proxies[side].cpu_s() for side in SIDES]
        both = await asyncio.gather(*(ask_all(client, questions, width, latency) for client in clients))
        cpu_ms = [1000 * (proxies[side].cpu_s() - start) / requests for side, start in zip(SIDES, before, strict=True)]
        broken = await broken_policy(clients[1], folders["with"] / "policy.json", questions, width)
        for client in clients:
            await client.close()
    answered = [[ms for ms in times if not math.isnan(ms)] for times in both]
    pairs = [b - a for a, b in zip(*both, strict=True) if not math.isnan(b - a)]
    draws = random.Random(0)
    resampled = sorted(statistics.median(draws.choices(pairs, k=len(pairs))) for _ in range(1000))
    return {
        "requests": requests,
        "width": width,
        "backend_latency_ms": 1000 * latency,
        "median_ms": dict(zip(SIDES, map(statistics.median, answered), strict=True)),
        "p95_ms": {side: statistics.quantiles(ms, n=20)[-1] for side, ms in zip(SIDES, answered, strict=True)},
        "added_median_ms": statistics.median(answered[1]) - statistics.median(answered[0]),
        "paired_median_ms": [statistics.median(pairs), resampled[25], resampled[975]],
        "proxy_cpu_ms": dict(zip(SIDES, cpu_ms, strict=True)),
        "hook_cpu_ms": await hook_cpu_ms(questions),
        "failed": {side: requests - len(ms) for side, ms in zip(SIDES, answered, strict=True)},
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
    asking = asyncio.create_task(ask_all(client, questions, width, 0.0))
    while not asking.done():
        for content in (None, b"{", b"\x00\xff", good[:200], good):
            policy.unlink(missing_ok=True) if content is None else policy.write_bytes(content)
            await asyncio.sleep(0.7)
    policy.write_bytes(good)
    return sum(map(math.isnan, await asking))


def saving(backend: str, model: str, data: str, limit: int, budget: int | None, out: Path) -> dict[str, object]:
    """Run plain chain of thought through the proxy without and with the budgets, and compare the two, paired."""
    dataset = tale_dspy.load_dataset(data).take(0, limit)
    if budget is None:
        program: tale_dspy.TaleEP | tale_dspy.BudgetedChainOfThought = policy_program()
    else:
        program = tale_dspy.BudgetedChainOfThought("question -> answer", budget)
    runs = {}
    with TemporaryDirectory() as home:
        for side in SIDES:
            folder = exported(Path(home) / side, program)
            with proxy(folder, backend, model, hook=side == "with") as running:
                lm = tale_dspy.LM(
                    f"openai/{model}", api_base=f"{running.url}/v1", api_key=KEY, cache=False, temperature=0.0
                )
                cot = tale_dspy.VanillaCoT(dataset.signature)
                runs[side] = tale_dspy.evaluate(cot, dataset, lm=lm, out=out / side, concurrency=8)
    comparison = runs["with"].compare(runs["without"])
    print(comparison)
    return comparison.to_json()


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
    first.add_argument("--latency", type=float, default=4.0, help="seconds the backend takes")
    second = commands.add_parser("saving")
    second.add_argument("--backend", required=True, help="address of an OpenAI-compatible server, with /v1")
    second.add_argument("--model", required=True)
    second.add_argument("--data", default="embedded:test")
    second.add_argument("--limit", type=int, default=300)
    second.add_argument("--budget", type=int, help="a fixed budget in place of the regression")
    second.add_argument("--out", type=Path, default=Path("runs/proxy"))
    commands.add_parser("serve-embedded")
    options = parser.parse_args()
    if options.command == "serve-embedded":
        serve_embedded()
        return
    if options.command == "overhead":
        figures = asyncio.run(overhead(options.requests, options.width, options.latency))
    else:
        figures = saving(options.backend, options.model, options.data, options.limit, options.budget, options.out)
    print(json.dumps(figures, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
