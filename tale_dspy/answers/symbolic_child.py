"""The child process in which math-verify compares expressions.

It answers line by line, and ends if one takes too long.

math-verify (on sympy) knows the mathematics, but some inputs keep sympy busy for ever, even inside one long C call. So
a native timer ends this process when a question takes longer than `LIMIT_S`. `tale_dspy.answers.symbolic` starts it and
asks; nothing here runs in the user's process.
"""

import contextlib
import faulthandler
import json
import os
import signal
import sys
from typing import IO

from tale_dspy.protocols import JsonObject

LIMIT_S = 0.8
"""Seconds of CPU time one question may take."""
WALL_LIMIT_S = 1.6 if sys.platform == "win32" else 10.0
"""Seconds of wall clock one question may take. Where CPU time is limited they are far above that limit, so that a busy
machine comes to the verdict of an idle one."""
START_LIMIT_S = 60.0
"""Seconds the child may take to import sympy: the machine's matter, not the question's."""
MEMORY_BYTES = 4 << 30
"""Address space of the child, where the system can limit it."""
MAX_COPIES = 1000
"""How often the child replaces the copy of itself that answers, before it is itself replaced."""

READY, READ, SAME, DIFFERENT = b"ready\n", b"?", b"1\n", b"0\n"
"""What it writes. A reply is one line: `ready` at first, then for each question `?`, sent when it was read, and the
verdict. A verdict without `?` tells of a copy that ended while it had no question."""


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
    warm_up()
    replies.write(READY)
    if sys.platform != "win32":
        for _ in range(MAX_COPIES):
            copy = os.fork()
            if copy == 0:
                break
            if os.waitpid(copy, 0)[1] == 0:
                return  # the pipe was closed
            replies.write(DIFFERENT)
        else:
            return  # something is wrong with this machine; the parent starts anew
    serve(questions, replies)


def warm_up() -> None:
    """Import sympy and what a first question needs, within `START_LIMIT_S`."""
    faulthandler.dump_traceback_later(START_LIMIT_S, exit=True)
    _same_expression("$x^2+1$", "$1+x^2$", 6)
    faulthandler.cancel_dump_traceback_later()


def serve(questions: IO[bytes], replies: IO[bytes]) -> None:
    """Answer each line with a line `1` (the same) or `0`.

    The process ends when one line takes longer than `LIMIT_S`.
    """
    with open(os.devnull, "w") as nowhere:
        # Line by line and unbuffered: what is read too early would be lost with this process.
        while question := questions.readline():
            replies.write(READ)
            faulthandler.dump_traceback_later(WALL_LIMIT_S, exit=True, file=nowhere)
            _limit_cpu_time(LIMIT_S)
            verdict = _are_same(json.loads(question))
            _limit_cpu_time(0)
            faulthandler.cancel_dump_traceback_later()
            replies.write(SAME if verdict else DIFFERENT)


def _limit_cpu_time(seconds: float) -> None:
    """Let the system end this process after some CPU time.

    That holds even inside one long C call. 0 removes the limit.
    """
    if sys.platform != "win32":  # no such timer there: the wall clock alone decides
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _are_same(question: JsonObject) -> bool:
    try:
        if "authors" in question:
            return _authors_same(*question["authors"])
        return all(_same_expression(reply, gold, places) for reply, gold, places in question["pairs"])
    except Exception:  # the boundary to sympy: whatever it raises over a stranger's text means "not the same"
        return False


def _same_expression(reply: str, gold: str, places: int) -> bool:
    from math_verify import parse, verify
    from math_verify.parser import LatexExtractionConfig

    config = (LatexExtractionConfig(),)
    left, right = (parse(text, config, "no_fallback", parsing_timeout=0) for text in (gold, reply))
    return bool(left and right and verify(left, right, float_rounding=places, timeout_seconds=None))


def _authors_same(reply: str, gold: str) -> bool:
    from math_verify import parse, verify

    left, right = (parse(text, parsing_timeout=0) for text in (gold, reply))
    return bool(verify(left, right, timeout_seconds=None))
