"""A run that is killed again and again under faults: is anything lost, doubled or summed up wrongly?

    python benchmarks/kills.py --kills 40 --terms 40 --questions 400

A process evaluates TALE-EP against a scripted server of which 20 % of the prompts meet a fault, and is ended by SIGKILL
or SIGTERM (which ends a command as Ctrl-C does) after a random number of requests; the same call then continues it. At
the end each question must have one record, no journalled call may stand there twice, and the summary must be that of
the records, whose tokens and dollars must be those of the journal.
"""

import argparse
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

FAULT_KINDS = ("rate_limited", "server_error", "dropped", "malformed", "null_content")
FAULTS = dict.fromkeys(FAULT_KINDS, 0.04)


def work(url: str, out: str, count: int) -> None:
    """Fork a run at each line on stdin, so that imports are paid once."""
    import dspy

    import tale_dspy
    import tale_dspy.runs.engine
    from tale_dspy.testing.problems import word_problems

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def run() -> None:
        signal.signal(signal.SIGTERM, interrupt)
        rows = [{"question": r["question"], "answer": r["answer"]} for r in word_problems(count)]
        examples = [dspy.Example(row).with_inputs("question") for row in rows]
        lm = tale_dspy.LM("openai/scripted", api_base=url, api_key="none", engine="auto", cache=False)
        price = tale_dspy.Price(input=1e-6, output=4e-6)
        program = tale_dspy.TaleEP("question -> answer")
        tale_dspy.evaluate(program, examples, lm=lm, out=out, concurrency=8, price=price)

    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                run()
            except KeyboardInterrupt:
                os._exit(130)
            os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def check(out: Path, count: int) -> dict[str, Any]:
    """Compare records, journal and summary; raise where they do not agree."""
    from tale_dspy.runs.records import load_run

    records = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    calls = [json.loads(line) for line in (out / "calls.jsonl").read_text().splitlines()]
    answered = [call for call in calls if call["error"] is None]
    places = Counter((c["id"], c["repeat"], c["key"], c["step"]) for c in answered)
    stored = json.loads((out / "summary.json").read_text())
    again = load_run(out).summary
    differing = [name for name in again if name not in ("wall_s", "run_dir") and again[name] != _plain(stored[name])]
    assert len(records) == len({r["id"] for r in records}) == count, "records are lost or doubled"
    assert max(places.values()) == 1, "a call is journalled twice"
    assert all(name in ("accuracy_ci95",) for name in differing), f"the summary differs in {differing}"
    tokens = sum((r["output_tokens"] or 0) + (r["estimate_tokens"] or 0) for r in records)
    assert tokens == sum(c["usage"]["output_tokens"] or 0 for c in answered), "tokens differ from the journal"
    known = [r["cost_usd"] for r in records if r["cost_usd"] is not None]
    costs = [c["cost"] for c in answered if c["cost"] is not None]
    assert math.isclose(math.fsum(known), math.fsum(costs), rel_tol=1e-9) or len(known) < count, "dollars differ"
    return {"records": len(records), "calls": len(answered), "failed_attempts": len(calls) - len(answered)}


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--terms", type=int, default=40)
    parser.add_argument("--questions", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args.worker[0], args.worker[1], int(args.worker[2]))
        return
    from tale_dspy.testing import Faults, ScriptedServer, SolverReply
    from tale_dspy.testing.problems import word_problems

    rng = random.Random(args.seed)
    signals = [signal.SIGKILL] * args.kills + [signal.SIGTERM] * args.terms
    rng.shuffle(signals)
    bank = {row["question"]: row["answer"] for row in word_problems(args.questions)}
    with tempfile.TemporaryDirectory() as folder, ScriptedServer(SolverReply(bank), faults=Faults(**FAULTS)) as server:
        out = Path(folder) / "run"
        command = [sys.executable, __file__, "--worker", server.url, str(out), str(args.questions)]
        codes = Counter[int]()
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None and process.stdout is not None
            for ending in [*signals, None]:
                process.stdin.write("run\n")
                process.stdin.flush()
                child, until = int(process.stdout.readline()), server.stats.requests + rng.randint(1, 12)
                while ending is not None and server.stats.requests < until and _is_alive(child):
                    time.sleep(0.002)
                if ending is not None and _is_alive(child):
                    os.kill(child, ending)
                codes[int(process.stdout.readline())] += 1
            process.stdin.close()
        figures = check(out, args.questions)
        paid_again = server.stats.answered - figures["calls"]
    print(
        json.dumps(
            {
                "ended": {str(k): n for k, n in sorted(codes.items())},
                **figures,
                "answered_but_not_journalled": paid_again,
            }
        )
    )


def _is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


if __name__ == "__main__":
    main()
