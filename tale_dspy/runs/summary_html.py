"""The figures of a run as a notebook shows them."""

from collections.abc import Mapping
from typing import Any

from tale_dspy.display import html_table, number


def summary_html(summary: Mapping[str, Any], provenance: str) -> str:
    """Write the summary of a run as an HTML table; unknown figures are dashes.

    Args:
        summary: What `tale eval --json` prints.
        provenance: What the figures are evidence of; empty where nothing was recorded.
    """
    interval, right = summary["accuracy_ci95"], number(summary["accuracy"], scale=100)
    if interval is not None:
        right += f" [{number(interval[0], scale=100)}, {number(interval[1], scale=100)}]"
    other = [f"{count} {name}" for name, count in summary["outcomes"].items() if count and name != "correct"]
    cells = {
        "Program": str(summary["program"]),
        "n": number(summary["n"], 0),
        "Right % [95 %]": right,
        "Output tokens": number(summary["output_tokens_mean"]),
        "Estimate tokens": number(summary["estimate_tokens_mean"]),
        "USD": number(summary["cost_usd"], 4),
        "Calls (cached)": f"{summary['calls']:,} ({summary['cached_calls']:,})",
        "Other outcomes": ", ".join(other) or "–",
    }
    place = f"{summary['model'] or 'unknown model'} on {summary['data'] or 'unnamed data'}"
    stopped = summary["stopped"]
    notes = [f"Evidence: {provenance}." if provenance else "", f"Stopped: {stopped}." if stopped else ""]
    return html_table(list(cells), [list(cells.values())], caption=place, note=" ".join(filter(None, notes)))
