"""A server that answers 429 above so many requests in flight: how many it refuses, and how busy it is kept.

    python benchmarks/rate_limits.py                          # both engines, 8 in flight, answers after 0.2 s
    python benchmarks/rate_limits.py --all                    # other constants, Retry-After, a limit that changes
    python benchmarks/rate_limits.py --most 16 --latency 0.5 --questions 1000 --engine auto

The first second, in which the limit is found out, is told apart. `busy` is the share of the possible throughput, most /
latency, over the rest of the time until the workers run out of questions. `CPU` is the share of the time that this
process computed: what other programs leave of a core must be well above it, else Python is the limit.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Case:
    """What the server does."""

    most: int = 8
    """Requests in flight that it takes."""
    latency: float = 0.2
    """Seconds before each answer."""
    questions: int = 600
    retry_after: float | None = None
    """Seconds that a 429 tells to wait; None tells nothing."""
    later: int | None = None
    """What it takes after a third of the questions."""

    def __str__(self) -> str:
        wait = f", Retry-After {self.retry_after:g}" if self.retry_after is not None else ""
        return f"{self.most}{f' then {self.later}' if self.later else ''} at {self.latency:g} s{wait}"


CASES = (
    Case(),
    Case(retry_after=1.0),
    Case(4, 0.05, 1000),
    Case(4, 0.5, 400),
    Case(16, 0.2, 1000),
    Case(16, 0.5, 1000),
    Case(40, 0.5, 2000),
    Case(16, 0.2, 1200, later=8),
    Case(8, 0.2, 1200, later=16),
)


def serve(case: Case) -> None:
    """Be the server, in a process of its own, until a line comes in; then tell when requests came."""
    from tale_dspy.testing import Reply, Request, ScriptedServer

    answered, refused = list[float](), list[float]()
    headers = {} if case.retry_after is None else {"retry-after": f"{case.retry_after:g}"}
    changed: float | None = None

    def reply(request: Request) -> Reply:
        nonlocal changed
        now, most = time.monotonic(), case.most
        if case.later and len(answered) > case.questions // 3:
            changed, most = changed or now, case.later
        if sum(t + case.latency > now for t in answered[-max(case.most, case.later or 0) :]) >= most:
            refused.append(now)
            return Reply("slow down", status=429, headers=headers)
        answered.append(now)
        return Reply("Answer: [[4]]", delay=case.latency)

    with ScriptedServer(reply) as server:
        print(server.url, flush=True)
        sys.stdin.readline()
    print(json.dumps([answered[1:], refused, changed]))  # the first was asked to have all imported


def measure(engine: str, case: Case) -> None:
    import dspy

    import tale_dspy

    width = 2 * max(case.most, case.later or 0) + 16
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    program = tale_dspy.VanillaCoT("question -> answer")
    questions = [dspy.Example(question=f"{n}+0?", answer="4").with_inputs("question") for n in range(case.questions)]
    command = [sys.executable, __file__, "--serve", json.dumps(asdict(case))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin and server.stdout
        url = server.stdout.readline().strip()
        settings: dict[str, Any] = {"engine": engine, "api_base": url, "api_key": "none", "cache": False}
        # A name that DSPy finds in its table of prices at once: looking for an unknown one takes 6 ms.
        lms = [tale_dspy.LM("openai/gpt-4o-mini", **settings) for _ in range(2)]
        tale_dspy.evaluate(program, questions[:1], lm=lms[0])  # imports
        cpu, wall = time.process_time(), time.monotonic()
        run = tale_dspy.evaluate(program, questions, lm=lms[1], concurrency=width)
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        server.stdin.write("\n")
        server.stdin.flush()
        answered, refused, changed = json.loads(server.stdout.readline())
    start, end = answered[0] + 1.0, answered[-width]
    late = [sum(start < t < end for t in times) for times in (answered, refused)]
    budget_request = end if changed is None else min(changed, end)
    possible = ((budget_request - start) * case.most + (end - budget_request) * (case.later or 0)) / case.latency
    outcomes = {k: v for k, v in run.summary["outcomes"].items() if v}
    print(
        f"{engine:8} {case!s:28} first second {len(refused) - late[1]:3} refused, then {late[1] / sum(late):5.2%}; "
        f"busy {late[0] / possible:4.0%}, {late[0] / (end - start):.0f}/s; CPU {cpu / wall:.0%}; {outcomes}",
        flush=True,
    )


def main() -> None:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["litellm", "auto"], action="append")
    parser.add_argument("--all", action="store_true", help="all of the cases that the README tells of")
    parser.add_argument("--most", type=int, help="requests in flight that the server takes")
    parser.add_argument("--latency", type=float, help="seconds before each answer")
    parser.add_argument("--questions", type=int)
    parser.add_argument("--retry-after", type=float, help="seconds a 429 tells to wait")
    parser.add_argument("--later", type=int, help="requests in flight it takes after a third of the questions")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        return serve(Case(**json.loads(args.serve)))
    settings = {k: v for k, v in vars(args).items() if k not in ("engine", "all", "serve") and v is not None}
    for case in CASES if args.all else (replace(Case(), **settings),):
        for engine in args.engine or ["litellm", "auto"]:
            measure(engine, case)


if __name__ == "__main__":
    main()
