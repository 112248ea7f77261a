"""Reports from finished runs: tables, figures, terminal views, and the paper's own figures beside ours.

Nothing here calls a model. matplotlib and rich load at first use. Reading order: `rows` (a run as a row), `table` (in
files), `screen` (on a terminal), `figures` upon `canvas`, `elasticity` (of fixed budgets) and `elasticity_figure`,
`ladders` and `search_run` (question by question, drawn by `question_figures` and `search_figures`), `diff` (of two
runs), `verdict` (of the gate), `paper`; `text` serves all.
"""

from tale_dspy.reports.diff import changes_csv, rich_comparison
from tale_dspy.reports.elasticity import Elasticity, ElasticityRow, elasticities, elasticity_notes, rich_elasticity
from tale_dspy.reports.elasticity_figure import elasticity_curve
from tale_dspy.reports.figures import accuracy_tokens, tokens_per_question
from tale_dspy.reports.paper import beside, beside_table, expected_cost, expected_hardware
from tale_dspy.reports.paper_tables import ROWS, PaperRow, PaperSystem, find_row
from tale_dspy.reports.rows import ReportRow, report_rows
from tale_dspy.reports.screen import rich_table
from tale_dspy.reports.table import elasticity_markdown, latex, markdown, to_csv, to_json, write_report

__all__ = [
    "ROWS",
    "Elasticity",
    "ElasticityRow",
    "PaperRow",
    "PaperSystem",
    "ReportRow",
    "accuracy_tokens",
    "beside",
    "beside_table",
    "changes_csv",
    "elasticities",
    "elasticity_curve",
    "elasticity_markdown",
    "elasticity_notes",
    "expected_cost",
    "expected_hardware",
    "find_row",
    "latex",
    "markdown",
    "report_rows",
    "rich_comparison",
    "rich_elasticity",
    "rich_table",
    "to_csv",
    "to_json",
    "tokens_per_question",
    "write_report",
]
