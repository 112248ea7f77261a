"""Read the answer of a reply that is a JSON object.

Models that were trained on structured output write such replies.
"""

import ast
import json
import re

from tale_dspy.python_text import parse_in_threads

_FENCED = re.compile(r"```(?:json)?[ \t]*\n(.{1,20000}?)```", re.DOTALL | re.IGNORECASE)
# The names of an answer, the surest first.
_KEYS = (
    *("finalanswer", "answer", "correctanswer", "correctoption", "correctchoice", "option", "choice", "result"),
    *("final", "solution", "output", "prediction", "label", "total", "value", "response"),
)
_CALLED_WITH = ("arguments", "parameters", "args", "input")
"""Where a tool call that a model writes as text has its arguments."""
_KEY_ENDS = ("answer", "option", "choice", "result")
_OPENING = re.compile(r"\s{0,9}(?:```(?:json)?\s{0,9})?(?=\{\s{0,99}\"[^\"\n]{1,60}\"\s{0,9}:)", re.IGNORECASE)
_TOOL_TAG = re.compile(r"</?(?:tool_call|function_call|tool|json)>\s*\Z|\A\s*<(?:tool_call|function_call|tool|json)>")
_KEY = re.compile(r"\"([^\"\n]{1,60})\"\s{0,9}:\s{0,9}")
_MAX_CHARS = 20_000
_MAX_LITERAL = 1_000
_MAX_DEPTH = 3


def json_object(text: str, *, as_written: bool = True) -> dict[str, object] | None:
    """Return the JSON object a reply consists of or ends with.

    It may stand in a fence, or be the only item of a list.

    Args:
        text: The reply.
        as_written: Whether numbers stay as they were written, as texts.
    """
    text = _TOOL_TAG.sub("", text).strip()
    if text[-1:] not in ("}", "]", "`"):
        return None
    tail = text[-_MAX_CHARS:]
    fenced = _FENCED.findall(tail) if text.endswith("```") else []
    starts = (tail.rfind("\n{") + 1, tail.find("{", tail.rfind("\n") + 1))  # a block at the end, the last line's object
    for candidate in (*fenced[-1:], text, *(tail[start:] for start in starts if start > 0)):
        candidate = candidate.strip()
        if not candidate.startswith(("{", "[")) or len(candidate) > _MAX_CHARS:
            continue
        value = _load_literal(candidate, as_written)
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            value = value[-1]  # the last step
        if isinstance(value, dict):
            return value
    return None


def _load_literal(text: str, as_written: bool) -> object:
    """Read JSON, or the literal of a Python dict; None where it is neither."""
    try:
        return json.loads(text, parse_int=str, parse_float=str) if as_written else json.loads(text)
    except (ValueError, RecursionError):
        pass
    if len(text) > _MAX_LITERAL or "'" not in text:
        return None
    try:
        return parse_in_threads(lambda: ast.literal_eval(text))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None


def cut_object_answer(text: str) -> str | None:
    """Return the answer in a JSON object that was cut off before its end.

    Returns:
        What stands after the last key that names the answer, as far as it was written; empty where the object was cut
        before that. None where the text is no such object, or one of a single plain value, such as `{"days": 18`.

    Example:
        >>> cut_object_answer('{"reasoning": "48 + 24", "answer": "72'), cut_object_answer('{"reasoning": "48 +')
        ('72', '')
    """
    opening = _OPENING.match(text)
    if opening is None:
        return None
    tail = text[opening.end() :].rstrip()
    try:
        json.JSONDecoder(strict=False).raw_decode(tail)
    except json.JSONDecodeError as e:
        if e.pos < len(tail) and not e.msg.startswith("Unterminated string"):
            return None
    except RecursionError:
        return None
    else:
        return None
    keys = list(_KEY.finditer(tail))
    named = [key for key in keys if _names_answer(key[1])]
    if named:
        return tail[named[-1].end() :].strip(' \t\n"')
    return None if len(keys) == 1 and tail[keys[0].end() : keys[0].end() + 1] not in ("", '"', "[", "{") else ""


def _names_answer(key: str) -> bool:
    name = re.sub(r"[^a-z]", "", key.lower())
    return name in _KEYS or name.endswith(_KEY_ENDS)


def json_answer(fields: dict[str, object], depth: int = 0) -> str | None:
    """Return the value of the key that names the answer, as text.

    It is None where no key or no single value does.
    """
    keys = {re.sub(r"[^a-z]", "", str(key).lower()): key for key in fields}
    names = [keys[name] for name in _KEYS if name in keys] or [
        key for name, key in keys.items() if name.endswith(_KEY_ENDS)
    ]
    if not names and len(fields) == 1:
        names = list(fields)
    value = fields[names[0]] if names else None
    if not names and isinstance(
        arguments := next((fields[keys[key]] for key in _CALLED_WITH if key in keys), None), dict
    ):
        value = arguments if any(map(_names_answer, map(str, arguments))) else None  # `final_answer(answer=18)`
    if isinstance(value, dict) and depth < _MAX_DEPTH:
        return json_answer(value, depth + 1)
    if isinstance(value, list):
        items = [item for item in value if isinstance(item, str)]
        return ", ".join(items) if items and len(items) == len(value) else None
    return str(value) if isinstance(value, str | int | float) else None
