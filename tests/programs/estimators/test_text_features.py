"""Counts of a text: in any language, for any value, in time that grows with the text and no faster."""

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import dspy
import pytest

from tale_dspy.programs.estimators.text_features import FEATURES, LONGEST, features, text_of


def counts(text: str) -> dict[str, int]:
    return {name: round(math.expm1(value)) for name, value in zip(FEATURES, features(text), strict=True)}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", dict.fromkeys(FEATURES, 0)),
        ("He has 3.5 apples.", {"words": 5, "numbers": 1, "digits": 2, "sentences": 1, "longest_number": 2}),
        ("3 of 3, 4 of 1,200.", {"numbers": 4, "different_numbers": 3, "longest_number": 4, "commas": 1}),
        ("Why? Because. Wait", {"sentences": 2, "question_marks": 1}),
        ('"Go!" he said.', {"sentences": 2}),
        ("他有3个苹果，吃了1个。还剩几个？", {"numbers": 2, "sentences": 2, "commas": 1, "question_marks": 1}),
        ("a\nb\nc", {"lines": 2, "words": 3}),
        ("x^2 + 3 = $7", {"signs": 4}),
        ("Which?\nA) 1\nB) 2\n(C) 3", {"options": 3}),
        ("٣ + ٤", {"numbers": 2, "signs": 1}),
        ("\ud800 lone", {"characters": 6, "words": 1}),
    ],
)
def test_what_is_counted(text: str, told: dict[str, int]) -> None:
    assert counts(text).items() >= told.items()


LONG = 1_000_000


@pytest.mark.parametrize("text", ["." * LONG + "x", "1," * LONG, "(A" * LONG, '!"' * LONG, "\n" * LONG, "a" * LONG])
def test_a_text_of_a_megabyte_takes_no_longer_than_its_beginning(text: str) -> None:
    begun = time.process_time()
    features_of_text = counts(text)
    assert features_of_text["characters"] == len(text)
    assert max(features_of_text[name] for name in FEATURES[1:]) <= LONGEST
    assert time.process_time() - begun < 2


ITSELF: list[Any] = []
ITSELF.extend([ITSELF] * 10)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        (None, ""),
        (object(), ""),
        (b"bytes", ""),
        (7, "7"),
        (2.5, "2.5"),
        (float("nan"), "nan"),
        (-(10**5000), f"-{10**100}"),
        (["A) 1", ["B) 2", None]], "A) 1\nB) 2"),
        ({"a": "x", "b": ("y", 3)}, "x\ny\n3"),
        (dspy.History(messages=[{"question": "why?", "answer": "so"}]), "why?\nso"),
        (dspy.Image(url="data:image/png;base64,AAAA"), ""),
        (ITSELF, ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_text_in_a_value(value: Any, text: str) -> None:
    assert text_of(value) == text


def test_a_list_without_end_gives_its_beginning() -> None:
    assert 1000 < len(text_of(["x"] * LONG)) < 100_000


def published() -> list[str]:
    """Questions of GSM8K and MathBench where TALE_DATA has them, else a few of every shape."""
    folder = Path(os.environ.get("TALE_DATA", "."))
    files = [folder / "gsm8k_test.jsonl", *sorted((folder / "mathbench").glob("*.jsonl"))]
    lines = [line for file in files if file.is_file() for line in file.read_text(encoding="utf-8").splitlines()[:200]]
    return [json.loads(line)["question"] for line in lines] or ["1+1?", "小明有3个苹果。", r"Let $x^2=\frac{1}{2}$."]


def test_every_published_question_has_finite_features() -> None:
    for question in published():
        values = features(question)
        assert values[0] > 1
        assert all(map(math.isfinite, values))
