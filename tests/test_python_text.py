"""tale_dspy.python_text: Python text parsed in many threads at once."""

import ast
import gc
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tale_dspy.answers.json_reply import json_object
from tale_dspy.programs.direct import DirectAnswer
from tale_dspy.programs.typenames import type_from_text
from tale_dspy.python_text import parse_in_threads


class _Collected:
    """An object whose end is Python code, at which threads change over."""

    def __init__(self) -> None:
        self.circle = self

    def __del__(self) -> None:
        for _ in range(30):
            pass


@pytest.fixture
def restless_threads() -> Iterator[None]:
    """Let the collector run, and threads change over, as often as possible."""
    threshold, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(50)
    sys.setswitchinterval(1e-6)
    yield
    gc.set_threshold(*threshold)
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("restless_threads")
def test_texts_parsed_in_many_threads_are_all_read() -> None:
    def parsed(number: int) -> str:
        _Collected()
        return ast.dump(parse_in_threads(lambda: ast.parse(f"def f(question: str, a, b, c): return {number}")))

    with ThreadPoolExecutor(8) as pool:
        trees = list(pool.map(parsed, range(4000)))
    assert trees[7] == ast.dump(ast.parse("def f(question: str, a, b, c): return 7")) and len(set(trees)) == 4000


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (
            lambda: list(DirectAnswer("question, context -> answer").predict.signature.input_fields),
            ["question", "context"],
        ),
        (lambda: json_object("{'answer': 7}"), {"answer": 7}),
        (lambda: type_from_text("list[str]"), list[str]),
    ],
    ids=["signature", "reply", "type"],
)
def test_a_disturbed_parser_is_asked_again(
    read: Callable[[], object], value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse, faults = ast.parse, [SystemError("AST constructor recursion depth mismatch (before=66, after=63)")]

    def parse_after_a_fault(*args: Any, **kwargs: Any) -> Any:
        if faults:
            raise faults.pop()
        return parse(*args, **kwargs)

    monkeypatch.setattr(ast, "parse", parse_after_a_fault)
    assert read() == value and not faults


def test_a_text_that_is_no_python_is_refused_at_once() -> None:
    tried = []

    def parse() -> object:
        tried.append(1)
        return ast.parse("def f(")

    with pytest.raises(SyntaxError):
        parse_in_threads(parse)
    assert len(tried) == 1


def test_a_lasting_error_of_the_interpreter_is_raised() -> None:
    def parse() -> object:
        raise SystemError("broken")

    with pytest.raises(SystemError, match="broken"):
        parse_in_threads(parse)
