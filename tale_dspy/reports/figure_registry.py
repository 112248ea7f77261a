"""Every figure of a report, one entry each.

To add one, write a function that draws it and name it here.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from tale_dspy.reports.accuracy_figure import accuracy_dollars, accuracy_tokens
from tale_dspy.reports.budget_figure import asked_spent
from tale_dspy.reports.canvas import load_matplotlib
from tale_dspy.reports.drawing import Drawing
from tale_dspy.reports.effort_figure import effort_drawings
from tale_dspy.reports.elasticity_figure import elasticity_curve
from tale_dspy.reports.role_figure import spend_by_role
from tale_dspy.reports.savings_figure import paired_differences
from tale_dspy.reports.search_figures import search_figures
from tale_dspy.reports.sources import ReportSources
from tale_dspy.reports.sweeps import sweep_drawings
from tale_dspy.reports.tokens_figure import paired_tokens, tokens_per_question


@dataclass(frozen=True)
class FigureEntry:
    """Which figures a report has, and where they stand on its page."""

    section: str
    """Key of the section of the page."""
    draw: Callable[[ReportSources], Iterable[Drawing | None]]
    """Draws all there are of them; nothing, or None, where there is nothing to draw."""


def _accuracy_drawings(sources: ReportSources) -> Iterator[Drawing]:
    if any(row.accuracy is not None and row.output_tokens is not None for row in sources.rows):
        yield accuracy_tokens(sources.rows)
    if any(row.accuracy is not None and row.usd_per_1000 for row in sources.rows):
        yield accuracy_dollars(sources.rows)


def _token_drawings(sources: ReportSources) -> Iterator[Drawing]:
    """Draw each run beside the first.

    Runs that a curve or sweep of budgets already shows together are left out.
    """
    shown = [run for runs in [c.runs for c in sources.curves] + [s.runs for s in sources.sweeps] for run in runs]
    for i, (run, row) in enumerate(zip(sources.runs, sources.rows, strict=True)):
        if row.versus is not None and not any(run is s for s in shown) and len(paired_tokens(sources.runs[0], run).ids):
            name = re.sub(r"[^a-z0-9]+", "-", run.name.lower())[:40].strip("-")
            yield replace(tokens_per_question(sources.runs[0], run), stem=f"tokens_{i:02d}_{name}")


def _curve_drawings(sources: ReportSources) -> Iterator[Drawing]:
    for i, curve in enumerate(sources.curves, 1):
        yield _number_drawing(elasticity_curve(curve), i)


def _sweep_drawings(sources: ReportSources) -> Iterator[Drawing]:
    for i, sweep in enumerate(sources.sweeps, 1):
        for drawing in sweep_drawings(sweep):
            yield _number_drawing(drawing, i)


def _number_drawing(drawing: Drawing, i: int) -> Drawing:
    """Number the files of the second and later drawings of one name.

    Those of the second model or data set are called `elasticity_02_pooled`.
    """
    return drawing if i == 1 else replace(drawing, stem=drawing.stem.replace("elasticity", f"elasticity_{i:02d}", 1))


FIGURES = (
    FigureEntry("results", _accuracy_drawings),
    FigureEntry("results", lambda sources: [paired_differences(sources.rows)]),
    FigureEntry("elasticity", _curve_drawings),
    FigureEntry("elasticity", _sweep_drawings),
    FigureEntry("elasticity", lambda sources: effort_drawings(sources.runs)),
    FigureEntry("budgets", lambda sources: [asked_spent(sources.runs)]),
    FigureEntry("spend", lambda sources: [spend_by_role(sources.runs)]),
    FigureEntry("spend", _token_drawings),
)
"""The figures of runs, in the order in which a report shows them."""


def drawings(sources: ReportSources) -> dict[str, list[Drawing]]:
    """Draw all figures of a report: key of the section -> its figures.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    load_matplotlib()
    drawn: dict[str, list[Drawing]] = {entry.section: [] for entry in FIGURES}
    for entry in FIGURES:
        drawn[entry.section] += [drawing for drawing in entry.draw(sources) if drawing is not None]
    for key, folder, search in sources.named_searches:
        drawn[key] = [replace(d, stem=f"{folder}{d.stem}") for d in search_figures(search)]
    return drawn
