"""Find the balanced `[[...]]` of a reply.

Answers, fields and budgets are all read here.

Every function reads a reply once from left to right, however deep its brackets: no reply makes this quadratic.
"""

import re
from typing import NamedTuple

from tale_dspy.answers.normalize import ascii_twin

TEMPLATE = re.compile(
    r"(?:(?:your |the |final )*(?:answer|choice|option|number|budget)|答案|选项|选择|\.{3}|…|## ?\w+ ?##)?",
    re.IGNORECASE,
)
"""What a model repeats from the prompt, or leaves empty: no answer."""

# A half-open interval, `(0, 1]` or `[0, 1)`, is one token: its square bracket has no partner.
_TOKEN = re.compile(r"\([^][(),\n]{1,40},[^][(),\n]{1,40}\]|\[[^][(),\n]{1,40},[^][(),\n]{1,40}\)|[][\"']")
_WHITE = re.compile(r"⟦([^⟦⟧\n]{1,300})⟧")
_STRING = re.compile(r"\"(?:[^\"\\\n]|\\.)*+\"|'(?:[^'\\\n]|\\.)*+'")
_BEFORE_STRING = "[,:({ "


class Span(NamedTuple):
    """A piece of a reply that marks its content."""

    start: int
    end: int
    inside: slice
    """Where the content is: without its brackets, or the whole of `[[1, 2], [3, 4]]`."""


def bracket_spans(text: str) -> list[Span]:
    """List the outermost balanced `[[...]]` of a text, in order.

    Square brackets are matched by depth; quoted strings inside them are skipped, as in JSON; a bracket that never
    closes hides none. `[[1, 2], [3, 4]]`, whose first two brackets do not close together, is one span whose content is
    the whole list. Full-width brackets count too.
    """
    spans: list[Span] = []
    text = ascii_twin(text)
    if "⟦" in text:
        spans += [Span(m.start(), m.end(), slice(*m.span(1))) for m in _WHITE.finditer(text)]
    if "[[" not in text:
        return spans
    opened: list[int] = []
    skip_to = no_string_before = last_closed = 0
    for token in _TOKEN.finditer(text):
        at = token.start()
        if at < skip_to:
            continue
        if token[0] == "[":
            opened.append(at)
        elif token[0] == "]" and opened:
            start = opened.pop()
            if at - start >= 3 and text[start + 1] == "[" and text[at - 1] == "]":
                paired = last_closed == start + 1
                put_span(Span(start, at + 1, slice(start + 2, at - 1) if paired else slice(start, at + 1)), spans)
            last_closed = start
        elif token[0] in ('"', "'") and len(opened) > 1 and at >= no_string_before and text[at - 1] in _BEFORE_STRING:
            if string := _STRING.match(text, at):
                skip_to = string.end()
            else:  # this line has no second quote: looking for it again at each quote would be quadratic
                line_end = text.find("\n", at)
                no_string_before = len(text) if line_end < 0 else line_end
    return sorted(spans) if "⟦" in text else spans


def put_span(span: Span, spans: list[Span]) -> None:
    """Append a span in place of those inside it, which closed before it."""
    while spans and spans[-1].start > span.start:
        spans.pop()
    spans.append(span)
