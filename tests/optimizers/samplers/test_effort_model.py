"""What is learned of levels, tokens and the phrase."""

import pytest

from tale_dspy.optimizers.samplers.base import Observation, QuestionHistory
from tale_dspy.optimizers.samplers.effort_model import LevelModel, MeanShares, PhraseModel


def question(*observations: tuple[int, float, bool], levels: int = 3) -> QuestionHistory:
    return QuestionHistory(levels, tuple(Observation(*o) for o in observations))


def test_a_posterior_follows_what_was_seen_and_the_questions_before() -> None:
    fresh = LevelModel({}, 0.04)
    assert fresh.posterior(3, []).tolist() == [0.25] * 4
    assert fresh.posterior(3, [(2, True)])[:2].sum() == pytest.approx(0.96)
    learned = LevelModel.fit([question((1, 0.1, True))] * 20)
    assert learned.posterior(3, [])[0] > 0.9 and learned.noise < 0.04


def test_shares_between_known_levels_lie_on_a_logarithmic_scale() -> None:
    shares = MeanShares()
    assert shares.expected(3, {}) == pytest.approx([0.125, 0.25, 0.5])
    shares.add(question((1, 0.01, True)))
    assert shares.expected(3, {}) == pytest.approx([0.01, 0.01 ** (2 / 3), 0.01 ** (1 / 3)])
    assert shares.expected(3, {2: 0.3})[1] == pytest.approx(0.3)


def test_the_phrase_is_hoped_to_help_until_it_was_seen() -> None:
    model = PhraseModel()
    assert model.ratio == pytest.approx(0.6) and model.right == pytest.approx(0.9)
    for _ in range(50):
        model.add(Observation(2, 0.2, True), Observation(1, 0.2, False))
    assert model.ratio > 0.95 and model.right < 0.1
