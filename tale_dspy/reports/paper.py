"""The paper's own result tables as data (arXiv 2412.18547, version 5), to be put beside measured runs.

Tables 3 and 4: TALE-EP against direct answering and vanilla chain of thought. Tables 5 and 6 (TALE-PT) take the same
shape, with other systems and without expense. Figures are copied, never recomputed; what does not fit together in the
paper is told in the notes.
"""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tale_dspy.errors import UsageError
from tale_dspy.receipts import Price
from tale_dspy.reports.rows import ReportRow, mean_known, report_rows
from tale_dspy.reports.screen import rich_table
from tale_dspy.runs.records import Run, accuracy_interval
from tale_dspy.runs.sides import config_of, data_name
from tale_dspy.runs.wording import number

if TYPE_CHECKING:
    from rich.table import Table

MINI, YI = "openai/gpt-4o-mini", "openai/yi-lightning"
"""LiteLLM strings. Yi-lightning has no provider there: its maker serves it with OpenAI's interface, so `openai/` and
`--api-base` reach it."""


@dataclass(frozen=True)
class PaperSystem:
    """What the paper printed for one system."""

    accuracy: float
    """Percent."""
    output_tokens: float
    """Mean, counted with tiktoken's cl100k encoding in the authors' code; the estimator's reply not included."""
    expense: float | None = None
    """1e-5 US dollars a question, input, output and cached tokens; None where the table has none."""


@dataclass(frozen=True, kw_only=True)
class PaperRow:
    """One row of a table of the paper."""

    id: str
    """Name for `tale reproduce`, such as `table3-gsm8k`."""
    table: int
    data: str
    """Name for `tale eval --data`."""
    model: str
    """LiteLLM model string."""
    systems: Mapping[str, PaperSystem]
    """By program name, in the order of the paper's columns."""
    questions: int
    """Size of the published set; the paper does not print how many it asked."""
    notes: tuple[str, ...] = ()


_TABLE_3 = (
    "Table 3's caption gives averages of 80.22 % and 138.53 tokens for TALE-EP, the table itself 81.03 % and 148.72",
    "the text gives both 68.64 % and 67 % fewer tokens (the table: 67.76 %), and seven data sets; the table has six",
)
_TABLE_4 = (
    "the text's 64.63 % fewer tokens is about the mean of the first three models (64.66 %); with o3-mini it is 58.93 %",
    "the text's 45.30 % lower expense is no simple mean of the table (36.0 % over three models, 37.0 % over four)",
)
_ALL = (
    "tokens are counted with tiktoken whatever the model, and leave out the estimator's reply",
    "neither the model snapshot nor the spread over draws is stated",
)


PROMPT_TOKENS, ESTIMATE_TOKENS = 200, 10
"""Guesses for `expected_cost`: prompt tokens of a call, completion tokens of an estimate."""

_MINI_OUTPUT = 0.06
"""List price of gpt-4o-mini, in 1e-5 US dollars per output token."""


def _row(table: int, name: str, model: str, data: str, size: int, figures: str) -> PaperRow:
    """Build a row from the nine figures of the paper's line: accuracy, tokens, expense of three systems."""
    values = [float(v) for v in figures.split()]
    systems = {s: PaperSystem(*values[3 * i : 3 * i + 3]) for i, s in enumerate(("direct", "cot", "tale-ep"))}
    notes: tuple[str, ...] = _TABLE_3 if table == 3 else _TABLE_4
    if model == MINI:
        listed, printed = _MINI_OUTPUT * values[4], values[5]
        notes += (
            f"our arithmetic: at list price cot's output tokens cost {listed:.1f}e-5 USD a question; the expense "
            f"printed is {printed / listed:.0f} times that, so compare expenses within the paper only",
        )
    if name == "gsm8k":
        notes += ("our arithmetic: 28.29 % (direct) is no whole number of 1319 questions",)
    return PaperRow(
        id=f"table{table}-{name}",
        table=table,
        data=data,
        model=model,
        systems=systems,
        questions=size,
        notes=notes + _ALL,
    )


def _tables() -> list[PaperRow]:
    college = "mathbench-college"
    # fmt: off
    return [  # direct, vanilla CoT, TALE-EP: accuracy, tokens, expense each
        _row(3, "gsm8k", MINI, "gsm8k", 1319, "28.29 12.46 39.43  81.35 318.10 541.09  84.46 77.26 279.84"),
        _row(3, "gsm8k-zero", MINI, "gsm8k-zero", 2978, "97.21 18.85 91.69  99.50 252.96 886.79  98.72 22.67 276.12"),
        _row(3, "mathbench-arithmetic", MINI, "mathbench-arithmetic", 300,
             "59.67 41.10 9.78  75.00 313.51 78.58  73.67 39.60 18.62"),
        _row(3, "mathbench-middle", MINI, "mathbench-middle", 150,
             "33.33 5.00 3.58  84.67 553.93 68.22  79.33 238.14 42.95"),
        _row(3, "mathbench-high", MINI, "mathbench-high", 150,
             "51.33 5.00 4.07  84.00 653.24 82.44  80.00 254.82 47.61"),
        _row(3, college, MINI, college, 150, "44.00 5.00 3.68  78.00 675.78 81.56  70.00 259.85 45.60"),
        _row(4, "yi-lightning", YI, college, 150, "66.67 80.01 3.09  79.33 998.10 21.55  76.67 373.52 17.25"),
        _row(4, "gpt-4o-mini", MINI, college, 150, "44.00 5.00 3.68  78.00 675.78 81.56  70.00 259.85 45.60"),
        _row(4, "gpt-4o", "openai/gpt-4o", college, 150,
             "57.33 5.00 61.34  84.00 602.29 1359.42  80.00 181.61 759.95"),
        _row(4, "o3-mini", "openai/o3-mini", college, 150,
             "96.00 601.51 336.69  97.33 1163.55 638.46  96.66 677.65 385.12"),
    ]
    # fmt: on


