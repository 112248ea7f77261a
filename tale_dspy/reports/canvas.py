"""What all figures share: style, drawable text, the footer and the files."""

import math
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tale_dspy.display import visible
from tale_dspy.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#0B4F8A", "#F09A1E", "#6B6B6B"
"""Dark and light: they stay apart in greyscale, and for every common kind of colour blindness."""
DARK_BLUE, DARK_ORANGE = "#083A66", "#9A4F00"
"""For lines upon many points of the colour, and for letters."""
COLOUR_VARIABLES = {
    BLUE.lower(): "blue",
    ORANGE.lower(): "orange",
    GREY.lower(): "muted",
    DARK_BLUE.lower(): "deep-blue",
    DARK_ORANGE.lower(): "deep-orange",
    "#e4e4e4": "grid",
    "#bdbdbd": "line",
    "#9a9a9a": "faint",
    "#222222": "ink",
    "#000000": "ink",
    "#ffffff": "paper",
}
"""Colour of a figure -> the variable of a page's style sheet that takes its place, so that pages can be dark."""
FOOTER, FOOTER_LETTERS = "footer", 105
"""What the text below a figure is called, and the letters in a line of it."""
PAGE_WIDTH = 4.9
"""Inches of a plot on a page: the whole of a telephone's width, two side by side on a screen."""
RASTER = 1500
"""Points from which on they are drawn as one picture, so that a figure stays small."""
STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "savefig.dpi": 200,
    "svg.hashsalt": "tale-dspy",
}


def load_matplotlib() -> None:
    """Make sure that matplotlib is there.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as e:
        raise MissingExtraError("matplotlib", "report") from e


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in the style of the report, and restore the user's matplotlib style."""
    from matplotlib import style

    with style.context(["default", STYLE]):
        yield


def blank_figure() -> "tuple[Figure, Axes]":
    """Make an empty figure with room for labels at its right."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(6.4, 3.8))
    axes = figure.add_axes((0.1, 0.14, 0.72, 0.76))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    return figure, axes


def log_ticks(axis: "Axis", low: float, high: float, most: int) -> None:
    """Put at most `most` round numbers from `low` to `high` on a log axis."""
    from matplotlib.ticker import FixedLocator, NullLocator

    tens = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (range(1, 10), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,))
    choices = [[m * 10.0**e for e in tens for m in per_ten if low <= m * 10.0**e <= high] for per_ten in steps]
    axis.set_major_locator(FixedLocator(next((ticks for ticks in choices if len(ticks) <= most), choices[-1])))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")


def escape_math(text: str) -> str:
    """Make a text safe to draw.

    It is not read as mathematics, and characters the font lacks are replaced (matplotlib warns of each).
    """
    from matplotlib.font_manager import findfont, get_font

    known = get_font(findfont("DejaVu Sans")).get_charmap()
    drawable = "".join(c if c == "\n" or ord(c) in known else "\N{REPLACEMENT CHARACTER}" for c in visible(text))
    return drawable.replace("$", r"\$")


def draw_footer(axes: "Axes", sentences: Sequence[str]) -> None:
    """Write sentences below the axes, in small grey letters."""
    axes.annotate(
        escape_math(_footer_text(sentences, FOOTER_LETTERS)),
        (0, 0),
        (-38, -38),
        xycoords="axes fraction",
        textcoords="offset points",
        va="top",
        fontsize=7.5,
        color=GREY,
        annotation_clip=False,
        gid=FOOTER,
    )


def _footer_text(sentences: Sequence[str], letters: int) -> str:
    # The space at the end of a line says that its sentence goes on.
    return "\n".join(" \n".join(textwrap.wrap(sentence, letters)) for sentence in sentences)


def is_wide(figure: "Figure") -> bool:
    """Tell whether plots stand side by side in a figure."""
    return len({round(float(axes.get_position().x0), 2) for axes in figure.axes}) > 1


@contextmanager
def narrow_figure(figure: "Figure") -> Iterator[None]:
    """Make a figure as narrow as a column of a page, and restore its size.

    Plots that stand side by side keep their width.
    """
    width, height = figure.get_size_inches()
    narrow = width if is_wide(figure) else min(width, PAGE_WIDTH)
    footers = [(text, text.get_text()) for axes in figure.axes for text in axes.texts if text.get_gid() == FOOTER]
    figure.set_size_inches(narrow, height)
    for text, written in footers:
        text.set_text(_footer_text(written.replace(" \n", " ").split("\n"), int(FOOTER_LETTERS * narrow / width)))
    try:
        yield
    finally:
        figure.set_size_inches(width, height)
        for text, written in footers:
            text.set_text(written)


def file_stem(out: str | Path, name: str) -> Path:
    """Return the path of a figure's files without their endings.

    It is `name` inside `out` where `out` is a folder, else `out` itself.
    """
    path = Path(out)
    if path.is_dir():
        return path / name
    return path.with_suffix("") if path.suffix.lower() in (".png", ".svg", ".csv") else path
