"""Find the answer of a reply that neither marks nor states one.

It is the last number, the last option or the last line.
"""

import re

from tale_dspy.answers.asides import (
    is_unanswered,
    without_check,
    without_explanation_below,
    without_programs,
    without_step_numbers,
)
from tale_dspy.answers.choices import OR, option_alone
from tale_dspy.answers.denials import IS_WRONG, without_denials
from tale_dspy.answers.normalize import MAX_CHARS, normalize_latex
from tale_dspy.answers.number_forms import normalize_numbers, numbers_in
from tale_dspy.answers.number_words import NUMBER_WORDS
from tale_dspy.answers.numbers import read_quantity
from tale_dspy.answers.remarks import without_remarks
from tale_dspy.answers.stated import CORRECTION
from tale_dspy.answers.symbolic import mathematical

_MAX_LINES = 200
_MAX_LINE = 2000
_MAX_TEXT = 100
_MAX_CUES = 5

_DIGIT = re.compile(r"\d")
_PURE = re.compile(r"\s*-?[\d.,]+(?:\s?/\s?\d+)?\s?%?\s*")
_ASIDE = re.compile(r"\(([^()]*)\)")
_BOLD = re.compile(r"\*\*([^*\n]{1,200})\*\*")

_STATES_WORDS = re.compile(
    r"(?:\b(?:is|are|was|were|equals?|makes?|gives?|leaves?|has|have|costs?|total\sof|gets?|earns?|pays?|needs?|saves?|spends?|receives?|takes?|ergo,|thus,?|so,?)|=|:|是|为|有|共)\s?(?=\S{1,40})",
    re.I,
)

_DENIED = re.compile(
    r"(?:\b(?:is|are|was|be)\s(?:more|less|fewer|greater|higher|lower|larger|smaller)\sthan\s\$?|(?<![-=|\w\"'/])[<>≤≥≠]\s?=?\s?\$?|\\(?:neq?|[lg]eq?)\s?|\b(?:not|never|cannot(?:\sbe)?)\s|n't\s(?:be\s)?)$",
    re.IGNORECASE,
)
_DECORATION = re.compile(r"^(?:[-=]>|→|⇒|∴|[a-z]\s?->)\s?|</?[a-z]{1,9}>")
# `$18 — 9 eggs at $2 each`, `18, because 9 * 2 = 18`
_EXPLAINED = re.compile(r"([^\n\w]{0,3}\d[\d.,]{0,20}%?)(?: — |,? (?:because|since)\b)[^\n]*[^\W\d_]{3}[^\n]*")
_LABEL = re.compile(r"[*\s]*(?:(?:Option|选项) ?)?\(?([A-J])[).:、]\**\s")
_SMALL_LABEL = re.compile(r"\(?([a-j])[).:]\s+\S")
# `B, because it is odd`, `B - Paris`
_LEADING = re.compile(r"[*\s]{0,4}\(?([A-J])\)?\*{0,2}(?:,? (?:because|since|as)\b| [-—] \S)")
_LETTER = re.compile(r"(?<![A-Za-z0-9'’_\\^$-])(\(?)([A-J])(?![A-Za-z0-9'’_^=+/-]|\*(?![*.,;:!\s]|$))")
_DECIDES = re.compile(
    r"(?:(?<![A-Za-z])(?:option|choice|answer|is|be|it's|with|choose|select|pick)|选项?|[为是:])[ *(]{0,4}$",
    re.IGNORECASE,
)
# Before a letter that names something else: `vitamin B`, `Plan B`.
_NAMED = re.compile(
    r"(?:vitamins?|hepatitis|plan|groups?|types?|class|grade|points?|sides?|parts?|sections?|appendix|figure|table|columns?"
    r"|row|team|box|angle|vertex|city|town|person|player|train|car|pipe|store|shop|sets?|event|influenza|blood|line|note"
    r"|vertices|matrix|variable|machine|company|school|room|bag|jar|product|brand|series|batch|division)\s$",
    re.IGNORECASE,
)
_RULED_OUT = re.compile(
    r"\b(?:not|neither|nor|cannot|eliminat\w+|exclud\w+|rul\w+ out|wrong|incorrect)\b|n't|[不非]|排除", re.IGNORECASE
)
_IS_OUT = re.compile(r"\)?\s*(?:is (?:not|wrong|incorrect)|不)")
_OR_BEFORE = re.compile(rf"(?<![A-Za-z0-9])[A-J]\W*{OR}\W*$")


