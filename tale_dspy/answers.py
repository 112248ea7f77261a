r"""Find the final answer in a reply and compare it with the gold: the judge of every accuracy this library reports.

How a reply is read (`find_answer`):

1. An answer is *marked* by balanced `[[...]]`, `\boxed{...}` or `#### ...`. The mark that comes last wins, whatever its
   form: a reply that corrects itself is judged by its last answer.
2. An answer is *stated* by "the answer is ...", "Answer: ...", `<answer>`, "答案是 ..." (an option also by "I choose
   B", "B is correct", "选 B"). Only statements that begin with an answer of the asked kind count, and none behind "if"
   or "not". Without a mark the last statement wins. Behind a mark it overrides the mark; a text does so only after a
   word such as "Correction" or "Wait". What follows in its sentence, and any later sentence, is explanation.
3. With neither, a number is the last one of the reply (explanations in round brackets left out), an option the last
   letter that stands as one, a text the last line if it is short.

Two answers are no answer: `[[20 or 18]]`, `[[3, 4]]` and `[[A, B]]` are returned whole and equal no single gold.

How it is compared (`answers_equal`): options by letter, numbers exactly, texts without case and spaces, lists element
by element, and other mathematics by math-verify in a bounded child process. No reply makes anything here raise or take
longer than two seconds, in any thread; threads that need the child at once wait for one another.
"""

import re
from decimal import Decimal
from fractions import Fraction
from typing import Literal, NamedTuple, get_args

from tale_dspy import _symbolic
from tale_dspy._symbolic import (
    MAX_CHARS,
    NUMBER,
    PERCENT,
    SCALE,
    ascii_twin,
    mathematical,
    nesting,
    read_quantity,
    tidy,
)
from tale_dspy.errors import DataError, UsageError

Kind = Literal["auto", "number", "choice", "text"]
"""What an answer is: a number, an option A to J, a text, or `auto`, which lets the gold decide."""

MAX_REPLY_CHARS = 100_000
"""Only so many last characters of a reply are read: some 25,000 tokens, and an answer stands near the end."""
_MAX_STATEMENTS = 50
_MAX_LINES = 200
_MAX_LINE = 2000

_MARKER = re.compile(r"\[\[ {0,3}##[^\]\n]{0,100}## {0,3}\]\]")
_PLACEHOLDER = re.compile(
    r"(?:(?:your |the |final )*(?:answer|choice|option|number|budget)|答案|选项|选择|\.{3}|…)?", re.IGNORECASE
)
# A half-open interval, `(0, 1]` or `[0, 1)`, is one token: its square bracket has no partner.
_BRACKET = re.compile(r"\([^][(),\n]{1,40},[^][(),\n]{1,40}\]|\[[^][(),\n]{1,40},[^][(),\n]{1,40}\)|[][\"']")
_STRING = re.compile(r"\"(?:[^\"\\\n]|\\.)*+\"|'(?:[^'\\\n]|\\.)*+'")
_BRACE = re.compile(r"(\\f?boxed {0,3})?\{|\\.|\}")
_HASHES = re.compile(r"(?<!#)####(?!#)[ \t]{0,9}([^\n#]{1,300})")
_OR = r"(?:,|/|&|;|\bor\b|\band\b|、|或|和)"
_BETWEEN = re.compile(rf"[\s.$*]{{0,9}}{_OR}[\s$*]{{0,9}}", re.IGNORECASE)

