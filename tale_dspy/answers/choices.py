"""Read a short text as one option, A to J."""

import re

from tale_dspy.answers.normalize import MAX_CHARS, normalize_latex

OR = r"(?:,|/|&|;|\bor\b|\band\b|、|或|和)"
"""What stands between two answers."""

_OPTION = re.compile(
    r"""(?i:(?:the\ )?(?:(?:correct|right|best|final)\ )?
          (?:option|choice|answer|选项|选择|选|答案)\ ?(?:is|是|为|:)?\ ?)?
        [(\[{]?\s?(?P<letter>[A-Ja-j])\s?
        # `A、Paris`, but not `A、B`
        (?P<mark>(?:[)\]}.:]|、(?!\s?[A-J](?:\W|$)))+|(?=[,;/&、]|是?正确|选?项|です|だ|입니다|이)|$|\s)
        (?P<rest>.*)""",
    re.DOTALL | re.VERBOSE,
)
_ALONE = re.compile(
    r"[\s*_$(\[{\"'`→✓✔✅]{0,9}(?:(?:option|choice|选项|选) ?)?([A-J])[\s*_$)\]}.:!\"'`✓✔✅]{0,9}", re.IGNORECASE
)
# A second option after the first: `, B`, `and (B)` or `(B)` next to it, `or B. London` anywhere.
_AND = rf"{OR}\s*(?:option\s|选项)?"
_OTHERS_NEXT = re.compile(rf"\s*(?:{OR}\s*)*{_AND}\(?[A-J](?![A-Za-z0-9])|\s*\([A-J]\)\W*$")
_OTHERS = re.compile(rf"{_AND}(?:[A-J][.:、]|\([A-J]\)|[A-J]\)(?=\s\w))(?=\s|$)")
_FORMULA = re.compile(r"[=+*^<>]|-\s?[A-Za-z]")
_BEFORE_A_FORMULA = re.compile(r"^([*\s]*[A-J])\s+(?=[$\\])")


def read_option(text: str) -> str | None:
    """Read `B`, `(b)`, `b.`, `B. Paris`, `B Paris`, `Option B` or `选项B` as `B`.

    It returns None for two options (`A or B`), an article or a pronoun (`A train`, `I am`), a small letter before a
    word (`a train`) and the left side of a formula (`E = mc^2`).

    Example:
        >>> [read_option(text) for text in ("(b)", "B. Paris", "选项B", "A or B", "A train")]
        ['B', 'B', 'B', None, None]
    """
    text = _BEFORE_A_FORMULA.sub(r"\1. ", text[:MAX_CHARS])  # `A $x$`: no article stands before a formula
    match = _OPTION.match(normalize_latex(text).strip("*\"'` "))
    if match is None:
        return None
    letter, mark, rest = match["letter"], match["mark"].strip(), match["rest"]
    if _OTHERS_NEXT.match(rest) or _OTHERS.search(rest):
        return None
    rest = rest.strip()
    if mark or not rest:
        return letter.upper()
    article = letter in "AI" and re.match(r"[a-z]", rest) and not re.match(r"(?:is|because|since)\b", rest)
    return None if letter.islower() or _FORMULA.match(rest) or article else letter


def option_alone(line: str) -> str | None:
    """Read a line that is nothing but one option."""
    alone = _ALONE.fullmatch(line[:60])
    return alone[1].upper() if alone else None
