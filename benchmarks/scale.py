"""What a run costs as it grows: time, CPU, memory and disk of run, resume, diff and report at 1,000 to 1,000,000.

    python benchmarks/scale.py --sizes 1000,10000,100000 --out /tmp/scale [--figure scale.pdf]

The wire is not the subject: the model answers in this process at once, so that what is measured is the library's own
work for a question (journal, record, figures). From --write-from on the records are written without a program being
asked, by the same code. Each phase runs in a process of its own; `cpu_us` is CPU microseconds
a question, `peak_mb` the largest resident memory, `peak_mb_at_10k` the same when 10,000 questions were done.
"""

import argparse
import json
import random
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

WORDS = ("so", "we", "add", "the", "apples", "and", "pears", "to", "find", "how", "many", "are", "in", "all")


def write_data(path: Path, n: int) -> None:
    """Write n questions of some 130 bytes each."""
    rng = random.Random(0)
    with path.open("w") as file:
        for number in range(n):
            question = f"{number}: {' '.join(rng.choices(WORDS, k=20))}?"
            file.write(json.dumps({"question": question, "answer": str(number % 97)}) + "\n")


def run(data: Path, out: Path, words: int) -> dict[str, Any]:
    """Evaluate a program that asks once a question; say what memory it took on the way."""
    import dspy

    import tale_dspy

    class InstantLM(dspy.BaseLM):  # type: ignore[misc]
        """Answers at once, in this process: three of four questions right, in about so many words."""

        def forward(self, prompt: Any = None, messages: Any = None, **kwargs: Any) -> Any:
            number = int(str(prompt).partition(":")[0])
            tokens = words + number % 50
            text = "so " * tokens + f"[[{number % 97 if number % 4 else 'x'}]]"
            message = SimpleNamespace(role="assistant", content=text, tool_calls=None)
            choice = SimpleNamespace(index=0, message=message, finish_reason="stop")
            usage = {"prompt_tokens": 40, "completion_tokens": tokens, "total_tokens": tokens + 40}
            return SimpleNamespace(choices=[choice], usage=usage, model="instant")

    class Asking(dspy.Module):  # type: ignore[misc]
        def forward(self, question: str) -> Any:
            reply = dspy.settings.lm(question)[0]
            return dspy.Prediction(answer=reply.rpartition("[[")[2].removesuffix("]]"))

    at_10k = [0.0]

    def progress(tally: Any) -> None:
        if tally.done == 10_000:
            at_10k[0] = peak_mb()

    data_set = tale_dspy.load_dataset(data)
    result = tale_dspy.evaluate(
        Asking(),
        data_set,
        lm=InstantLM("instant"),
        name="asking",
        out=out,
        concurrency=4,
        price=tale_dspy.Price(input=1e-7, output=4e-7),
        config={"words": words},
        progress=progress,
    )
    return {"n": result.summary["n"], "accuracy": result.accuracy, "peak_mb_at_10k": at_10k[0] or None}


def write(data: Path, out: Path, words: int) -> dict[str, Any]:
    """Write a finished run without asking: the folder, its records and figures, as the engine does."""
    import tale_dspy
    from tale_dspy.accounting.calls import Call
    from tale_dspy.runs.columns import RECORDS
    from tale_dspy.runs.describe import describe_run
    from tale_dspy.runs.folder import RunFolder
    from tale_dspy.runs.options import RunOptions
    from tale_dspy.runs.questions import questions_of
    from tale_dspy.runs.records import Run, RunEnding
    from tale_dspy.runs.scoring import record_of

    examples, options, at_10k = tale_dspy.load_dataset(data), RunOptions(name="asking", config={"words": words}), 0.0
    questions = questions_of(examples)
    program = tale_dspy.VanillaCoT("question -> answer")
    folder = RunFolder(out, describe_run(program, None, questions, None, options, examples))
    started = time.perf_counter()
    for number, question in enumerate(questions):
        is_right, tokens = bool(number % 4), words + number % 50
        call = Call(
            role="reason",
            model="instant",
            text="so " * tokens + "[[x]]",
            prompt_tokens=40,
            output_tokens=tokens,
            usage_source="provider",
            cost_usd=40e-7 + 4e-7 * tokens,
        )
        fields = {"outcome": "correct" if is_right else "wrong", "answer": question.gold if is_right else "x"}
        record = record_of(question, 0, fields, [call], 0.5 + number % 7 / 10, False)
        folder.append(RECORDS, record.to_json())
        folder.summary.add(record)
        at_10k = peak_mb() if number == 10_000 else at_10k
    run = Run(folder.info, path=out, ending=RunEnding(wall_s=time.perf_counter() - started), total=folder.summary)
    folder.replace("summary.json", run.summary)
    folder.store_columns()
    folder.close()
    return {"n": run.summary["n"], "accuracy": run.accuracy, "peak_mb_at_10k": at_10k or None}


