"""A server that answers 429 above so many requests in flight: how many it refuses, and how busy it is kept.

    python benchmarks/rate_limits.py                          # both engines
    python benchmarks/rate_limits.py --most 8 --latency 0.2 --questions 600 --engine auto

The first second, in which the limit is found out, is told apart. `busy` is the share of the possible throughput, most /
latency, over the rest of the time until the last 32 questions.
"""

import argparse
import os
import time
from typing import Any

WIDTH = 32


def measure(engine: str, args: argparse.Namespace) -> None:
    import dspy

    import tale_dspy
    from tale_dspy.testing import Reply, Request, ScriptedServer

    answered, refused = list[float](), list[float]()
    in_flight = 0

    def reply(request: Request) -> Reply:
        nonlocal in_flight
        now = time.monotonic()
        in_flight = sum(t + args.latency > now for t in answered[-args.most :])
        if in_flight >= args.most:
            refused.append(now)
            return Reply("slow down", status=429)
        answered.append(now)
        return Reply("Answer: [[4]]", delay=args.latency)

    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    program = tale_dspy.VanillaCoT("question -> answer")
    questions = [dspy.Example(question=f"{n}+0?", answer="4").with_inputs("question") for n in range(args.questions)]
    with ScriptedServer(reply) as server:
        settings: dict[str, Any] = {"engine": engine, "api_base": server.url, "api_key": "none", "cache": False}
        tale_dspy.evaluate(program, questions[:1], lm=tale_dspy.LM("openai/x", **settings))  # imports
        answered.clear()
        run = tale_dspy.evaluate(program, questions, lm=tale_dspy.LM("openai/x", **settings), concurrency=WIDTH)
    start, end = answered[0] + 1.0, answered[-WIDTH]
    late = [sum(start < t < end for t in times) for times in (answered, refused)]
    share = late[1] / max(1, sum(late))
    busy = late[0] / max(1e-9, (end - start) * args.most / args.latency)
    outcomes = {k: v for k, v in run.summary["outcomes"].items() if v}
    first = len(refused) - late[1]
    print(f"{engine:8} refused {first} in the first second, then {share:.1%}; busy {busy:.0%}; {outcomes}")


def main() -> None:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["litellm", "auto"], action="append")
    parser.add_argument("--most", type=int, default=8, help="requests in flight that the server takes")
    parser.add_argument("--latency", type=float, default=0.2, help="seconds before each answer")
    parser.add_argument("--questions", type=int, default=600)
    args = parser.parse_args()
    for engine in args.engine or ["litellm", "auto"]:
        measure(engine, args)


if __name__ == "__main__":
    main()
