"""Read one short answer as a value: a number, compared exactly here, or an expression, compared by math-verify.

math-verify (on sympy) knows the mathematics, but in this process it is no judge for strangers' text: its time-outs are
signals, which only the main thread may set, and some inputs keep sympy busy for ever. So it runs in one child process
(`python -m` this module), started at first use, kept, and answering one question at a time. The child watches itself:
a native timer ends it when a question takes longer than `LIMIT_S`, even inside one long C call; that question is then
answered "not the same".

Replies, golds and option letters are not known here: see `tale_dspy.answers`.
"""

import atexit
import contextlib
import faulthandler
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import IO, Any, cast

from tale_dspy.errors import BackendError

LIMIT_S = 0.8
"""Seconds of wall clock one question may take; with the start of a child a judgement stays below two."""
START_LIMIT_S = 60.0
"""Seconds the child may take to import sympy: the machine's matter, not the question's."""
MEMORY_BYTES = 4 << 30
"""Address space of the child, where the system can limit it."""
MAX_COPIES = 1000
"""How often the child replaces the copy of itself that answers, before it is itself replaced."""
MAX_CHARS = 300
"""Longer texts are neither read as a number nor compared as mathematics; no answer of a published set is that long."""
MAX_EXPONENT = 400
"""Decimal exponents beyond it are not read: `1e999999999` would be an integer of a billion digits."""

# --- typography -----------------------------------------------------------------------------------------------------

# Full-width forms, the many spaces and minus signs, each as its one ASCII twin, so that positions stay the same.
_TWINS = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_TWINS |= dict.fromkeys([0xA0, *range(0x2000, 0x200E), 0x202F, 0x205F, 0x2060, 0x3000, 0xFEFF], 0x20)
_TWINS |= dict.fromkeys([0x2010, 0x2011, 0x2012, 0x2013, 0x2212, 0xFE63], 0x2D)
_TWINS |= {0x3010: 0x5B, 0x3011: 0x5D}
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_HALVES = {"½": " 1/2", "¼": " 1/4", "¾": " 3/4", "⅓": " 1/3", "⅔": " 2/3", "⅛": " 1/8"}
_TYPOGRAPHY: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|mbox|operatorname)\s?\{([^{}]*)\}"), r" \1 "),
    (re.compile(r"\\(?:left|right|displaystyle)(?![A-Za-z])|\\!|`"), ""),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"(\d)\s*\\[dt]?frac\s?\{\s?(\d+)\s?\}\s?\{\s?(\d+)\s?\}"), r"\1 \2/\3"),
    (re.compile(r"\\[dtc]?frac\s?\{\s?(-?[\d.,]+)\s?\}\s?\{\s?(-?[\d.,]+)\s?\}"), r"\1/\2"),
    (re.compile(r"\\[dt]?frac\s?(\d)\s?(\d)"), r"\1/\2"),
    (re.compile(r"(?<!\\)\\([$%#_])"), r"\1"),
    (re.compile(r"(?<!\\)\\(?:[][() ,;:]|q?quad(?![A-Za-z]))|~"), " "),
    (re.compile(r"\\(?:times|cdot)(?![A-Za-z])|[×·]"), "*"),
    (re.compile(r"\\(?:approx|simeq|sim)(?![A-Za-z])|≃"), "≈"),
    (re.compile(r"\^\s?\{?\s?\\circ\s?\}?|\\degree(?![A-Za-z])"), "°"),
    (re.compile(r"[⁰¹²³⁴-⁹⁻]+"), lambda m: f"^{{{m[0].translate(_RAISED)}}}"),
    (re.compile("[½¼¾⅓⅔⅛]"), lambda m: _HALVES[m[0]]),
    # Bold, but not the power sign of `x**2` and `x ** 2`.
    (re.compile(r"(?<![\w)])\*\*(?=\S)|(?<=\S)\*\*(?![\w(\\])"), ""),
    # A currency sign or a dollar of LaTeX: neither changes a value. `-$3` keeps its sign attached.
    (re.compile(r"(?<=-)\s?[$€£¥₹₩]\s?|\b(?:US|HK|AU|NZ|CA)(?=\$)"), ""),
    (re.compile(r"[$€£¥₹₩]"), " "),
    (re.compile(r"\b(?:negative|Negative) (?=\d)"), "-"),
    (re.compile(r"\s+"), " "),
]