def resume(out: Path) -> dict[str, Any]:
    """Open a finished run of `write` as the engine does before it asks: its keys and figures."""
    import tale_dspy
    from tale_dspy.runs.files import read_json
    from tale_dspy.runs.folder import RunFolder
    from tale_dspy.runs.questions import questions_of

    questions = questions_of(tale_dspy.load_dataset(out.parent / "data.jsonl"))
    folder = RunFolder(out, read_json(out / "run.json"))
    left = sum(not folder.is_done(key, 0) for key in questions.ids())
    folder.close()
    return {"left": left}


def diff(a: Path, b: Path) -> dict[str, Any]:
    """Compare two runs, and print the comparison as `tale diff` does."""
    from tale_dspy.cli.main import main

    return {"code": main(["diff", str(a), str(b), "--limit", "5"])}


def report(a: Path, b: Path, out: Path) -> dict[str, Any]:
    """Write the report of two runs as `tale report` does."""
    from tale_dspy.cli.main import main

    return {"code": main(["report", str(a), str(b), "--out", str(out)])}


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def phase(arguments: list[str]) -> None:
    """Do one phase in this process, and print what it took as JSON on the last line."""
    name, *paths = arguments
    started, cpu = time.perf_counter(), time.process_time()
    if name in ("run", "write"):
        figures = (run if name == "run" else write)(Path(paths[0]), Path(paths[1]), int(paths[2]))
    elif name == "resume":
        figures = resume(Path(paths[0]))
    elif name == "diff":
        figures = diff(Path(paths[0]), Path(paths[1]))
    else:
        figures = report(Path(paths[0]), Path(paths[1]), Path(paths[2]))
    figures |= {"wall_s": time.perf_counter() - started, "cpu_s": time.process_time() - cpu, "peak_mb": peak_mb()}
    print("\n" + json.dumps(figures))


def in_process(*arguments: object) -> dict[str, Any]:
    """Do a phase in a process of its own."""
    command = [sys.executable, __file__, "--phase", *map(str, arguments)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        raise SystemExit(f"{arguments[0]} failed:\n{process.stderr[-2000:]}")
    figures: dict[str, Any] = json.loads(process.stdout.strip().splitlines()[-1])
    return figures


def measure(n: int, out: Path, *, asks: bool) -> dict[str, Any]:
    """Measure all phases at one size; without asking the runs are written as if they had been."""
    folder = out / str(n)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_data(folder / "data.jsonl", n)
    a, b = folder / "a", folder / "b"
    action = "run" if asks else "write"
    first = in_process(action, folder / "data.jsonl", a, 100)
    in_process(action, folder / "data.jsonl", b, 60)
    resumed = in_process("run", folder / "data.jsonl", a, 100) if asks else in_process("resume", a)
    compared = in_process("diff", a, b)
    reported = in_process("report", a, b, folder / "report")
    size = sum(path.stat().st_size for path in a.iterdir())
    return {
        "n": n,
        "asked": asks,
        "run_s": first["wall_s"],
        "cpu_us": 1e6 * first["cpu_s"] / n,
        "run_peak_mb": first["peak_mb"],
        "peak_mb_at_10k": first["peak_mb_at_10k"],
        "bytes_a_question": size / n,
        **{f"{name}_s": figures["wall_s"] for name, figures in phases(resumed, compared, reported)},
        **{f"{name}_cpu_s": figures["cpu_s"] for name, figures in phases(resumed, compared, reported)},
        **{f"{name}_peak_mb": figures["peak_mb"] for name, figures in phases(resumed, compared, reported)},
    }


def phases(*figures: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return list(zip(("resume", "diff", "report"), figures, strict=True))


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw cost against size."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5))
    sizes = [row["n"] for row in rows]
    left.plot(sizes, [row["cpu_us"] for row in rows], "o-", label="run, CPU microseconds a question")
    left.set(xscale="log", ylim=(0, None), xlabel="questions")
    for name in ("run", "resume", "diff", "report"):
        right.plot(sizes, [row[f"{name}_peak_mb"] for row in rows], "o-", label=f"{name}, peak MB")
    right.set(xscale="log", ylim=(0, None), xlabel="questions")
    left.legend()
    right.legend()
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,10000,100000", help="numbers of questions, separated by commas")
    parser.add_argument(
        "--write-from", type=int, default=500_000, help="sizes from which on runs are written without asking"
    )
    parser.add_argument("--out", type=Path, default=Path("scale"), help="folder of the runs")
    parser.add_argument("--figure", type=Path, help="draw cost against size")
    parser.add_argument("--phase", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.phase:
        phase(args.phase)
        return
    rows = []
    for size in args.sizes.split(","):
        rows.append(measure(int(size), args.out, asks=int(size) < args.write_from))
        print(json.dumps({k: round(v, 2) if isinstance(v, float) else v for k, v in rows[-1].items()}), flush=True)
    if args.figure:
        draw(rows, args.figure)


if __name__ == "__main__":
    main()
