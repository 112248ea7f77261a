"""TaleAdapter: the paper's prompts for any DSPy signature, with nothing on top.

For `question -> answer` and `question -> choice` the prompt is the paper's, character for character, and the reply
carries no markers. Which prompt is sent follows from the signature alone:

* no `reasoning` output field          -> the direct prompt
* a `reasoning` field                  -> "Let's think step by step:"
* ... and an input field `token_budget` -> "... and use less than {token_budget} tokens:"
* one output field `token_budget`      -> the budget estimator (instructions, then the bare question)

The wordings are in `tale_dspy.prompts`. Nothing here raises on what a model wrote.
"""

import json
import re
import unicodedata
from typing import Any, Literal, get_args, get_origin

from dspy import ChatAdapter, Reasoning, Signature
from dspy.adapters.utils import format_field_value, parse_value, translate_field_type
from dspy.dsp.utils.settings import settings
from pydantic.fields import FieldInfo

from tale_dspy.answers import find_answer
from tale_dspy.errors import UsageError
from tale_dspy.prompts import FORMS, PromptForm, form_names

REASONING = "reasoning"
BUDGET = "token_budget"
SYSTEM = "You are a helpful assistant."

_SHORT_TYPES = (str, int, float, bool)
_HEADER = re.compile(r"^[ \t]*\[\[ ## (\w+) ## \]\]", re.MULTILINE)
_PLACEHOLDERS = {"answer", "choice", "budget", "选项"}
_TAIL = 200_000  # characters of a reply that are searched for brackets
_WINDOW = 20_000  # characters one bracket may span
_TRIES = 16  # brackets that never close before the search is given up
_ONE_NUMBER = re.compile(r"[^\d-]*(-?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3})?)[^\d]*")
_LABEL = re.compile(
    r"(?:^|(?<=[\s.。:：]))\**(?:final )?(?:answer|choice|答案|选项)\**\s*[:：]?\s*\**\s*$", re.IGNORECASE
)


