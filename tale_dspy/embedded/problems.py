"""Arithmetic stories of one to six steps, made up on the spot.

The embedded reasoner is taught and tested with them.

What a problem is and how it comes about; the sentences are in `story_templates.py`, the replies to it in
`reasoning.py`.
"""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from tale_dspy.embedded.story_templates import (
    ASK_OTHER,
    ASK_TOTAL,
    COMPARING,
    NAMES,
    PRICED,
    PRONOUNS,
    SITUATIONS,
    StorySituation,
    TemplateVariants,
)

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")
Operation = Literal["+", "-", "*", "/"]

MAX_STEPS = 6
LARGEST = 250
"""No number of a story is larger until its ending, which may add two of them up or name a price."""
UNSEEN_SHARE = 0.1
"""Of the test split: worded in at least one sentence that the model was never trained on."""

_STEP_WEIGHTS = (24, 20, 18, 15, 13, 10)


@dataclass(frozen=True)
class Calculation:
    """One calculation on the way to the answer."""

    left: int
    operation: Operation
    right: int
    result: int

    def __str__(self) -> str:
        return f"{self.left}{self.operation}{self.right}={self.result}"


@dataclass(frozen=True)
class Problem:
    """A question with its answer and the way there."""

    question: str
    steps: tuple[Calculation, ...]
    """In the order of the story; the last one gives the answer."""
    unseen: bool = False
    """Whether a sentence of it is one the model is never trained on."""

    @property
    def answer(self) -> int:
        return self.steps[-1].result

    @property
    def split(self) -> Split:
        """The split this text belongs to.

        It depends on the text alone, not on the seed, so that no text is in two splits.
        """
        # By the hash of the text: 1 / 20 test, 1 / 20 dev, 18 / 20 train, the same in every process.
        bucket = int.from_bytes(hashlib.sha256(self.question.encode()).digest()[:4], "big") % 20
        return "test" if bucket == 0 else "dev" if bucket == 1 else "train"


def problems(split: Split, n: int, *, seed: int = 0) -> list[Problem]:
    """Return the first `n` problems of a split.

    The train and dev splits are worded in the taught sentences only; in the test split, one problem in ten holds at
    least one sentence that the model was never trained on (`Problem.unseen`). No text is twice in a split.

    Args:
        split: `train`, `dev` or `test`.
        n: How many.
        seed: Another seed, other problems.
    """
    return list(islice(problem_stream(split, seed=seed), n))


def problem_stream(split: Split, *, seed: int = 0) -> Iterator[Problem]:
    """Yield the problems of a split without end, each text once."""
    rng = random.Random(f"{split}:{seed}")
    questions: set[str] = set()
    while True:
        unseen = split == "test" and rng.random() < UNSEEN_SHARE
        n_steps = rng.choices(range(1, MAX_STEPS + 1), _STEP_WEIGHTS)[0]
        problem = make_problem(rng, n_steps, unseen=unseen)
        # Rejection sampling: most texts fall into train, so that test takes some 20 tries a problem.
        while problem.unseen != unseen or problem.split != split or problem.question in questions:
            problem = make_problem(rng, n_steps, unseen=unseen)
        questions.add(problem.question)
        yield problem


def make_problem(rng: random.Random, n_steps: int, *, unseen: bool = False) -> Problem:
    """Make up one problem, of any split.

    Args:
        rng: Decides everything.
        n_steps: How many calculations it takes, 1 to `MAX_STEPS`.
        unseen: Whether each sentence is, by a chance of one half, one that is never taught.
    """
    return _StoryBuilder(rng, rng.choice(SITUATIONS), unseen).tell(n_steps)


