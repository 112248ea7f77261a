"""Find what a reply states as its answer in words.

Examples are "the answer is ...", "I choose ..." and "答案是 ...".
"""

import re

from tale_dspy.answers.choices import OR, option_alone, read_option
from tale_dspy.answers.kinds import Kind
from tale_dspy.answers.marked import AnswerSpan
from tale_dspy.answers.normalize import MAX_CHARS, normalize_latex
from tale_dspy.answers.number_forms import NUMBER, STRUCTURED, UNSIGNED, normalize_numbers
from tale_dspy.answers.number_words import NUMBER_WORDS
from tale_dspy.answers.numbers import read_quantity
from tale_dspy.answers.symbolic import mathematical

_MAX_STATEMENTS = 50

# --- how a statement begins -----------------------------------------------------------------------------------------

_SAID = re.compile(
    r"""(?<![A-Za-z])(?:answers?|ans)(?:\s(?:to|for|of)\s[^.,:;!?\n]{1,60}?)?["'*_`)]{0,3}\s?
          (?:(?:is|are|was|equals|(?:should|must|will)\sbe|comes\s(?:out\s)?to)(?![A-Za-z])\s?:?|:|=)
      | <(?:final_)?(?:answer|choice|option|result|output)>
      | (?:^|\n)[#*> \t]{0,9}(?:the\s)?(?:final\s)?answer[*:]{0,4}[ \t]{0,9}(?=\n)  # a heading
      | (?<!\w)(?:respuesta|resposta|réponse|risposta|antwort|odpowiedź|ответ|उत्तर|الجواب|الإجابة)(?:\s\w{1,12})?\s?
          (?:(?:es|est|é|è|ist|to|हैं?|هو|هي)(?!\w)\s?:?|:|=|[—-](?=\s))
      | (?:正解|答え|解答|回答)\s?(?:は|:) | (?:정답|답)\s?(?:은|는|:)
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
    r"""(?<![A-Za-z])
        (?=\(?[A-J]\)?[*_]{0,2}(?:(?:选?项)?是?正确
          |\s(?:is|(?:must|would|should|has\ to)\ be|seems)\s(?:the\s)?(?:correct|right|best|answer)
          |\s(?:remains|is\ left)(?=\s*[.!]|\s*$)))""",
    re.VERBOSE,
)
_INSTEAD = re.compile(
    r"""(?<![A-Za-z])(?:it|this|that|total|result|value|amount|number)
          (?:'s|\sis|\swas|\sequals|\s(?:should|must|would|has\ to)\sbe)
          (?:\s(?:actually|really|instead|rather))?\s?:?
      | (?<![A-Za-z])(?:correction\s?:|(?:i|we)\smeant)
      | 应该?[是为]|更正\s?[为:]""",
    re.IGNORECASE | re.VERBOSE,
)
CORRECTION = re.compile(
    r"""(?<![A-Za-z])
        (?:correct(?:ion|ed)|actually|wait|oops|sorry|mistake|wrong|incorrect|revised)
        (?![A-Za-z])
      | 更正|等等|不对|错了|纠正""",
    re.IGNORECASE | re.VERBOSE,
)
"""Words with which a reply takes back what it has said."""
_DOUBT = re.compile(
    r"""(?<![A-Za-z])(?:if|whether|suppos(?:e|ing)|assum(?:e|ing)|unless|not)(?![A-Za-z])
      | n't|如果|假设|若|不(?!对)""",
    re.IGNORECASE | re.VERBOSE,
)

# --- what it states -------------------------------------------------------------------------------------------------

_OPENING = re.compile(r"(?:[\s:*_\"'`]|<(?=[A-Za-z][^<>\n]{0,40}>)|>(?!\s?-?\d)|\\[(\[]|\$\$)*+")
_STOP = re.compile(
    r"""[.!?;](?=\s|$|[\"')])|。
      | ,?\s(?:because|since|which|as)\b|,\s(?:so|where|but|for)\b
      | \ \(|</|\"\s?[},]""",
    re.VERBOSE,
)
_TEXT_STOP = re.compile(
    r"(?<!\bDr)(?<!\bMr)(?<!\bMs)(?<!\bMrs)(?<!\bSt)(?<!\bProf)(?<!\bJr)(?<!\bvs)(?<!\.[A-Z])[.](?=\s|$|[\"'*])"
    r"|[!?](?=\s|$|[\"'*])|。|</"
)
_DRESSED = re.compile(r"(?:\*\*|\$\$?|\\\(|\")(?!\s)([^*$\"\n]{1,200}?)(?:\*\*|\$(?!\d)|\\\)|\")")

_FIRST = re.compile(rf"-?\s?{UNSIGNED}")
_LEAD = re.compile(
    r"""(?:(?:about|approximately|around|roughly|simply|just|only|exactly|therefore|thus|then|now|indeed
          |equal\ to|of|a\ total\ of|约|大约|共|≈|=|[A-Za-z]\s?=)\s?){0,4}""",
    re.IGNORECASE | re.VERBOSE,
)
_IN_WORDS_FIRST = re.compile(
    rf"(?:(?:minus|negative)\s)?(?:{NUMBER_WORDS.pattern})|负?[零一二两三四五六七八九十百千]", re.I
)
_IN_WORDS = re.compile(r"\s(?:times|plus|minus|divided by|multiplied by|(?:less|more|fewer) than)\b", re.IGNORECASE)
_FORMULA = re.compile(r"\s?(?:[^\W\d_]+\s?){0,2}(?:=|≈|[-+*/x÷]\s?[\d(.])")
_ATTACHED = re.compile(r"[^\s\d]+")
_LABEL = re.compile(r"\W{0,2}[A-Ja-j][.)]?\s?")  # the dot of `B. Paris` ends no sentence
_SEVERAL = re.compile(
    # " dollars, or maybe 20"; to the end of the sentence also ", 4 and 5 eggs" and " to 20"
    rf"(?:\s?[^\W\d_]+){{0,3}}?\s?,?\s?(?:\bor\b|或)[^\d]{{0,20}}\d"
    rf"|(?:\s?[^\W\d_]+){{0,2}}?(?:\s?(?:{OR}|to|-)\s?(?:{OR}\s?)?{NUMBER}(?:\s?[^\W\d_]+){{0,2}})+$",
    re.IGNORECASE,
)


def last_statement(plain: str, kind: Kind, span: AnswerSpan | None) -> AnswerSpan | None:
    """Return the answer that the last readable statement begins with.

    It comes after the words that mark an answer or, without them, anywhere in the reply.
    """
    since = span.end if span else 0
    cues = [m.span() for m in _SAID.finditer(plain, since)]
    if kind == "choice":
        cues += [m.span() for pattern in (_CHOSEN, _RIGHT) for m in pattern.finditer(plain, since)]
    if span:
        cues += [m.span() for m in _INSTEAD.finditer(plain, since) if _is_corrected(plain, since, m.end())]
    for start, end in sorted(cues)[: -_MAX_STATEMENTS - 1 : -1]:
        # "If she sells all, the answer is 18" states; after a span it only supposes.
        clause = re.split(r"[.;:!?\n。]" if span else r"[.,;:!?\n。]", plain[max(since, start - 80) : start])[-1]
        if not _DOUBT.search(clause):
            text_counts = span is None or _is_corrected(plain, since, start)
            content = _read_statement(plain[end : end + MAX_CHARS], kind, text_counts)
            if content is not None:
                return AnswerSpan(start, end, content)
    return None


def _is_corrected(plain: str, since: int, at: int) -> bool:
    return CORRECTION.search(plain, max(since, at - 80), at) is not None


def _read_statement(after: str, kind: Kind, text_counts: bool) -> str | None:
    """Read a statement: a number, an option, or a text where that counts."""
    line = after[_end_of_match(_OPENING, after) :].partition("\n")[0]
    if kind == "number":
        return leading_number(line)
    if kind == "choice":
        return _leading_option(line)
    if dressed := _DRESSED.match(after.lstrip(" \t\n:>")):
        text = dressed[1].strip()
    else:
        text = _text_before(_TEXT_STOP, line).strip(" *_`\"'")
    if kind == "auto":
        if (answer := leading_number(line) or option_alone(text)) is not None:
            return answer
        text_counts &= text[:1].isupper() or not text[:1].isalpha() or text.lower() in ("yes", "no", "true", "false")
    return text if text and text_counts else None


def leading_number(line: str) -> str | None:
    """Read the number a sentence begins with.

    `9 x 2 = 18` is its last side. Where the number goes on as something else (`2x`, `18 or 20`), the sentence is
    returned, which then equals no number; `2 times 9` states nothing.
    """
    sentence = _text_before(_STOP, normalize_numbers(line)).rstrip(" .!?,;:")
    start = _end_of_match(_LEAD, sentence)
    if structured := STRUCTURED.match(sentence, start):
        return structured[0]
    first = _FIRST.match(sentence, start)
    if first is None:
        if _IN_WORDS_FIRST.match(sentence, start) and read_quantity(sentence[start:]):
            return sentence[start:]
        return sentence if sentence.startswith("\\") and mathematical(sentence) else None
    rest = sentence[first.end() :]
    if _FORMULA.match(rest):
        last_side = re.split("[=≈]", rest)[-1]
        return (leading_number(last_side) if last_side != rest else None) or sentence
    if _IN_WORDS.match(rest):
        return None
    attached = rest[: _end_of_match(_ATTACHED, rest)]
    if _SEVERAL.match(rest) or (attached.strip("*_)") and read_quantity(first[0] + attached) is None):
        return sentence
    return first[0].strip()


def _leading_option(line: str) -> str | None:
    """Read the option a sentence begins with.

    Two options are returned as one text, which equals none.
    """
    sentence = normalize_latex(line)
    behind = _end_of_match(_LABEL, sentence)
    sentence = (sentence[:behind] + _text_before(_STOP, sentence[behind:])).rstrip(" .!?")
    if letter := read_option(sentence.partition(">")[0] if re.match(r"[A-Ja-j]>", sentence) else sentence):
        return letter
    return sentence if re.match(rf"\W*[A-J]\)?\s*{OR}", sentence) else None


def _end_of_match(pattern: re.Pattern[str], text: str) -> int:
    """Return where a match at the start of a text ends; 0 without one."""
    match = pattern.match(text)
    return match.end() if match else 0


def _text_before(pattern: re.Pattern[str], text: str) -> str:
    """Return the text up to the first match."""
    match = pattern.search(text)
    return text[: match.start()] if match else text