_SAID = re.compile(
    r"""(?<![A-Za-z])(?:answers?|ans)(?:\s(?:to|for|of)\s[^.,:;!?\n]{1,60}?)?["'*_`)]{0,3}\s?
          (?:(?:is|are|was|equals|(?:should|must|will)\sbe|comes\s(?:out\s)?to)(?![A-Za-z])\s?:?|:|=)
      | <(?:final_)?answer>
      | (?:^|\n)[#*> \t]{0,9}(?:the\s)?(?:final\s)?answer[*:]{0,4}[ \t]{0,9}(?=\n)
      | (?:答案|答)\s?(?:应该|应|就)?\s?(?:[是为]|:|=)""",
    re.IGNORECASE | re.VERBOSE,
)
_CHOSEN = re.compile(
    r"""(?<![A-Za-z])(?:(?:correct|right|best)\s(?:option|choice)\s?(?:is|:)
          |(?:i|we)(?:'d|'ll|\swould|\swill)?\s(?:choose|select|pick|go\swith))
      | (?<![不能未])选择?(?![项择])\s?:?""",
    re.IGNORECASE | re.VERBOSE,
)
_RIGHT = re.compile(
    r"(?<![A-Za-z])(?=\(?[A-J]\)?[*_]{0,2}(?:是?正确|\s(?:is|must be)\s(?:the\s)?(?:correct|right|best|answer)))"
)
_INSTEAD = re.compile(
    r"(?<![A-Za-z])(?:it|this|that|total|result|value|amount|number)"
    r"(?:'s|\sis|\swas|\sequals|\s(?:should|must|would|has to)\sbe)(?:\s(?:actually|really|instead|rather))?\s?:?"
    r"|(?<![A-Za-z])(?:correction\s?:|(?:i|we)\smeant)|应该?[是为]|更正\s?[为:]",
    re.IGNORECASE,
)
_CORRECTION = re.compile(
    r"(?<![A-Za-z])(?:correct(?:ion|ed)|actually|wait|oops|sorry|mistake|wrong|incorrect|revised)(?![A-Za-z])"
    r"|更正|等等|不对|错了|纠正",
    re.IGNORECASE,
)
_DOUBT = re.compile(
    r"(?<![A-Za-z])(?:if|whether|suppos(?:e|ing)|assum(?:e|ing)|unless|not)(?![A-Za-z])|n't|如果|假设|若|不",
    re.IGNORECASE,
)
_OPENING = re.compile(r"(?:[\s:*_>\"'`]|\\[(\[]|\$\$)*+")
_STOP = re.compile(
    r"[.!?;](?=\s|$|[\"')])|。|,\s?(?:which|because|since|as|so|where|but|for)\b|\s(?:because|since|which|as)\b| \(|</"
    r"|\"\s?[},]|\"$"
)
_DRESSED = re.compile(r"(?:\*\*|\$\$?|\\\(|\")(?!\s)([^*$\"\n]{1,200}?)(?:\*\*|\$(?!\d)|\\\)|\")")
_TEXT_STOP = re.compile(r"[.!?](?=\s|$|[\"'*])|。|</")

_SIGNED = rf"{NUMBER}(?:\s?{SCALE})?(?:\s?{PERCENT})?"
_LEAD = re.compile(
    r"(?:(?:about|approximately|around|roughly|simply|just|only|exactly|therefore|thus|then|now|indeed|equal to|of|"
    r"a total of|约|大约|共|≈|=|[A-Za-z]\s?=)\s?){0,4}",
    re.IGNORECASE,
)
_FIRST = re.compile(rf"-?\s?{_SIGNED}")
_IN_WORDS = re.compile(r"\s(?:times|plus|minus|divided by|multiplied by|(?:less|more|fewer) than)\b", re.IGNORECASE)
_DIGIT = re.compile(r"\d")
_IN_TEXT = re.compile(rf"(?<![A-Za-z0-9_^])(?<!\d\.)(?<!\^\{{)(?:(?<![)\]}}%])-)?{_SIGNED}")
_FORMULA = re.compile(r"\s?(?:[^\W\d_]+\s?){0,2}(?:=|≈|[-+*/x÷]\s?[\d(.])")
_SEVERAL = re.compile(
    rf"(?:\s?[^\W\d_]+){{0,3}}?\s?,?\s?(?:\bor\b|或)[^\d]{{0,20}}\d"
    rf"|(?:\s?[^\W\d_]+){{0,2}}?(?:\s?(?:{_OR}|to|-)\s?(?:{_OR}\s?)?{NUMBER}(?:\s?[^\W\d_]+){{0,2}})+$",
    re.IGNORECASE,
)
_ASIDE = re.compile(r"\(([^()]*)\)")
_BOLD = re.compile(r"\*\*([^*\n]{1,200})\*\*")

