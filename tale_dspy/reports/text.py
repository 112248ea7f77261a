"""Prepare texts of runs for a report: shortened, grouped, written as CSV.

Names, questions and replies are data. What a format needs beyond this (Markdown, LaTeX, matplotlib) is with the format.
"""

import csv
import io
import json
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from tale_dspy.comparison.formatting import plain_json


def shorten_text(text: str, length: int) -> str:
    """Cut a text to a length, with an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


def shorten_names(names: Sequence[str], length: int) -> list[str]:
    """Cut names to a length so that they stay different.

    Names that begin alike keep the part in which they differ.
    """
    short = [shorten_text(name, length) for name in names]
    head = length // 3
    for cut in {text for text in short if short.count(text) > 1}:
        alike = [name for name, text in zip(names, short, strict=True) if text == cut]
        apart = next((i for i, letters in enumerate(zip(*alike, strict=False)) if len({*letters}) > 1), length)
        start = max(head, apart - head)
        for place, name in enumerate(names):
            if short[place] == cut and len(name) > length:
                short[place] = shorten_text(f"{name[:head]}…{name[start:]}", length)
    return short


def wrap_name(name: str, width: int) -> str:
    """Break a name into at most three lines."""
    lines = [""]
    for part in re.findall(r".[^\s._:/-]*[\s._:/-]*", name or "–", re.DOTALL):
        for piece in textwrap.wrap(part, width, drop_whitespace=False) or [part]:
            if len(lines[-1]) + len(piece.rstrip()) > width and lines[-1]:
                lines.append("")
            lines[-1] += piece
    return "\n".join([*lines[:2], shorten_text("".join(lines[2:]), width)] if len(lines) > 2 else lines)


FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""First characters of a cell that spreadsheets compute (CWE-1236)."""


def by_programs(notes: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Group pairs of program and sentence by sentence.

    Each value names all programs of its sentence, such as `cot, tale-ep`.
    """
    programs: dict[str, dict[str, None]] = {}
    for program, sentence in notes:
        programs.setdefault(sentence, {})[program] = None
    return {sentence: ", ".join(names) for sentence, names in programs.items()}


def csv_text(names: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """Write rows as CSV under a header of these names; None is empty.

    A text that a spreadsheet would run as a formula gets an apostrophe in front, as spreadsheets write it.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _no_formula(value) for name, value in row.items()} for row in rows)
    return out.getvalue()


def _no_formula(value: object) -> object:
    starts_formula = isinstance(value, str) and value.lstrip(" ")[:1] in FORMULA_SIGNS and not _is_number(value)
    return f"'{value}" if starts_formula else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def one_line(text: str, length: int) -> str:
    """Write a text as one line of at most `length` characters."""
    return shorten_text(" ".join(text.split()), length)


def value_text(value: object) -> str:
    """Write an answer or gold for a reader.

    A text stays as it is, None is a dash, and anything else is written as JSON.
    """
    if value is None:
        return "–"
    return value if isinstance(value, str) else json.dumps(plain_json(value), ensure_ascii=False)


def question_text(question: str | None, inputs: Mapping[str, object] | None) -> str:
    """Return the question of a record, or all its inputs, a line each."""
    if question is not None:
        return question
    return "\n".join(f"{name}: {value_text(value)}" for name, value in (inputs or {}).items())
