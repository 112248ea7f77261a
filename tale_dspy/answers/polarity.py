"""Read replies to yes-or-no questions.

Examples are "Yes, because ..." and "The statement is false."
"""

import re

_WORDS = {"yes": "yes", "no": "no", "true": "true", "false": "false"}
_LEADS = re.compile(
    r"[\s*_\"'`(\[]{0,9}(?:(?:so|therefore|thus|hence|indeed|well|ok(?:ay)?|probably|(?:most\s)?likely|definitely|clearly),?\s)?[*_]{0,3}(yes|no|true|false)[*_\"'`)\]]{0,4}\s*(?:[,.;:!—–\n-]|\Z)",
    re.IGNORECASE,
)
_IS = re.compile(
    r"\b(?:(?:is|answer(?:\sis)?:?|be)(?:\s(?:probably|(?:most\s)?likely|definitely|clearly))?|(?:therefore|thus|hence),?|so,)"
    r"\s\W{0,3}(true|false|yes|no)\W*\Z",
    re.IGNORECASE,
)
_DENIED = re.compile(r"\b(?:not|never|neither|nor|cannot|if|whether|or)\b|n't", re.IGNORECASE)
_TURNS = re.compile(r"\b(?:wait|actually|correction|sorry|oops|however|on second thought)\b", re.IGNORECASE)
_GOES_ON = re.compile(r"\s*(?:and |or )?(?:yes|no|true|false|maybe|perhaps)\b(?=\W*(?:maybe|\Z|[,.]))", re.IGNORECASE)
_MAX_CHARS = 2_000


def is_polar(gold: str) -> bool:
    """Return whether a gold is yes, no, true or false."""
    return gold.strip().casefold() in _WORDS


def polar_answer(text: str) -> str | None:
    """Return the yes, no, true or false that a text gives as its answer.

    It begins the text, or ends it after "is" or "therefore"; None where it does neither. It is also None where the text
    takes itself back, denies or supposes: `yes and no`, `not true`, `Yes. Wait, ...`.

    >>> polar_answer("No, it does not rain."), polar_answer("The statement is true."), polar_answer("It is not true.")
    ('no', 'true', None)
    """
    text = text.strip()[:_MAX_CHARS]
    if leading := _LEADS.match(text):
        taken_back = _TURNS.search(text, leading.end()) or _GOES_ON.match(text, leading.end())
        return None if taken_back else leading[1].casefold()
    line = text.rpartition("\n")[2]
    ending = _IS.search(line)
    concluded = ending and ending[0][:2].casefold() not in ("is", "be", "an")
    clause = re.split(r"[.;!?]\s", line)[-1] if concluded else line  # `It does not fly. Therefore, no.`
    return ending[1].casefold() if ending and not _DENIED.search(clause) else None