_OPTION = re.compile(
    r"(?i:(?:the )?(?:(?:correct|right|final|best) )?(?:option|choice|answer|选项|选择|选|答案) ?(?:is|是|为|:)? ?)?"
    r"[(\[{]?\s?(?P<letter>[A-Ja-j])\s?(?P<mark>[)\]}.:、]+|(?=[,;/&])|$|\s)(?P<rest>.*)",
    re.DOTALL,
)
_BARE_OPTION = re.compile(r"[\s*$(\[{]{0,9}(?:(?:option|choice|选项|选) ?)?([A-J])[\s*$)\]}.:]{0,9}", re.IGNORECASE)
# A second option behind the first: `, B`, `and (B)` or `(B)` next to it, `or B. London` anywhere.
_OTHERS_NEXT = re.compile(rf"(?:\s*{_OR})+\s*(?:option\s|选项)?\(?[A-J](?![A-Za-z0-9])|\s*\([A-J]\)\W*$")
_OTHERS = re.compile(rf"{_OR}\s*(?:option\s|选项)?(?:[A-J][.:、]|\([A-J]\)|[A-J]\)(?=\s\w))(?=\s|$)")
_LIST_TOKEN = re.compile(r"[][(){}]|[,;]")
_BARE_LIST_TOKEN = re.compile(r"[][(){}]|,(?!(?<=\d,)\d{3}(?!\d))|[;、]|\b(?:or|and)\b|或|和", re.IGNORECASE)
_LETTER = re.compile(r"(?<![A-Za-z0-9'’_\\^$-])(\(?)([A-J])(?![A-Za-z0-9'’_^=+*/-])")
_DECIDES = re.compile(
    r"(?:(?<![A-Za-z])(?:option|choice|answer|is|be|it's|with|choose|select|pick)|选项?|[为是:])[ *(]{0,4}$",
    re.IGNORECASE,
)
_RULED_OUT = re.compile(
    r"\b(?:not|cannot|eliminat\w+|exclud\w+|rul\w+ out|wrong|incorrect)\b|n't|[不非]|排除", re.IGNORECASE
)


class _Span(NamedTuple):
    start: int
    end: int
    inside: slice


class _Mark(NamedTuple):
    start: int
    end: int
    text: str


# --- finding --------------------------------------------------------------------------------------------------------


def find_answer(reply: str | None, kind: Kind = "auto") -> str | None:
    """Find the final answer in a reply, by the rules at the head of this module.

    DSPy's field markers (`[[ ## answer ## ]]`), empty brackets and repeated templates (`[[answer]]`) are no marks.

    Args:
        reply: What the model wrote. Bytes are read as UTF-8; of a very long reply the end is read.
        kind: What to look for. With `auto`, numbers, options and texts.

    Returns:
        The content of the mark without its brackets, or the stated or last number, letter or line; with kind `choice`
        the capital letter alone wherever there is one option. None if there is no answer to read.

    Raises:
        UsageError: If `kind` is not a `Kind`.
    """
    _check(kind)
    text = (_text(reply) or "")[-MAX_REPLY_CHARS:].rstrip()
    plain = _MARKER.sub(lambda m: "\n".ljust(len(m[0])), ascii_twin(text))  # the same positions as in text
    mark = _last_mark(text, plain, kind)
    stated = _last_statement(plain, kind, mark)
    if stated is not None:
        return stated
    if mark is not None:
        return (_option(mark.text) if kind == "choice" else None) or mark.text
    if kind == "choice":
        return _last_option(plain)
    if kind == "text":
        return _last_text(text)
    return _last_number(plain) or (_option_line(plain.strip()) if kind == "auto" else None)


def _last_mark(text: str, plain: str, kind: Kind) -> _Mark | None:
    """Return the mark that comes last; marks joined by a comma or "or" are one mark with several answers."""
    outer: list[_Mark] = []
    for span in sorted([*_brackets(plain), *_boxes(plain)], key=lambda s: s.start):
        content = text[span.inside].strip()
        if _PLACEHOLDER.fullmatch(content) or (outer and span.start < outer[-1].end):
            continue
        start = span.start
        if outer and outer[-1].text != content and _BETWEEN.fullmatch(plain, outer[-1].end, start):
            start, content = outer[-1].start, f"{outer.pop().text} or {content}"
        outer.append(_Mark(start, span.end, content))
    last = outer[-1] if outer else None
    for hashes in reversed(list(_HASHES.finditer(plain, last.end if last else 0))[-_MAX_STATEMENTS:]):
        if _heads(hashes[1], kind, at_end=hashes.end() == len(plain)):
            return _Mark(hashes.start(), hashes.end(), text[hashes.start(1) : hashes.end(1)].strip())
    return last and last._replace(text=_innermost(last.text))


