"""Questions that were met before, nearly word by word."""

import math
import re
import unicodedata
from collections import Counter, defaultdict

ALIKE = 0.9
"""Share of their words two questions have in common from which on they are near-duplicates."""

_WORD = re.compile(r"\d+(?:[.,]\d+)*|\w+")

Words = frozenset[tuple[str, int]]
"""The words of a question, each with its count so far: the second `the` is another word than the first."""


class NearDuplicateIndex:
    """The questions met so far.

    Two are near-duplicates if they hold the same numbers and share nine of ten words (Jaccard index), whatever their
    case, punctuation and spacing. The same story with other numbers is another question.
    """

    def __init__(self) -> None:
        self._by_word: dict[tuple[tuple[str, ...], tuple[str, int] | None], list[Words]] = defaultdict(list)

    def add(self, question: str) -> bool:
        """Note a question, and say whether a near-duplicate of it had been met."""
        numbers, words = _numbers_and_words(question)
        is_duplicate = self._has_duplicate(numbers, words)
        # An inverted index by numbers and rare word: only questions that share both are compared.
        for word in _rarest_words(words):
            self._by_word[numbers, word].append(words)
        return is_duplicate

    def __contains__(self, question: str) -> bool:
        return self._has_duplicate(*_numbers_and_words(question))

    def _has_duplicate(self, numbers: tuple[str, ...], words: Words) -> bool:
        candidates = (other for word in _rarest_words(words) for other in self._by_word.get((numbers, word), ()))
        return any(_are_alike(words, other) for other in candidates)


def _numbers_and_words(question: str) -> tuple[tuple[str, ...], Words]:
    tokens = _WORD.findall(unicodedata.normalize("NFKC", question).casefold())
    occurrences: Counter[str] = Counter()
    words = set()
    for word in tokens:
        # The second `two` of a text is another element than the first: a set that counts like a multiset.
        words.add((word, occurrences[word]))
        occurrences[word] += 1
    return tuple(sorted(word for word in tokens if word[0].isdigit())), frozenset(words)


def _rarest_words(words: Words) -> list[tuple[str, int] | None]:
    """Return the first words in a fixed order, long and so rare ones first.

    Sets of words that are alike share one of them.
    """
    if not words:
        return [None]
    ordered = sorted(words, key=lambda word: (-len(word[0]), word))
    # Prefix filter: if |a & b| >= ALIKE |a|, at most |a| - ceil(ALIKE |a|) words of a are missing from b, so that one
    # of any |a| - ceil(ALIKE |a|) + 1 words is shared.
    return [*ordered[: len(ordered) - math.ceil(ALIKE * len(ordered)) + 1]]


def _are_alike(a: Words, b: Words) -> bool:
    # Jaccard similarity |a & b| / |a | b| of at least ALIKE.
    return not (a or b) or len(a & b) >= ALIKE * len(a | b)
