"""`tale doctor`: test a key, a budget and the reasoning control.

The test costs a few cents.
"""

import sys
from contextlib import redirect_stdout
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tale_dspy.cli import flags
from tale_dspy.cli.console import say
from tale_dspy.errors import UsageError
from tale_dspy.output_paths import check_file

if TYPE_CHECKING:
    from tale_dspy.runs.doctor import Diagnosis

NAME = "doctor"


def run_command(
    model: flags.Model = "",
    api_base: flags.ApiBase = None,
    engine: flags.Engine = "litellm",
    server: flags.Server = None,
    max_tokens: flags.MaxTokens = None,
    timeout: flags.Timeout = 120.0,
    max_usd: flags.MaxUsd = None,
    price_in: flags.PriceIn = None,
    price_out: flags.PriceOut = None,
    concurrency: Annotated[int, typer.Option(help="Calls at the same time.")] = 4,
    yes: flags.Yes = False,
    controls: Annotated[
        bool, typer.Option("--controls", help="Print which model takes what, as Markdown, and ask nothing.")
    ] = False,
    write: Annotated[
        Path | None, typer.Option(help="Write what was found about the reasoning control to this TOML file.")
    ] = None,
    json: flags.Json = False,
) -> int:
    """Test a model: key, budget, reasoning control, usage, rate limit.

    Asks some twenty small questions. Prints the calls and their expected price first, and asks, unless --yes is given
    or the model is local. Exit code 1 if the model cannot be asked. The file of --write is read where $TALE_CONTROLS
    names it.
    """
    import dspy

    if controls:
        return _print_controls()
    if not model:
        raise UsageError("--model is missing: name a model, such as openai/gpt-4o-mini, or give --controls")

    from tale_dspy.backends.control_registry import control_toml
    from tale_dspy.backends.prices import Price, price_of
    from tale_dspy.cli.console import confirmed, console, print_json
    from tale_dspy.cli.models import check_provider, language_model
    from tale_dspy.cli.plan import Plan
    from tale_dspy.runs.doctor import examine, expected_price, observed_control

    dspy.disable_logging()  # what matters of it is in the table
    if concurrency < 1:
        raise UsageError(f"--concurrency must be at least 1, got {concurrency}")
    if write is not None:
        check_file(write, "table of reasoning controls", b"[[control]]")
    plan = Plan(
        program="cot",
        data="",
        model=model,
        api_base=api_base,
        engine=engine,
        server=server,
        max_tokens=max_tokens,
        price_in=price_in,
        price_out=price_out,
        cache=False,
    ).checked()
    price, lm = plan.price(), language_model(plan)
    if isinstance(lm.engine, str) and "timeout" not in lm.kwargs:
        lm = lm.copy(timeout=timeout)
    with redirect_stdout(sys.stderr):
        check_provider(plan, lm)
    calls, usd = expected_price(lm, price)
    if (price or price_of(lm)) != Price(0.0, 0.0):
        cost = "the price is unknown" if usd is None else f"about ${usd:.4f} at most"
        say(f"{calls} calls of {model}: {cost}", err=True)
        if not yes and not confirmed():
            raise UsageError("nothing was asked: confirm, or give --yes")
    with redirect_stdout(sys.stderr):
        diagnosis = examine(lm, price=price, max_usd=max_usd, concurrency=concurrency)
    if write is not None and diagnosis.works:
        write.parent.mkdir(parents=True, exist_ok=True)
        write.write_text(control_toml(observed_control(lm, diagnosis, date.today())), encoding="utf-8")
        say(f"{write}: use it by TALE_CONTROLS={write}", err=True)
    if json:
        print_json(diagnosis.to_json())
    else:
        screen = console()
        for part in _diagnosis_tables(diagnosis):
            screen.print(part)
    return 0 if diagnosis.works else 1


def _print_controls() -> int:
    """Print the map of reasoning controls, a row a family, the user's first."""
    from tale_dspy.backends.control_registry import controls_table

    say(controls_table())
    return 0


def _diagnosis_tables(diagnosis: "Diagnosis") -> list[Any]:
    """Return two tables: the checks, and the budgets that were tried."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    checks = Table(box=SIMPLE_HEAD, title=f"{diagnosis.model}", title_justify="left", show_header=False)
    rows = {"key": "works" if diagnosis.works else f"does not work: {diagnosis.error}"}
    if diagnosis.works:
        rows["reasoning_params"] = diagnosis.family or "none known"
        rows["thinks natively"] = "yes" if diagnosis.thinks else "no, as it is set up"
        rows["mode auto"] = f"sends a budget by mode {diagnosis.auto}"
        rows |= {f"mode {mode}": verdict for mode, verdict in diagnosis.verdicts().items()}
        rows["usage"] = f"from the {diagnosis.usage_source}" if diagnosis.usage_source != "unknown" else "not reported"
        rows["thinking tokens"] = "reported" if diagnosis.reports_reasoning else "not reported"
        rows["rate limit"] = _limits_text(diagnosis)
        cost = "unknown" if diagnosis.cost_usd is None else f"${diagnosis.cost_usd:.6f}"
        rows["spent"] = f"{diagnosis.calls} calls, {cost}"
    for name, text in rows.items():
        checks.add_row(name, Text(text))
    return [checks, _budget_table(diagnosis)] if diagnosis.readings else [checks]


def _limits_text(diagnosis: "Diagnosis") -> str:
    limits = [f"{name.removeprefix('x-ratelimit-')} {value}" for name, value in (diagnosis.limits or {}).items()]
    refused, burst = diagnosis.refused, diagnosis.burst
    refusals = f"{refused} of {burst} calls at once refused" if burst else "none: it runs here"
    return ", ".join([refusals, *limits])


def _budget_table(diagnosis: "Diagnosis") -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD)
    for name in ("Mode", "Asked", "Spent", "Thinking", "Spent / asked", "Answer", "Sent", "Notes"):
        is_figure = name in ("Asked", "Spent", "Thinking", "Spent / asked")
        table.add_column(name, justify="right" if is_figure else "left", overflow="fold")
    for r in diagnosis.readings:
        answer = r.error or ("right" if r.right else "wrong" if r.status == "answered" else r.status or "–")
        cells = [
            r.mode,
            str(r.budget),
            *("–" if count is None else str(count) for count in (r.spent, r.reasoning_tokens)),
            "–" if r.adherence is None else f"{r.adherence:.2f}",
            answer,
            ", ".join(f"{k}={v}" for k, v in (r.reasoning_params or {}).items()) or "prompt",
            "; ".join(r.notes),
        ]
        table.add_row(*map(Text, cells))
    return table
