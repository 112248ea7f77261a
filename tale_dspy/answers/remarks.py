"""Remove a reply's remarks about its length, its confidence or its budget."""

import re

_MAX_TAIL = 20_000

_MEASURE = r"(?:tokens?|words?|characters?)"
_ITSELF = r"(?:response|reply|reasoning|answer|solution|explanation|calculation|output)"
_REST = r"(?:[^\n.!?]|\.(?=\d)){0,200}[.!?]?"  # to the end of the sentence
# `Confidence: 95%`, `Total tokens used: 42`, `Word count: 5`
_LABELLED = rf"""
    (?:(?:total|my|overall|estimated|approximate|final|actual|output|answer|number\sof)\s){{0,2}}
    (?:confidence|certainty|probability|difficulty|{_MEASURE}|steps?|length|budget|time)
    (?:[ ](?:level|score|count|used|usage|limit|budget|taken|estimate|rating|in\s\w+|of\s\w+)){{0,2}}
    \W{{0,6}}[:=≈~]{_REST}"""
# `This used 25 tokens`, `I took about 30 words`, `The answer above needed 25 tokens`
_USED = rf"""
    (?:this|that|it|i|we|my|used?|using|total|about|approximately|roughly|within|under|below|the\sabove
    |(?:the\s)?{_ITSELF})\b
    [^.!?\n]{{0,80}}?
    \b(?:used?|uses|using|took|takes|consumed?|needed|spent|count|budget|limit|generated|within|under|below)\b
    [^.!?\n]{{0,40}}\d[^.!?\n]{{0,12}}{_MEASURE}{_REST}"""
_LENGTH = rf"(?:the|this|my)\s{_ITSELF}\s[^.!?\n\d]{{0,40}}\d+[ -]?{_MEASURE}{_REST}"
_WITHIN = rf"(?:used|using|within|under|below)\s[^.!?\n\d]{{0,20}}\d+[ -]?{_MEASURE}{_REST}"
_SPENT = rf"\d+[ -]?{_MEASURE}\s(?:used|spent|consumed|generated){_REST}"
_COUNT = rf"(?:token|word|character)s?(?:\scount|\sused|\susage)?\s?(?:is|was|:|=|≈|~){_REST}"
_CONFIDENT = rf"""
    (?:i(?:'m|\sam)|we\sare|my|with)\s[^.\n]{{0,20}}
    (?:\d[^.\n]{{0,9}}(?:confident|certain|sure|confidence|certainty)|(?:confidence|certainty)[^.\n]{{0,20}}\d){_REST}"""
# `Would you like me to do it for 30 days?`
_OFFER = rf"""
    (?:let\sme\sknow|would\syou\s(?:like|want|prefer)|do\syou\s(?:want|need)|want\sme\sto|shall\si|should\si\salso
    |if\syou(?:'d|\swould)?\s(?:like|want|need|prefer)|feel\sfree|i\s(?:can|could)\salso|(?:i'm\s)?happy\sto|need\smore
    )\b{_REST}"""
_REMARK = re.compile(
    rf"(?:(?<=[.!?。)\]])\s+|^)[\s*_#>(\[-]{{0,9}}(?:{_LABELLED}|{_USED}|{_LENGTH}|{_WITHIN}|{_SPENT}|{_COUNT}|{_CONFIDENT}|{_OFFER})",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)


# What a model repeats of the paper's prompt.
_PROMPT = re.compile(r"let's think step by step(?: and use less than \d+ tokens)?:?", re.IGNORECASE)
_ONLY_CONFIDENT = re.compile(rf"\W*(?:{_CONFIDENT})\W*", re.IGNORECASE | re.VERBOSE)


def without_remarks(plain: str) -> str:
    """Return a reply without its remarks about itself.

    The reply stays as it is where no digit would be left, because the question may be about tokens or words. A model's
    being 95 % sure answers nothing.
    """
    plain = _PROMPT.sub(" ", plain)
    rest = _REMARK.sub(" ", plain[-_MAX_TAIL:])
    return rest if re.search(r"\d", rest) or _ONLY_CONFIDENT.fullmatch(plain[-_MAX_TAIL:]) else plain
