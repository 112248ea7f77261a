"""Where the parts of a reply are: ChatAdapter's markers, brackets, labels.

What stands there is turned into values by `tale_dspy.replies` and `tale_dspy.fields`.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from tale_dspy.answers.brackets import TEMPLATE, bracket_spans
from tale_dspy.fields import title

MARKER = re.compile(r"[*_`]{0,3}\[\[ ?## ?(\w+) ?## ?\]\][*_`:]{0,4}")
"""ChatAdapter's marker of a field, wherever it stands and however it is dressed."""
SEARCHED = 300_000  # characters of a reply that are searched for brackets
_LONGEST_MARKER = 120  # a longer bracket holds more than a marker
LINE_CHARS = 300  # characters before a bracket that may hold its label


class Bracket(NamedTuple):
    """A `[[...]]` of a reply that holds a value."""

    start: int
    end: int
    content: str


def brackets(text: str, names: Iterable[str]) -> list[Bracket]:
    """List the brackets of a reply that hold more than their template."""
    tail = text[-SEARCHED:]
    offset = len(text) - len(tail)
    contents = (Bracket(offset + s.start, offset + s.end, tail[s.inside].strip()) for s in bracket_spans(tail))
    return [b for b in contents if not TEMPLATE.fullmatch(b.content) and b.content not in names]


def _list_markers(text: str) -> list[re.Match[str]]:
    """List the markers outside double brackets and JSON strings."""
    if "##" not in text:
        return []
    matches = list(MARKER.finditer(text))
    if not any(_line_prefix(text, m) for m in matches):
        return matches
    spans = [span for span in bracket_spans(text[-SEARCHED:]) if span.end - span.start > _LONGEST_MARKER]
    offset = max(0, len(text) - SEARCHED)
    starts = [span.start + offset for span in spans]
    markers = []
    for m in matches:
        at = bisect_right(starts, m.start()) - 1
        inside = at >= 0 and m.end() <= spans[at].end + offset and m.start() > starts[at]
        if not inside and _line_prefix(text, m).count('"') % 2 == 0:
            markers.append(m)
    return markers


def _line_prefix(text: str, marker: re.Match[str]) -> str:
    return text[line_start(text, marker.start()) : marker.start()].strip()


def split_sections(text: str, names: Iterable[str]) -> dict[str | None, str]:
    """Split a reply at ChatAdapter's markers of these fields.

    The text before the first has the key None. Of a field written twice the later counts; markers of other fields end a
    section, and what follows `completed` does not count.
    """
    markers = _list_markers(text)
    first = next((i for i, m in enumerate(markers) if m[1] in names or m[1] == "completed"), len(markers))
    sections: dict[str | None, str] = {None: text[: markers[first].start()] if first < len(markers) else text}
    ends = [*(m.start() for m in markers[1:]), len(text)]
    for marker, end in list(zip(markers, ends, strict=False))[first:]:
        if marker[1] == "completed":
            break
        if marker[1] in names:
            sections[marker[1]] = text[marker.end() : end].strip()
    return sections


@lru_cache(maxsize=1024)
def label_pattern(name: str) -> str:
    """Return a pattern for a field's name in a reply.

    `sub_total` is found as `sub_total`, `Sub Total` and `SUBTOTAL`.
    """
    words = r"[\s_-]{0,2}".join(re.escape(w) for w in re.split(r"[\s_]+", title(name)) if w)
    return rf"(?<![^\W_]){words}(?![^\W_])"


def folded_name(text: str) -> str:
    return re.sub(r"[\s_-]", "", text).casefold()


def line_start(text: str, at: int) -> int:
    start = max(0, at - LINE_CHARS)
    return max(start, text.rfind("\n", start, at) + 1)
