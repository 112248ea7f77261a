r"""Write a column vector as the tuple that it is.

`\begin{pmatrix} 1 \\ 2 \end{pmatrix}`, `\langle 1, 2 \rangle` and `(1, 2)` are one answer.
"""

import re

from tale_dspy.answers.normalize import MAX_CHARS

_COLUMN = re.compile(
    r"(?:\\left)?[(\[]?\s*\\begin\s?\{(?:[pb]?matrix|array)\}(?:\s?\{[clr]\})?([^&]+)"
    r"\\end\s?\{(?:[pb]?matrix|array)\}\s*(?:\\right)?[)\]]?"
)
_ANGLES = re.compile(r"(?:\\left)?\s*\\langle([^<>]+)(?:\\right)?\s*\\rangle|⟨([^<>]+)⟩")
_ROW_END = re.compile(r"\\\\(?:\s?\[[^\[\]]{0,10}\])?")
_LABEL = re.compile(r"\(?[A-Za-z](?:\s?,\s?[A-Za-z]){1,3}\)?\s?=\s?(?=\()")  # `(x, y) = (1, 2)`
_SQUARE = re.compile(r"\[([^\[\]()]*,[^\[\]()]*)\]")


def as_tuple(text: str, other: str) -> str:
    r"""Rewrite a vector, or the right side of `(x, y) = (1, 2)`, as a tuple.

    Any other text stays as it is.

    Args:
        text: The text.
        other: What it is compared with: `[1, 2]` is a vector, and no interval, beside one that can be nothing else.

    Example:
        >>> as_tuple(r"\begin{pmatrix} 1 \\[4pt] \frac{1}{2} \end{pmatrix}", ""), as_tuple(r"\langle 1, 2 \rangle", "")
        ('(1, \\frac{1}{2})', '(1, 2)')
        >>> as_tuple("[1, 2]", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"), as_tuple("[1, 2]", "[1, 2)")
        ('(1, 2)', '[1, 2]')
    """
    if max(len(text), len(other)) > MAX_CHARS:
        return text
    if (vector := _vector(text)) is not None:
        return vector
    plain = text.strip("$. ")
    if (label := _LABEL.match(plain)) and "=" not in other:
        return plain[label.end() :]
    square = _SQUARE.fullmatch(plain)
    return f"({square[1]})" if square and _vector(other) is not None else text


def _vector(text: str) -> str | None:
    plain = text.strip("$. ")
    if angles := _ANGLES.fullmatch(plain):
        return f"({(angles[1] or angles[2]).strip()})"
    column = _COLUMN.fullmatch(plain)
    rows = [row.strip() for row in _ROW_END.split(column[1])] if column else []
    rows = rows[:-1] if rows and not rows[-1] else rows  # `\\` behind the last row, too
    return f"({', '.join(rows)})" if len(rows) > 1 and "" not in rows else None
