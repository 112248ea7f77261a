r"""Find `[[...]]`, `\boxed{...}` or `#### ...` that marks an answer.

Every function reads a reply once from left to right, however deep its brackets: no reply makes this quadratic.
"""

import re
from typing import NamedTuple

from tale_dspy.answers.brackets import TEMPLATE, Span, bracket_spans, put_span
from tale_dspy.answers.choices import OR, option_alone
from tale_dspy.answers.kinds import Kind
from tale_dspy.answers.normalize import ascii_twin
from tale_dspy.answers.numbers import read_quantity

_MAX_HASHES = 50
_WRONGLY_CLOSED = re.compile(r"\\f?boxed {0,3}\{([^{}()\n]{1,60}?)[)\]$](?=\s|[.$]|\Z)")

_BRACE = re.compile(r"(?P<box>\\(?:f|frame)?box(?:ed)? {0,3})?\{|\\.|\}")
_HASHES = re.compile(r"(?<!#)####(?!#)[ \t]{0,9}([^\n#]{1,300})")
_BETWEEN = re.compile(rf"[\s.$*]{{0,9}}{OR}[\s$*]{{0,9}}", re.IGNORECASE)


class AnswerSpan(NamedTuple):
    """A marked answer and where it stands."""

    start: int
    """Where its brackets begin in the reply."""
    end: int
    """Where the reply goes on after it."""
    text: str
    """The answer, with its own characters."""


def last_mark(text: str, plain: str, kind: Kind) -> AnswerSpan | None:
    """Return the mark that comes last.

    Marks joined by a comma or "or" are one mark with several answers.

    Args:
        text: The reply.
        plain: The same with ASCII brackets, position by position.
        kind: What is looked for; it tells an answer after `####` from a heading.
    """
    outer: list[AnswerSpan] = []
    for span in sorted([*bracket_spans(plain), *_boxed_contents(plain)], key=lambda s: s.start):
        content = text[span.inside].strip().rstrip("\\").strip()  # `\[[18\]]`
        if TEMPLATE.fullmatch(content) or (outer and span.start < outer[-1].end):
            continue
        start = span.start
        if outer and outer[-1].text != content and _BETWEEN.fullmatch(plain, outer[-1].end, start):
            start, content = outer[-1].start, f"{outer.pop().text} or {content}"
        outer.append(AnswerSpan(start, span.end, content))
    last = outer[-1] if outer else None
    for hashes in reversed(list(_HASHES.finditer(plain, last.end if last else 0))[-_MAX_HASHES:]):
        if _is_answer(hashes[1], kind, at_end=hashes.end() == len(plain)):
            return AnswerSpan(hashes.start(), hashes.end(), text[hashes.start(1) : hashes.end(1)].strip())
    return last and last._replace(text=_unwrap_marks(last.text))


def _is_answer(line: str, kind: Kind, at_end: bool) -> bool:
    """Return whether `#### line` is an answer as in GSM8K, and no heading."""
    if kind == "choice":
        return option_alone(line) is not None
    return (at_end and kind != "number") or read_quantity(line.strip()) is not None


def _unwrap_marks(content: str) -> str:
    r"""Unwrap `[[\boxed{18}]]` and other nested marks.

    Only a few levels are unwrapped; no model nests more on purpose.
    """
    for _ in range(2):
        plain = ascii_twin(content)
        if not plain.startswith(("[[", "\\boxed", "$\\boxed")):
            break
        spans = [*bracket_spans(plain), *_boxed_contents(plain)]
        if len(spans) != 1 or (plain[: spans[0].start] + plain[spans[0].end :]).strip("$ ."):
            break
        content = content[spans[0].inside].strip()
    return content


def _boxed_contents(plain: str) -> list[Span]:
    r"""List the outermost `\boxed{...}`, braces matched by depth, in order."""
    spans: list[Span] = []
    opened: list[re.Match[str]] = []
    for token in _BRACE.finditer(plain) if "box" in plain else ():
        if token[0][-1] == "{" and token[0] != "\\{":
            opened.append(token)
        elif token[0] == "}" and opened:
            start = opened.pop()
            if start["box"]:
                put_span(Span(start.start(), token.end(), slice(start.end(), token.start())), spans)
    if not spans and (wrong := _WRONGLY_CLOSED.search(plain)):
        spans.append(Span(*wrong.span(), slice(*wrong.span(1))))
    return spans
