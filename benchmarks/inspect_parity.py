"""Whether `inspect eval` with the solver `tale_ep` gets what `tale eval` gets: scores, budgets and tokens, by question.

    python benchmarks/inspect_parity.py --data gsm8k --limit 200                       # a scripted server
    python benchmarks/inspect_parity.py --data gsm8k --limit 50 --backend URL --model NAME   # any other, with /v1

Both are run as commands. It needs the environment of `make test-integrations`:
`.venv-inspect/bin/python benchmarks/inspect_parity.py ...`, and `TALE_DATA` for `gsm8k` without a network.
"""

import argparse
import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

from inspect_ai.log import list_eval_logs, read_eval_log

import tale_dspy
from tale_dspy.integrations.inspect_ai import KEY
from tale_dspy.runs.records import load_run
from tale_dspy.testing import ScriptedServer, SolverReply

Outcomes = dict[str, tuple[bool, int | None, int | None, int | None]]
"""Question -> right, budget, output tokens of the answer, output tokens of the estimate."""


def run_ours(data: str, limit: int, url: str, model: str, out: Path) -> tuple[float, Outcomes]:
    """Run `tale eval tale-ep`."""
    arguments = ["--data", data, "--limit", str(limit), "--model", f"openai/{model}", "--api-base", url]
    command = [
        sys.executable,
        "-m",
        "tale_dspy.cli.main",
        "eval",
        "tale-ep",
        *arguments,
        "--out",
        str(out),
        "--no-cache",
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OPENAI_API_KEY": "none"})
    (folder,) = (path.parent for path in out.rglob("records.jsonl"))
    run = load_run(folder)
    return run.accuracy, {
        str(r.question): (bool(r.correct), r.token_budget, r.output_tokens, r.estimate_tokens) for r in run.records
    }


def run_inspects(data: str, limit: int, url: str, model: str, out: Path) -> tuple[float, Outcomes]:
    """Run `inspect eval tale_dspy/questions --solver tale_dspy/tale_ep`."""
    arguments = ["-T", f"data={data}", "-T", f"limit={limit}", "--log-dir", str(out), "--display", "none"]
    command = [
        str(Path(sys.executable).with_name("inspect")), "eval", "tale_dspy/questions", "--solver", "tale_dspy/tale_ep",
        "--model", f"openai-api/local/{model}", *arguments,
    ]  # fmt: skip
    subprocess.run(command, check=True, env={**os.environ, "LOCAL_BASE_URL": url, "LOCAL_API_KEY": "none"})
    log = read_eval_log(list_eval_logs(str(out))[0])
    if log.results is None or log.samples is None:
        raise SystemExit(f"inspect eval failed: {log.error}")
    outcomes: Outcomes = {}
    for sample in log.samples:
        note, usage = sample.metadata[KEY], sample.output.usage
        is_right = (sample.scores or {})["tale_answer"].value == "C"
        tokens = None if usage is None else usage.output_tokens
        outcomes[str(sample.input)] = (is_right, note["token_budget"], tokens, note["estimate_tokens"])
    return log.results.scores[0].metrics["accuracy"].value, outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="gsm8k")
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--backend", help="address of an OpenAI-compatible server, with /v1; None scripts one")
    parser.add_argument("--model", default="solver")
    parser.add_argument("--out", type=Path, help="folder for both runs; None keeps none")
    options = parser.parse_args()
    dataset = tale_dspy.load_dataset(options.data).take(0, options.limit)
    bank = {str(row["question"]): str(row[dataset.gold]) for row in dataset.examples}
    server = nullcontext() if options.backend else ScriptedServer(SolverReply(bank), record=0)
    with TemporaryDirectory() as scratch, server as scripted:
        out = options.out or Path(scratch)
        url = options.backend or scripted.url
        accuracy, ours = run_ours(options.data, options.limit, url, options.model, out / "tale")
        inspects, theirs = run_inspects(options.data, options.limit, url, options.model, out / "inspect")
    differing = [question for question in ours if ours[question] != theirs.get(question)]
    figures = {
        "questions": len(ours),
        "accuracy": {"tale eval": accuracy, "inspect eval": inspects},
        "output_tokens": {"tale eval": sum(o[2] or 0 for o in ours.values()),
                          "inspect eval": sum(o[2] or 0 for o in theirs.values())},
        "estimate_tokens": {"tale eval": sum(o[3] or 0 for o in ours.values()),
                            "inspect eval": sum(o[3] or 0 for o in theirs.values())},
        "questions_that_differ": len(differing),
    }  # fmt: skip
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
