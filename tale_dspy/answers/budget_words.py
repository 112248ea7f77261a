"""The patterns and words that `budget_estimate` reads a budget with."""

import re

from tale_dspy.answers.number_forms import DECIMAL, SCALE

_DIGITS = (
    rf"{DECIMAL}(?:[eE]\+?\d{{1,3}}(?![A-Za-z\d]))?(?:\s?{SCALE}|\s?K(?![A-Za-z]))?"
    r"(?!\d|[.,]\d|\s?%)"
)
_NUMBER = r"(?<![A-Za-z0-9_.,/^$€£])(?<![A-Za-z]-)-?" + _DIGITS
_TO = r"\s*(?:tokens?\s*)?(?:-+|—|~|\.{2,3}|…|(?:up\s)?to(?:\sat\smost)?|and|bis|à|到|至)\s*"
_TOKENS = r"(?:tokens?|toks?|t|jetons?|токен\w*|标记|词元|令牌|トークン|토큰)(?![A-Za-z])"
# What may stand between a label and its number: `should be set to about`, `: ~`, `(tokens) =`.
_FILL = (
    r"(?:[\s:=~≈<>≤≥*_(\[-]|(?:is|are|of|be|should|set|would|will|to|at|around|about|approximately|roughly|between"
    r"|from|needed|required|estimate|estimated|count|tokens?|for this|as|most|least|为|是|约|大约|:)(?![A-Za-z]))"
)


