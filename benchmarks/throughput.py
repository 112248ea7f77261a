"""Wall and CPU of `tale_dspy.evaluate` against plain `dspy.Evaluate` on `dspy.ChainOfThought`.

With engine `litellm` also against bare `litellm.completion` in as many threads, which is the least it can take.

    python benchmarks/throughput.py                      # both engines, 5 alternating rounds
    python benchmarks/throughput.py --engine auto --questions 300 --latency 0.1 --url http://127.0.0.1:8123/v1

Each measurement is a process of its own against a server of its own on this machine, without any cache. `wall` is the
time from the first request to the last reply on the server's clock, `floor` is ceil(requests / 32) times the latency.
"""

import argparse
import contextlib
import gc
import json
import math
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

WIDTH = 32

_NAMES = {"bare": "litellm.completion", "plain": "dspy.Evaluate on CoT"}


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Run one contender in this process and tell what it took."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import dspy

    import tale_dspy
    from tale_dspy.testing import word_problems

    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    rows = word_problems(args.questions)
    examples = [dspy.Example(question=r["question"], answer=r["answer"]).with_inputs("question") for r in rows]
    settings = {"api_base": args.url, "api_key": "none", "cache": False}
    if args.one in ("plain", "bare"):
        lm = dspy.LM("openai/gpt-4o-mini", engine=args.engine, **settings)
    else:
        lm = tale_dspy.LM("openai/gpt-4o-mini", engine=args.engine, **settings)

    def run(rows: list[dspy.Example]) -> None:
        if args.one == "bare":
            _call_litellm(rows, args.url)
            return
        if args.one == "plain":
            with dspy.context(lm=lm):
                metric = lambda example, pred, trace=None: pred.answer == example.answer  # noqa: E731
                evaluate = dspy.Evaluate(devset=rows, metric=metric, num_threads=WIDTH, display_progress=False)
                evaluate(dspy.ChainOfThought("question -> answer"))
            return
        program = {"cot": tale_dspy.VanillaCoT, "tale-ep": tale_dspy.TaleEP}[args.one]("question -> answer")
        out = os.path.join(args.scratch, f"{args.one}-{args.engine}-{time.time_ns()}")
        tale_dspy.evaluate(program, rows, lm=lm, out=out, concurrency=WIDTH)

    run(examples[:2])  # imports and connections are paid once and not per call,
    gc.collect()  # and so is the look through what the imports left (0.2 s after LiteLLM's)
    _get(args.url, "reset")
    cpu, wall = time.process_time(), time.perf_counter()
    run(examples)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    stats = _get(args.url, "stats")
    requests = stats["requests"]
    return {
        "requests": requests,
        "cpu_ms": 1000 * cpu / requests,
        "wall_s": stats["window_s"],
        "process_wall_s": wall,
        "ratio": stats["window_s"] / (math.ceil(requests / WIDTH) * args.latency),
    }


def _call_litellm(rows: list[Any], url: str) -> None:
    """Ask each question by `litellm.completion` and nothing else, with the prompt of `tale eval cot`."""
    import dspy
    import litellm

    import tale_dspy

    signature = dspy.Signature("question -> reasoning, answer")
    prompts = [tale_dspy.TaleAdapter().format(signature, [], {"question": row.question}) for row in rows]

    def ask(messages: list[dict[str, Any]]) -> object:
        return litellm.completion("openai/gpt-4o-mini", messages, api_base=url, api_key="none")

    with ThreadPoolExecutor(WIDTH) as pool:
        list(pool.map(ask, prompts))


def _get(url: str, page: str) -> dict[str, float]:
    method = "POST" if page == "reset" else "GET"
    request = urllib.request.Request(url.removesuffix("/v1") + f"/{page}", method=method)
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)


@contextlib.contextmanager
def scripted_server(args: argparse.Namespace) -> Iterator[str]:
    """Start the project's own server in a process of its own."""
    command = [sys.executable, "-m", "tale_dspy.testing.server", "--port", "0", "--record", "0"]
    command += ["--latency", str(args.latency), "--problems", str(args.questions)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield next(word for word in process.stdout.readline().split() if word.startswith("http"))
        finally:
            process.terminate()


def one(args: argparse.Namespace, engine: str, contender: str) -> dict[str, float]:
    """Measure one contender in a fresh process."""
    command = [sys.executable, __file__, "--one", contender, "--engine", engine, "--url", args.url]
    command += ["--questions", str(args.questions), "--latency", str(args.latency), "--scratch", args.scratch]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["auto", "litellm"])
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--latency", type=float, default=0.1, help="seconds; must be the server's when --url is given")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--url", help="another OpenAI-compatible server with /stats and /reset")
    parser.add_argument("--scratch", default="/tmp/tale-benchmark")
    parser.add_argument("--one", choices=["bare", "plain", "cot", "tale-ep"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args)))
        return
    with contextlib.ExitStack() as stack:
        args.url = args.url or stack.enter_context(scripted_server(args))
        for engine in [args.engine] if args.engine else ["auto", "litellm"]:
            contenders = ["plain", "cot", "tale-ep"] if engine == "auto" else ["bare", "plain", "cot", "tale-ep"]
            rows: dict[str, list[dict[str, float]]] = {contender: [] for contender in contenders}
            for _ in range(args.rounds):
                for contender in rows:
                    rows[contender].append(one(args, engine, contender))
            print(f"\nengine {engine}: median of {args.rounds} alternating rounds (min - max)")
            print(f"{'contender':24}{'CPU ms/call':>22}{'wall s':>20}{'wall/floor':>22}")
            for contender, measured in rows.items():
                name = {"plain": "dspy.Evaluate on CoT", "bare": "litellm.completion"}.get(
                    contender, f"tale {contender}"
                )
                cpu, wall, ratio = (_median_and_range(measured, key) for key in ("cpu_ms", "wall_s", "ratio"))
                print(f"{name:24}{cpu:>22}{wall:>20}{ratio:>22}")


def _median_and_range(measured: list[dict[str, float]], key: str) -> str:
    values = [row[key] for row in measured]
    return f"{statistics.median(values):.2f} ({min(values):.2f} - {max(values):.2f})"


if __name__ == "__main__":
    main()
