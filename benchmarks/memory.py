"""Memory of a long run, and the time to resume a finished one.

    python benchmarks/memory.py                 # 2978 questions, TALE-EP, on a scripted server without latency

Memory is the growth of this process's peak between a run of 100 questions and the whole run, per question.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def peak_kb() -> int:
    """Peak resident memory of this process in kB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=2978)
    parser.add_argument("--engine", choices=["auto", "litellm"], default="auto")
    args = parser.parse_args()
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import json

    import dspy

    import tale_dspy
    from tale_dspy.testing import ScriptedServer, SolverReply, word_problems

    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    rows = word_problems(args.questions)
    examples = [dspy.Example(question=r["question"], answer=r["answer"]).with_inputs("question") for r in rows]
    bank = {r["question"]: r["answer"] for r in rows}
    with tempfile.TemporaryDirectory() as scratch, ScriptedServer(SolverReply(bank), record=0) as server:
        lm = tale_dspy.LM("openai/gpt-4o-mini", api_base=server.url, api_key="none", engine=args.engine, cache=False)
        program = tale_dspy.TaleEP("question -> answer")
        tale_dspy.evaluate(program, examples[:100], lm=lm, out=f"{scratch}/small")
        before = peak_kb()
        run = tale_dspy.evaluate(program, examples, lm=lm, out=f"{scratch}/whole")
        grown = peak_kb() - before
        print(f"{args.questions} questions in {run.wall_s:.1f} s: {grown / (args.questions - 100):.1f} kB a question")
        requests = server.stats.requests
        data = Path(scratch) / "problems.jsonl"
        data.write_text("".join(json.dumps(r) + "\n" for r in rows))
        command = [str(Path(sys.executable).parent / "tale"), "eval", "tale-ep", "--data", str(data), "--json"]
        command += ["--model", "openai/gpt-4o-mini", "--api-base", server.url, "--engine", args.engine, "--no-cache"]
        command += ["--out", f"{scratch}/cli"]
        for what in ("the whole run", "resumed when finished"):
            started, requests = time.perf_counter(), server.stats.requests
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            print(
                f"tale eval, {what}: {time.perf_counter() - started:.1f} s, {server.stats.requests - requests} requests"
            )


if __name__ == "__main__":
    main()
