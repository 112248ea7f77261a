r"""Find what a reply marks as its answer: balanced `[[...]]`, `\boxed{...}` and lines `#### ...`.

Every function reads a reply once from left to right, however deep its brackets: no reply makes this quadratic.
"""

import re
from typing import NamedTuple

from tale_dspy.answers.choices import OR, option_alone
from tale_dspy.answers.kinds import Kind
from tale_dspy.answers.normalize import ascii_twin
from tale_dspy.answers.numbers import read_quantity

_MAX_HASHES = 50

# What a model repeats from the prompt, or leaves empty.
_PLACEHOLDER = re.compile(
    r"(?:(?:your |the |final )*(?:answer|choice|option|number|budget)|答案|选项|选择|\.{3}|…)?", re.IGNORECASE
)
# A half-open interval, `(0, 1]` or `[0, 1)`, is one token: its square bracket has no partner.
_BRACKET = re.compile(r"\([^][(),\n]{1,40},[^][(),\n]{1,40}\]|\[[^][(),\n]{1,40},[^][(),\n]{1,40}\)|[][\"']")
_STRING = re.compile(r"\"(?:[^\"\\\n]|\\.)*+\"|'(?:[^'\\\n]|\\.)*+'")
_BRACE = re.compile(r"(?P<box>\\f?boxed {0,3})?\{|\\.|\}")
_HASHES = re.compile(r"(?<!#)####(?!#)[ \t]{0,9}([^\n#]{1,300})")
_BETWEEN = re.compile(rf"[\s.$*]{{0,9}}{OR}[\s$*]{{0,9}}", re.IGNORECASE)


class AnswerSpan(NamedTuple):
    """A mark and what it marks."""

    start: int
    """Where the mark begins in the reply."""
    end: int
    """Where the reply goes on behind it."""
    text: str
    """The answer, with its own characters."""


class _Span(NamedTuple):
    start: int
    end: int
    inside: slice


def last_mark(text: str, plain: str, kind: Kind) -> AnswerSpan | None:
    """Return the mark that comes last; marks joined by a comma or "or" are one mark with several answers.

    Args:
        text: The reply.
        plain: The same with ASCII brackets, position by position.
        kind: What is looked for; it tells an answer behind `####` from a heading.
    """
    outer: list[AnswerSpan] = []
    for span in sorted([*_brackets(plain), *_boxes(plain)], key=lambda s: s.start):
        content = text[span.inside].strip()
        if _PLACEHOLDER.fullmatch(content) or (outer and span.start < outer[-1].end):
            continue
        start = span.start
        if outer and outer[-1].text != content and _BETWEEN.fullmatch(plain, outer[-1].end, start):
            start, content = outer[-1].start, f"{outer.pop().text} or {content}"
        outer.append(AnswerSpan(start, span.end, content))
    last = outer[-1] if outer else None
    for hashes in reversed(list(_HASHES.finditer(plain, last.end if last else 0))[-_MAX_HASHES:]):
        if _is_answer(hashes[1], kind, at_end=hashes.end() == len(plain)):
            return AnswerSpan(hashes.start(), hashes.end(), text[hashes.start(1) : hashes.end(1)].strip())
    return last and last._replace(text=_innermost(last.text))


def _is_answer(line: str, kind: Kind, at_end: bool) -> bool:
    """Tell whether `#### line` is an answer, as GSM8K writes it, and not a heading."""
    if kind == "choice":
        return option_alone(line) is not None
    return (at_end and kind != "number") or read_quantity(line.strip()) is not None


def _innermost(content: str) -> str:
    r"""Unwrap `[[\boxed{18}]]` and the like; nobody nests them more than a few times on purpose."""
    for _ in range(2):
        plain = ascii_twin(content)
        if not plain.startswith(("[[", "\\boxed", "$\\boxed")):
            break
        spans = [*_brackets(plain), *_boxes(plain)]
        if len(spans) != 1 or (plain[: spans[0].start] + plain[spans[0].end :]).strip("$ ."):
            break
        content = content[spans[0].inside].strip()
    return content


def _brackets(plain: str) -> list[_Span]:
    """List the outermost balanced `[[...]]`, in order.

    Square brackets are matched by depth; quoted strings inside them are skipped, as in JSON. `[[1, 2], [3, 4]]`, whose
    first two brackets do not close together, is one mark whose content is the whole list.
    """
    spans: list[_Span] = []
    opened: list[int] = []
    skip_to = no_string_before = last_closed = 0
    for token in _BRACKET.finditer(plain):
        at = token.start()
        if at < skip_to:
            continue
        if token[0] == "[":
            opened.append(at)
        elif token[0] == "]" and opened:
            start = opened.pop()
            if at - start >= 3 and plain[start + 1] == "[" and plain[at - 1] == "]":
                paired = last_closed == start + 1
                _put(_Span(start, at + 1, slice(start + 2, at - 1) if paired else slice(start, at + 1)), spans)
            last_closed = start
        elif token[0] in ('"', "'") and len(opened) > 1 and at >= no_string_before and plain[at - 1] in "[,:( ":
            if string := _STRING.match(plain, at):
                skip_to = string.end()
            else:  # this line has no second quote: looking for it again at each quote would be quadratic
                line_end = plain.find("\n", at)
                no_string_before = len(plain) if line_end < 0 else line_end
    return spans


def _boxes(plain: str) -> list[_Span]:
    r"""List the outermost `\boxed{...}`, braces matched by depth, in order."""
    spans: list[_Span] = []
    opened: list[re.Match[str]] = []
    for token in _BRACE.finditer(plain) if "boxed" in plain else ():
        if token[0][-1] == "{" and token[0] != "\\{":
            opened.append(token)
        elif token[0] == "}" and opened:
            start = opened.pop()
            if start["box"]:
                _put(_Span(start.start(), token.end(), slice(start.end(), token.start())), spans)
    return spans


def _put(span: _Span, spans: list[_Span]) -> None:
    """Append a span in place of those inside it, which closed before it."""
    while spans and spans[-1].start > span.start:
        spans.pop()
    spans.append(span)