def _heads(line: str, kind: Kind, at_end: bool) -> bool:
    """Tell whether `#### line` is an answer, as GSM8K writes it, and not a heading."""
    if kind == "number":
        return read_quantity(line.strip()) is not None
    if kind == "choice":
        return _option_line(line) is not None
    return at_end or read_quantity(line.strip()) is not None


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
                while spans and spans[-1].start > start:
                    spans.pop()
                paired = last_closed == start + 1
                spans.append(_Span(start, at + 1, slice(start + 2, at - 1) if paired else slice(start, at + 1)))
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
            if start[1]:
                while spans and spans[-1].start > start.start():
                    spans.pop()
                spans.append(_Span(start.start(), token.end(), slice(start.end(), token.start())))
    return spans


def _last_statement(plain: str, kind: Kind, mark: _Mark | None) -> str | None:
    """Return the answer that the last readable statement behind the mark, or without one in the reply, begins with."""
    since = mark.end if mark else 0
    cues = [m.span() for m in _SAID.finditer(plain, since)]
    if kind == "choice":
        cues += [m.span() for pattern in (_CHOSEN, _RIGHT) for m in pattern.finditer(plain, since)]
    if mark:
        cues += [m.span() for m in _INSTEAD.finditer(plain, since) if _corrects(plain, since, m.end())]
    for start, end in sorted(cues)[: -_MAX_STATEMENTS - 1 : -1]:
        # "If she sells all, the answer is 18" states; behind a mark it only supposes.
        clause = re.split(r"[.;:!?\n。]" if mark else r"[.,;:!?\n。]", plain[max(since, start - 80) : start])[-1]
        if not _DOUBT.search(clause):
            text_counts = mark is None or _corrects(plain, since, start)
            content = _read_statement(plain[end : end + MAX_CHARS], kind, text_counts)
            if content is not None:
                return content
    return None


def _corrects(plain: str, since: int, at: int) -> bool:
    return _CORRECTION.search(plain, max(since, at - 80), at) is not None


def _read_statement(after: str, kind: Kind, text_counts: bool) -> str | None:
    """Read what a statement states: a number, an option, or a text where that counts."""
    line = after[_past(_OPENING, after) :].partition("\n")[0]
    if kind == "number":
        return _leading_number(line)
    if kind == "choice":
        return _leading_option(line)
    if dressed := _DRESSED.match(after.lstrip(" \t\n:>")):
        text = dressed[1].strip()
    else:
        text = _until(_TEXT_STOP, line).strip(" *_`\"'")
    if kind == "auto":
        if (found := _leading_number(line) or _option_line(text)) is not None:
            return found
        text_counts &= text[:1].isupper() or not text[:1].isalpha() or text.lower() in ("yes", "no", "true", "false")
    return text if text and text_counts else None


def _leading_number(line: str) -> str | None:
    """Read the number a sentence begins with.

    `9 x 2 = 18` is its last side. Where the number goes on as something else (`2x`, `18 or 20`), the sentence is
    returned, which then equals no number; `2 times 9` states nothing.
    """
    sentence = tidy(line)
    sentence = _until(_STOP, sentence).rstrip(" .!?,;:")
    first = _FIRST.match(sentence, _past(_LEAD, sentence))
    if first is None:
        return sentence if sentence.startswith("\\") and mathematical(sentence) else None
    rest = sentence[first.end() :]
    if _FORMULA.match(rest):
        last_side = re.split("[=≈]", rest)[-1]
        return (_leading_number(last_side) if last_side != rest else None) or sentence
    if _IN_WORDS.match(rest):
        return None
    attached = re.match(r"[^\s\d]*", rest)
    if _SEVERAL.match(rest) or (attached and attached[0] and read_quantity(first[0] + attached[0]) is None):
        return sentence
    return first[0].strip()