def ascii_twin(text: str) -> str:
    """Replace full-width characters, odd spaces and Unicode minus signs one for one; positions stay the same."""
    return text if text.isascii() else text.translate(_TWINS)


def tidy(text: str) -> str:
    r"""Take the typography off a short text: LaTeX spacing, `\text{}`, numeric `\frac`, currency, dollars, bold."""
    text = ascii_twin(text)
    for pattern, replacement in _TYPOGRAPHY:
        text = pattern.sub(replacement, text)
    return text.strip()


# --- numbers --------------------------------------------------------------------------------------------------------

_DIGITS = r"(?:\d{1,3}(?:[,'’]\d{3})+(?!\d)|\d{1,3}(?: \d{3})+(?!\d)|\d{1,2}(?:,\d{2})+,\d{3}(?!\d)|\d++)"
_DECIMAL = rf"(?:{_DIGITS}(?:\.\d++)?|\.\d++)"
_POWER = r"(?:[eE][+-]?\d++(?![A-Za-z])|\s?[x*]\s?10\s?\^\s?\{?\(?[+-]?\d++\)?\}?)"
NUMBER = (
    rf"(?:\d++ [1-9]\d*+\s?/\s?\d++|{_DECIMAL}\s?/\s?-?{_DECIMAL}"
    rf"|10\s?\^\s?\{{?\(?[+-]?\d++\)?\}}?|{_DECIMAL}{_POWER}?)"
)
"""A number in tidied text, without its sign: mixed number, fraction, power of ten or decimal."""
SCALE = r"(?:hundred|thousand|million|billion|trillion|万|亿|k(?![A-Za-z]))"
PERCENT = r"(?:%|percent(?:age)?|per cent|pct)(?![A-Za-z])"
_NUMBER = re.compile(NUMBER)
_PLAIN = re.compile(r"-?\d{1,15}")
_BEFORE = re.compile(r"(?P<label>[^-+]*?)(?P<gap>\s*)(?P<sign>[-+]?)(?P<space>\s?)")
_SCALED = re.compile(rf"\s?({SCALE})")
_SCALES = {"hundred": 2, "k": 3, "thousand": 3, "million": 6, "billion": 9, "trillion": 12, "万": 4, "亿": 8}
_PERCENT = re.compile(rf"\s?{PERCENT}", re.I)
_LETTERS = re.compile(r"[^\W\d_]+")
# One or two letters are a unit only if they are a known one: `2x`, `3 ab`, `2π` and `4 pi` are no plain numbers.
_SYMBOL = re.compile(
    "[mgshLldtJNWVAKCF]|[cmkdn]?m|[mk]?g|[cdmk][lL]|[km][WVA]|[GMKT]B|[aApP][mM]|um|hr|lb|oz|ft|in|yd|mi|sq|cu|Hz"
)
_LITTLE_WORD = re.compile("of|at|on|by|an?|as|us|he|it|st|nd|rd|th|US")
_HEDGE = re.compile(
    r"(?<![^\W\d_])(?:not?|never|n?either|n?or|if|unless|with?out|except|less|fewer|more|greater|than|least|most|between|"
    r"under|over|up|below|above|minus|plus|times|half|twice|double|triple|root|sqrt|log|ln|sin|cos|tan|mod|wrong|"
    r"incorrect|unknown|cannot|t)(?![^\W\d_])|[不非或]|至少|至多|[大小多少]于|超过",
    re.IGNORECASE,
)
_NO_UNIT = re.compile(
    r"(?<![^\W\d_])(?:not|never|n?or|if|unless|without|except|minus|plus|times|half|root|sqrt|log|ln|sin|cos|tan|mod|"
    r"squared|cubed|factorial|to|pi|theta|alpha|beta|infinity|and (?:an?|one|two|three|half))(?![^\W\d_])"
    r"|[α-λν-ω不非或]",
    re.IGNORECASE,
)
_VARIABLE = re.compile(r"(?<![^\W\d_])[b-rt-zB-Z](?![^\W\d_])")
_COMPARES = re.compile(r"[;<>≤≥≠]|,(?!\d{3})|\b(?:or|and|not)\b|\\(?:ne|neq|le|ge|leq|geq)\b|[或和不]")


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A number as it was written."""

    value: Fraction
    """Its value without the percent sign: 50 for `50%`."""
    percent: bool = False
    digits: int = 0
    """Significant digits if it was written as a decimal; 0 for integers and fractions, which are exact."""
    unit: str = ""
    """What followed it, if that is a known symbol such as `km`."""

    def same(self, other: "Quantity") -> bool:
        """Tell whether both are the same number.

        A percentage equals both its number and its hundredth (GSM8K's gold for 50 % is `50`), but another percentage
        only as written. Values must be equal, except that a decimal of at least four significant digits equals a
        fraction without finite decimal from which it differs by at most a millionth: 0.333333 is 1/3, 0.333 is not.
        Two different unit symbols make them different; a missing or spelled-out unit does not.
        """
        if self.unit and other.unit and self.unit != other.unit:
            return False
        if _close(self.value, self.digits, other.value, other.digits):
            return True
        if self.percent == other.percent:
            return False
        mine, theirs = (q.value / 100 if q.percent else q.value for q in (self, other))
        return _close(mine, self.digits, theirs, other.digits)


def read_quantity(text: str, *, bare: bool = False) -> Quantity | None:
    """Read a short text as exactly one number; None where it is anything else.

    Currency, units, a label (`Total: 18`, `x = 18`, `9 * 2 = 18`), a harmless phrase around it and an explanation in
    round brackets behind it (`18 (i.e. 9 x 2)`) do not matter. Two numbers (`3, 4`, `20 or 18`), a hedge (`not 18`,
    `at least 18`), another factor (`2x`, `18!`) and text longer than `MAX_CHARS` do: they give None.

    Args:
        text: The content of an answer's brackets, or a gold.
        bare: Take only a number with its sign, currency, percent sign and a unit in small letters, as golds have it.
    """
    if len(text) > MAX_CHARS:
        return None
    if _PLAIN.fullmatch(text):  # nearly every gold and most answers: skip the typography
        return Quantity(value=Fraction(int(text)))
    text = tidy(text).rstrip(".,;: 。").strip("\"'“”")
    if not bare:
        text = _without_explanation(text)
        left, sign, right = text.rpartition("≈" if "≈" in text else "=")
        if sign:
            return read_quantity(right) if _equates(left, right, exactly=sign == "=") else None
    if text[:1] + text[-1:] in ("()", "[]") and not re.search(r"[][,()]", text[1:-1]):
        text = text[1:-1].strip()
    number = _NUMBER.search(text)
    before = number and _BEFORE.fullmatch(text[: number.start()])
    if number is None or before is None or not _harmless(before, bare):
        return None
    return _quantity(number[0], before["sign"] == "-", text[number.end() :], bare)


def _without_explanation(text: str) -> str:
    """Drop `(i.e. 9 x 2)` behind a number, but neither `(or 20)` nor a factor such as `(x + 1)`."""
    opened = text.rfind(" (")
    if opened <= 0 or text[-1] != ")" or text.count("(", opened) != 1:
        return text
    inside = text[opened + 2 : -1]
    explains = re.search(r"[^\W\d_]{3}|i\.e|=|[\u2e80-\uffff]", inside)
    return text[:opened] if explains and not re.search(r"\bor\b|或", inside) else text


def _equates(left: str, right: str, exactly: bool) -> bool:
    """Tell whether `left = right` may be read as its right side: no comparison, no list, no false equation."""
    if _COMPARES.search(left) or left[-1:] in ("<", ">", "!") or right[:1] in ("<", ">"):
        return False
    said = _value(left.strip()) if exactly and _NUMBER.fullmatch(left.strip()) else None
    value = read_quantity(right)
    return said is None or value is None or said == value.value


def _harmless(before: re.Match[str], bare: bool) -> bool:
    """Tell whether what stands before a number leaves its value alone."""
    label = before["label"]
    if not label or bare:
        return not label
    if before["sign"] and (not before["gap"] or before["space"]) and label[-1] not in ":":
        return False  # `x-18` and `profit - 18` are differences
    if not before["gap"] and label[-1].isascii() and label[-1].isalpha():
        return False  # `x18`, `CO2`
    if _HEDGE.search(label) or (label[-1] != ":" and _VARIABLE.search(label)):
        return False
    return re.fullmatch(r"[^\W\d_](?:[^\W\d_]|[ .,:'’])*", label) is not None


def _quantity(number: str, negative: bool, after: str, bare: bool) -> Quantity | None:
    value = _value(number)
    if value is None:
        return None
    if scaled := _SCALED.match(after):
        value, after = value * 10 ** _SCALES[scaled[1]], after[scaled.end() :]
    percent = _PERCENT.match(after)
    unit = _unit(after[percent.end() :] if percent else after, bare)
    if unit is None:
        return None
    digits = 0
    if "/" not in number and re.search(r"[.eE^]", number):
        digits = len(re.sub(r"\D", "", re.split(r"[eEx*]", number)[0]).lstrip("0"))
    return Quantity(value=-value if negative else value, percent=percent is not None, digits=digits, unit=unit)


def _unit(after: str, bare: bool) -> str | None:
    """Read what follows a number: the symbol if it is a known one, "" for other units, None if it is no unit."""
    text = re.sub(r"(?<=[^\W\d_])(?:\s?\^\{?-?[1-4]\}?|[23])(?![\w}])", "", after).strip(" .:;'\"")
    if not re.fullmatch(r"(?:[^\W\d_]|[°℃℉/ '’.,-])*", text) or _NO_UNIT.search(text):
        return None
    for word in _LETTERS.findall(text):
        known = _SYMBOL.fullmatch(word) is not None
        if len(word) <= 2 and word.isascii() and not known and not _LITTLE_WORD.fullmatch(word):
            return None
        if bare and word.isascii() and not word.islower() and not known:
            return None  # `7 Up` is a name
    return text if _SYMBOL.fullmatch(text) else ""


def _value(number: str) -> Fraction | None:
    """Value of a match of `NUMBER`; None for a zero denominator or an exponent beyond `MAX_EXPONENT`."""
    if mixed := re.fullmatch(r"(\d+) (\d+)\s?/\s?(\d+)", number):
        whole, top, bottom = map(int, mixed.groups())
        if 0 < top < bottom:
            return whole + Fraction(top, bottom)
    if "/" in number:
        above, below = (_decimal(part) for part in number.split("/"))
        return above / below if below else None
    mantissa, _, exponent = re.sub(r"\s?[x*]\s?10\s?\^|[eE]", "^", number.replace(" ^", "^")).partition("^")
    if number.startswith("10") and re.match(r"10\s?\^", number):
        mantissa = "1"
    power = int(re.sub(r"[^\d-]", "", exponent) or 0) if len(exponent) < 10 else MAX_EXPONENT + 1
    return _decimal(mantissa) * Fraction(10) ** power if abs(power) <= MAX_EXPONENT else None


def _decimal(text: str) -> Fraction:
    whole, _, part = re.sub(r"[^\d.-]", "", text).partition(".")
    return Fraction(int(whole + part or 0), 10 ** len(part))


def _close(mine: Fraction, my_digits: int, theirs: Fraction, their_digits: int) -> bool:
    if mine == theirs:
        return True
    if bool(my_digits) == bool(their_digits):
        return False
    exact, digits = (theirs, my_digits) if my_digits else (mine, their_digits)
    bottom = exact.denominator
    finite = pow(10, bottom.bit_length(), bottom) == 0 or bottom == 1
    return digits >= 4 and not finite and abs(mine - theirs) * 10**6 <= abs(exact)


# --- expressions ----------------------------------------------------------------------------------------------------

# Whatever could make sympy build a huge integer. The child's timer would catch these too, but a second later.
_BOMB = re.compile(
    r"\d{31}|\d{4}\s?!|!\s?!|[)}]\s?!|\^\W{0,3}\d{5}|\^\W{0,3}\d+\W{0,3}\^|\*\*\W{0,3}\d+\W{0,3}\*\*|\d[eE]\+?\d{4}"
)
_COMMAND = re.compile(r"\\[A-Za-z]+")
_FUNCTION = re.compile(r"(?<![\\A-Za-z])(arcsin|arccos|arctan|sin|cos|tan|log|ln|exp|pi|infty)(?![A-Za-z])")
_PROSE = re.compile(
    r"[^\W\d_]{3,}|(?<![^\W\d_])(?:an|as|at|by|if|in|is|it|no|of|on|or|to)(?![^\W\d_])|[\u2e80-\uffff]", re.I
)
_SIGN = re.compile(r"[\d+\-*/^=<>|√π∞≤≥\\]")


def mathematical(text: str) -> bool:
    """Tell whether a text reads as one expression that may be given to sympy: short, no prose, no bomb."""
    if len(text) > MAX_CHARS or not _SIGN.search(text) or _BOMB.search(text):
        return False
    if re.search(r"\d\s+[\d.]", text):
        return False  # sympy adds or multiplies two numbers that merely stand side by side
    return not _PROSE.search(_FUNCTION.sub(" ", _COMMAND.sub(" ", text).replace("sqrt", " "))) and nesting(text) <= 10


def all_same(pairs: tuple[tuple[str, str], ...]) -> bool:
    """Tell whether each (answer, gold) pair is the same expression, all of them within `LIMIT_S`.

    Raises:
        BackendError: If the child process cannot be started.
    """
    return _decide(json.dumps({"pairs": [[_latex(said), _latex(gold), _places(gold)] for said, gold in pairs]}))


def authors_same(said: str, gold: str) -> bool:
    """Compare as the authors' judge does, `verify(parse(gold), parse(said))` with their defaults, within `LIMIT_S`.

    Raises:
        BackendError: If the child process cannot be started.
    """
    if max(len(said), len(gold)) > 2000:  # no pipe takes more at once
        return False
    return _decide(json.dumps({"authors": [said, gold]}))


def nesting(text: str, *, floor: bool = False) -> int:
    """Depth of the most deeply nested bracket; with `floor` the lowest level, negative where one closes unopened."""
    depth, levels = 0, [0]
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        levels.append(depth)
    return min(levels) if floor else max(levels)


def _latex(text: str) -> str:
    """Write keyboard notation as LaTeX, in dollars, so that math-verify reads the whole of it and not a part."""
    text = text.replace("**", "^").replace("π", r"\pi ").replace("∞", r"\infty ")
    text = re.sub(r"√\s?(\w+)", r"\\sqrt{\1}", text).replace("√", r"\sqrt")
    text = re.sub(r"\^(-\w+)", r"^{\1}", text)
    return f"${_FUNCTION.sub(lambda m: chr(92) + m[1], text)}$"


def _places(gold: str) -> int:
    """Decimals to which a gold such as `0.006018` is compared with an irrational: about a millionth of its size."""
    quantity = read_quantity(gold)
    if quantity is None or not quantity.value:
        return 6
    value = quantity.value
    return min(max(6 + len(str(value.denominator)) - len(str(abs(value.numerator))), 0), 15)


class _Child:
    """The child process and the two pipes to it. Not thread-safe: `_LOCK` is held around it."""

    def __init__(self) -> None:
        # The child must import what this process can, wherever sys.path came from; -P keeps the working directory out
        # of it, where a file of the user's may be called like a module of the standard library.
        path = os.pathsep.join(str(entry) or os.getcwd() for entry in sys.path)
        command = [sys.executable, "-P", "-W", "ignore", "-m", "tale_dspy._symbolic"]
        pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
        env = {**os.environ, "PYTHONPATH": path}
        try:
            self._process = subprocess.Popen(
                command,
                bufsize=0,  # a fork between write and flush would send a question twice
                env=env,
                stdin=pipe,
                stdout=pipe,
                stderr=nowhere,
                start_new_session=True,  # Ctrl-C is this process's, which may still want the verdict
            )
        except OSError as e:
            raise BackendError(f"the process that compares expressions cannot be started: {e}") from e
        self._questions, self._replies = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        if self._replies.readline() != _READY:
            self.stop()
            raise BackendError(f"the process that compares expressions ended at once; see why with: {command}")

    def ask(self, question: str) -> bytes:
        """Put one question and return the reply, cut short where the child ended over it, empty where it was gone."""
        with contextlib.suppress(BrokenPipeError):
            self._questions.write(question.encode() + b"\n")
        while reply := self._replies.readline():
            if reply.startswith(_READ):
                break
        return reply

    def stop(self) -> None:
        """End the child with all its copies."""
        if sys.platform == "win32":
            self._process.kill()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.leave()

    def leave(self) -> None:
        """Close this process's ends of the pipes and no more."""
        self._process.returncode = 0 if self._process.returncode is None else self._process.returncode
        self._questions.close()
        self._replies.close()


# A reply is one line: `ready` at first, then for each question `?`, sent when it was read, and the verdict. A verdict
# without `?` tells of a copy that ended while it had no question, and is skipped.
_READY, _READ, _SAME, _DIFFERENT = b"ready\n", b"?", b"1\n", b"0\n"
_LOCK = threading.Lock()
_child: _Child | None = None


@lru_cache(maxsize=4096)
def _put(question: str) -> bool:
    """Ask the child, starting it where there is none; one that was gone before it read the question is replaced."""
    global _child
    reply = b""
    for _ in range(2):
        _child = _child or _Child()
        try:
            reply = _child.ask(question)
        finally:
            if not reply.endswith(b"\n"):  # also after Ctrl-C: a late reply must not answer the next question
                _drop()
        if reply:
            break
    return reply == _READ + _SAME


def _decide(question: str) -> bool:
    with _LOCK:  # around the memory too: what one thread is waiting for, another need not ask again
        return _put(question)


def _drop() -> None:
    global _child
    if _child is not None:
        _child.stop()
        _child = None


def _forget() -> None:
    """Leave the parent's child to the parent: after a fork two processes must not share its pipes, nor a held lock."""
    global _LOCK, _child
    _LOCK = threading.Lock()
    if _child is not None:
        _child.leave()
        _child = None


atexit.register(_drop)
if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget)


