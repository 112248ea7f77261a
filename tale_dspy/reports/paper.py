"""The paper's figures beside measured runs of the same systems.

It also says what repeating a row takes. The figures themselves are in `paper_tables`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tale_dspy.backends.prices import Price
from tale_dspy.comparison.formatting import number
from tale_dspy.comparison.run_stats import config_of, data_name
from tale_dspy.reports.paper_tables import TUNED, PaperRow
from tale_dspy.reports.rows import ReportRow, report_rows
from tale_dspy.reports.screen import rich_table
from tale_dspy.runs.records import Run
from tale_dspy.statistics import accuracy_interval, mean_known

if TYPE_CHECKING:
    from rich.table import Table

PROMPT_TOKENS, ESTIMATE_TOKENS = 200, 10
"""Guesses for `expected_cost`: prompt tokens of a call, completion tokens of an estimate."""


def beside(row: PaperRow, runs: Mapping[str, Run]) -> list[ReportRow]:
    """Put measured runs under the paper's figures, system by system.

    Every row carries its provenance.

    Our runs are compared among themselves, with `cot` as the baseline if it is there, never with the paper: its
    answers are not known question by question. Runs that hold the paper's count and judge (preset `paper`) get a
    second row by these.

    Args:
        row: A row of the paper.
        runs: Our runs by system (`direct`, `cot`, `tale-pt-sft` ...); others follow the paper's systems.

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
            notes = (*_setting_differences(row, runs[system], system), *ours[system].notes)
            measured = replace(ours[system], program=system, notes=notes)
            if row.tuned:
                right = sum(r.correct for r in runs[system].records)
                measured = replace(measured, tokens_per_right=_per_right(runs[system], right))
            rows.append(measured)
            rows += _paper_measure(runs[system], measured, per_right=bool(row.tuned))
    return rows


def beside_table(row: PaperRow, rows: Sequence[ReportRow], width: int = 100) -> "Table":
    """Make the terminal table of what `beside` returns, titled with the row."""
    from rich.text import Text

    table = rich_table(rows, width)
    table.title = Text(f"{row.id}: the paper's table {row.table}, {row.data} with {row.model}")
    return table


def expected_cost(row: PaperRow, model: str, n: int, price: Price | None = None) -> str:
    """Say in a sentence how many calls repeating a row takes, and what it costs.

    The cost is rough: it takes the paper's own mean output tokens.

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
    twice = "; tale-ep asks twice" if estimates else ""
    line = f"{row.id}: {number(calls, 0)} calls of {model} ({n} questions, {', '.join(row.systems)}{twice})"
    if price is None:
        return f"{line}, about {number(output, 0)} output tokens; the price of {model} is unknown"
    usd = calls * PROMPT_TOKENS * price.input + output * price.output
    return f"{line}, about {number(output, 0)} output tokens and {number(usd, 2)} US dollars"


PARAMETERS = 8.03e9
"""Of Llama-3.1-8B."""
TRAIN_QUESTIONS, SEARCH_CALLS, SEARCH_TOKENS = 7473, 13, 150
"""The training set of GSM8K; calls a question and output tokens a call of a search, guesses."""
SERVED, TRAINED = 5000, 3000
"""Tokens a second on one H100, guesses: written by vLLM with many requests at once, and trained with LoRA."""


def expected_hardware(row: PaperRow) -> list[str]:
    """Say how much GPU memory and time the models of a row take.

    It covers training and serving, with the commands for both.

    Returns:
        Lines to show; none for a row without trained models.
    """
    if not row.tuned:
        return []
    weights = PARAMETERS * 2 / 2**30
    searching = TRAIN_QUESTIONS * SEARCH_CALLS * SEARCH_TOKENS / SERVED / 3600
    sft, dpo = (TRAIN_QUESTIONS * tokens / TRAINED / 3600 for tokens in (3 * 250, 2 * 3 * 350))
    base, train = row.model.partition("/")[2], f"{row.data.removesuffix('-zero')}-train"
    return [
        f"expected, by our arithmetic and not measured: {number(weights, 0)} GiB of GPU memory for the weights in "
        f"bf16, so 24 GiB to serve and 40 GiB to train with LoRA; on one H100 about {number(searching)} hours "
        f"for the search, {number(sft)} for SFT, {number(dpo)} for DPO",
        f"tale search --data {train} --model {row.model} --api-base URL --out runs/search",
        "tale distill runs/search --format sft --out sft.jsonl   (and: --format dpo --out dpo.jsonl)",
        f"tale train sft --preset paper --base {base} --data sft.jsonl --out adapters/sft   (and: dpo)",
        f"vllm serve {base} --enable-lora --lora-modules sft=adapters/sft dpo=adapters/dpo",
        f"tale reproduce {row.id} --api-base URL --sft hosted_vllm/sft --dpo hosted_vllm/dpo",
    ]


def _paper_row(row: PaperRow, system: str, *, with_notes: bool) -> ReportRow:
    figures = row.systems[system]
    return ReportRow(
        program=system,
        model=row.model,
        data=row.data,
        n=None,
        accuracy=figures.accuracy / 100,
        output_tokens=figures.output_tokens,
        tokens_per_right=figures.output_tokens if system in TUNED else None,
        usd_per_1000=None if figures.expense is None else figures.expense / 100,
        outcomes={},
        provenance="paper",
        notes=tuple(f"table {row.table}: {note}" for note in row.notes) if with_notes else (),
    )


def _setting_differences(row: PaperRow, run: Run, system: str) -> list[str]:
    """Say what keeps a run from repeating the paper's row."""
    model, n_questions = config_of(run).get("model"), len({r.id for r in run.records})
    notes = []
    if system in TUNED:
        notes.append(f"vanilla CoT on {model}, which is not the paper's adapter: that was never released")
    elif model != row.model:
        notes.append(f"the model is {model}, the paper's {row.model}")
    if data_name(run) != row.data:
        notes.append(f"the data is {data_name(run)}, the paper's {row.data}")
    elif n_questions != row.questions:
        notes.append(f"{n_questions} of {row.questions} questions")
    return notes


def _per_right(run: Run, right: float, *, cl100k: bool = False) -> float | None:
    """Return all output tokens over the number of right answers.

    It is None if a count is unknown or nothing was right.
    """
    tokens = [r.output_tokens_cl100k if cl100k else r.output_tokens for r in run.records]
    known = [count for count in tokens if count is not None]
    return sum(known) / right if right and len(known) == len(tokens) else None


def _paper_measure(run: Run, ours: ReportRow, *, per_right: bool) -> list[ReportRow]:
    """Return the run by the paper's own token count and judge.

    The list is empty if its records hold neither.
    """
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
            tokens_per_right=_per_right(run, sum(map(sum, judged.values())), cl100k=True) if per_right else None,
            usd_per_1000=None,
            outcomes={},
            provenance=f"{ours.provenance}, counted and judged as in the paper",
        )
    ]
