"""The page of a report: a verdict for each comparison, then the sections."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version

from tale_dspy.comparison.compare import Comparison
from tale_dspy.comparison.formatting import number
from tale_dspy.comparison.gate import noninferiority_test
from tale_dspy.errors import UsageError
from tale_dspy.reports.drawing import Drawing
from tale_dspy.reports.effort_matrix import effort_matrices
from tale_dspy.reports.elasticity import curve_table
from tale_dspy.reports.explorer import ExplorerView, RowExplorer
from tale_dspy.reports.figure_registry import drawings
from tale_dspy.reports.page import PageSection, ReportPage
from tale_dspy.reports.question_explorer import CHANGE, FLIPS, question_explorer
from tale_dspy.reports.report_table import UNKNOWN, ReportTable, TableColumn
from tale_dspy.reports.rows import compact_table, distinct_names, sentences_of_evidence
from tale_dspy.reports.search_explorer import search_explorer
from tale_dspy.reports.search_run import (
    range_qualities,
    range_sentence,
    search_notes,
    search_sentence,
    search_summary,
    searched_row,
)
from tale_dspy.reports.sources import ReportSources
from tale_dspy.reports.text import shorten_names, shorten_text
from tale_dspy.reports.training_run import flatten_settings, settings_table, training_table

MAX_VERDICTS = 4
"""Verdicts written out at the head of a page; the table holds all."""


def report_page(sources: ReportSources, drawn: Mapping[str, Sequence[Drawing]] | None = None) -> ReportPage:
    """Make the page of a report.

    Args:
        sources: What is reported.
        drawn: Its figures by section, where they were drawn before; None draws them.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    figures = drawings(sources) if drawn is None else drawn
    explorers = [question_explorer(sources.runs, distinct_names(sources.rows, with_data=False))] if sources.runs else []
    searched = [search_explorer(search, key) for key, _, search in sources.named_searches]
    sections = [
        *_run_sections(sources, figures, explorers),
        *_search_sections(sources, figures, searched),
        *_training_sections(sources),
        *_settings_section(sources),
    ]
    return ReportPage(
        title=_page_title(sources),
        verdicts=_verdict_sentences(sources),
        evidence=sentences_of_evidence(
            [
                *((row.program, row.provenance) for row in sources.rows),
                *((f"search by {search.sampler}", search.provenance) for search in sources.searches),
            ]
        ),
        sections=sections,
        footer=f"Written by tale-dspy {version('tale-dspy')}. This file asks no other address for anything.",
        explorers=[*explorers, *searched],
    )


def verdict(c: Comparison, names: tuple[str, str] | None = None) -> str:
    """Say in a sentence what a run changed against its baseline.

    It also says whether that may be called a budget saving.

    Args:
        c: The run against the baseline.
        names: What baseline and run are called; None for their programs.
    """
    baseline, run = names or (c.baseline.name, c.run.name)
    pair = f"{shorten_text(run, 60)} against {shorten_text(baseline, 60)} on {c.data or 'unnamed data'}"
    parts = [f"{pair}, {c.n:,} questions:"]
    savings = [
        _saving_sentence(means.saving, means.saving_interval, what)
        for means, what in ((c.net_tokens, "output tokens"), (c.price_usd, "dollars"))
    ]
    parts.append(", ".join([saving for saving in savings if saving] or ["tokens unknown"]))
    points = c.accuracy.difference
    if points is not None:
        low, high = c.accuracy.interval or (points, points)
        interval = f"[{number(100 * low, sign=True)}, {number(100 * high, sign=True)}]"
        parts.append(
            f"and {number(100 * points, sign=True)} points of accuracy {interval}, {c.right_to_wrong} right→wrong and "
            f"{c.wrong_to_right} wrong→right, exact {c.exact_test}."
        )
    claim = "Adapter, instructions and demos are the same."
    return " ".join([*parts, claim if c.is_budget_saving else f"Not a budget saving: {c.blocking_reason}."])


def _saving_sentence(share: float | None, interval: tuple[float, float] | None, what: str) -> str:
    if share is None:
        return ""
    low, high = interval or (share, share)
    if share < 0:
        share, low, high = -share, -high, -low
        return f"{number(100 * share)} % more {what} [{number(100 * low)}, {number(100 * high)}]"
    return f"{number(100 * share)} % fewer {what} [{number(100 * low)}, {number(100 * high)}]"


def _page_title(sources: ReportSources) -> str:
    names = distinct_names(sources.rows, with_data=False)
    names += [f"search of {search.predictor} by {search.sampler}" for search in sources.searches]
    names += [f"training {training.name}" for training in sources.trainings]
    shown = shorten_names(names[:4], 40)
    return ", ".join([*shown, f"{len(names) - 4} more"] if len(names) > 4 else shown)


def _verdict_sentences(sources: ReportSources) -> list[str]:
    compared = [c for c in sources.comparisons if c is not None]
    names = shorten_names(distinct_names(sources.rows, with_data=False), 60)
    named = [(c, (names[0], name)) for c, name in zip(sources.comparisons, names, strict=True) if c is not None]
    sentences = [verdict(c, pair) for c, pair in named[:MAX_VERDICTS]]
    if len(compared) > MAX_VERDICTS:
        sentences.append(f"The table compares {len(compared) - MAX_VERDICTS} more runs with the first.")
    if len(sources.runs) == 1:
        row = sources.rows[0]
        accuracy = UNKNOWN if row.accuracy is None else f"{number(100 * row.accuracy)} %"
        sentences.append(
            f"{shorten_text(row.program, 60)} on {row.data or 'unnamed data'}: {accuracy} right of {number(row.n, 0)} "
            f"questions, {number(row.net_tokens)} output tokens per question."
        )
    return [*sentences, *map(search_sentence, sources.searches), *(t.verdict for t in sources.trainings)]