# --- in the child ---------------------------------------------------------------------------------------------------


def main() -> None:
    """Run as the child until the parent closes the pipe.

    Importing sympy takes half a second, so the child does it once and lets a copy of itself (a fork, where there are
    forks) answer. A copy that runs into its timer costs a few milliseconds to replace.
    """
    with contextlib.suppress(ImportError, OSError, ValueError):  # no such limit on Windows or here
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    questions, replies = os.fdopen(0, "rb", 0), os.fdopen(os.dup(1), "wb", 0)
    os.dup2(2, 1)  # what a library prints must not look like a reply
    _warm_up()
    replies.write(_READY)
    if sys.platform != "win32":
        for _ in range(MAX_COPIES):
            copy = os.fork()
            if copy == 0:
                break
            if os.waitpid(copy, 0)[1] == 0:
                return  # the pipe was closed
            replies.write(_DIFFERENT)
        else:
            return  # something is wrong with this machine; the parent starts anew
    serve(questions, replies)


def _warm_up() -> None:
    faulthandler.dump_traceback_later(START_LIMIT_S, exit=True)
    _same("$x^2+1$", "$1+x^2$", 6)
    faulthandler.cancel_dump_traceback_later()


def serve(questions: IO[bytes], replies: IO[bytes]) -> None:
    """Answer each line with a line `1` (the same) or `0`; end this process when one takes longer than `LIMIT_S`."""
    with open(os.devnull, "w") as nowhere:
        # Line by line and unbuffered: what is read too early would be lost with this process.
        while question := questions.readline():
            replies.write(_READ)
            faulthandler.dump_traceback_later(LIMIT_S, exit=True, file=nowhere)
            verdict = _verdict(json.loads(question))
            faulthandler.cancel_dump_traceback_later()
            replies.write(_SAME if verdict else _DIFFERENT)


def _verdict(question: dict[str, Any]) -> bool:
    try:
        if "authors" in question:
            return _authors_same(*question["authors"])
        return all(_same(said, gold, places) for said, gold, places in question["pairs"])
    except Exception:  # the boundary to sympy: whatever it raises over a stranger's text means "not the same"
        return False


def _same(said: str, gold: str, places: int) -> bool:
    from math_verify import parse, verify
    from math_verify.parser import LatexExtractionConfig

    config = (LatexExtractionConfig(),)
    left, right = (parse(text, config, "no_fallback", parsing_timeout=0) for text in (gold, said))
    return bool(left and right and verify(left, right, float_rounding=places, timeout_seconds=None))


def _authors_same(said: str, gold: str) -> bool:
    from math_verify import parse, verify

    left, right = (parse(text, parsing_timeout=0) for text in (gold, said))
    return bool(verify(left, right, timeout_seconds=None))


if __name__ == "__main__":
    main()