# `18 out of 20`, `18 of the 20 eggs`: the whole is no answer
_SHARE_OF = re.compile(
    r"\s(?:[^\W\d_]+\s)?(?:out\sof\s(?:the\s|a\stotal\sof\s)?|of\s(?:the|those|these|his|her|their)\s)"
)
_SIGN_WORD = re.compile(r"\b(?:minus|negative)\s\Z", re.IGNORECASE)


def last_number(plain: str) -> str | None:
    """Return the last number of a reply, as it is written there.

    Numbers outside explanations in round brackets are preferred.
    """
    whole = _DECORATION.sub("", plain.strip())
    alone = len(whole) <= MAX_CHARS and "\n" not in whole and "[[" not in whole
    if whole.startswith("[") and read_quantity(whole.strip("[]")) is not None:
        return whole.strip("[]")  # brackets that were not doubled or not closed
    steps = len(re.findall(r"\d\W{0,3}=", whole)) > 1 and re.search(r"[;,]\s", whole)  # `16 - 7 = 9; 9 * 2 = 18`
    if alone and not steps and read_quantity(whole) is None and mathematical(normalize_latex(whole)):
        return without_denials(whole, "number")  # a bare expression or list, `\sqrt{2}` or `3, 4`, has no last number
    if explained := _EXPLAINED.fullmatch(whole):
        return explained[1] if read_quantity(explained[1]) else None
    if not _DIGIT.search(plain):
        return _number_in_words(plain)
    plain = without_explanation_below(without_programs(plain))
    plain = without_step_numbers(without_check(without_remarks(plain)))
    if is_unanswered(plain):
        return None
    lines = [line[-_MAX_LINE:] for line in plain.splitlines() if _DIGIT.search(line)][: -_MAX_LINES - 1 : -1]
    numbers = (_number_of_line(line, asides) for asides in (False, True) for line in lines)
    return next((number for number in numbers if number is not None), None)


def last_option(plain: str) -> str | None:
    """Return the last letter that stands as an option.

    An article or a pronoun is no option.
    """
    lines = [without_denials(line, "choice") for line in plain.splitlines() if line.strip()]
    if not lines:
        return None
    for line in reversed(lines[:1] + lines[-_MAX_LINES:]):
        if letter := option_alone(line):
            return letter
    if len(lines) == 1 and (small := _SMALL_LABEL.match(lines[0])):
        return small[1].upper()
    apart = re.search(r"\n[ \t]*\n[^\n]+\Z", plain.rstrip()) is not None  # an answer after the repeated options
    for line, neighbours in ((lines[-1], [] if apart else lines[-2:-1]), (lines[0], lines[1:2])):
        if (letter := _option_label(line)) and not any(map(_option_label, neighbours)):
            return letter
    if (
        len(lines) == 1
        and (leading := _LEADING.match(lines[0]))
        and not re.match(rf"\W*[A-J]\)?,? (?:{OR} )?\(?[A-J]\b", lines[0])
    ):
        return leading[1]
    return _deciding_letter(lines[-1][-_MAX_LINE:])


