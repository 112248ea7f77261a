"""The sampler of effort words, on made-up questions with a known least sufficient word."""

import random
from collections.abc import Sequence

import pytest

from tale_dspy.errors import UsageError
from tale_dspy.optimizers.samplers import EffortSampler, Observation, QuestionHistory

SHARES = (0.05, 0.15, 0.4, 0.99)
"""Tokens of four words, as shares of those without a budget."""


def search(sampler: EffortSampler, least: int, shares: Sequence[float] = SHARES) -> QuestionHistory:
    """Search one question that every word from `least` on answers right, and learn from it."""
    history = QuestionHistory(len(shares))
    while not sampler.should_stop(history):
        level = sampler.propose(history)
        history = QuestionHistory(len(shares), (*history.trials, Observation(level, shares[level - 1], level >= least)))
    sampler.finish_question(history)
    return history


def least_words(n: int, weights: Sequence[float], seed: int = 0) -> list[int]:
    return random.Random(seed).choices(range(1, len(weights) + 1), weights, k=n)


def best_level(history: QuestionHistory) -> int:
    return min((o.budget for o in history.trials if o.right), default=len(SHARES))


def test_the_least_sufficient_word_is_found_in_about_two_calls() -> None:
    sampler, least = EffortSampler(), least_words(300, [1, 1, 1, 1])
    histories = [search(sampler, k) for k in least]
    right = [best_level(h) == k for h, k in zip(histories, least, strict=True)]
    assert sum(right) >= 0.98 * len(right)
    assert sum(len(h.trials) for h in histories) <= 2.1 * len(histories)


def test_a_prior_from_earlier_questions_saves_calls() -> None:
    easy = [len(search(sampler, 1).trials) for sampler in [EffortSampler()] for _ in range(60)]
    assert sum(easy[:5]) > sum(easy[-5:]) == 5  # in the end the lowest word is asked at once


def test_the_words_of_a_model_that_ignores_them_are_said_to_have_no_effect() -> None:
    sampler, rng = EffortSampler(), random.Random(1)
    questions = 0
    while not sampler.has_no_effect and questions < 40:
        search(sampler, 1, [rng.uniform(0.9, 1.1) for _ in SHARES])
        questions += 1
    assert questions < 30
    assert sampler.should_stop(QuestionHistory(4))


def test_words_that_differ_are_never_said_to_have_no_effect() -> None:
    sampler = EffortSampler()
    for k in least_words(100, [1, 1, 1, 1], seed=2):
        search(sampler, k)
        assert not sampler.has_no_effect


def test_a_wrong_answer_by_chance_does_not_mislead_later_questions() -> None:
    sampler, rng = EffortSampler(), random.Random(3)
    for k in least_words(200, [4, 1, 1, 1], seed=4):
        history = QuestionHistory(4)
        while not sampler.should_stop(history):
            level = sampler.propose(history)
            right = (level >= k) != (rng.random() < 0.05)
            history = QuestionHistory(4, (*history.trials, Observation(level, SHARES[level - 1], right)))
        sampler.finish_question(history)
    assert best_level(search(sampler, 3)) == 3


def test_many_levels_are_planned_in_little_time_and_stay_in_the_range() -> None:
    sampler = EffortSampler()
    history = search(sampler, 9, [0.05 * n for n in range(1, 15)])
    assert 1 <= len(history.trials) <= 6 and all(1 <= o.budget <= 14 for o in history.trials)


def test_asked_on_after_the_end_it_stays_in_the_range() -> None:
    history = QuestionHistory(2, (Observation(1, 0.1, False), Observation(2, 0.5, True)))
    assert EffortSampler().propose(history) == 2


SETTINGS = ("minimal+50", "minimal", "low+50", "low", "medium+50", "medium", "high+50", "high")


def search_settings(sampler: EffortSampler, least: int, phrase: float, right: bool = True) -> list[str]:
    """Search one question over words with and without a phrase, which takes a share of the tokens of its word."""
    history = QuestionHistory(len(SETTINGS))
    while not sampler.should_stop(history):
        level = sampler.propose(history)
        word, plain = (level + 1) // 2, level % 2 == 0
        tokens = SHARES[word - 1] * (1 if plain else phrase)
        enough = word >= least and (plain or right)
        history = QuestionHistory(len(SETTINGS), (*history.trials, Observation(level, tokens, enough)))
        sampler.observe(history)
    sampler.finish_question(history)
    return [SETTINGS[o.budget - 1] for o in history.trials]


def test_a_phrase_without_effect_is_asked_on_eight_questions_and_given_up() -> None:
    sampler = EffortSampler(SETTINGS)
    settings_asked = [search_settings(sampler, least, phrase=1.0) for least in least_words(120, [1, 1, 1, 1])]
    assert sum("+" in setting for settings in settings_asked for setting in settings) == 8
    assert sampler.phrase_has_no_effect and sampler.phrase_ratio == pytest.approx(1.0)
    assert sum(map(len, settings_asked)) <= 2.2 * len(settings_asked)


def test_a_phrase_that_saves_tokens_is_asked_on_beside_the_word_found() -> None:
    sampler = EffortSampler(SETTINGS)
    settings_asked = [search_settings(sampler, 3, phrase=0.5) for _ in range(40)]
    assert not sampler.phrase_has_no_effect and sampler.phrase_ratio == pytest.approx(0.5)
    assert all(settings[-1] == "medium+50" for settings in settings_asked[:8] + settings_asked[-8:])


def test_a_phrase_that_makes_answers_wrong_is_given_up() -> None:
    sampler = EffortSampler(SETTINGS)
    settings_asked = [search_settings(sampler, 3, phrase=0.5, right=False) for _ in range(60)]
    assert not any("+" in setting for settings in settings_asked[-20:] for setting in settings)


def test_no_more_phrases_are_asked_than_are_needed_to_judge_until_the_first_are_in() -> None:
    sampler = EffortSampler(SETTINGS)
    history = QuestionHistory(len(SETTINGS), (Observation(4, 0.15, True), Observation(2, 0.05, False)))
    proposals = [sampler.propose(history) for _ in range(40) if not sampler.should_stop(history)]
    assert proposals == [3] * 8


@pytest.mark.parametrize("options", [{"price": 0}, {"price": 1}, {"max_calls": 0}])
def test_options_out_of_their_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        EffortSampler(**options)  # type: ignore[arg-type]
