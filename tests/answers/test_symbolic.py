"""The child process for mathematics: shared by threads, replaced when it ends, left behind by forks."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tale_dspy.answers import answers_equal, symbolic
from tale_dspy.errors import BackendError

BOMBS = "9" * 31 + r"|1000!|3!!|(99)!|{99}!|2^{99999}|9^9^9|9**9**9|1e9999|1E+9999"


@pytest.mark.parametrize("text", BOMBS.split("|"))
def test_what_could_become_a_huge_integer_is_never_asked(text: str) -> None:
    assert symbolic.mathematical("x+1")
    assert not symbolic.mathematical(f"x+{text}")


@pytest.mark.parametrize(
    "text", ["it is x+1", "x+1 of y", "3 4", "x", "x+１个", "(" * 11 + "x+1" + ")" * 11, "x+" * 200]
)
def test_prose_and_what_is_too_deep_or_long_is_never_asked(text: str) -> None:
    assert not symbolic.mathematical(text)


@pytest.mark.parametrize("word", ["an", "as", "at", "by", "if", "in", "is", "it", "no", "of", "on", "or", "to"])
def test_two_letters_that_are_a_word_are_no_product(word: str) -> None:
    assert symbolic.mathematical("x+1 ab y")
    assert not symbolic.mathematical(f"x+1 {word} y")


@pytest.mark.parametrize("name", ["arcsin", "arccos", "arctan", "sin", "cos", "tan", "log", "ln", "exp", "pi"])
def test_a_function_may_be_written_without_its_backslash(name: str) -> None:
    assert answers_equal(f"1+{name} x", rf"\{name} x+1")


def test_an_expression_that_hangs_is_different_and_the_next_one_is_decided() -> None:
    assert not symbolic.all_same(((r"10000000!", "1"),))
    assert symbolic.all_same((("y+x", "x+y"),))


def test_threads_share_the_child() -> None:
    pairs = [(f"x+{i}", f"{i + i % 2}+x") for i in range(16)]
    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(lambda pair: answers_equal(*pair), pairs))
    assert verdicts == [i % 2 == 0 for i in range(16)]


def test_a_child_that_was_killed_is_replaced_and_asked() -> None:
    assert symbolic.all_same((("a+b", "b+a"),))
    assert symbolic._child is not None
    os.killpg(symbolic._child._process.pid, signal.SIGKILL)
    assert symbolic.all_same((("a+c", "c+a"),))


def test_a_child_without_a_copy_to_replace_it_ends_over_a_question() -> None:
    assert symbolic.all_same((("a+d", "d+a"),))
    assert symbolic._child is not None
    os.kill(symbolic._child._process.pid, signal.SIGKILL)  # the copy still answers
    assert symbolic.all_same((("a+e", "e+a"),))
    assert not symbolic.all_same((("10000001!", "1"),))
    assert symbolic.all_same((("a+f", "f+a"),))


@pytest.mark.parametrize(
    ("executable", "why"), [("/nonexistent/python", "cannot be started"), ("true", "ended at once")]
)
def test_a_machine_that_cannot_run_the_child_is_said(
    monkeypatch: pytest.MonkeyPatch, executable: str, why: str
) -> None:
    symbolic._drop_child()
    monkeypatch.setattr(sys, "executable", executable)
    with pytest.raises(BackendError, match=why):
        answers_equal(f"{why[0]}+x", f"x+{why[0]}")


def python(script: str) -> str:
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return result.stdout


def test_a_fork_gets_a_child_of_its_own() -> None:
    script = """
import os
from tale_dspy.answers import answers_equal
assert answers_equal("1+x", "x+1")
child = os.fork()
if child == 0:
    os._exit(0 if answers_equal("2+x", "x+2") and not answers_equal("2+x", "x+3") else 1)
assert os.waitpid(child, 0)[1] == 0
print(answers_equal("3+x", "x+3"))
"""
    assert python(script) == "True\n"


def test_the_child_ends_with_the_process() -> None:
    script = """
from tale_dspy.answers import symbolic
symbolic.all_same((("1+x", "x+1"),))
print(symbolic._child._process.pid)
"""
    with pytest.raises(ProcessLookupError):
        os.kill(int(python(script)), 0)


def test_plain_judgements_import_no_sympy_and_start_no_child() -> None:
    script = """
import sys
from tale_dspy.answers import judge, symbolic
assert judge("[[18]]", 18) and judge("B", "B") and judge("Paris", "paris") and not judge("[[20 or 18]]", 18)
print(symbolic._child, {"sympy", "math_verify", "dspy"} & set(sys.modules))
"""
    assert python(script) == "None set()\n"