def last_text(text: str) -> str | None:
    """Return the last line if it is short, or what is bold in it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return None
    if bold := _BOLD.findall(lines[-1]):
        return str(bold[-1])
    return lines[-1] if len(lines[-1]) <= _MAX_TEXT else None


def _number_in_words(plain: str) -> str | None:
    """Return the number in words that ends a reply without digits.

    An example is `So the total is twelve.`
    """
    line = plain.rstrip().rpartition("\n")[2][-_MAX_LINE:].rstrip(" .!。*")
    for cue in reversed(list(_STATES_WORDS.finditer(line))[-_MAX_CUES:]):
        rest = line[cue.end() :].strip(" *")
        if read_quantity(rest) is not None:
            return rest
    words = list(NUMBER_WORDS.finditer(line[-_MAX_TEXT:]))
    signed = _SIGN_WORD.search(line[-_MAX_TEXT:][: words[-1].start()]) if words else None
    alone = line[-_MAX_TEXT:][signed.start() if signed else words[-1].start() :] if words else line
    return alone if len(line) <= _MAX_TEXT and read_quantity(alone) and read_quantity(line) else None


def _number_of_line(line: str, asides: bool) -> str | None:
    line = without_denials(line, "number")
    bold = [text for text in _BOLD.findall(line) if read_quantity(text)]
    if bold and not CORRECTION.search(line, line.rfind(bold[-1])):
        return str(bold[-1])
    line = normalize_numbers(line)
    if not asides:
        line = _ASIDE.sub(lambda m: m[0] if _PURE.fullmatch(m[1]) and not _is_other_form(m) else " ", line)
    numbers = numbers_in(line)
    return _unless_two(numbers) if numbers else None


def _is_other_form(aside: re.Match[str]) -> bool:
    """Return whether an aside repeats the number before it.

    An example is `12.5% (0.125)`.
    """
    before = numbers_in(aside.string[: aside.start()])[-1:]
    one, other = (read_quantity(text) for text in (before[0][0] if before else "", aside[1]))
    return one is not None and other is not None and one.same(other)


def _unless_two(numbers: list[re.Match[str]]) -> str:
    """Return the last number, or the whole phrase where it is no single number.

    `20 or 18`, `between 18 and 20`, `not 18` and `< 18` are such phrases: they equal no number.
    """
    last = numbers[-1]
    if denial := _DENIED.search(last.string[: last.start()]):
        return last.string[denial.start() : last.end()]
    if wrong := IS_WRONG.match(last.string, last.end()):
        return last.string[last.start() : wrong.end()]
    if len(numbers) > 1:
        text, before = last.string, numbers[-2]
        gap = text[before.end() : last.start()]
        between = re.search(r"\bbetween\W{0,3}$", text[: before.start()], re.IGNORECASE)
        if len(gap) < 30 and (re.search(r"\bor\b|或", gap) or (between and "and" in gap)):
            return text[before.start() : last.end()]
        if _SHARE_OF.fullmatch(gap) and not re.search("[%/]", before[0]):
            return before[0]
    return last[0]


def _option_label(line: str) -> str | None:
    """Read `B. Paris` or `Option B: Paris`, a line that names an option.

    Two such lines in a row repeat the question.
    """
    label = _LABEL.match(line)
    return label[1] if label else None


def _deciding_letter(line: str) -> str | None:
    """Return the last letter that decides.

    It ends a line, or stands in brackets or after "is" and the like, and is not ruled out.
    """
    letters: list[re.Match[str]] = []
    for match in _LETTER.finditer(line):
        before, after = line[: match.start()], line[match.end() :]
        clause = re.split(r"[.,;:!?。,]|\bbut\b", before)[-1]
        ends = re.fullmatch(r"[)*\s]*[.!。]*[*\s]*", after) and not _NAMED.search(before)
        stands = match[1] or _DECIDES.search(before) or ends
        article = match[2] in "AI" and not match[1] and re.match(r"\s+\w", after)
        ruled_out = _RULED_OUT.search(clause) or _IS_OUT.match(after)
        if stands and not article and not ruled_out:
            letters.append(match)
    if not letters or _OR_BEFORE.search(line[: letters[-1].start()]):
        return None  # none, or `A or B`
    return letters[-1][2]