def _ignore_case(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


ANY_NUMBER = _ignore_case(_NUMBER)
"""A number that may be one of tokens."""
RANGE = _ignore_case(rf"({_NUMBER})(?:{_TO}({_DIGITS}))?")
"""A number or a range of two."""
MARGIN = _ignore_case(r"\s*(?:±|\+\s?/\s?-|\+-|plus or minus|give or take)\s*\d[\d.,]*\s?%?")
"""`± 10` after a number."""
DRESS = re.compile(r"\*{1,3}(?=\S)|(?<=\S)\*{1,3}|[`|]|\$(?=[^$\n]{1,40}\$)|(?<=\d)\$|\\boxed\s?(?=\{)|[{}]|#{2,}")
"""Bold, table bars, LaTeX and headings."""

TOKENS_WORD = _ignore_case(r"\btok|token|标记|词元|令牌")
"""Any word for tokens."""
BUDGET = _ignore_case(rf"(total\s(?:token\s)?)?(?:budget|预算){_FILL}{{0,12}}?(?={_NUMBER})")
"""The label `budget` before its number; the group says that it is a total one."""
BUDGET_LABEL = _ignore_case(r"(?:budget|预算|tokens?)[^\w\n\[]{0,9}(?:is|of|[为是])?[^\w\n\[]{0,9}\Z")
"""The label of a budget in double brackets."""
TOTAL = _ignore_case(
    r"(?<![A-Za-z])(?:grand total|total|sum|altogether|overall|in all|合计|总计|总共|一共|共)"
    rf"{_FILL}{{0,12}}?(?={_NUMBER})"
)
"""A total of parts before its number."""
CONCLUDES = _ignore_case(
    r"(?:^|(?<=[.;!?]\s)|(?<=\n)|(?<=,\s))(?:so|thus|therefore|hence|in total|altogether)"
    rf"{_FILL}{{0,12}}?(?={_NUMBER})"
)
"""`So` and the like before a number."""
BEFORE_TOKENS = _ignore_case(
    rf"\s*个?\s*(?:-?ish\s*)?(?:\((?:output|answer|total)\)|\([^()\d]{{1,30}}\))?\s*\]?\s*-?{_TOKENS}"
)
"""What follows a number of tokens."""
LABELLED_TOKENS = _ignore_case(
    r"(?P<what>(?:output|answer|response|completion|total|minimum|estimated|needed|required)\s)?"
    r"(?:tokens?|token\scount|token_\w+)(?:\s(?:needed|required|count|estimate))?"
    r"(?:\s?(?:\(\w+\)\s?)?[:=~≈]|\s(?:is|are|of|needed)(?![A-Za-z]))"
    rf"{_FILL}{{0,6}}?(?={_NUMBER})"
)
"""`Output tokens:` before a number."""
OTHER_TOKENS = _ignore_case(
    r"(?:input|prompt|question|context)\b(?:(?!\b(?:answer|response|output|reply|but)\b)[^.\n;)+]){0,40}$|\bnot\s$|(?:limit|maximum|max|out|window)\s(?:of|is)\s(?:a\smaximum\sof\s)?$"
    r"|\b(?:margin|buffer|reserve|extra)\b[^.\n;,]{0,15}$|\bx\s?$|\*\s?$"
)
"""Before numbers of tokens that are no budget: the question's, a limit, a margin, a factor."""
NOT_A_BUDGET = _ignore_case(
    r"\s*(?:tokens?\s)?(?:\(input\)|(?:each|per)\b|(?:is|are|would be)\stoo\s|input"
    r"|(?:dollars?|euros?|pounds?|cents?|usd|eur)\b)"
)
"""Words after such numbers."""
EACH = _ignore_case(r"\d\s?(?:tokens?\s)?(?:each|per)\b")
"""Tokens of one of several parts."""
ITEM = re.compile(
    rf"^\s*(?:[-*•]|\d{{1,2}}[.)]|step\s\d{{1,2}}:?)\s[^\n]*?({_NUMBER})\s?{_TOKENS}", re.IGNORECASE | re.MULTILINE
)
"""An item of a list that gives the tokens of a part."""

COUNTED = _ignore_case(r" ?-? ?(?:questions?|steps?|problems?|parts?|words?|lines?|sentences?|numbers?)(?![A-Za-z])")
"""Words after numbers of other things."""
CLAUSE_END = re.compile(r"[;!?。\n]|[.,](?=\s|$)|\s-\s(?=[^\W\d_])")
TOO_LITTLE = _ignore_case(r"\btoo\s(?:few|little|small|short|many|much)\b|\bnot\s(?:be\s)?enough\b|\binsufficient\b")
STATES_ANSWER = _ignore_case(r"\banswers?\b\W{0,3}(?:is|are|:|=)")
ONLY_AN_ANSWER = _ignore_case(rf"\W*(?:final\s)?answer\s?[:=]\W*{_NUMBER}\W*")
"""`Answer: 50` and nothing else."""
REFUSES = _ignore_case(
    r"\b(?:can(?:no|')?t|cannot|unable|sorry|unknown|impossible|as an ai|don't know|n/a)\b|不能|无法|抱歉|不知道"
)

REFUSES_TO_HELP = _ignore_case(r"\b(?:can(?:no|')?t|cannot|unable to|won't)\s(?:help|assist|answer|provide|comply)\b")
"""A refusal whatever number it holds."""
EQUATION = re.compile(r"(?<![\w.])\d[\d\s.,+*x×()-]{0,80}?[+*x×-][\d\s.,+*x×()-]{0,80}=\s*(?=\d)")
"""The left side of `25 + 25 = 50`."""

WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_WORDS = """a an the i i'd i'll it it's its this that these which is are was be been being would will should can could
may might need needs needed require requires required take takes took use uses using used estimate estimates estimated
say guess suggest choose think believe expect recommend about around approximately approx roughly circa ca only just
exactly nearly almost some maybe perhaps probably likely least most minimum maximum min max up to from between and or of
for at in by with no not more less fewer than under over below above enough sufficient suffice suffices fine good ok
okay sure answer question questions response reply solution problem problems calculation reasoning explanation step
steps part parts word words line lines sentence sentences numbers total sum two so thus therefore hence altogether all
overall simple short brief small complex long length simply easy arithmetic multiplication addition budget token tokens
number count output complete accurate correct generate respond solve my your our we you plus margin safe ish any one
each too few little many much because since as if then there here done thanks that's ungefähr etwa rund mindestens
höchstens maximal minimal environ aproximadamente unos alrededor de около примерно"""
VOCABULARY = frozenset(_WORDS.split())
"""The words of a sentence that speaks of nothing but an estimate."""
HAN_VOCABULARY = frozenset(
    "约大概需要预算为是最少至多个标记词元令牌共总计合左右估只一二三四五六七八九十百千万和到的数量生成回答该问题"
)