def _run_sections(
    sources: ReportSources, figures: Mapping[str, Sequence[Drawing]], explorers: Sequence[RowExplorer]
) -> Iterator[PageSection]:
    if not sources.runs:
        return
    yield PageSection(
        key="results",
        title="Results",
        tables=[compact_table([*sources.rows, *map(searched_row, sources.searches)])],
        drawings=figures["results"],
    )
    tests = _test_sentences(sources)
    if tests:
        yield PageSection(
            key="tests",
            title="Shorter and not worse?",
            sentences=[
                "Each run of another model or prompt is tested against the first, with the limits that tale gate has "
                "by default and one-sided 95 % bounds.",
                *tests,
            ],
        )
    if figures["elasticity"]:
        curves = [curve_table(curve) for curve in sources.curves]
        yield PageSection(key="elasticity", title="Token elasticity", tables=curves, drawings=figures["elasticity"])
    matrices = [*effort_matrices(sources.runs)]
    if matrices:
        yield PageSection(key="efforts", title="Model by effort", tables=matrices)
    if figures["budgets"]:
        yield PageSection(key="budgets", title="Asked for and spent", drawings=figures["budgets"])
    if figures["spend"]:
        yield PageSection(key="spend", title="Where it went", drawings=figures["spend"])
    compared = [c for c in sources.comparisons if c is not None]
    changes = ExplorerView(source=explorers[0].source, page=5, only=CHANGE, only_values=FLIPS)
    if any(c.right_to_wrong or c.wrong_to_right for c in compared):
        yield PageSection(
            key="changes",
            title="Right and wrong changes",
            sentences=["Questions that one of the two runs answered right, and the other not."],
            explorers=[changes],
        )
    elif compared:
        sentences = ["No question was answered right by one of the two runs, and not by the other."]
        yield PageSection(key="changes", title="Right and wrong changes", sentences=sentences)
    yield PageSection(
        key="questions",
        title="All questions",
        sentences=["Choose a question to read the whole replies, side by side."],
        explorers=[ExplorerView(source=explorers[0].source)],
    )


def _test_sentences(sources: ReportSources) -> list[str]:
    """Test noninferiority of the runs that are no budget saving.

    Runs that differ in more than the model or the prompt are left out.
    """
    sentences = []
    for run, comparison in zip(sources.runs, sources.comparisons, strict=True):
        if comparison is not None and not comparison.is_budget_saving:
            try:
                result = noninferiority_test(sources.runs[0], run)
            except UsageError:  # they differ in more than the model or the prompt
                continue
            sentences.append(f"{shorten_text(run.name, 60)} on {comparison.run.model or 'an unknown model'}: {result}.")
    return sentences


def _search_sections(
    sources: ReportSources, figures: Mapping[str, Sequence[Drawing]], explorers: Sequence[RowExplorer]
) -> Iterator[PageSection]:
    for (key, _, search), explorer in zip(sources.named_searches, explorers, strict=True):
        yield PageSection(
            key=key,
            title=f"Search of {shorten_text(search.predictor, 40)} by {search.sampler}",
            sentences=[
                *search_notes(search),
                *(range_sentence(run.name, quality, search) for run, quality in range_qualities(sources.runs, search)),
            ],
            tables=[search_summary(search)],
            drawings=figures[key],
            explorers=[ExplorerView(source=explorer.source)],
        )


def _training_sections(sources: ReportSources) -> Iterator[PageSection]:
    for i, training in enumerate(sources.trainings, 1):
        yield PageSection(
            key=f"training-{i}",
            title=f"Training {shorten_text(training.name, 40)}",
            sentences=[training.verdict],
            tables=[training_table(training), *([settings_table(training.test)] if training.test else [])],
        )


def _settings_section(sources: ReportSources) -> Iterator[PageSection]:
    settings: dict[str, Mapping[str, object]] = {}
    for name, info in [
        *((run.name, run.info) for run in sources.runs),
        *((f"search by {search.sampler}", search.info) for search in sources.searches),
    ]:
        unique = name if name not in settings else f"{name} ({len(settings) + 1})"
        settings[unique] = info
    if settings:
        yield PageSection(
            key="settings",
            title="Settings and versions",
            sentences=["Settings that all share stand in one column."] if len(settings) > 1 else [],
            tables=_settings_tables(settings),
        )


def _settings_tables(settings: Mapping[str, Mapping[str, object]]) -> list[ReportTable[Sequence[str]]]:
    """Make a table of the settings that all share, and one of those that differ."""
    columns = {name: flatten_settings(info) for name, info in settings.items()}
    keys = dict.fromkeys(key for column in columns.values() for key in column if not key.startswith("seen"))
    lines = {key: [column.get(key, UNKNOWN) for column in columns.values()] for key in keys}
    shared = [[key, values[0]] for key, values in lines.items() if len(set(values)) == 1]
    apart = [[key, *values] for key, values in lines.items() if len(set(values)) > 1]
    tables = [_text_table(["Setting", "Value"], shared), _text_table(["Setting", *columns], apart)]
    return [table for table in tables if table.rows]


def _text_table(names: Sequence[str], lines: Sequence[Sequence[str]]) -> ReportTable[Sequence[str]]:
    columns = [
        TableColumn[Sequence[str]](name, partial(_nth_cell, i), {name: partial(_nth_cell, i)}, is_text=True)
        for i, name in enumerate(names)
    ]
    return ReportTable(columns, lines)


def _nth_cell(i: int, line: Sequence[str]) -> str:
    return line[i]