class _StoryBuilder:
    """A story while it is written.

    It holds the number so far, its sentences, and its calculations.
    """

    def __init__(self, rng: random.Random, situation: StorySituation, unseen: bool) -> None:
        self.rng = rng
        self.situation = situation
        self.may_be_unseen = unseen
        self.is_unseen = False
        gender, other = rng.choice(tuple(NAMES)), rng.choice(tuple(NAMES))
        name = rng.choice(NAMES[gender])
        upper, lower, him, his = PRONOUNS[gender]
        self.slots = {
            "n": name,
            "P": upper,
            "p": lower,
            "h": him,
            "s": his,
            "o": rng.choice([n for n in NAMES[other] if n != name]),
            "i": rng.choice(situation.things),
        }
        self.number = rng.randint(3, 12) if rng.random() < 0.3 else rng.randint(10, 99)
        self.sentences: list[str] = []
        self.steps: list[Calculation] = []

    def tell(self, n_steps: int) -> Problem:
        self.say(self.situation.opening, x=self.number)
        ending = self._choose_ending(n_steps)
        # Calculations that the ending takes: none without one, a comparison or a price one, a comparison and a sum
        # two.
        in_the_end = {"": 0, "together": 2}.get(ending, 1)
        while len(self.steps) < n_steps - in_the_end:
            self._add_event(n_steps - in_the_end - len(self.steps))
        self._add_ending(ending)
        return Problem(" ".join(self.sentences), tuple(self.steps), self.is_unseen)

    def say(self, wording: TemplateVariants, **numbers: int) -> None:
        unseen = self.may_be_unseen and self.rng.random() < 0.5
        self.is_unseen |= unseen
        sentence = self.rng.choice(wording.unseen if unseen else wording.taught).format(**self.slots, **numbers)
        self.sentences.append(sentence[0].upper() + sentence[1:])

    def calculate(self, left: int, operation: Operation, right: int) -> int:
        result = {"+": left + right, "-": left - right, "*": left * right, "/": left // right}[operation]
        self.steps.append(Calculation(left, operation, right, result))
        return result

    def _choose_ending(self, n_steps: int) -> str:
        fitting = [e for e in self.situation.endings if n_steps >= (2 if e == "together" else 1)]
        return self.rng.choice(fitting) if fitting and self.rng.random() < 0.4 else ""

    def _add_event(self, room: int) -> None:
        """Let something happen that takes at most `room` calculations."""
        rng, number = self.rng, self.number
        # Weights in the order of the situation's events: gains and losses are half of what happens.
        event = rng.choices(list(self.situation.events), (5, 5, 2, 2, 1.5, 1.5, 1.5, 1.5))[0]
        x, a, b = rng.randint(2, 60), rng.randint(2, 9), rng.randint(2, 12)
        few = rng.randint(3, 5)
        match event:
            case "gain" if number + x <= LARGEST:
                self.number = self.calculate(number, "+", x)
            case "lose" if number - x >= 1:
                self.number = self.calculate(number, "-", x)
            case "gain groups" if room > 1 and number + a * b <= LARGEST:
                self.number = self.calculate(number, "+", self.calculate(a, "*", b))
            case "lose groups" if room > 1 and number - a * b >= 1:
                self.number = self.calculate(number, "-", self.calculate(a, "*", b))
            case "double" if 2 * number <= LARGEST:
                self.number = self.calculate(number, "*", 2)
            case "times" if few * number <= LARGEST:
                self.number, x = self.calculate(number, "*", few), few
            case "half" if number % 2 == 0:
                self.number = self.calculate(number, "/", 2)
            case "share" if number % few == 0 and number > few:
                self.number, x = self.calculate(number, "/", few), few
            # What does not fit (too large, not whole, no room) does not happen, and the caller draws again.
            case _:
                return
        self.say(self.situation.events[event], x=x, a=a, b=b)

    def _add_ending(self, ending: str) -> None:
        if ending == "priced":
            self._add_price()
        elif ending:
            before = self.number
            self._add_comparison()
            if ending == "together":
                self.calculate(before, "+", self.number)
            self.say(ASK_TOTAL if ending == "together" else ASK_OTHER)
        else:
            self.say(self.situation.question)

    def _add_price(self) -> None:
        # A price of 2 to 9, and a product of at most LARGEST where the number allows it.
        x = self.rng.randint(2, max(2, min(9, LARGEST // self.number)))
        self.calculate(self.number, "*", x)
        self.say(PRICED, x=x)

    def _add_comparison(self) -> None:
        number, x = self.number, self.rng.randint(2, 60)
        how = self.rng.choice(list(COMPARING))
        if how == "as many" and number * (k := self.rng.randint(2, 5)) <= LARGEST:
            self.number, x = self.calculate(number, "*", k), k
        elif how == "fewer" and number > x:
            self.number = self.calculate(number, "-", x)
        else:
            how = "more"
            self.number = self.calculate(number, "+", x)
        self.say(COMPARING[how], x=x)