def _past(pattern: re.Pattern[str], text: str) -> int:
    """Where a match at the start of a text ends; 0 without one."""
    match = pattern.match(text)
    return match.end() if match else 0


def _until(pattern: re.Pattern[str], text: str) -> str:
    """The text up to the first match."""
    match = pattern.search(text)
    return text[: match.start()] if match else text


def _leading_option(line: str) -> str | None:
    """Read the option a sentence begins with; two of them are returned whole, and equal none."""
    sentence = tidy(line)
    sentence = (sentence[:3] + _until(_STOP, sentence[3:])).rstrip(" .!?")  # not at the dot of `B. Paris`
    if letter := _option(sentence):
        return letter
    return sentence if re.match(rf"\W*[A-J]\)?\s*{_OR}", sentence) else None


def _last_number(plain: str) -> str | None:
    """Return the last number of a reply without marks, as it is written there."""
    whole = plain.strip()
    alone = len(whole) <= MAX_CHARS and "\n" not in whole and "[[" not in whole
    if alone and read_quantity(whole) is None and mathematical(tidy(whole)):
        return whole  # a bare expression or list, `\sqrt{2}` or `3, 4`, has no last number
    lines = [line[-_MAX_LINE:] for line in plain.splitlines() if _DIGIT.search(line)][: -_MAX_LINES - 1 : -1]
    found = (_number_of_line(line, asides) for asides in (False, True) for line in lines)
    return next((number for number in found if number is not None), None)


def _number_of_line(line: str, asides: bool) -> str | None:
    bold = [text for text in _BOLD.findall(line) if read_quantity(text)]
    if bold and not _CORRECTION.search(line, line.rfind(bold[-1])):
        return str(bold[-1])
    line = tidy(line)
    if not asides:
        line = _ASIDE.sub(lambda m: m[0] if read_quantity(m[1], bare=True) else " ", line)
    found = list(_IN_TEXT.finditer(line))
    return _unless_two(found) if found else None


def _unless_two(found: list[re.Match[str]]) -> str:
    """Return the last number; `20 or 18` and `between 18 and 20` whole, since they are two."""
    last = found[-1]
    if len(found) > 1:
        text, before = last.string, found[-2]
        gap = text[before.end() : last.start()]
        between = re.search(r"\bbetween\W{0,3}$", text[: before.start()], re.IGNORECASE)
        if len(gap) < 30 and (re.search(r"\bor\b|或", gap) or (between and "and" in gap)):
            return text[before.start() : last.end()]
    return last[0]


def _last_option(plain: str) -> str | None:
    """Return the last letter that stands as an option in a reply without marks, never an article or a pronoun."""
    lines = [line for line in plain.splitlines() if line.strip()]
    for line in reversed(lines[:1] + lines[-_MAX_LINES:]):
        if letter := _option_line(line):
            return letter
    labels = [_label(line) for line in lines[:2]], [_label(line) for line in lines[-2:]]
    if labels[1] and labels[1][-1] and not any(labels[1][:-1]):
        return labels[1][-1]
    if labels[0] and labels[0][0] and not any(labels[0][1:]):
        return labels[0][0]
    return _deciding_letter(lines[-1][-_MAX_LINE:]) if lines else None


def _label(line: str) -> str | None:
    """Read `B. Paris` or `Option B: Paris`, a line that names an option; two of them in a row repeat the question."""
    label = re.match(r"[*\s]*(?:(?:Option|选项) ?)?\(?([A-J])[).:、]\**\s", line)
    return label[1] if label else None


def _deciding_letter(line: str) -> str | None:
    found: list[re.Match[str]] = []
    for match in _LETTER.finditer(line):
        before, after = line[: match.start()], line[match.end() :]
        clause = re.split(r"[.,;:!?。,]", before)[-1]
        stands = match[1] or _DECIDES.search(before) or re.fullmatch(r"[)*\s]*[.!?。]?[*\s]*", after)
        article = match[2] in "AI" and not match[1] and re.match(r"\s+\w", after)
        ruled_out = _RULED_OUT.search(clause) or re.match(r"\)?\s*(?:(?:is|are) (?:not|wrong|incorrect)|不)", after)
        if stands and not article and not ruled_out:
            found.append(match)
    if not found or re.search(rf"(?<![A-Za-z0-9])[A-J]\W*{_OR}\W*$", line[: found[-1].start()]):
        return None  # none, or `A or B`
    return found[-1][2]


