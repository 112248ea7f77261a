"""A finished figure with its sentence, its numbers and its files."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from tale_dspy.display import html_table
from tale_dspy.errors import UsageError
from tale_dspy.reports import canvas
from tale_dspy.reports.text import csv_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MimeBundle = tuple[dict[str, str], dict[str, dict[str, str]]]
"""What IPython shows: representations by media type, and metadata of each."""

TABLE_ROWS = 100
"""Rows of the table shown behind a figure; the CSV file holds all."""


FILE_ENDINGS = (".png", ".svg", ".csv")
"""The files of a figure: a picture twice, and its numbers."""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure as a report shows it.

    It renders itself in a notebook; `figure` is the matplotlib figure, to change or save.
    """

    stem: str
    """Name of its files, without an ending."""
    title: str
    description: str
    """What it shows, in a sentence for readers who cannot see it."""
    figure: "Figure"
    rows: Sequence[Mapping[str, object]]
    """The numbers behind it."""

    @property
    def is_wide(self) -> bool:
        """Whether several plots stand side by side in it."""
        return canvas.is_wide(self.figure)

    def save(self, out: str | Path) -> list[Path]:
        """Write it as PNG and SVG, the same bytes each time, and its numbers as CSV.

        Args:
            out: A folder that exists, for `stem` inside it; or the files' path, with or without an ending.

        Returns:
            The three files.

        Raises:
            UsageError: If they cannot be written.
        """
        stem = canvas.file_stem(out, self.stem)
        png, svg, table = (stem.with_name(stem.name + ending) for ending in FILE_ENDINGS)
        try:
            stem.parent.mkdir(parents=True, exist_ok=True)
            with canvas.house_style():
                self.figure.savefig(png, bbox_inches="tight", metadata={"Software": None})
                self.figure.savefig(svg, bbox_inches="tight", metadata={"Date": None, "Creator": None})
            table.write_text(
                csv_text(list(self.rows[0]), self.rows), encoding="utf-8", errors="backslashreplace", newline=""
            )
        except OSError as e:
            raise UsageError(f"the figure cannot be written to {stem}: {e.strerror or e}") from e
        return [png, svg, table]

    def svg(self, prefix: str = "") -> str:
        """Return the figure as an SVG element for a page.

        Text stays text, and colours are variables of the page's style sheet.

        Args:
            prefix: What the ids inside begin with, where a page holds several figures.
        """
        import matplotlib

        buffer = StringIO()
        with (
            canvas.house_style(),
            matplotlib.rc_context({"svg.fonttype": "none"}),
            canvas.narrow_figure(self.figure),
        ):
            self.figure.savefig(
                buffer,
                format="svg",
                bbox_inches="tight",
                transparent=True,
                metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")),
            )
        drawn = buffer.getvalue()
        drawn = drawn[drawn.index("<svg") :]
        drawn = re.sub(r"<metadata>.*?</metadata>\s*", "", drawn, flags=re.DOTALL)
        drawn = re.sub(r'(?<=\bid=")|(?<=href="#)|(?<=url\(#)', prefix, drawn)
        for colour, name in canvas.COLOUR_VARIABLES.items():
            drawn = drawn.replace(colour, f"var(--{name}, {colour})")
        return drawn

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return header and cells of the table behind it, at most `TABLE_ROWS` rows."""
        names = list(self.rows[0])
        return names, [[_cell_text(row[name]) for name in names] for row in self.rows[:TABLE_ROWS]]

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> MimeBundle:
        """Show it in a notebook as a picture with a description as its text."""
        buffer = BytesIO()
        with canvas.house_style():
            self.figure.savefig(buffer, format="png", bbox_inches="tight", metadata={"Software": None})
        picture = base64.b64encode(buffer.getvalue()).decode()
        return {"image/png": picture, "text/plain": self.description}, {"image/png": {"alt": self.description}}

    def _ipython_display_(self) -> None:
        """Show the picture, and below it the numbers behind it."""
        from IPython.display import display

        data, metadata = self._repr_mimebundle_()
        display(data, metadata=metadata, raw=True)  # type: ignore[no-untyped-call]
        numbers = f"<details><summary>Numbers behind it</summary>{html_table(*self.table())}</details>"
        display({"text/html": numbers, "text/plain": f"{len(self.rows)} rows of numbers"}, raw=True)  # type: ignore[no-untyped-call]


def _cell_text(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)
