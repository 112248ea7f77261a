"""Text of users, data sets and models made safe to show.

It is shown on a terminal and in a notebook's HTML.

The ground floor: every class that renders itself (`_repr_html_`) uses `html_table`, so that escaping is written once.
"""

import difflib
import html
import json
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Protocol

_BIDIRECTIONAL_CONTROLS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
_HIDDEN_CATEGORIES = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


class TextPrinter(Protocol):
    """What IPython gives to `_repr_pretty_`."""

    def text(self, obj: str) -> None:
        """Write a text."""


def visible(text: str, newline: str = "\n") -> str:
    r"""Show control characters as their code, such as `\x1b`.

    These command a terminal, reorder or hide text, or break an encoding. Zero-width joiners stay between letters
    outside ASCII, where Persian, Indic scripts and emoji need them.

    Args:
        text: Any text, such as a model's reply.
        newline: What a line break becomes.

    Example:
        >>> visible("a\x1b[31mb\u202ec\u200bd")
        'a\\x1b[31mb\\u202ec\\u200bd'
    """
    text = text.replace("\r\n", "\n")
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text.replace("\n", newline)
    characters, previous = list[str](), "a"
    for c in text:
        if c == "\n":
            characters.append(newline)
        elif c == "\t" or (c in _JOINERS and not previous.isascii() and previous not in _JOINERS):
            characters.append(c)
        elif _is_hidden(c):
            characters.append(c.encode("unicode_escape", "backslashreplace").decode())
        else:
            characters.append(c)
        previous = c
    return "".join(characters)


def visible_json(text: str) -> str:
    r"""Escape in a JSON text what `visible` would show as a code.

    It stays the same JSON.

    Example:
        >>> print(visible_json('{"a": "x\u202ey"}'))
        {"a": "x\u202ey"}
    """
    if text.isascii():
        return text
    return "".join(json.dumps(c)[1:-1] if not c.isascii() and _is_hidden(c) else c for c in text)


def _is_hidden(c: str) -> bool:
    return unicodedata.category(c) in _HIDDEN_CATEGORIES or unicodedata.bidirectional(c) in _BIDIRECTIONAL_CONTROLS


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean ...?" for a misspelt name.

    It is empty where no known name is close. Capitals, spaces, hyphens and underscores do not count.

    Example:
        >>> suggestion("TaleEP", ["tale-ep", "cot"])
        '; did you mean tale-ep?'
    """
    plain = {_letters(name): name for name in known}
    close = difflib.get_close_matches(_letters(word), plain, n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(plain[name] for name in close)}?" if close else ""


def _letters(name: str) -> str:
    return "".join(c for c in name.lower() if c not in "-_ ")


def middle_cut(text: str, length: int) -> str:
    """Leave out the middle of a text that is longer than `length`.

    The result says how many characters were left out.
    """
    if len(text) <= length:
        return text
    head = length // 2
    return f"{text[:head]}\n… {len(text) - length:,} characters left out …\n{text[len(text) - (length - head) :]}"


def number(value: float | None, digits: int = 1, *, sign: bool = False, scale: float = 1.0) -> str:
    """Write a number, times `scale`, with thousands separators.

    An unknown number is written as a dash, never as 0. With a scale of 100 a share is written in percent.
    """
    if value is None:
        return "–"
    rounded = round(scale * value, digits) + 0.0  # no "-0.0"
    return f"{rounded:+,.{digits}f}" if sign else f"{rounded:,.{digits}f}"


def html_text(text: str) -> str:
    """Escape a text for HTML, with hidden characters shown as codes.

    It cannot reorder the text beside it.
    """
    return html.escape(visible(text))


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str = "", note: str = "") -> str:
    """Write a table as HTML that needs no style sheet; every cell is escaped.

    The first column holds names and is aligned left, all others right.

    Args:
        header: Names of the columns.
        rows: Cells, as many in each row as there are names.
        caption: A line above the table.
        note: A line below it.

    Example:
        >>> html_table(["program"], [["<b>"]])
        '<table><thead><tr><th scope="col" style="text-align:left">program</th></tr></thead><tbody><tr><th scope="row"
        style="text-align:left;font-weight:normal">&lt;b&gt;</th></tr></tbody></table>'
    """
    left, right = "text-align:left", "text-align:right"
    head = "".join(
        f'<th scope="col" style="{right if i else left}">{html_text(name)}</th>' for i, name in enumerate(header)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td style="{right}">{html_text(cell)}</td>'
            if i
            else f'<th scope="row" style="{left};font-weight:normal">{html_text(cell)}</th>'
            for i, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    title = f'<caption style="{left}">{html_text(caption)}</caption>' if caption else ""
    below = f"<p>{html_text(note)}</p>" if note else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"
