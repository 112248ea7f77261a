"""Find the output fields of a signature in a reply.

It also writes a value so that it is found again.

A short field (str, number, bool, Literal) is the last `[[...]]` that is its own; any other stands under a
`[[ ## name ## ]]` marker, as `dspy.ChatAdapter` writes it. What a final answer is, is settled in `tale_dspy.answers`;
how a text becomes a value, in `tale_dspy.fields`. Nothing here raises on what a model wrote: what cannot be read is
None.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, get_args

from pydantic.fields import FieldInfo

from tale_dspy.answers import Kind, find_answer
from tale_dspy.answers.brackets import TEMPLATE, bracket_spans
from tale_dspy.answers.json_reply import json_object
from tale_dspy.answers.number_forms import normalize_numbers, numbers_in
from tale_dspy.answers.polarity import polar_answer
from tale_dspy.answers.thought_tags import split_thought
from tale_dspy.fields import NONE, Fields, convert, is_short, long_value, plain_type, says_none, unquoted
from tale_dspy.protocols import JsonObject
from tale_dspy.reply_sections import (
    LINE_CHARS,
    MARKER,
    SEARCHED,
    Bracket,
    brackets,
    folded_name,
    label_pattern,
    line_start,
    split_sections,
)

_FENCED = re.compile(r"```\w*\n(.*?)```", re.DOTALL)
_REFUSES = re.compile(
    r"\W{0,20}(?:i(?:'m|\sam)?\s(?:cannot|can't|do\snot|don't|unable|sorry|not\sable)|sorry)\b", re.IGNORECASE
)
_LAST = 1_000  # brackets of several fields that are looked at


class FieldReading(NamedTuple):
    """What was read of some fields."""

    values: JsonObject
    """Without the fields that were not found or do not fit their type."""
    cut: int
    """Where the first of them begins: what stands before it is reasoning."""


# ---- finding fields


def read_fields(fields: Fields, reply: str, *, choice: bool = False, thinks: bool = False) -> tuple[JsonObject, str]:
    """Read the output fields of a reply.

    Args:
        fields: What to look for, without the reasoning.
        reply: What the model wrote.
        choice: Whether the only field is an option such as `A`.
        thinks: Whether reasoning was asked for; if not, a reply without any marks can be the answer as it is.

    Returns:
        A value of the field's type, or None, for each field; and the reasoning before them.
    """
    thoughts, text, complete = split_thought(reply)
    if not complete:
        return dict.fromkeys(fields), thoughts
    values, before = _from_json(fields, text) or _from_text(fields, text, choice=choice, thinks=thinks)
    return {k: values.get(k) for k in fields}, "\n\n".join(filter(None, (thoughts, before))) if thoughts else before


def _from_text(fields: Fields, text: str, *, choice: bool, thinks: bool) -> tuple[JsonObject, str]:
    short = {k: f for k, f in fields.items() if is_short(f)}
    long = {k: f for k, f in fields.items() if k not in short}
    sections = split_sections(text, long)
    plain = sections.pop(None)
    if len(long) == 1 and not short and not sections:
        reading = _read_unmarked(long, plain, whole=not thinks)
    else:
        reading = _read_only(short, plain, choice) if len(short) == 1 else _read_labelled(short, plain)
    values = {k: convert(_without_labels(v, short), long[k]) for k, v in sections.items() if k} | reading.values
    missing = {k: f for k, f in short.items() if k not in values}
    cut = reading.cut
    if missing and text.strip():
        whole = not thinks and len(fields) == 1
        rest = _read_unbracketed(missing, text, choice=choice, whole=whole, alone=len(short) == 1)
        values |= rest.values
        cut = min(cut, rest.cut)
    return values, plain[:cut]


def _from_json(fields: Fields, text: str) -> tuple[JsonObject, str] | None:
    """Read a reply that is a JSON object of the fields.

    `dspy.JSONAdapter` asks for such replies; None for any other.
    """
    pairs = json_object(text, as_written=False)
    if pairs is None:
        return None
    names = {folded_name(n): n for n in fields}
    matched = {names[folded_name(str(key))]: value for key, value in pairs.items() if folded_name(str(key)) in names}
    extra = {folded_name(str(key)) for key in pairs} - set(names)
    if not matched or (len(fields) == 1 and not is_short(*fields.values()) and extra - {"reasoning"}):
        return None  # such as a field that is a dict itself
    texts = {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in matched.items()}
    values = {k: convert(v, fields[k]) for k, v in texts.items()}
    if all(value is None for value in values.values()):
        return None
    return values, str(pairs.get("reasoning") or "")


def _without_labels(section: str, short: Fields) -> str:
    """Cut off the short fields that a model wrote after the long ones."""
    labels = "|".join(label_pattern(n) for n in short)
    line = re.search(rf"(?im)^[*_# \t-]{{0,5}}(?:{labels})[*_]{{0,3}}\s?[:：]\s?\[\[", section) if labels else None
    return section[: line.start()].rstrip() if line else section


def _read_only(short: Fields, text: str, choice: bool) -> FieldReading:
    """Read the only bracketed field.

    It is the last `[[...]]`, unless the words after it correct it. Those are read as `tale_dspy.answers` reads them.
    """
    ((name, field),) = short.items()
    bracketed = brackets(text, short)
    if not bracketed:
        return FieldReading({}, len(text))
    _, end, content = bracketed[-1]
    kind = _answer_kind(field, choice)
    if kind and unquoted(content) == content:
        if re.search(r"\w", text[end:]):
            answer = find_answer(text, kind)
            if answer is None:  # what follows takes it back
                return FieldReading({}, _before_label(text, bracketed[-1].start, name))
            content = answer
        elif kind == "choice":
            content = find_answer(f"[[{content}]]", kind) or content
    return FieldReading(_read_as({name: content}, short), _before_label(text, bracketed[-1].start, name))


def _read_labelled(short: Fields, text: str) -> FieldReading:
    """Read several bracketed fields.

    Each is the last `[[...]]` whose line names the field last before it.
    """
    names = {folded_name(n): n for n in short}
    label = re.compile("|".join(label_pattern(n) for n in sorted(short, key=len, reverse=True)), re.IGNORECASE)
    texts: dict[str, Bracket] = {}
    cuts: dict[str, int] = {}
    behind = 0
    for bracket in brackets(text, short)[-_LAST:] if short else ():
        line = max(behind, line_start(text, bracket.start))
        labels = label.findall(text[line : bracket.start])
        behind = bracket.end
        if labels:
            name = names[folded_name(labels[-1])]
            texts[name], cuts[name] = bracket, line
    values = _read_as({k: b.content for k, b in texts.items()}, short)
    return FieldReading(values, min(cuts.values(), default=len(text)))


def _read_unbracketed(fields: Fields, text: str, *, choice: bool, whole: bool, alone: bool) -> FieldReading:
    """Read short fields without brackets.

    They stand under ChatAdapter's marker or as `Name: value`; a single one may be a final answer.
    """
    texts: dict[str, str] = {}
    marked = split_sections(text, fields)
    cut = len(marked.pop(None))
    for name, field in fields.items():
        lines = list(re.finditer(rf"(?im)^\W{{0,9}}(?:{label_pattern(name)})[*_`]{{0,3}} ?[:：=](.+)$", text))
        if name in marked:
            texts[name] = marked[name]
        elif alone and (answer := _final_answer(field, text, choice=choice, whole=whole)) is not None:
            texts[name] = answer
        elif lines:
            texts[name] = lines[-1][1].strip("[]*_` \t\r")
            cut = min(cut, lines[-1].start())
        elif whole and not _REFUSES.match(text):
            texts[name] = text.strip()
    return FieldReading(_read_as(texts, fields), cut)


def _final_answer(field: FieldInfo, text: str, *, choice: bool, whole: bool) -> str | None:
    """Find the answer of the only field.

    The kind of question decides, whatever the field is called.
    """
    kind = _answer_kind(field, choice)
    if kind == "auto":
        return find_answer(text, kind, guess=not whole or _has_one_number(text))
    if kind:
        return find_answer(text, kind)
    if plain_type(field) is bool and (polar := polar_answer(text)) is not None:
        return polar
    places = (find_answer(text, "text", guess=False), find_answer(text, "text"), text.strip())
    fitting = (place for place in places if place is not None and convert(place, field) is not None)
    return next(fitting, None) or _only_option(field, text)


def _has_one_number(text: str) -> bool:
    """Return whether a bare reply holds one result: a number or an equation."""
    text = text.strip()
    if "\n" in text or len(text) > LINE_CHARS:
        return False
    return "=" in text or len(numbers_in(normalize_numbers(text))) == 1


def _only_option(field: FieldInfo, text: str) -> str | None:
    """Return the only option that the last line names.

    It returns None for several, and for one that is denied.
    """
    lines = text.strip().splitlines()
    options = [str(option) for option in get_args(plain_type(field))] or ["true", "false", "yes", "no"]
    line = lines[-1][-LINE_CHARS:] if lines else ""
    names = {o for o in options if re.search(rf"(?i)(?<!\w){re.escape(o)}(?!\w)", line)}
    denied = re.search(r"(?i)\b(?:not|never|neither|nor|cannot)\b|n't|[不非]", line)
    return names.pop() if len(names) == 1 and not denied else None


def _read_as(texts: Mapping[str, str], fields: Fields) -> JsonObject:
    """Turn texts into the types of their fields.

    A text that does not fit is left out; `null` fits where None does.
    """
    values = {k: convert(text, fields[k]) for k, text in texts.items()}
    return {k: v for k, v in values.items() if v is not None or says_none(texts[k], fields[k])}


def _read_unmarked(long: Fields, text: str, *, whole: bool) -> FieldReading:
    """Read the only long field of a reply without its marker.

    It stands in brackets, in a fence, or as a JSON value on its own line.
    """
    ((name, field),) = long.items()
    text = MARKER.sub(lambda m: " " * len(m[0]), text)  # a marker is no list
    places = []
    offset = max(0, len(text) - SEARCHED)
    if spans := bracket_spans(text[offset:]):
        start, end = spans[-1].start + offset, spans[-1].end + offset
        # [[1, 2]] may be a bracketed list, or the list of lists itself.
        places += [(start, text[start + 2 : end - 2]), (start, text[start + 1 : end - 1]), (start, text[start:end])]
    if fenced := list(_FENCED.finditer(text[-SEARCHED:])):
        places.append((max(0, len(text) - SEARCHED) + fenced[-1].start(), fenced[-1][1]))
    if bare := re.search(r"^[\[{]", text, re.MULTILINE):
        places.append((bare.start(), text[bare.start() :]))
    if whole:
        places.append((len(text), text))
    for repair in (False, True):
        for start, place in places:
            value = long_value(place.strip(), field, repair=repair)
            if value is not None:
                return FieldReading({name: value}, start)
    return FieldReading({}, len(text))


def _answer_kind(field: FieldInfo, choice: bool) -> Kind | None:
    """Return what `find_answer` should look for.

    It is None for a field that names its values.
    """
    if choice:
        return "choice"
    kinds: dict[Any, Kind] = {int: "number", float: "number", str: "auto"}
    return kinds.get(plain_type(field))


def _before_label(text: str, start: int, name: str) -> int:
    """Return where the reasoning ends.

    It ends before the line of the bracket, or before its label if it shares the line.
    """
    line = line_start(text, start)
    words = rf"(?:final )?(?:answer|choice|答案|选项|{label_pattern(name)})\**\s{{0,3}}[:：]?|[\w*]+[:：]"
    near = max(line, start - len(name) - 40)  # a label is short, and the pattern slow
    label = re.compile(rf"(?im)(?:^|(?<=[\s.。:：]))\**(?:{words})\s{{0,3}}\**\s{{0,3}}\Z").search(text, near, start)
    return label.start() if label else start


# ---- writing


def quoted(value: str, *, choice: bool = False) -> str:
    """Write a text so that it is read back as it is.

    A text that would not be is written as a JSON string.
    """
    whole = f"[[{value}]]"
    read_as = (find_answer(whole, "choice") or value) if choice else value
    spans = [(span.start, span.end) for span in bracket_spans(whole)]
    reads_back = read_as == value == value.strip() == unquoted(value) and spans == [(0, len(whole))]
    if reads_back and not TEMPLATE.fullmatch(value) and not MARKER.search(value) and value.casefold() not in NONE:
        return value
    return json.dumps(value, ensure_ascii=False)