ROWS: dict[str, PaperRow] = {row.id: row for row in _tables()}
"""The rows by name."""


def find_row(name: str) -> PaperRow:
    """Look a row up by its name, whatever its case.

    Raises:
        UsageError: If there is no such row; the message suggests near ones.
    """
    key = name.strip().lower()
    if key in ROWS:
        return ROWS[key]
    near = difflib.get_close_matches(key, ROWS, n=3, cutoff=0.5) or [row for row in ROWS if key and key in row]
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(ROWS)}"
    raise UsageError(f"{name!r} is no row of the paper's tables; {hint}")


def beside(row: PaperRow, runs: Mapping[str, Run]) -> list[ReportRow]:
    """Put measured runs under the paper's figures, system by system; every row carries its mark.

    Our runs are compared among themselves, with `cot` as the baseline if it is there, never with the paper: its
    answers are not known question by question. Runs that hold the paper's count and judge (preset `paper`) get a
    second row by these.

    Args:
        row: A row of the paper.
        runs: Our runs by system (`direct`, `cot`, `tale-ep`); others follow the paper's systems.

    Returns:
        Rows for the renderers of `tale_dspy.reports`.
    """
    order = sorted(runs, key=lambda name: (name != "cot", list(runs).index(name)))
    ours = dict(zip(order, report_rows([runs[name] for name in order]) if order else [], strict=True))
    rows: list[ReportRow] = []
    for system in dict.fromkeys([*row.systems, *runs]):
        if system in row.systems:
            rows.append(_paper_row(row, system, with_notes=not rows))
        if system in ours:
            rows.append(replace(ours[system], notes=(*_differences(row, runs[system]), *ours[system].notes)))
            rows += _paper_measure(runs[system], ours[system])
    return rows


def beside_table(row: PaperRow, rows: Sequence[ReportRow], width: int = 100) -> "Table":
    """Make the terminal table of what `beside` gave, titled with the row of the paper."""
    from rich.text import Text

    table = rich_table(rows, width)
    table.title = Text(f"{row.id}: the paper's table {row.table}, {row.data} with {row.model}")
    return table


def expected_cost(row: PaperRow, model: str, n: int, price: Price | None = None) -> str:
    """Say in a sentence what repeating a row asks and, roughly, costs, from the paper's own mean output tokens.

    Args:
        row: The row to repeat.
        model: The model that will be asked, not always the paper's.
        n: Questions asked of each program.
        price: US dollars per token; None looks the model up.
    """
    import dspy

    from tale_dspy.backends.prices import price_of

    price = price or price_of(dspy.LM(model, engine="litellm"))
    estimates = n if "tale-ep" in row.systems else 0
    calls = n * len(row.systems) + estimates
    output = n * sum(system.output_tokens for system in row.systems.values()) + ESTIMATE_TOKENS * estimates
    asked = (
        f"{row.id}: {number(calls, 0)} calls of {model} ({n} questions, {', '.join(row.systems)}; tale-ep asks twice)"
    )
    if price is None:
        return f"{asked}, about {number(output, 0)} output tokens; the price of {model} is unknown"
    usd = calls * PROMPT_TOKENS * price.input + output * price.output
    return f"{asked}, about {number(output, 0)} output tokens and {number(usd, 2)} US dollars"


def _paper_row(row: PaperRow, system: str, *, with_notes: bool) -> ReportRow:
    figures = row.systems[system]
    return ReportRow(
        program=system,
        model=row.model,
        data=row.data,
        n=None,
        accuracy=figures.accuracy / 100,
        output_tokens=figures.output_tokens,
        usd_per_1000=None if figures.expense is None else figures.expense / 100,
        outcomes={},
        mark="paper",
        notes=tuple(f"table {row.table}: {note}" for note in row.notes) if with_notes else (),
    )


def _differences(row: PaperRow, run: Run) -> list[str]:
    """Say what keeps a run from repeating the paper's row."""
    model, asked = config_of(run).get("model"), len({r.id for r in run.records})
    notes = []
    if model != row.model:
        notes.append(f"the model is {model}, the paper's {row.model}")
    if data_name(run) != row.data:
        notes.append(f"the data is {data_name(run)}, the paper's {row.data}")
    elif asked != row.questions:
        notes.append(f"{asked} of {row.questions} questions")
    return notes


def _paper_measure(run: Run, ours: ReportRow) -> list[ReportRow]:
    """Give the run by the paper's own count and judge, if its records hold them."""
    judged: dict[str, list[bool]] = {}
    for r in run.records:
        if r.paper_correct is not None:
            judged.setdefault(r.id, []).append(r.paper_correct)
    scores = [sum(draws) / len(draws) for draws in judged.values()]
    tokens = mean_known(r.output_tokens_cl100k for r in run.records)
    if not scores and tokens is None:
        return []
    return [
        ReportRow(
            program=ours.program,
            model=ours.model,
            data=ours.data,
            n=ours.n,
            accuracy=math.fsum(scores) / len(scores) if scores else None,
            accuracy_interval=accuracy_interval(scores, len({r.repeat for r in run.records})),
            output_tokens=tokens,
            usd_per_1000=None,
            outcomes={},
            mark=f"{ours.mark}, counted and judged as in the paper",
        )
    ]
