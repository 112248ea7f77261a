"""Find the output fields of a signature in a reply, and write a value so that it is found again.

A short field (str, number, bool, Literal) is the last `[[...]]` that is its own; any other stands under a
`[[ ## name ## ]]` marker, as `dspy.ChatAdapter` writes it. What a final answer is, is settled in `tale_dspy.answers`;
how a text becomes a value, in `tale_dspy.fields`. Nothing here raises on what a model wrote: what cannot be read is
None.
"""

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic.fields import FieldInfo

from tale_dspy.answers import Kind, find_answer
from tale_dspy.answers.brackets import TEMPLATE, bracket_spans
from tale_dspy.fields import NONE, Fields, convert, is_short, long_value, plain_type, says_none, title, unquoted

_HEADER = re.compile(r"^[ \t]*\[\[ ## (\w+) ## \]\]", re.MULTILINE)
_FENCED = re.compile(r"```\w*\n(.*?)```", re.DOTALL)
_TAIL = 300_000  # characters of a reply that are searched for brackets
_LAST = 1_000  # brackets of several fields that are looked at
_LINE = 300  # characters before a bracket that may hold its label


class Bracket(NamedTuple):
    """A `[[...]]` of a reply that holds a value."""

    start: int
    end: int
    content: str


class Found(NamedTuple):
    """What was read of some fields."""

    values: dict[str, Any]
    """Without the fields that were not found or do not fit their type."""
    cut: int
    """Where the first of them begins: what stands before it is reasoning."""


# ---- finding fields


def read_fields(
    fields: Fields, reply: str, *, choice: bool = False, thinks: bool = False
) -> tuple[dict[str, Any], str]:
    """Read the output fields of a reply.

    Args:
        fields: What to look for, without the reasoning.
        reply: What the model wrote.
        choice: Whether the only field is an option such as `A`.
        thinks: Whether reasoning was asked for; if not, a reply without any marks can be the answer as it is.

    Returns:
        A value of the field's type, or None, for each field; and the reasoning before them.
    """
    short = {k: f for k, f in fields.items() if is_short(f)}
    long = {k: f for k, f in fields.items() if k not in short}
    sections = _sections(reply, long)
    plain = sections.pop(None)
    if len(long) == 1 and not short and not sections:
        found = _read_unmarked(long, plain, whole=not thinks)
    else:
        found = _read_only(short, plain, choice) if len(short) == 1 else _read_labelled(short, plain)
    values = {k: convert(_without_labels(v, short), long[k]) for k, v in sections.items() if k} | found.values
    missing = {k: f for k, f in short.items() if k not in values}
    cut = found.cut
    if missing and reply.strip():
        rest = _read_unbracketed(missing, reply, choice=choice, whole=not thinks and len(fields) == 1)
        values |= rest.values
        cut = min(cut, rest.cut)
    return {k: values.get(k) for k in fields}, plain[:cut]


def _sections(text: str, names: Iterable[str]) -> dict[str | None, str]:
    """Split a reply at ChatAdapter's markers of these fields; what stands before the first has the key None.

    Of a field written twice the later counts; what follows `completed` does not.
    """
    marks = [m for m in _HEADER.finditer(text) if m[1] in names or m[1] == "completed"]
    sections: dict[str | None, str] = {None: text[: marks[0].start()] if marks else text}
    for mark, end in zip(marks, [*(m.start() for m in marks[1:]), len(text)], strict=False):
        if mark[1] == "completed":
            break
        sections[mark[1]] = text[mark.end() : end].strip()
    return sections


def _without_labels(section: str, short: Fields) -> str:
    """Cut off the short fields that a model wrote behind the long ones."""
    labels = "|".join(_label(n) for n in short)
    line = re.search(rf"(?im)^[*_# \t-]{{0,5}}(?:{labels})[*_]{{0,3}}\s?[:：]\s?\[\[", section) if labels else None
    return section[: line.start()].rstrip() if line else section


def brackets(text: str, names: Iterable[str]) -> list[Bracket]:
    """List the brackets of a reply that hold more than the template they were asked for with."""
    tail = text[-_TAIL:]
    offset = len(text) - len(tail)
    contents = (Bracket(offset + s.start, offset + s.end, tail[s.inside].strip()) for s in bracket_spans(tail))
    return [b for b in contents if not TEMPLATE.fullmatch(b.content) and b.content not in names]


def _read_only(short: Fields, text: str, choice: bool) -> Found:
    """Read the only bracketed field: the last `[[...]]`, unless the words behind it correct it.

    Those are read as `tale_dspy.answers` reads them.
    """
    ((name, field),) = short.items()
    found = brackets(text, short)
    if not found:
        return Found({}, len(text))
    _, end, content = found[-1]
    kind = _answer_kind(name, field, choice)
    if kind and unquoted(content) == content:
        if re.search(r"\w", text[end:]):
            content = find_answer(text, kind) or content
        elif kind == "choice":
            content = find_answer(f"[[{content}]]", kind) or content
    return Found(_read_as({name: content}, short), _before_label(text, found[-1].start, name))


