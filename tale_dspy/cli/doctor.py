"""`tale doctor`: whether a key works, which reasoning control does, and whether a budget is kept, for a few cents."""

import sys
from contextlib import redirect_stdout
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tale_dspy.cli import flags
from tale_dspy.cli.console import say
from tale_dspy.errors import UsageError

if TYPE_CHECKING:
    from tale_dspy.runs.doctor import Diagnosis

NAME = "doctor"


def run(
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
    """Ask a model some twenty small questions: does the key work, is a budget kept, are thinking tokens reported.

    Prints the calls and their expected price first, and asks, unless --yes is given or the model is local. Exit code 1
    if the model cannot be asked. The file of --write is read where $TALE_CONTROLS names it.
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
        found = examine(lm, price=price, max_usd=max_usd, concurrency=concurrency)
    if write is not None and found.works:
        write.write_text(control_toml(observed_control(lm, found, date.today())), encoding="utf-8")
        say(f"{write}: use it by TALE_CONTROLS={write}", err=True)
    if json:
        print_json(found.to_json())
    else:
        screen = console()
        for part in _told(found):
            screen.print(part)
    return 0 if found.works else 1


def _print_controls() -> int:
    """Print the map of reasoning controls, one row a family, the user's own first."""
    from tale_dspy.backends.control_registry import controls_table

    say(controls_table())
    return 0


def _told(found: "Diagnosis") -> list[Any]:
    """Write a diagnosis: a table of checks, and one of the budgets that were tried."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    checks = Table(box=SIMPLE_HEAD, title=f"{found.model}", title_justify="left", show_header=False)
    rows = {"key": "works" if found.works else f"does not work: {found.error}"}
    if found.works:
        rows["reasoning_params"] = found.family or "none known"
        rows["thinks natively"] = "yes" if found.thinks else "no, as it is set up"
        rows["mode auto"] = f"sends a budget by mode {found.auto}"
        rows |= {f"mode {mode}": verdict for mode, verdict in found.verdicts().items()}
        rows["usage"] = f"from the {found.usage_source}" if found.usage_source != "unknown" else "not reported"
        rows["thinking tokens"] = "reported" if found.reports_reasoning else "not reported"
        rows["rate limit"] = _limits(found)
        cost = "unknown" if found.cost_usd is None else f"${found.cost_usd:.6f}"
        rows["spent"] = f"{found.calls} calls, {cost}"
    for name, told in rows.items():
        checks.add_row(name, Text(told))
    return [checks, _budgets(found)] if found.readings else [checks]


def _limits(found: "Diagnosis") -> str:
    told = [f"{name.removeprefix('x-ratelimit-')} {value}" for name, value in (found.limits or {}).items()]
    burst = f"{found.refused} of {found.burst} calls at once refused" if found.burst else "none: it runs here"
    return ", ".join([burst, *told])


def _budgets(found: "Diagnosis") -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD)
    for name in ("Mode", "Asked", "Spent", "Thinking", "Spent / asked", "Answer", "Sent", "Notes"):
        table.add_column(name, justify="right" if name in ("Asked", "Spent", "Thinking", "Spent / asked") else "left")
    for r in found.readings:
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