class TaleAdapter(ChatAdapter):  # type: ignore[misc]  # dspy ships no types
    """Render a signature as the paper's prompt and read the last `[[...]]` of the reply.

    Instructions are rendered, as the first paragraph, only where they differ from DSPy's generated sentence. Short
    outputs (str, number, bool, Literal) are asked for in double brackets; all others (list, dict, Pydantic, code,
    tools) are written and read as `dspy.ChatAdapter` does. A field that cannot be read is None, an empty reply too;
    there is never a second call.

    Args:
        form: The paper's wording for a kind of data set (`tale_dspy.prompts.FORMS`), such as `choice-zh` or `gpqa`.
            None takes `choice` for a choice signature and `answer` for every other.
        **kwargs: Passed on to `dspy.ChatAdapter`.

    Raises:
        UsageError: If there is no such form.

    Example:
        >>> import dspy
        >>> sig = dspy.Signature("question, token_budget: int -> reasoning, answer")
        >>> print(TaleAdapter().format(sig, [], {"question": "1+1?", "token_budget": 9})[1]["content"])
        Q: 1+1?
        Please Give the response by strictly following this format: [[answer]], for example: Answer: [[50]].Let's think step by step and use less than 9 tokens:
        <BLANKLINE>
    """  # noqa: E501

    def __init__(self, form: str | None = None, **kwargs: Any) -> None:
        if form is not None and form not in FORMS:
            raise UsageError(f"form must be one of {form_names()}, got {form!r}")
        super().__init__(use_json_adapter_fallback=False, **kwargs)
        self.form = form

    def __call__(self, lm: Any, lm_kwargs: dict[str, Any], *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        _refuse_listeners()
        result: list[dict[str, Any]] = super().__call__(lm, lm_kwargs, *args, **kwargs)
        return result

    async def acall(self, lm: Any, lm_kwargs: dict[str, Any], *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        _refuse_listeners()
        result: list[dict[str, Any]] = await super().acall(lm, lm_kwargs, *args, **kwargs)
        return result

    # ---- rendering

    def format_system_message(self, signature: type[Signature]) -> str:
        return SYSTEM

    def format_user_message_content(
        self,
        signature: type[Signature],
        inputs: dict[str, Any],
        prefix: str = "",
        suffix: str = "",
        main_request: bool = False,
    ) -> str:
        """Render one question with everything the model must know about its reply."""
        parts = [prefix, own_instructions(signature), self._body(signature, inputs), suffix]
        return "\n\n".join(p for p in parts if p)

    def _body(self, signature: type[Signature], inputs: dict[str, Any]) -> str:
        shown = {k: f for k, f in signature.input_fields.items() if k != BUDGET and inputs.get(k) is not None}
        budget = inputs.get(BUDGET) if BUDGET in signature.input_fields else None
        outputs = {k: f for k, f in signature.output_fields.items() if k != REASONING}
        if is_estimator(signature):
            rows = "".join(f'{_title(k)}: "{format_field_value(f, inputs[k])}"\n' for k, f in shown.items())
            return f"Below is the question:\n\n{rows}"
        form = self._form(signature)
        thinks = REASONING in signature.output_fields
        if set(shown) == {"question"} and form.fits(list(outputs)):
            question = format_field_value(shown["question"], inputs["question"])
            return form.render(question, thinks=thinks, budget=budget)
        rows = "\n".join(
            f"{_title(k)}{_desc(k, f, ' ({})')}: {format_field_value(f, inputs[k])}" for k, f in shown.items()
        )
        return form.render_fields(rows, _asked(outputs), thinks=thinks, budget=budget)

    def _form(self, signature: type[Signature]) -> PromptForm:
        name = self.form or ("choice" if is_choice(signature) else "answer")
        return FORMS[name]

    def format_assistant_message_content(
        self,
        signature: type[Signature],
        outputs: dict[str, Any],
        missing_field_message: str | None = None,
    ) -> str:
        """Render a reply as the model should write it: the reasoning, then each output in its place."""
        lines = [str(outputs[REASONING])] if outputs.get(REASONING) and REASONING in signature.output_fields else []
        for name, field in signature.output_fields.items():
            if name == REASONING or outputs.get(name) is None:
                continue
            value = format_field_value(field, outputs[name])
            short = is_short(field)
            lines.append(f"{_title(name)}: [[{_quoted(value)}]]" if short else f"[[ ## {name} ## ]]\n{value}")
        return "\n".join(lines)

    def format_demos(self, signature: type[Signature], demos: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Render demos as pairs of messages; one that lacks an output of this predictor is left out of its prompt."""
        needed = [k for k in signature.output_fields if k != REASONING]
        messages = []
        for demo in demos:
            if any(demo.get(k) is None for k in needed) or not any(k in demo for k in signature.input_fields):
                continue
            messages.append({"role": "user", "content": self.format_user_message_content(signature, demo)})
            reply = self.format_assistant_message_content(signature, demo)
            messages.append({"role": "assistant", "content": reply})
        return messages

    # ---- reading

    def parse(self, signature: type[Signature], completion: str) -> dict[str, Any]:
        """Read every output field out of a reply; what cannot be read is None.

        Args:
            signature: The output fields to look for.
            completion: The reply.

        Returns:
            One value for each output field, of the field's type or None.
        """
        outputs = {k: f for k, f in signature.output_fields.items() if k != REASONING}
        sections = _sections(completion, set(outputs))
        plain = sections.pop(None, completion)
        short = {k: f for k, f in outputs.items() if is_short(f)}
        values: dict[str, Any] = {}
        cut = len(plain)
        if len(short) == 1:
            ((name, field),) = short.items()
            values[name], cut = _read_only(name, field, plain, is_choice(signature))
        elif short:
            values, cut = _read_labelled(short, plain)
        for name, field in outputs.items():
            if name not in short or values.get(name) is None:
                values[name] = _convert(sections.get(name), field) if name in sections else values.get(name)
        if not short and not sections and len(outputs) == 1:
            ((name, field),) = outputs.items()
            values[name], cut = _read_only(name, field, plain, False)
        if REASONING in signature.output_fields:
            thought = plain[:cut].strip() or None
            values[REASONING] = _convert(thought, signature.output_fields[REASONING])
        return {k: values.get(k) for k in signature.output_fields}

    def _call_postprocess(
        self,
        processed_signature: type[Signature],
        original_signature: type[Signature],
        outputs: list[dict[str, Any] | str],
        lm: Any,
        lm_kwargs: dict[str, Any],
    ) -> list[dict[str, Any]]:
        """Read each reply as DSPy does, but give None where DSPy raises: on an empty reply."""
        values = []
        for output in outputs:
            row = output if isinstance(output, dict) else {"text": output}
            if row.get("text") or row.get("tool_calls"):
                value = super()._call_postprocess(processed_signature, original_signature, [output], lm, lm_kwargs)[0]
            else:
                value = dict.fromkeys(original_signature.output_fields)
            thought = row.get("reasoning_content")
            if thought and REASONING in original_signature.output_fields and not value.get(REASONING):
                value[REASONING] = _convert(thought, original_signature.output_fields[REASONING])
            values.append(value)
        return values


def _refuse_listeners() -> None:
    if settings.stream_listeners:
        raise UsageError(
            "StreamListener needs the field markers of dspy.ChatAdapter: pass adapter=dspy.ChatAdapter() to the "
            "module, or call dspy.streamify without stream_listeners"
        )


# ---- what a signature is


def is_estimator(signature: type[Signature]) -> bool:
    """Whether the signature's only output is `token_budget`."""
    return list(signature.output_fields) == [BUDGET]


def is_choice(signature: type[Signature]) -> bool:
    """Whether the signature asks for an option: a field named `choice`, or a Literal of single letters."""
    outputs = [(k, f) for k, f in signature.output_fields.items() if k != REASONING]
    if len(outputs) != 1:
        return False
    name, field = outputs[0]
    options = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    letters = bool(options) and all(isinstance(o, str) and len(o) == 1 and o.isalpha() for o in options)
    return name == "choice" or letters


def is_short(field: FieldInfo) -> bool:
    """Whether a field is asked for in double brackets: str, a number, bool or Literal, or one of these or None."""
    kinds = [field.annotation, *get_args(field.annotation)]
    if get_origin(field.annotation) is Literal:
        return True
    if get_origin(field.annotation) is None:
        return field.annotation in _SHORT_TYPES
    return set(kinds[1:]) <= {*_SHORT_TYPES, type(None)} and type(None) in kinds


def own_instructions(signature: type[Signature]) -> str:
    """Return the instructions somebody wrote, or "" for DSPy's generated sentence about the fields.

    Compared by content, so that a sentence generated before fields were added, or loaded from a file, is known too.
    """
    text = str(signature.instructions or "").strip()
    return "" if _GENERATED.fullmatch(text) else text


_GENERATED = re.compile(r"Given the fields (?:`\w+`(?:, )?)*, produce the fields (?:`\w+`(?:, )?)*\.")


# ---- wording of single fields


def _title(name: str) -> str:
    """Name a field as DSPy does: `sub_total` -> `Sub Total`."""
    return " ".join(w if w.isupper() else w.capitalize() for w in name.split("_"))


def _desc(name: str, field: FieldInfo, template: str) -> str:
    desc = (field.json_schema_extra or {}).get("desc") if isinstance(field.json_schema_extra, dict) else None
    return template.format(desc) if desc and desc != f"${{{name}}}" else ""


def _asked(outputs: dict[str, FieldInfo]) -> str:
    """Describe the wanted format: `Name: [[name]]` for short fields, ChatAdapter's markers for all others."""
    short = []
    for name, field in outputs.items():
        if is_short(field):
            note = translate_field_type(name, field).partition("# note: the value you produce ")[2]
            hint = "; ".join(h for h in (_desc(name, field, "{}"), note) if h)
            short.append(f"{_title(name)}: [[{name}]]" + (f" ({hint})" if hint else ""))
    long = "".join(
        f"\n[[ ## {name} ## ]]\n{translate_field_type(name, field)}{_desc(name, field, '  # {}')}"
        for name, field in outputs.items()
        if not is_short(field)
    )
    if long:
        long = f"\nEnd with each of these under its own marker:{long}\n"
    return ", ".join(short) + ("." if short else "") + long


# ---- reading single fields


def _sections(text: str, names: set[str]) -> dict[str | None, str]:
    """Split a reply at ChatAdapter's markers of these fields; what stands before the first has the key None."""
    sections: dict[str | None, str] = {}
    name: str | None = None
    start = 0
    for m in _HEADER.finditer(text):
        if m[1] in names or m[1] == "completed":
            sections.setdefault(name, text[start : m.start()])
            name, start = m[1], m.end()
    sections.setdefault(name, text[start:])
    return {k: v.strip() if k else v for k, v in sections.items()}


def bracket_spans(text: str) -> list[tuple[int, int]]:
    """Find the balanced outermost `[[...]]` of a reply, first to last, as (start, end) offsets.

    Quoted strings inside a bracket are skipped; a `[[` that never closes is given up for the next one.
    """
    spans = []
    tries = 0
    at = text.find("[[", max(0, len(text) - _TAIL))
    while at >= 0 and tries < _TRIES:
        end = _closing(text, at, quotes=True)
        if end < 0:  # an apostrophe-like quote (12" pipe) may have hidden the end
            end = _closing(text, at, quotes=False)
        if end < 0:
            tries += 1
            end = at + 2
        else:
            spans.append((at, end))
        at = text.find("[[", end)
    return spans


def _closing(text: str, start: int, *, quotes: bool) -> int:
    depth, i, quoted = 0, start, False
    end = min(len(text), start + _WINDOW)
    while i < end:
        c = text[i]
        if quoted:
            i += c == "\\"
            quoted = c != '"'
        elif quotes and c == '"' and depth > 1:
            quoted = True
        elif c == "[":
            depth += 1
        elif c == "]":
            depth -= 1
            if depth == 0:
                return i + 1
        i += 1
    return -1


def _quoted(value: Any) -> str:
    """Write a value so that it is read back as it is: a text that brackets or quotes would break as a JSON string."""
    text = str(value)
    whole = f"[[{text}]]"
    safe = text == text.strip() and text not in ("", *_PLACEHOLDERS) and not text.startswith('"')
    return text if safe and bracket_spans(whole) == [(0, len(whole))] else json.dumps(text, ensure_ascii=False)


def _unquoted(content: str) -> str:
    if len(content) > 1 and content[0] == content[-1] == '"':
        try:
            return str(json.loads(content))
        except ValueError:
            return content
    return content


def _read_only(name: str, field: FieldInfo, text: str, choice: bool) -> tuple[Any, int]:
    """Read the only bracketed field of a reply, and where the reasoning before it ends.

    An answer, a choice or a number is found as `tale_dspy.answers` finds it (the last `[[...]]`, a later correction, or
    an answer without brackets); every other field is its last `[[...]]`.
    """
    placeholders = {*_PLACEHOLDERS, name}
    spans = [(a, b) for a, b in bracket_spans(text) if text[a + 2 : b - 2].strip() not in ("", *placeholders)]
    cut = _before_label(text, spans[-1][0]) if spans else len(text)
    content = text[spans[-1][0] + 2 : spans[-1][1] - 2].strip() if spans else None
    number = field.annotation in (int, float)
    if choice or number or (name == "answer" and field.annotation is str):
        found = find_answer(text, "choice" if choice else "number" if number else "auto")
        if found is not None and (content is None or found != content):
            return _convert(found, field), cut
    if content is None:
        return (_convert(text.strip() or None, field) if name == BUDGET else None), cut
    value = _convert(content, field)
    if value is None and not is_short(field):
        value = _convert(text[spans[-1][0] + 1 : spans[-1][1] - 1], field)
    return value, cut


def _read_labelled(fields: dict[str, FieldInfo], text: str) -> tuple[dict[str, Any], int]:
    """Read several bracketed fields: the last `[[...]]` after each label, whatever its case."""
    spans = list(bracket_spans(text))
    values: dict[str, Any] = {}
    first = len(text)
    for name, field in fields.items():
        label = re.compile(rf"\b{re.escape(name).replace('_', '[_ ]')}\W{{0,8}}$", re.IGNORECASE)
        for start, end in reversed(spans):
            line = text[max(0, start - len(name) - 12) : start]
            if label.search(line):
                values[name] = _convert(text[start + 2 : end - 2].strip(), field)
                first = min(first, text.rfind("\n", 0, start) + 1)
                break
    return values, first


def _before_label(text: str, start: int) -> int:
    """Where the reasoning ends: before the line of the bracket, or before its label if it shares the line."""
    line = text.rfind("\n", 0, start) + 1
    head = text[line:start]
    label = _LABEL.search(head) or re.search(r"(?:^|(?<=\s))[\w*]+[:：]\s*$", head)
    return line + label.start() if label else start


def _convert(value: str | None, field: FieldInfo) -> Any:
    """Turn text into the field's type; None where it does not fit."""
    if value is None:
        return None
    annotation = field.annotation
    if annotation is Reasoning:
        return Reasoning(content=value)
    if get_origin(annotation) is Literal:
        for option in get_args(annotation):
            if str(option).casefold() == value.strip(" \"'`*.").casefold():
                return option
        letter = find_answer(f"[[{value}]]", "choice")
        return letter if letter in get_args(annotation) else None
    if annotation is str:
        return _unquoted(value)
    if annotation in (int, float):
        plain = unicodedata.normalize("NFKC", value).replace("\N{MINUS SIGN}", "-").replace(",", "")
        if number := _ONE_NUMBER.fullmatch(re.sub(r"(?<=\d) (?=\d{3})", "", plain)):
            value = number[1]
    try:
        return parse_value(value, annotation)
    except (ValueError, TypeError, RecursionError):  # pydantic's errors are ValueErrors
        return None
