"""Text of runs on its way into a report: made safe to show, shortened, grouped, and written as CSV.

Names, questions and replies are data. What a format needs beyond this (Markdown, LaTeX, matplotlib) is with the format.
"""

import csv
import io
import re
import textwrap
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def visible(text: str, newline: str = "\n") -> str:
    r"""Show what could command a terminal, reorder text or break an encoding as its code, such as `\x1b`.

    Args:
        text: Any text, such as a model's reply.
        newline: What a line break becomes.
    """

    def character(c: str) -> str:
        if c == "\n":
            return newline
        hidden = unicodedata.category(c) in ("Cc", "Cs", "Co", "Cn") or unicodedata.bidirectional(c) in _BIDI
        return c.encode("unicode_escape", "backslashreplace").decode() if hidden and c != "\t" else c

    return "".join(map(character, text.replace("\r\n", "\n")))


def shortened(text: str, length: int) -> str:
    """Cut a text to a length, with an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


def wrapped(name: str, width: int) -> str:
    """Break a name into at most three lines."""
    lines = [""]
    for part in re.findall(r".[^\s._:/-]*[\s._:/-]*", name or "–", re.DOTALL):
        for piece in textwrap.wrap(part, width, drop_whitespace=False) or [part]:
            if len(lines[-1]) + len(piece.rstrip()) > width and lines[-1]:
                lines.append("")
            lines[-1] += piece
    return "\n".join([*lines[:2], shortened("".join(lines[2:]), width)] if len(lines) > 2 else lines)


def by_programs(said: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Group pairs of program and sentence: each sentence once, with the programs it is of, such as `cot, tale-ep`."""
    programs: dict[str, dict[str, None]] = {}
    for program, sentence in said:
        programs.setdefault(sentence, {})[program] = None
    return {sentence: ", ".join(names) for sentence, names in programs.items()}


def csv_text(names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Write rows as CSV under a header of these names; None is empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
