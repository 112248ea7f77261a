import math
import os
import re
import subprocess
import sys
from typing import Any

import dspy
import pydantic
import pytest

from tale_dspy.errors import DataError
from tale_dspy.ids import data_hash, example_id, example_ids


def example(gold: Any = "2", **inputs: Any) -> dspy.Example:
    return dspy.Example(**inputs, answer=gold).with_inputs(*inputs)


def test_an_id_is_pinned() -> None:
    assert example_id(example(question="1 + 1? é"), "answer") == "0716d61e7b95dffb"
    assert data_hash(["a", "b-2"]) == "6e871d19024040c8"


def test_an_id_depends_on_inputs_and_gold_but_not_on_order_or_budget() -> None:
    one = example_id(example(question="q", context="c"), "answer")
    assert one == example_id(example(context="c", question="q"), "answer")
    assert one == example_id(example(question="q", context="c", token_budget=50), "answer")
    assert one == example_id(example(question="q", context="c").copy(note="n", dspy_uuid="u"), "answer")
    others = [example(question="q"), example(question="q", context="d"), example("3", question="q", context="c")]
    assert len({one, *(example_id(other, "answer") for other in others)}) == 4


def test_repeated_rows_are_numbered_in_file_order() -> None:
    a, b = example(question="a"), example(question="b")
    ids = example_ids([a, b, a, a, b], "answer")
    assert [i[16:] for i in ids] == ["", "", "-2", "-3", "-2"]
    assert ids[3].startswith(ids[0])
    assert len(set(ids)) == 5


def test_data_hash_depends_on_the_order() -> None:
    assert data_hash(["a", "b"]) != data_hash(["b", "a"])
    assert re.fullmatch("[0-9a-f]{16}", data_hash([]))


class Point(pydantic.BaseModel):
    x: int
    tags: set[str] = set()


class Opaque:
    pass


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    "make",
    [
        lambda: "\ud800 half a pair",
        lambda: Point(x=1, tags={"a", "b"}),
        lambda: [Point(x=1)],
        lambda: {"b", "a"},
        lambda: {(1, 2): "tuple key", None: 1},
        lambda: {1: "a", "1": "b"},
        lambda: math.nan,
        lambda: b"bytes",
        lambda: Opaque(),
        lambda: dspy.Example(a=1, b=2).with_inputs("a", "b"),
        lambda: dspy.History(messages=[{"q": "a"}]),
        lambda: LOOP,
    ],
)
def test_values_beyond_json_have_an_id_that_stays(make: Any) -> None:
    ids = {example_id(example(make(), question=make()), "answer") for _ in range(2)}
    assert len(ids) == 1
    assert re.fullmatch("[0-9a-f]{16}", ids.pop())


def test_ids_of_sets_do_not_change_with_the_hash_seed() -> None:
    code = (
        "import dspy; from tale_dspy.ids import example_id;"
        "e = dspy.Example(q=set('abcdefg'), h=dspy.Example(a=1, b=2).with_inputs('a', 'b')).with_inputs('q', 'h');"
        "print(example_id(e, 'answer'))"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True)
        for seed in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout != b""


def test_an_example_without_inputs_has_no_id() -> None:
    with pytest.raises(DataError, match="mark them with"):
        example_id(dspy.Example(question="q"), "answer")