def _last_text(text: str) -> str | None:
    lines = [line.strip() for line in _MARKER.sub("\n", text).splitlines() if line.strip()]
    if not lines:
        return None
    bold = _BOLD.findall(lines[-1])
    return str(bold[-1]) if bold else lines[-1] if len(lines[-1]) <= 100 else None


def _option(text: str) -> str | None:
    """Read a short text as one option: `B`, `(b)`, `b.`, `B. Paris`, `Option B`, `选项B`; None for two or none."""
    text = re.sub(r"^([*\s]*[A-J])\s+(?=[$\\])", r"\1. ", text[:MAX_CHARS])  # before a formula `A` is no article
    match = _OPTION.match(tidy(text).strip("*\"'` "))
    if match is None:
        return None
    letter, mark, rest = match["letter"], match["mark"].strip(), match["rest"]
    if _OTHERS_NEXT.match(rest) or _OTHERS.search(rest):
        return None
    rest = rest.strip()
    if mark or not rest:
        return letter.upper()
    formula = re.match(r"[=+*^<>]|-\s?[A-Za-z]", rest)  # `E = mc^2`
    article = letter in "AI" and re.match(r"[a-z]", rest) and not re.match(r"(?:is|because|since)\b", rest)
    return None if letter.islower() or formula or article else letter


def _option_line(line: str) -> str | None:
    """Read a line that is nothing but one option."""
    bare = _BARE_OPTION.fullmatch(line[:60])
    return bare[1].upper() if bare else None


# --- comparing ------------------------------------------------------------------------------------------------------


def answers_equal(answer: object, gold: object, kind: Kind = "auto") -> bool:
    """Tell whether an answer that was already found equals the gold.

    - Options: the same letter, as `B`, `(b)`, `B. Paris`, `Option B` or `选项B`.
    - Numbers: the same value. Thousands separators, currency, units, a label and the form (`0.75`, `3/4`) do not
      matter; units are not converted (`2 dozen` is 2), number words are (`2 million`). A percentage equals its number
      and its hundredth. There is no tolerance, but 0.333333 equals 1/3: see `Quantity.same`.
    - Texts: the same characters, whatever their case, spaces, LaTeX dress and last full stop.
    - Lists `(3, 4)`, `[3, 4]`, `{3, 4}`, `3 and 4`: element by element; in any order with braces or no brackets.
    - Other mathematics, such as `x^2+1`: as math-verify finds within a second; otherwise different.

    Args:
        answer: Text, or a value of a typed field. None and empty text equal nothing.
        gold: The right answer, of any of these types.
        kind: How to compare; `auto` asks `kind_of(gold)`.

    Raises:
        UsageError: If `kind` is not a `Kind`.
        BackendError: If the process for mathematics cannot be started on this machine.
    """
    _check(kind)
    said, right = _text(answer), _text(gold)
    if not said or not right:
        return False
    if (kind_of(gold) if kind == "auto" else kind) == "choice" and (letter := _option(right)):
        return _option(said) == letter
    pairs = _open_pairs(said, right)
    return pairs is not None and (not pairs or _symbolic.all_same(tuple(pairs)))


def judge(reply: str | None, gold: object, kind: Kind = "auto") -> bool:
    """Find the answer in a reply and tell whether it equals the gold.

    Args:
        reply: What the model wrote; None and an unreadable reply are wrong.
        gold: The right answer.
        kind: How to read and compare; `auto` asks `kind_of(gold)`.

    Raises:
        UsageError: If `kind` is not a `Kind`.
        BackendError: If the process for mathematics cannot be started on this machine.
    """
    kind = kind_of(gold) if kind == "auto" else kind
    found = find_answer(reply, kind)
    return found is not None and answers_equal(found, gold, kind)


