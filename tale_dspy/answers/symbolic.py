"""Ask in a child process whether two expressions are the same mathematics.

A stranger's text cannot block the caller that way.

math-verify is no judge for strangers' text in this process: its time-outs are signals, which only the main thread may
set, and some inputs keep sympy busy for ever. So it runs in one child process (`symbolic_child`), started at first use,
kept, and answering one question at a time, from whichever thread. A question that is too slow is answered "not the
same".
"""

import atexit
import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from functools import lru_cache
from typing import IO, cast

from tale_dspy.answers.normalize import MAX_CHARS, bracket_depths
from tale_dspy.answers.numbers import read_quantity
from tale_dspy.answers.symbolic_child import READ, READY, SAME
from tale_dspy.errors import BackendError

# --- expressions ----------------------------------------------------------------------------------------------------

_MAX_NESTING = 10
_MAX_AUTHORS_CHARS = 2000

# Whatever could make sympy build a huge integer. The child's timer would catch these too, but a second later.
_BOMB = re.compile(
    r"\d{31}|\d{4}\s?!|!\s?!|[)}]\s?!|\^\W{0,3}\d{5}|\^\W{0,3}\d+\W{0,3}\^|\*\*\W{0,3}\d+\W{0,3}\*\*|\d[eE]\+?\d{4}"
)
_MATRIX = re.compile(r"\\(?:begin|end)\s?\{[pbvBV]?matrix\}")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_FUNCTION = re.compile(r"(?<![\\A-Za-z])(arcsin|arccos|arctan|sin|cos|tan|log|ln|exp|pi|infty)(?![A-Za-z])")
_PROSE = re.compile(
    r"[^\W\d_]{3,}|(?<![^\W\d_])(?:an|as|at|by|if|in|is|it|no|of|on|or|so|to|we)(?![^\W\d_])|[\u2e80-\uffff]", re.I
)
_SIGN = re.compile(r"[\d+\-*/^=<>|√π∞≤≥\\]")


def mathematical(text: str) -> bool:
    """Return whether a text reads as one expression that sympy may get.

    It is short, holds no prose, and no tower of powers.
    """
    if len(text) > MAX_CHARS or not _SIGN.search(text) or _BOMB.search(text):
        return False
    if re.search(r"(?<!_)\d\s+[\d.]", text):  # the base of `\log_2 3` is no factor
        return False  # sympy adds or multiplies two numbers that merely stand side by side
    words = _FUNCTION.sub(" ", _COMMAND.sub(" ", _MATRIX.sub(" ", text)).replace("sqrt", " "))
    return not _PROSE.search(words) and max(bracket_depths(text)) <= _MAX_NESTING


def all_same(pairs: tuple[tuple[str, str], ...]) -> bool:
    """Return whether each (answer, gold) pair is the same expression.

    All of them are compared within the child's `LIMIT_S`.

    Raises:
        BackendError: If the child process cannot be started.
    """
    return _ask_once(
        json.dumps({"pairs": [[_as_latex(reply), _as_latex(gold), _decimal_places(gold)] for reply, gold in pairs]})
    )


def paper_same(reply: str, gold: str) -> bool:
    """Compare as the authors' judge does, within `LIMIT_S`.

    That is `verify(parse(gold), parse(reply))` with their defaults.

    Raises:
        BackendError: If the child process cannot be started.
    """
    if max(len(reply), len(gold)) > _MAX_AUTHORS_CHARS:  # no pipe takes more at once
        return False
    return _ask_once(json.dumps({"authors": [reply, gold]}))


def _as_latex(text: str) -> str:
    """Write keyboard notation as LaTeX, in dollars.

    math-verify then reads the whole of it and not a part.
    """
    text = text.replace("**", "^").replace("π", r"\pi ").replace("∞", r"\infty ")
    text = re.sub(r"√\s?(\w+)", r"\\sqrt{\1}", text).replace("√", r"\sqrt")
    text = re.sub(r"\^(-\w+)", r"^{\1}", text)
    return f"${_FUNCTION.sub(lambda m: chr(92) + m[1], text)}$"


def _decimal_places(gold: str) -> int:
    """Return the decimals to which a gold is compared with an irrational.

    For `0.006018` they are about a millionth of its size.
    """
    quantity = read_quantity(gold)
    if quantity is None or not quantity.value:
        return 6
    value = quantity.value
    return min(max(6 + len(str(value.denominator)) - len(str(abs(value.numerator))), 0), 15)


# --- the child ------------------------------------------------------------------------------------------------------


class _MathChild:
    """The child process and the two pipes to it.

    It is not thread-safe: callers hold `_LOCK`.
    """

    def __init__(self) -> None:
        # -P keeps the working directory out of the child's sys.path: there a file of the user's may be called like a
        # module of the standard library.
        run = "from tale_dspy.answers.symbolic_child import main; main()"
        command = [sys.executable, "-P", "-W", "ignore", "-c", run]
        # The child must import what this process can, wherever sys.path came from.
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(str(entry) or os.getcwd() for entry in sys.path)}
        try:
            self._process = subprocess.Popen(
                command,
                bufsize=0,  # a fork between write and flush would send a question twice
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is this process's, which may still want the verdict
            )
        except OSError as e:
            raise BackendError(f"the process that compares expressions cannot be started: {e}") from e
        self._questions, self._replies = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        if self._replies.readline() != READY:
            self.stop()
            raise BackendError(
                f"the process that compares expressions ended at once; see why with: {shlex.join(command)}"
            )

    def ask(self, question: str) -> bytes:
        """Send one question to the child and return the reply.

        The reply is cut short where the child ended over it, and empty where the child was gone.
        """
        with contextlib.suppress(BrokenPipeError):
            self._questions.write(question.encode() + b"\n")
        while reply := self._replies.readline():
            if reply.startswith(READ):  # anything else tells of a copy that ended while it had no question
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
        if self._process.returncode is None:
            self._process.returncode = 0  # or Popen would warn that the child, the parent's, still runs
        self._questions.close()
        self._replies.close()


_LOCK = threading.Lock()
_child: _MathChild | None = None


def _ask_once(question: str) -> bool:
    with _LOCK:  # around the memory too: what one thread is waiting for, another need not ask again
        return _ask_child(question)


@lru_cache(maxsize=4096)
def _ask_child(question: str) -> bool:
    """Ask the child, and start it where there is none.

    A child that ended before it read the question is replaced.
    """
    global _child
    reply = b""
    for _ in range(2):
        _child = _child or _MathChild()
        try:
            reply = _child.ask(question)
        finally:
            if not reply.endswith(b"\n"):  # also after Ctrl-C: a late reply must not answer the next question
                _drop_child()
        if reply:
            break
    return reply == READ + SAME


def _drop_child() -> None:
    global _child
    if _child is not None:
        _child.stop()
        _child = None


def _forget_after_fork() -> None:
    """Drop the parent's child after a fork.

    Two processes must not share its pipes, nor a lock that was held.
    """
    global _LOCK, _child
    _LOCK = threading.Lock()
    if _child is not None:
        _child.leave()
        _child = None


atexit.register(_drop_child)
if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget_after_fork)
