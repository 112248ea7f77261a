import itertools
import random
import re
from collections import Counter
from pathlib import Path
from subprocess import run
from sys import executable

import pytest

from tale_dspy.embedded.problems import LARGEST, MAX_STEPS, SPLITS, UNSEEN_SHARE, Calculation, make_problem, problems
from tale_dspy.embedded.story_templates import ASK_OTHER, ASK_TOTAL, COMPARING, PRICED, SITUATIONS, TemplateVariants

MANY = {split: problems(split, 800) for split in SPLITS}
ALL = [p for found in MANY.values() for p in found]
WORDINGS = [
    *(w for s in SITUATIONS for w in (s.opening, s.question, *s.events.values())),
    *COMPARING.values(),
    ASK_OTHER,
    ASK_TOTAL,
    PRICED,
]


def as_pattern(template: str) -> re.Pattern[str]:
    """What sentences a template can become; the first letter may be raised."""
    parts = re.split(r"(\{\w\})", template)
    body = "".join(r"[\w-]+" if part.startswith("{") else re.escape(part) for part in parts)
    return re.compile(body, re.IGNORECASE)


UNSEEN = [as_pattern(t) for w in WORDINGS for t in w.unseen]


def test_splits_share_no_text() -> None:
    texts = {split: {p.question for p in problems_of_split} for split, problems_of_split in MANY.items()}
    assert [texts[a] & texts[b] for a, b in itertools.combinations(SPLITS, 2)] == [set(), set(), set()]


@pytest.mark.parametrize("split", SPLITS)
def test_no_text_is_twice_in_a_split(split: str) -> None:
    assert max(Counter(p.question for p in MANY[split]).values()) == 1


def test_a_text_belongs_to_its_split_whatever_seed_made_it() -> None:
    assert {p.split for p in problems("test", 50, seed=7)} == {"test"}


def test_another_seed_makes_other_problems() -> None:
    first, second = ({p.question for p in problems("dev", 100, seed=seed)} for seed in (1, 2))
    assert len(first & second) < 10


def test_a_longer_list_begins_with_the_shorter_one() -> None:
    assert problems("test", 40)[:15] == problems("test", 15)


def test_the_same_problems_come_in_any_process() -> None:
    code = "from tale_dspy.embedded.problems import problems; print(problems('test', 1)[0].question)"
    result = run([executable, "-c", code], capture_output=True, text=True, env={"PYTHONHASHSEED": "5"}, check=True)
    assert result.stdout.strip() == MANY["test"][0].question


def test_every_equation_is_right() -> None:
    for step in (step for p in ALL for step in p.steps):
        left, result = str(step).split("=")
        assert eval(left) == int(result)


def test_no_number_is_negative_or_out_of_bounds() -> None:
    for p in ALL:
        assert all(s.result > 0 for s in p.steps)
        assert all(s.result <= LARGEST for s in p.steps[:-2])
        assert p.answer <= LARGEST + (LARGEST + 60)


def test_all_lengths_are_there() -> None:
    for problems_of_split in MANY.values():
        share = Counter(len(p.steps) for p in problems_of_split)
        assert set(share) == set(range(1, MAX_STEPS + 1)) and min(share.values()) > 40


def test_every_number_is_given_or_calculated() -> None:
    for p in ALL:
        known = {int(n) for n in re.findall(r"\d+", p.question)} | {2}  # "twice" and "half" are told in words
        for step in p.steps:
            assert {step.left, step.right} <= known, (p.question, step)
            known.add(step.result)


@pytest.mark.parametrize("split", ["train", "dev"])
def test_what_is_trained_on_holds_no_unseen_template(split: str) -> None:
    for p in MANY[split]:
        assert not p.unseen
        assert not [u.pattern for u in UNSEEN if u.search(p.question)]


def test_a_part_of_the_test_split_uses_unseen_templates() -> None:
    unseen = [p for p in MANY["test"] if p.unseen]
    assert abs(len(unseen) / len(MANY["test"]) - UNSEEN_SHARE) < 0.03
    assert all(any(u.search(p.question) for u in UNSEEN) for p in unseen)


@pytest.mark.parametrize("wording", WORDINGS)
def test_no_sentence_is_both_taught_and_unseen(wording: TemplateVariants) -> None:
    assert wording.taught and wording.unseen and not set(wording.taught) & set(wording.unseen)


@pytest.mark.parametrize("steps", range(1, MAX_STEPS + 1))
def test_a_problem_has_as_many_steps_as_asked_for(steps: int) -> None:
    rng = random.Random(steps)
    assert {len(make_problem(rng, steps).steps) for _ in range(100)} == {steps}


def test_a_story_reads_as_one() -> None:
    assert all(re.fullmatch(r"[A-Z0-9][^{}]*[.?]( [A-Z0-9][^{}]*[.?])*\?", p.question + "?") for p in ALL)
    assert all(p.question.endswith("?") for p in ALL)


def test_a_step_is_written_without_spaces() -> None:
    assert str(Calculation(12, "+", 5, 17)) == "12+5=17"


def test_the_generator_needs_nothing_heavy() -> None:
    source = Path(__file__).parents[2] / "tale_dspy" / "embedded" / "problems.py"
    assert "import torch" not in source.read_text()