def _read_labelled(short: Fields, text: str) -> Found:
    """Read several bracketed fields: the last `[[...]]` of which the line before it names the field last."""
    names = {_folded(n): n for n in short}
    label = re.compile("|".join(_label(n) for n in sorted(short, key=len, reverse=True)), re.IGNORECASE)
    told: dict[str, Bracket] = {}
    cuts: dict[str, int] = {}
    behind = 0
    for bracket in brackets(text, short)[-_LAST:] if short else ():
        line = max(behind, _line_start(text, bracket.start))
        labels = label.findall(text[line : bracket.start])
        behind = bracket.end
        if labels:
            name = names[_folded(labels[-1])]
            told[name], cuts[name] = bracket, line
    values = _read_as({k: b.content for k, b in told.items()}, short)
    return Found(values, min(cuts.values(), default=len(text)))


def _read_unbracketed(fields: Fields, text: str, *, choice: bool, whole: bool) -> Found:
    """Read short fields without brackets: under ChatAdapter's marker, as `Name: value`, or as the whole reply."""
    told: dict[str, str] = {}
    marked = _sections(text, fields)
    cut = len(marked.pop(None))
    for name, field in fields.items():
        kind = _answer_kind(name, field, choice) if len(fields) == 1 else None
        lines = list(re.finditer(rf"(?im)^\W{{0,9}}(?:{_label(name)})[*_`]{{0,3}} ?[:：=](.+)$", text))
        if name in marked:
            told[name] = marked[name]
        elif kind and (said := find_answer(text, kind)):
            told[name] = said
        elif lines:
            told[name] = lines[-1][1].strip("[]*_` \t\r")
            cut = min(cut, lines[-1].start())
        elif whole and not kind:
            told[name] = text.strip()
    return Found(_read_as(told, fields), cut)


def _read_as(told: Mapping[str, str], fields: Fields) -> dict[str, Any]:
    """Turn texts into the types of their fields; one that does not fit is left out, `null` fits where None does."""
    values = {k: convert(text, fields[k]) for k, text in told.items()}
    return {k: v for k, v in values.items() if v is not None or says_none(told[k], fields[k])}


def _read_unmarked(long: Fields, text: str, *, whole: bool) -> Found:
    """Read the only long field of a reply without its marker: in brackets, fenced, or a JSON value on its own line."""
    ((name, field),) = long.items()
    places = []
    offset = max(0, len(text) - _TAIL)
    if spans := bracket_spans(text[offset:]):
        start, end = spans[-1].start + offset, spans[-1].end + offset
        # [[1, 2]] may be a bracketed list, or the list of lists itself.
        places += [(start, text[start + 2 : end - 2]), (start, text[start + 1 : end - 1]), (start, text[start:end])]
    if fenced := list(_FENCED.finditer(text[-_TAIL:])):
        places.append((max(0, len(text) - _TAIL) + fenced[-1].start(), fenced[-1][1]))
    if bare := re.search(r"^[\[{]", text, re.MULTILINE):
        places.append((bare.start(), text[bare.start() :]))
    if whole:
        places.append((len(text), text))
    for repair in (False, True):
        for start, place in places:
            value = long_value(place.strip(), field, repair=repair)
            if value is not None:
                return Found({name: value}, start)
    return Found({}, len(text))


def _answer_kind(name: str, field: FieldInfo, choice: bool) -> Kind | None:
    """What `find_answer` should look for, if the field is a final answer."""
    kind = plain_type(field)
    if choice or kind in (int, float):
        return "choice" if choice else "number"
    return "auto" if name == "answer" and kind is str else None


@lru_cache(maxsize=1024)
def _label(name: str) -> str:
    """A pattern for a field's name in a reply: `sub_total`, `Sub Total`, `SUBTOTAL`."""
    words = r"[\s_-]{0,2}".join(re.escape(w) for w in re.split(r"[\s_]+", title(name)) if w)
    return rf"(?<![^\W_]){words}(?![^\W_])"


def _folded(text: str) -> str:
    return re.sub(r"[\s_-]", "", text).casefold()


def _line_start(text: str, at: int) -> int:
    start = max(0, at - _LINE)
    return max(start, text.rfind("\n", start, at) + 1)


def _before_label(text: str, start: int, name: str) -> int:
    """Where the reasoning ends: before the line of the bracket, or before its label if it shares the line."""
    line = _line_start(text, start)
    words = rf"(?:final )?(?:answer|choice|答案|选项|{_label(name)})\**\s{{0,3}}[:：]?|[\w*]+[:：]"
    near = max(line, start - len(name) - 40)  # a label is short, and the pattern slow
    label = re.compile(rf"(?im)(?:^|(?<=[\s.。:：]))\**(?:{words})\s{{0,3}}\**\s{{0,3}}\Z").search(text, near, start)
    return label.start() if label else start


# ---- writing


def quoted(value: str, *, choice: bool = False) -> str:
    """Write a text so that it is read back as it is: one that would not be, as a JSON string."""
    whole = f"[[{value}]]"
    read_as = (find_answer(whole, "choice") or value) if choice else value
    spans = [(span.start, span.end) for span in bracket_spans(whole)]
    same = read_as == value == value.strip() == unquoted(value) and spans == [(0, len(whole))]
    if same and not TEMPLATE.fullmatch(value) and not _HEADER.search(value) and value.casefold() not in NONE:
        return value
    return json.dumps(value, ensure_ascii=False)
