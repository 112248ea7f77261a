"""The one console of the command line.

No text of a user, a data set or a model can command the terminal through it.
"""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from tale_dspy.display import visible


class VisibleConsole(Console):
    r"""A `rich` console that shows control characters as their code.

    These are characters that command a terminal, hide or reorder text, such as `\x1b`. Text is escaped where segments
    leave, so that it does not matter what a table, a panel or a line was made of. Square brackets in plain strings are
    text, and no markup.
    """

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as `rich` does, with every text made visible.

        Control codes that `rich` itself writes stay.
        """
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)
