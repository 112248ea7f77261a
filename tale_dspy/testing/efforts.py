"""A scripted reasoner whose thinking is set by an effort word.

Most hosted models take such words.

Each question has a least word that is enough for it, made from a hash of its text: a search can be held against it.
"""

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from tale_dspy.budget import EFFORT_WORDS, check_effort
from tale_dspy.errors import UsageError
from tale_dspy.testing.messages import Reply, Request, check_share, draw
from tale_dspy.testing.problems import SolverReply
from tale_dspy.testing.thinking import is_off

THOUGHT_WORDS = {"none": 0, "minimal": 16, "low": 48, "medium": 144, "high": 432, "xhigh": 864, "max": 1728}
"""Words of thought by effort, for a question of middling length: three times as many from word to word."""


class EffortReply:
    """Think as much as an effort word says, and be right where that is enough.

    It is a reply function for a `ScriptedServer`.

    The word is read from `reasoning_effort`, `reasoning.effort` or `output_config.effort` of the body; thinking that is
    switched off is `none`. The thought comes as `reasoning_content` and counts as completion tokens; one that does not
    fit into the body's `max_tokens` is cut there, and the reply has no text. A number in the prompt changes nothing,
    unless `phrase_factor` is set.

    Args:
        bank: Question text -> answer.
        words: The effort words the model has, from the least to the most.
        default: The word where the body has none; None: the middle one.
        deaf: Whether the word is ignored: every question is thought about as with `default`.
        unsolved: Share of the questions that no word is enough for.
        noise: Share of the replies that are wrong by chance, another with each draw.
        phrase_factor: Words of thought where the prompt names a number, as a share of those where it does not.
        difficulty: Says of a question what share of all questions is easier, from 0 to 1; its least word follows from
            it. None draws it from a hash of the text, so that nothing in the text predicts it.
        seed: Another seed draws other least words and lengths.

    Raises:
        UsageError: If a word is none, the words are not in order, or a share is not between 0 and 1.
    """

    def __init__(
        self,
        bank: Mapping[str, object],
        *,
        words: Sequence[str] = ("minimal", "low", "medium", "high"),
        default: str | None = None,
        deaf: bool = False,
        unsolved: float = 0.0,
        noise: float = 0.0,
        phrase_factor: float = 1.0,
        difficulty: Callable[[str], float] | None = None,
        seed: int = 0,
    ) -> None:
        self.words = tuple(check_effort(word, "words") for word in words)
        if not self.words or list(self.words) != sorted(set(self.words), key=EFFORT_WORDS.index):
            raise UsageError(f"words must be different effort words from the least to the most, got {words!r}")
        self.default = self.words[len(self.words) // 2] if default is None else check_effort(default, "default")
        if self.default not in self.words:
            raise UsageError(f"default must be one of {', '.join(self.words)}, got {default!r}")
        check_share("unsolved", unsolved)
        check_share("noise", noise)
        check_share("phrase_factor", phrase_factor)
        self.deaf, self.unsolved, self.noise, self.seed = deaf, unsolved, noise, seed
        self.phrase_factor, self.difficulty = phrase_factor, difficulty
        self.right = SolverReply(bank, wrong=0.0, direct_wrong=0.0)
        self.wrong = SolverReply(bank, wrong=1.0, direct_wrong=1.0)
        self._draws: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Reply:
        """Answer one request."""
        question = self.right.find(request.prompt)
        key = request.prompt if question is None else question
        word = self.default if self.deaf else self.word_of(request.body)
        enough = self.is_enough(key, word) and not self._is_unlucky(key)
        solver = self.right if enough else self.wrong
        kind = "estimate" if request.kind == "estimate" else "direct"
        reply = solver(replace(request, kind=kind, body={}))
        thought = self.thought(key, word) * (self.phrase_factor if request.kind == "budget" else 1.0)
        return _thought_before(reply, round(thought), request.body)

    def least_word(self, question: str) -> str | None:
        """Return the least word that is enough for a question; None if none is."""
        place = self.difficulty(question) if self.difficulty else draw(question, f"{self.seed} least word")
        solved = 1 - self.unsolved
        return self.words[int(place / solved * len(self.words))] if place < solved else None

    def is_enough(self, question: str, word: str) -> bool:
        """Return whether a word is enough for a question, chance aside."""
        least = self.least_word(question)
        return least is not None and EFFORT_WORDS.index(word) >= EFFORT_WORDS.index(least)

    def thought(self, question: str, word: str) -> int:
        """Return how many words the thought about a question has.

        It is 0.7 to 1.3 times the number in `THOUGHT_WORDS`.
        """
        return round(THOUGHT_WORDS[word] * (0.7 + 0.6 * draw(question, f"{self.seed} thought")))

    def word_of(self, body: Mapping[str, object]) -> str:
        """Return the effort word of a body.

        A word the model lacks is replaced by the next lower one, as providers do.
        """
        if is_off(body) and body.get("reasoning_effort") != "minimal":
            word = "none"
        else:
            held = [body.get(name) for name in ("reasoning", "output_config")]
            nested = [part.get("effort") for part in held if isinstance(part, Mapping)]
            word = next((w for w in (body.get("reasoning_effort"), *nested) if w in EFFORT_WORDS), self.default)
        lower = [w for w in self.words if EFFORT_WORDS.index(w) <= EFFORT_WORDS.index(word)]
        return lower[-1] if lower else self.words[0]

    def _is_unlucky(self, question: str) -> bool:
        """Draw whether a reply is wrong by chance.

        Each reply to a question is a new draw.
        """
        if not self.noise:
            return False
        with self._lock:
            self._draws[question] += 1
            number = self._draws[question]
        return draw(question, f"{self.seed} noise {number}") < self.noise


def _thought_before(reply: Reply, thought: int, body: Mapping[str, object]) -> Reply:
    """Put a thought of `thought` words before a reply.

    A thought that does not fit uses the whole allowance.
    """
    limits = [body.get(name) for name in ("max_completion_tokens", "max_output_tokens", "max_tokens")]
    room = min((limit for limit in limits if isinstance(limit, int)), default=None)
    if room is not None and thought + reply.tokens > room:
        spent = " ".join(["hmm"] * min(thought, room))
        return replace(reply, text=None, reasoning=spent, completion_tokens=room, finish_reason="length")
    return replace(reply, reasoning=" ".join(["hmm"] * thought) or None, completion_tokens=thought + reply.tokens)