def kind_of(gold: object) -> Kind:
    """Tell what a gold is: one letter A to J (also `(A)` and `A.`) a choice, one number a number, all else a text."""
    text = _text(gold)
    if text is None or isinstance(gold, bool):
        return "text"
    if re.fullmatch(r"\s*(?:[A-J][.)]?|\([A-J]\))\s*", text):
        return "choice"
    return "number" if read_quantity(text, bare=True) else "text"


def _open_pairs(said: str, right: str) -> list[tuple[str, str]] | None:
    """Compare all that needs no algebra: None if different, else the pairs of expressions that have yet to be equal."""
    if _flat(said) == _flat(right) != "":
        return []
    gold, got = read_quantity(right, bare=True), read_quantity(said)
    if gold and got:
        return [] if got.same(gold) else None
    if not gold and (parts := _parts(right)):
        others = _parts(said)
        return _open_lists(others, parts) if others else None
    if _parts(said) or (gold and read_quantity(said.partition("=")[0])):
        return None  # several answers to a gold of one, or a false equation
    if max(len(said), len(right)) > MAX_CHARS:
        return None
    pair = (tidy(said), tidy(right))
    return [pair] if all(map(mathematical, pair)) else None


class _List(NamedTuple):
    brackets: str
    items: list[str]


def _parts(text: str) -> _List | None:
    """Split `(3, 4)`, `{3, 4}` or `3 or 4` at its outer separators; None if it is no list of two or more."""
    if len(text) > _MAX_LINE or nesting(text) > 5:
        return None
    text = tidy(text).replace(r"\{", "{").replace(r"\}", "}")
    brackets = text[:1] + text[-1:]
    if brackets[:1] in tuple("([{") and brackets[1:] in tuple(")]}") and nesting(text[1:-1], floor=True) >= 0:
        text = text[1:-1]
    else:
        brackets = ""
    items, depth, since = [], 0, 0
    for token in (_LIST_TOKEN if brackets else _BARE_LIST_TOKEN).finditer(text):
        depth += (token[0] in "([{") - (token[0] in ")]}")
        if depth == 0 and token[0] not in ")]}":
            items.append(text[since : token.start()].strip())
            since = token.end()
    items = [item for item in (*items, text[since:].strip()) if item]
    return _List(brackets, items) if 2 <= len(items) <= 50 else None


def _open_lists(said: _List, right: _List) -> list[tuple[str, str]] | None:
    """Compare two lists as `_open_pairs` does; an order counts where either stands in round or square brackets."""
    if len(said.items) != len(right.items) or (said.brackets and right.brackets and said.brackets != right.brackets):
        return None  # also `(3, 4)` and `[3, 4]`, which may be intervals
    if "(" in said.brackets + right.brackets or "[" in said.brackets + right.brackets:
        pairs = []
        for one, other in zip(said.items, right.items, strict=True):
            open_pairs = _open_pairs(one, other)
            if open_pairs is None:
                return None
            pairs += open_pairs
        return pairs
    left, missing = list(said.items), []
    for item in right.items:
        same = next((one for one in left if _open_pairs(one, item) == []), None)
        if same is None:
            missing.append(item)
        else:
            left.remove(same)
    sets = [r"\{" + ", ".join(items) + r"\}" for items in (left, missing)]
    return ([(sets[0], sets[1])] if all(map(mathematical, sets)) else None) if missing else []


def _flat(text: str) -> str:
    """Write a text without case, LaTeX dress, last full stop and spaces, save those between two digits."""
    if text.isalnum():
        return text.casefold()
    text = tidy(text) if len(text) <= MAX_CHARS else " ".join(ascii_twin(text).split())
    text = text.rstrip(" .。")
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1]
    return re.sub(r" (?!\d)|(?<!\d) ", "", text).casefold()


def _text(value: object, depth: int = 0) -> str | None:
    """Write an answer or a gold as text: typed fields give numbers, lists and sets, files may give bytes."""
    match value:
        case None:
            return None
        case str():
            return value
        case bytes() | bytearray():
            return value.decode("utf-8", "replace")
        case bool():
            return str(value)
        case int():
            # Python refuses to write integers of more than 4300 digits in decimal.
            return str(value) if value.bit_length() < 10_000 else hex(value)
        case Fraction():
            return f"{_text(value.numerator)}/{_text(value.denominator)}"
        case list() | tuple() | set() | frozenset() if depth < 4:
            items = [_text(item, depth + 1) or "" for item in value]
            opening, closing = "[]" if isinstance(value, list) else "()" if isinstance(value, tuple) else "{}"
            return opening + ", ".join(items) + closing
        case list() | tuple() | set() | frozenset():
            return "..."
        case _:
            return str(value)


