"""Optuna's TPE serves a search of budgets as it is."""

import optuna

from tale_dspy.optimizers.samplers import TPESampler
from tale_dspy.testing.samplers import SamplerSuite, elastic, searched


class TestTPESampler(SamplerSuite):
    def sampler(self) -> TPESampler:
        return TPESampler()


def test_it_is_the_sampler_of_optuna_with_a_seed() -> None:
    search = searched(TPESampler(seed=3), elastic, calls=15)
    assert search == searched(optuna.samplers.TPESampler(seed=3), elastic, calls=15)
    assert search != searched(TPESampler(seed=4), elastic, calls=15)
