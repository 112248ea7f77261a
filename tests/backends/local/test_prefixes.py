"""What prompts have in common is found where it spares tokens, and the entries used last are held."""

import random

import pytest

from tale_dspy.backends.local.kv_cache import SharedPrefix
from tale_dspy.backends.local.prefixes import MAX_PREFIXES, MIN_TOKENS, PrefixStore, common_length

FORM = list(range(100, 160))
OTHER_FORM = [*FORM[:20], *range(300, 350)]


@pytest.mark.parametrize(
    ("one", "other", "length"),
    [([], [1], 0), ([1], [2], 0), ([1, 2], [1, 2], 2), ([1, 2, 3], [1, 2, 4, 5], 2), ([1, 2], [1, 2, 3], 2)],
)
def test_common_length(one: list[int], other: list[int], length: int) -> None:
    assert common_length(one, other) == common_length(other, one) == length


def test_common_length_of_random_prompts() -> None:
    rng = random.Random(0)
    for _ in range(200):
        one, other = ([rng.randint(0, 1) for _ in range(rng.randint(0, 40))] for _ in range(2))
        wanted = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
        assert common_length(one, other) == (min(len(one), len(other)) if wanted is None else wanted)


def test_the_longest_entry_a_prompt_begins_with_is_found() -> None:
    store = PrefixStore()
    for length in (20, 40, 60):
        store.add(SharedPrefix(tuple(FORM[:length]), ()))
    assert [len(prefix.ids) if (prefix := store.find(ids)) else 0 for ids in ([*FORM, 1], FORM, FORM[:30], [5])] == [
        60,
        40,  # one token at least is to be read
        20,
        0,
    ]


def test_the_length_that_spares_most_is_chosen() -> None:
    store = PrefixStore()
    prompts = [[*FORM, i, i] for i in range(10)]
    others = [[*OTHER_FORM, i] for i in range(10)]
    assert store.shared_length(prompts[0], [*prompts[1:], *others]) == 60
    assert store.shared_length(prompts[0], others) == 20
    assert store.shared_length([*FORM, 7], [[*FORM, 7]] * 4) == 60
    assert store.shared_length(prompts[0], [FORM[: MIN_TOKENS - 1]]) == 0
    assert store.shared_length([1, 2, 3], [[1, 2, 3]]) == 0


def test_prompts_of_before_count_too() -> None:
    store = PrefixStore()
    assert store.shared_length([*FORM, 1], []) == 0
    store.remember([[*FORM, 2]])
    assert store.shared_length([*FORM, 1], []) == 60


def test_the_entry_that_was_not_used_for_longest_makes_room() -> None:
    store = PrefixStore()
    for i in range(MAX_PREFIXES):
        store.add(SharedPrefix((i, *FORM), ()))
    assert store.find([0, *FORM, 1]) is not None
    store.add(SharedPrefix((99, *FORM), ()))
    assert [i for i in (*range(MAX_PREFIXES), 99) if store.find([i, *FORM, 1]) is None] == [1]
