"""Reports from finished runs, and the paper's own figures beside them.

A report is tables, figures, terminal views and one HTML page.

Nothing here calls a model. matplotlib, Jinja2 and rich load at first use. Reading order: `sources` (what is reported),
`rows` (a run as a row) in a `report_table` (a table in every format), `screen` (on a terminal), `drawing` (a figure)
upon `canvas`, all figures by `figure_registry`, `page_sections` on a `page` with its `explorer`s, all of it in the
`report_folder`; `diff` (of two runs), `verdict` (of the gate), `paper`; `text` serves all.
"""

from tale_dspy.reports.accuracy_figure import accuracy_dollars, accuracy_tokens
from tale_dspy.reports.budget_figure import asked_spent
from tale_dspy.reports.diff import changes_csv, rich_comparison
from tale_dspy.reports.drawing import Drawing
from tale_dspy.reports.elasticity import (
    Elasticity,
    ElasticityRow,
    curve_table,
    elasticities,
    elasticity_notes,
    rich_elasticity,
)
from tale_dspy.reports.elasticity_figure import elasticity_curve
from tale_dspy.reports.page_sections import report_page
from tale_dspy.reports.paper import beside, beside_table, expected_cost, expected_hardware
from tale_dspy.reports.paper_tables import ROWS, PaperRow, PaperSystem, find_row
from tale_dspy.reports.report_folder import to_json, write_report
from tale_dspy.reports.role_figure import spend_by_role
from tale_dspy.reports.rows import ReportRow, report_rows, runs_table
from tale_dspy.reports.savings_figure import paired_differences
from tale_dspy.reports.screen import rich_table
from tale_dspy.reports.sources import ReportSources, load_sources
from tale_dspy.reports.tokens_figure import tokens_per_question

__all__ = [
    "ROWS",
    "Drawing",
    "Elasticity",
    "ElasticityRow",
    "PaperRow",
    "PaperSystem",
    "ReportRow",
    "ReportSources",
    "accuracy_dollars",
    "accuracy_tokens",
    "asked_spent",
    "beside",
    "beside_table",
    "changes_csv",
    "curve_table",
    "elasticities",
    "elasticity_curve",
    "elasticity_notes",
    "expected_cost",
    "expected_hardware",
    "find_row",
    "load_sources",
    "paired_differences",
    "report_page",
    "report_rows",
    "rich_comparison",
    "rich_elasticity",
    "rich_table",
    "runs_table",
    "spend_by_role",
    "to_json",
    "tokens_per_question",
    "write_report",
]
