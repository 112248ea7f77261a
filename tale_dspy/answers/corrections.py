"""Find where a reply takes its answer back.

Examples are "Wait, no: 43", "Sorry, I meant 43" and "That is wrong.".

A statement in full ("Correction: the answer is 43") is read by `stated`; here are the short ones, in which only a
retracting word stands before the new answer, and those that name no new answer.
"""

import re
from typing import NamedTuple

from tale_dspy.answers.choices import option_alone
from tale_dspy.answers.fallback import last_number, last_option
from tale_dspy.answers.kinds import Kind
from tale_dspy.answers.stated import leading_number

_MAX_CHARS = 4_000  # after the answer: nobody takes it back later
_MAX_CUES = 20
_MAX_ANSWER = 80

# At the start of a sentence or after a dash: a retracting word, and more of them.
_START = r"(?:(?<=[.!?…;:,()\]}\n—–-])|(?<=[.!?…;:,)\]}\n—–*-]\s)|(?<=。|！))(?:(?:oh|ah|uh|um|well|but)[\s,.!…]{1,3})?"
_SENTENCE_START = r"(?:(?<=[.!?…;:\]}\n—–])|(?<=[.!?…;:\]}\n—–*-]\s)|(?<=。|！))"
_WORD = r"""(?:wait|oops|whoops|sorry|apologies|actually|hold\son|hmm+|scratch\sthat|no|nope|edit|edited|correction
    |my\s(?:mistake|bad)|i\smeant?|make\sthat|更正|等等|不对|错了|哦不)"""
_BETWEEN = r"[\s,.:;!…—–*-]{0,5}"
_LINK = r"""(?:(?:it|that|this)(?:'s|\sis|\sshould\sbe|\smust\sbe)|should\sbe|make\s(?:it|that)|the\sanswer\sis
    |应该?[是为]|是)"""
_RETRACTS = re.compile(
    rf"{_START}\s{{0,3}}[*_]{{0,3}}(?P<words>{_WORD}(?:{_BETWEEN}{_WORD}){{0,4}}){_BETWEEN}(?:(?P<link>{_LINK}){_BETWEEN})?(?=[^\s])",
    re.IGNORECASE | re.VERBOSE,
)
# `Let me recheck: 9 * 2 = 18. So it's 18.`
_RECHECKS = re.compile(
    r"\b(?:let\sme|let's|i(?:'ll|\swill|\sshould|\sneed\sto))\s"
    r"(?:re-?check|double[- ]check|re-?calculate|re-?consider|redo)\b",
    re.IGNORECASE,
)
_CONCLUDES = re.compile(
    r"\b(?:so|thus|hence|therefore),?\s(?:it|that|this)(?:'s|\sis)\s(?=[^\n]{1,80}\Z)", re.IGNORECASE
)
_NEEDS_PAUSE = re.compile(r"(?:wait|no|hold\son)\Z", re.IGNORECASE)
_ONLY_THINKS = re.compile(r"hm+", re.IGNORECASE)
_SURE = re.compile(r"(?:no|nope|edit(?:ed)?|correction|i\smeant?|make\sthat|更正|不对)\W*\Z", re.IGNORECASE)
_DENIES = re.compile(
    rf"""{_SENTENCE_START}\s{{0,3}}(?:{_WORD}{_BETWEEN}){{0,3}}
        (?:(?:that|this|it)(?:'s|\sis|\swas)\s(?:wrong|incorrect|not\s(?:right|correct))
          |i(?:'ve|\shave)?\s(?:made|was)\s(?:an?\s(?:\w+\s)?(?:mistake|error)|wrong)|scratch\sthat|my\smistake)
        (?=\s?(?:[.,;:!?…—–\n]|\Z|\sin\b|\swhen\b|\sthere\b|\sabove\b))""",
    re.IGNORECASE | re.VERBOSE,
)
_END = re.compile(r"[.!?;](?=\s|$|[\"'*)])|[。\n]|,?\s(?:because|since|which|as|not|instead)\b")
_OPENS_A_SENTENCE = re.compile(
    r"(?:let|the|this|that|these|it|i|we|you|he|she|they|there|if|as|in|for|so|but|not|now|what|how|please|a|an)\b",
    re.IGNORECASE,
)
_SAYS_MORE = re.compile(r"\b(?:is|are|was|were|be|has|have|had|not|no|of|do|does|did|will|can)\b", re.IGNORECASE)
_MAX_WORDS = 4


class Correction(NamedTuple):
    """What a reply puts in place of its answer."""

    text: str | None
    """The new answer; None where the old one is only taken back."""


def last_correction(plain: str, since: int, kind: Kind, *, guess: bool) -> Correction | None:
    """Return how a reply takes its answer back, or None where the answer stands.

    Args:
        plain: The reply with ASCII brackets and digits.
        since: Where the answer ends.
        kind: What the answer is.
        guess: Whether the last number or option after "that is wrong" counts as the new answer.

    Example:
        >>> last_correction("The answer is 42. Wait, no: 43", 16, "number", guess=True)
        Correction(text='43')
        >>> last_correction("The answer is 42. That's wrong.", 16, "number", guess=True)
        Correction(text=None)
    """
    rest = plain[: since + _MAX_CHARS]
    correction, at = None, since
    for cue in list(_RETRACTS.finditer(rest, since))[:_MAX_CUES]:
        if _NEEDS_PAUSE.search(cue["words"]) and not re.search(r"\w|[,.:;!…—–-]", rest[cue.end("words") : cue.end()]):
            continue  # `Wait 5 minutes`, `No 2 eggs are alike`
        linked = cue["link"] is not None
        if not linked and _ONLY_THINKS.fullmatch(cue["words"]):
            continue
        sure = _SURE.search(cue["words"]) is not None
        answer = _short_answer(rest[cue.end() : cue.end() + 2 * _MAX_ANSWER], kind, sure=sure, linked=linked)
        if answer is not None:
            correction, at = Correction(answer), cue.end()
    for cue in list(_RECHECKS.finditer(rest, at))[:_MAX_CUES]:
        conclusion = _CONCLUDES.search(rest, cue.end())
        answer = _short_answer(rest[conclusion.end() :], kind, sure=False, linked=True) if conclusion else None
        if conclusion and answer is not None:
            correction, at = Correction(answer), conclusion.end()
    denials = list(_DENIES.finditer(rest, at))[:_MAX_CUES]
    if not denials:
        return correction
    behind = rest[denials[-1].end() :]
    if not guess or kind == "text":
        return Correction(None)
    return Correction(last_option(behind) if kind == "choice" else last_number(behind) if behind.strip(" .") else None)


def _short_answer(after: str, kind: Kind, *, sure: bool, linked: bool) -> str | None:
    """Read a sentence that is nothing but an answer.

    `43 apples` is one, but `2 typos fixed` only after "it is".
    """
    end = _END.search(after)
    sentence = (after[: end.start()] if end else after).strip(" *_`\"')")
    if len(sentence) > _MAX_ANSWER:
        return None
    if kind == "choice":
        return option_alone(sentence) or option_alone(sentence.partition(",")[0])
    words = len(re.findall(r"[^\W\d_]{2,}", sentence))
    if (
        words < (_MAX_WORDS if linked else 2)
        and not _SAYS_MORE.search(sentence)
        and (number := leading_number(sentence)) is not None
    ):
        return number
    text_counts = sure and kind != "number" and words <= _MAX_WORDS and not _OPENS_A_SENTENCE.match(sentence)
    return sentence if sentence and text_counts and (sentence[0].isupper() or not sentence[0].isalpha()) else None
