"""`tale demo`: the whole idea in a minute, without key, download and network, on a scripted server."""

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from tale_dspy.errors import MissingExtraError

NAME = "demo"
PROGRAMS = ("dspy-cot", "cot", "direct", "concise", "draft", "budget:best", "tale-ep")
TRAIN = 60
NOTICE = (
    "This demo asks a small scripted server on this machine, not a language model: its replies follow a script, so its "
    "figures show how the tool works and say nothing about any model. They are marked `scripted`."
)


def run(
    questions: Annotated[int, typer.Option(min=1, help="Questions asked of each program.")] = 120,
    out: Annotated[Path | None, typer.Option(help="Folder for run folders and report; default demo-runs/.")] = None,
) -> None:
    """Run the paper's programs on a scripted server, compare them, and draw the report."""
    from tale_dspy.cli.plan import Plan
    from tale_dspy.cli.show import console, live_bar
    from tale_dspy.reports import report_rows, rich_comparison, rich_table, write_report
    from tale_dspy.testing import ScriptedServer, SolverReply, word_problems

    screen = console()
    screen.print(NOTICE, style="bold yellow")
    folder = out or Path("demo-runs")
    problems, training = word_problems(questions + TRAIN)[TRAIN:], word_problems(TRAIN)
    bank = {row["question"]: row["answer"] for row in [*problems, *training]}
    runs = []
    with tempfile.TemporaryDirectory() as scratch, ScriptedServer(SolverReply(bank), latency=0.05, record=0) as server:
        data, train = Path(scratch) / "word-problems.jsonl", Path(scratch) / "training.jsonl"
        for path, rows in ((data, problems), (train, training)):
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        for program in PROGRAMS:
            plan = Plan(
                program=program,
                data=str(data),
                train_data=str(train),
                model="openai/scripted",
                api_base=server.url,
                api_key="none",
                engine="auto",
                cache=False,
                price_in=0.15,
                price_out=0.60,
                mark="scripted",
                out=folder / program.replace(":", "-"),
            )
            with live_bar(program) as progress:
                runs.append(plan.run(progress))
    screen.print(rich_table(report_rows(runs), width=screen.width))
    by_name = dict(zip(PROGRAMS, runs, strict=True))
    screen.print(rich_comparison(by_name["tale-ep"].compare(by_name["cot"]), width=screen.width, limit=3))
    try:
        files = write_report(runs, folder / "report")
        typer.echo(f"figures and tables: {folder / 'report'} ({len(files)} files)")
    except MissingExtraError as e:
        typer.echo(f"no figures: {e}")
    screen.print("\nWith a real provider (set its key first), try:", style="bold")
    for line in (
        "tale eval cot --data gsm8k --model openai/gpt-4o-mini --limit 100 --max-usd 0.50 --out runs/cot",
        "tale eval tale-ep --data gsm8k --model openai/gpt-4o-mini --limit 100 --max-usd 0.50 --out runs/tale-ep",
        "tale report runs/cot runs/tale-ep --out report",
    ):
        typer.echo(f"  {line}")
