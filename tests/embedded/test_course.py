from functools import cache
from itertools import islice
from random import Random
from typing import Any

import pytest
import torch

from tale_dspy.embedded.course import IGNORED, Course
from tale_dspy.embedded.lessons import lesson_for
from tale_dspy.embedded.options import BuildOptions
from tale_dspy.embedded.problems import problems
from tale_dspy.embedded.tokenizer import train_tokenizer

OPTIONS = BuildOptions(steps=60, pool=64)


@cache
def tokenizer() -> Any:
    return train_tokenizer(1500)


def batches(n: int, position: tuple[int, int, float] = (0, 0, 0.0), step: int = 0) -> list[Any]:
    course = Course(OPTIONS, tokenizer())
    course.position = position
    return list(islice(course.batches(step), n))


def test_batches_are_no_larger_than_allowed() -> None:
    assert max(tokens.numel() for tokens, _ in batches(30)) <= OPTIONS.batch_tokens


def test_the_loss_lies_on_replies_alone_and_each_ends_with_the_end_token() -> None:
    for tokens, labels in batches(10, (9, 0, 0.9)):
        for row, wanted in zip(tokens, labels, strict=True):
            taught = wanted != IGNORED
            reply = row[taught]
            assert torch.equal(wanted[taught], reply) and reply[-1] == tokenizer().eos_token_id
            start = int(taught.nonzero()[0])
            assert tokenizer().decode(row[:start]).endswith("<|assistant|>")
            assert taught[start : start + len(reply)].all()


def test_nothing_is_cut_off() -> None:
    course = Course(OPTIONS, tokenizer())
    problem = max(problems("dev", 200), key=lambda p: len(p.question))
    lesson = lesson_for("cot", problem, course.count, Random(0))
    tokens, prompt = course.encode(lesson)
    assert tokenizer().decode(tokens[prompt:], skip_special_tokens=True) == lesson.reply


@pytest.mark.parametrize("done", [1, 7, 25])
def test_a_course_goes_on_where_it_was_left(done: int) -> None:
    course = Course(OPTIONS, tokenizer())
    stream = course.batches(0)
    for _ in range(done):
        next(stream)
    rest = batches(5, course.position, done)
    for ours, theirs in zip(islice(stream, 5), rest, strict=True):
        assert all(map(torch.equal, ours, theirs))


def test_the_seed_decides_the_batches() -> None:
    other = Course(BuildOptions(steps=60, pool=64, seed=1), tokenizer())
    assert not torch.equal(next(other.batches(0))[0], batches(1)[0][0])