def _check(kind: Kind) -> None:
    if kind not in get_args(Kind):
        raise UsageError(f"kind must be one of {', '.join(get_args(Kind))}, got {kind!r}")


# --- golds, and the authors' judge ----------------------------------------------------------------------------------


def gold_from_gsm8k(answer: object) -> str:
    """Return the gold of a GSM8K or GSM8K-Zero row as the shortest plain decimal.

    The authors' loader cuts `2,125` to `2` and `1.5` to `1` (14 golds of GSM8K test, 65 of GSM8K-Zero); this one keeps
    the whole value: `... #### 2,125` gives `2125`, 48.0 gives `48`, 1.5 stays `1.5`.

    Args:
        answer: The row's answer: text whose last `####` is followed by the gold (or the gold alone), or a number.

    Raises:
        DataError: If there is no value: None, a bool, nothing behind `####`, an infinite number.
    """
    if isinstance(answer, int | float | Decimal) and not isinstance(answer, bool):
        number = Decimal(repr(answer)) if isinstance(answer, float) else Decimal(answer)
        if not number.is_finite():
            raise DataError(f"a GSM8K answer must be a finite number, got {answer!r}")
        plain = format(number, "f") if number else "0"
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    gold = answer.rpartition("####")[2].strip() if isinstance(answer, str) else ""
    if not gold:
        raise DataError(f"a GSM8K answer must be a number, or text with the gold behind ####, got {answer!r:.80}")
    return re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", ascii_twin(gold))


def paper_judge(reply: str | None, gold: str, cloze: bool = True) -> bool:
    """Judge a reply as the authors' `AccEvaluator` does, faults included, for `--preset paper`.

    Not for anything else. Known faults, reproduced on purpose: `[[gold]]` anywhere in the reply is right, even where it
    is corrected later; without brackets the last number counts, whatever it is; `[[20 or 18]]` and `[[3, 4]]` are right
    for 18 and 4; a choice without brackets is the last capital A to D of the last line, so that "I CANNOT answer this."
    chooses A. It differs in that it never hangs or raises: a comparison by math-verify may take a second in the child
    process (there: five, and the main thread only), and no reply is wrong.

    Args:
        reply: What the model wrote.
        gold: The gold as text.
        cloze: Whether a number or expression is asked, and not a choice.

    Raises:
        BackendError: If the process for mathematics cannot be started on this machine.
    """
    if not reply:
        return False
    if f"[[{gold}]]" in reply:
        return True
    if not cloze:
        return _paper_choice(reply) == gold
    found = _paper_bracket(reply)
    if found is None:
        found = _paper_number(reply)
    return found is not None and (found == gold or _symbolic.authors_same(found, gold))


def _paper_bracket(reply: str) -> str | None:
    """Return what stands between the last `[[` and the next `]]` on its line, reading from the left."""
    found, at = None, reply.find("[[")
    while at >= 0 and (end := reply.find("]]", at + 2)) >= 0:
        line_end = reply.find("\n", at, end)
        if line_end < 0:
            found = reply[at + 2 : end]
        at = reply.find("[[", end + 2 if line_end < 0 else line_end + 1)
    return found


def _paper_number(reply: str) -> str | None:
    """Return the last run of two or more of `$0-9.,` or the last integer, without commas, dollars and last dot."""
    runs = re.findall(r"-?[$.,0-9]{2,}|-?[0-9]+", reply)
    return runs[-1].replace(",", "").replace("$", "").removesuffix(".") if runs else None


def _paper_choice(reply: str) -> str | None:
    text = reply.strip()
    tail = text[text.rfind("\n") + 1 :]
    if len(tail) < 5:
        cues = (text.find("the correct answer is"), text.find("答案为选项"))
        tail = next((text[at:] for at in cues if at >= 0), tail)
    letters = re.findall("[ABCD]", tail)
    return letters[-1] if letters else None
