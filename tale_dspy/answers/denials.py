"""Leave out what a reply says is not the answer.

Examples are "18, not 20", "not 20 but 18", "20 is wrong, 18" and "18 rather than 20".
"""

import re

from tale_dspy.answers.kinds import Kind

_NUMBER = (
    r"(?:\*\*|\\\()?(?:[$€£¥₹]\s?)?-?(?:\d+(?:,\d{3})*(?:\.\d+)?(?:/\d+)?|\.\d+)(?:\s?%)?"
    r"(?!,?\d)(?!\s?[/^=]|\s\*|\*\d)(?:\*\*|\$)?"
)
_OPTION = r"(?:\*\*)?\(?[A-J](?![A-Za-z0-9'’])\)?(?:\*\*)?"
_NOT = r"""(?:(?:(?:it|this|that|which|and|but)\s)?(?:(?:is|was|it's|that's)\s)?(?:not|never)\s
    |(?:it|this|that)?\s?(?:is|was)n't\s|≠\s?|\\neq?\s
    |(?:rather\sthan|instead\sof|as\sopposed\sto|in\splace\sof)\s
     (?:(?:the|his|her|their|its|our|my|your|usual|original|expected|previous|initial|full|regular|normal|planned|paying
     |having|using|getting|buying|option)\s){0,3}
    |,?而?不是|,?并非)"""
_WRONG = (
    r"(?:is|was|would\sbe|must\sbe|are)\s(?:wrong|incorrect|false|ruled\sout|not\s(?:right|correct|the\sanswer|it))"
)

IS_WRONG = re.compile(rf"\s{_WRONG}\b", re.IGNORECASE)
"""What says of the answer before it that it is none."""


def _denials(answer: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return the patterns of `not X`, and of `not X but` and `X is wrong`."""
    flags = re.VERBOSE | re.IGNORECASE
    one = rf"(?-i:{answer})"
    several = rf"{one}(?:\s(?:or|nor|and\snot)\s{one}){{0,3}}"
    behind = re.compile(rf"[\s,;(]{{0,3}}(?<![A-Za-z]){_NOT}{several}", flags)
    ahead = re.compile(
        rf"(?<![\w'’]){_NOT}{several}(?:\s[^\W\d_]{{2,20}})?,?\s(?:but|rather)\s(?:rather\s)?"
        rf"|(?<![\w.=+*/<>-])(?<![=+*/<>-]\s){one}(?:(?:,\s?|,?\s(?:and|or)\s){one}){{0,8}}(?:\s[^\W\d_]{{2,20}})?\s{_WRONG}\b[\s,;:.—–-]{{0,3}}",
        flags,
    )
    return behind, ahead


_OF_NUMBERS, _OF_OPTIONS = _denials(_NUMBER), _denials(_OPTION)
_DIGIT, _LETTER = re.compile(r"\d"), re.compile(r"(?<![A-Za-z0-9])[A-J](?![A-Za-z0-9'’])")
_CUE = re.compile(
    r"\bnot\b|never|n't|than|instead|opposed|place|wrong|incorrect|false|ruled|≠|\\ne|不是|并非", re.IGNORECASE
)
_MAX_CHARS = 2_000


def without_denials(text: str, kind: Kind) -> str:
    """Return a line or a short text without the answers that it denies.

    It is returned as it is where it denies none, or where no answer would be left: `not 20` answers nothing.

    Args:
        text: With ASCII brackets and digits; a longer one than 2,000 characters is returned as it is.
        kind: `choice` looks at letters, anything else at numbers.

    Example:
        >>> without_denials("18, not 20", "number"), without_denials("not C but B", "choice")
        ('18', 'B')
        >>> without_denials("It is not 20.", "number")
        'It is not 20.'
    """
    if len(text) > _MAX_CHARS or not _CUE.search(text):
        return text
    (behind, ahead), answer = (_OF_OPTIONS, _LETTER) if kind == "choice" else (_OF_NUMBERS, _DIGIT)
    rest = ahead.sub("", text)
    for denial in reversed(list(behind.finditer(rest))):
        before, after = rest[: denial.start()], rest[denial.end() :]
        if answer.search(after):
            rest = before + after
        elif answer.search(before):
            rest = before + ("" if after[:1] == ")" else re.sub(r"^[^.!?,;)]{0,40}", "", after))
    return rest.strip(" ,;(") if rest != text and answer.search(rest) else text
