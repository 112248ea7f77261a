"""Remove text that stands around an answer, and recognise a refusal.

Such text is programs, step numbers, and a check after the answer.

What a reply says about itself (tokens, confidence) is left out by `remarks`.
"""

import re

from tale_dspy.answers.numbers import read_quantity
from tale_dspy.answers.stated import CORRECTION

_PROGRAM = re.compile(
    r"```(?:py(?:thon)?\d?|js|javascript|java|c|cpp|c\+\+|r|sql|bash|sh)[ \t]*\n.{0,20000}?(?:```|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_STEP = re.compile(r"^[ \t*#>-]{0,6}(?:step\s)?(\d{1,2})(?:[.):]\**)\s+(?=\S)", re.IGNORECASE | re.MULTILINE)
_CHECK = re.compile(
    r"(?:^|(?<=[.!?]\s))[ \t*#_]{0,6}"
    r"(?:(?:double[- ]?)?check(?:ing)?|verification|verify(?:ing)?|proof|to (?:check|verify))\b[*_]{0,3}\s?[:,]",
    re.IGNORECASE | re.MULTILINE,
)
# `18`, and below it why
_EXPLANATION = re.compile(
    r"\s*([^\n]{1,80})\n[\s*#_>]{0,9}(?:(?:explanation|reasoning|rationale|justification|because)\b"
    r"|here(?:'s|’s|\sis)\s(?:why|how|the\s(?:explanation|reasoning))\b|解释|解析|理由|说明)",
    re.IGNORECASE,
)
_RESULT = re.compile(r"\b(?:answer|result|total)\s?(?:is|was|[:=])", re.IGNORECASE)
_STATEMENT = re.compile(r"=|\b(?:is|are|was|were|has|have|had|will|can)\b", re.IGNORECASE)
_CONCLUDES = re.compile(r"\b(?:so|therefore|thus|hence|final(?:ly)?|answer|total)\b|[是为]", re.IGNORECASE)
_UNANSWERED = re.compile(
    r"\b(?:can(?:no|')?t|cannot|could\s?n[o']t|impossible to|unable to|not possible to)\s(?:be\s)?"
    r"(?:determin|answer|calculat|solv|say|tell|find|know|help)"
    r"|\b(?:not enough|insufficient|(?:need|requires?) (?:more|additional)|lack(?:s|ing)?) (?:of )?"
    r"(?:information|details|data|context)"
    r"|无法(?:确定|回答|计算)|信息不足",
    re.IGNORECASE,
)
_SHORT = 200  # characters of a reply in which a refusal concerns all of it


def without_programs(plain: str) -> str:
    r"""Remove fenced programs, whose last number is no answer.

    A fence around an answer stays.

    >>> without_programs("```python\nprint(9 * 2)\n```\n18").strip()
    '18'
    """
    return _PROGRAM.sub("\n", plain) if "```" in plain else plain


def without_check(plain: str) -> str:
    """Remove a check after a number.

    It stays where it corrects the number or concludes with another.

    >>> without_check("So 18. Check: 18 / 2 = 9.")
    'So 18. '
    """
    check = _CHECK.search(plain)
    if check is None or not re.search(r"\d", plain[: check.start()]):
        return plain
    behind = plain[check.end() :]
    return plain if CORRECTION.search(behind) or _CONCLUDES.search(behind) else plain[: check.start()]


def without_explanation_below(plain: str) -> str:
    r"""Return the answer alone where it stands first and its explanation below.

    The explanation stays where it corrects the answer or states a result, and below a statement, which may be a step.

    >>> without_explanation_below("18 dollars\n\nExplanation: she sells 9 eggs at $2.")
    '18 dollars'
    """
    explanation = _EXPLANATION.match(plain)
    if explanation is None or any(pattern.search(plain, explanation.end()) for pattern in (CORRECTION, _RESULT)):
        return plain
    answer = explanation[1].strip(" *_#")
    if _STATEMENT.search(answer) or not re.match(r"\W*\d", answer):
        return plain
    return answer if read_quantity(answer) else plain


def without_step_numbers(plain: str) -> str:
    r"""Remove the numbers that count lines.

    These are `Step 3: done`, and `3.` where another line has `2.` or `4.`.

    >>> without_step_numbers("1. 9 eggs\n2. That is all").split()
    ['9', 'eggs', 'That', 'is', 'all']
    """
    steps = {int(m[1]) for m in _STEP.finditer(plain)}

    def left(m: re.Match[str]) -> str:
        counts = "step" in m[0].lower() or not steps.isdisjoint((int(m[1]) - 1, int(m[1]) + 1))
        return " " if counts else m[0]

    return _STEP.sub(left, plain) if steps else plain


def is_unanswered(plain: str) -> bool:
    """Return whether a reply says that there is no answer.

    A short reply must say so as a whole, a long one in its last line.

    >>> is_unanswered("That cannot be determined from 18 eggs.")
    True
    """
    return _UNANSWERED.search(plain if len(plain) <= _SHORT else plain.rstrip().rpartition("\n")[2]) is not None
