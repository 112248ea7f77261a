"""Optuna's own conformance suite, run on the samplers of this package."""

from collections.abc import Callable

import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import BasicSamplerTestCase, MultiObjectiveSamplerTestCase

from tale_dspy.optimizers.samplers import ElasticSampler, GridSampler, HalvingSampler, TPESampler

RANGES = [(-10, 10, 1, False), (0, 10, 1, False), (-10, 0, 1, False), (-10, 10, 2, False), (0, 10, 2, False)]
RANGES += [(1, 100, 1, True), (1, 9, 2, False), (7, 7, 1, False)]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
class TestTPESampler(BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return TPESampler


@pytest.mark.parametrize("make", [ElasticSampler, HalvingSampler, GridSampler])
@pytest.mark.parametrize(("low", "high", "step", "log"), RANGES)
def test_any_integer_parameter_is_sampled_within_its_range(
    make: Callable[[], BaseSampler], low: int, high: int, step: int, log: bool
) -> None:
    study = optuna.create_study(sampler=make())
    values = []
    for _ in range(8):
        trial = study.ask({"x": IntDistribution(low, high, log=log, step=step)})
        values.append(trial.params["x"])
        study.tell(trial, float(abs(values[-1])))
    assert all(type(value) is int and value in range(low, high + 1, step) for value in values)
