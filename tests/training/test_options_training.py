"""What decides a training."""

from typing import Any

import pytest

from tale_dspy.errors import UsageError
from tale_dspy.training.options import OPTIONS, DpoOptions, SftOptions, options_from


def test_the_papers_settings() -> None:
    sft, dpo = SftOptions.paper(), DpoOptions.paper()
    assert (sft.rank, sft.alpha, sft.targets, sft.batch_size) == (8, 32, ("q_proj", "v_proj"), 16)
    assert (sft.epochs, sft.learning_rate, sft.weight_decay) == (3, 1e-4, 0.01)
    assert (dpo.epochs, dpo.learning_rate, dpo.weight_decay, dpo.loss) == (2, 3e-5, 0.001, ("sigmoid",))


def test_beta_goes_by_the_loss_unless_it_is_given() -> None:
    assert (DpoOptions().beta_taken, DpoOptions(loss=("sigmoid", "sft")).beta_taken) == (1.0, 0.1)
    assert DpoOptions(beta=0.3).beta_taken == 0.3


def test_small_models_learn_faster() -> None:
    rates = [SftOptions().rate_for(width) for width in (32, 128, 1024, 4096, 8192)]
    assert rates == sorted(rates, reverse=True) and rates[0] == rates[1] == 1e-3 and rates[-2:] == [2e-4, 2e-4]
    assert SftOptions(learning_rate=0.5).rate_for(128) == 0.5


@pytest.mark.parametrize(
    ("strategy", "given", "said"),
    [
        ("sft", {"epochs": 0}, "epochs must be a number above 0, got 0"),
        ("sft", {"epochs": 1e9}, "epochs must be at most 1,000, got 1000000000.0"),
        ("sft", {"epochs": float("nan")}, "epochs must be a number above 0"),
        ("sft", {"batch_size": 1.5}, "batch_size must be a whole number"),
        ("sft", {"batch_size": 8, "micro_batch": 3}, "must be a multiple of micro_batch 3"),
        ("sft", {"learning_rate": -1.0}, "learning_rate must be a number above 0"),
        ("sft", {"warmup": 1.0}, "warmup must be at least 0 and below 1"),
        ("sft", {"targets": ()}, "targets must be a tuple"),
        ("sft", {"quantize": "8bit"}, "quantize must be 4bit or None"),
        ("sft", {"seed": -1}, "seed must be a whole number"),
        ("sft", {"seed": 2**32}, "seed must be at most 4,294,967,295, got 4294967296"),
        ("sft", {"rank": 10**20}, "rank must be at most 65,536"),
        ("sft", {"batch_size": 10**20}, "batch_size must be at most 1,000,000"),
        ("sft", {"beta": 0.1}, "sft has no option beta: it is of dpo, grpo"),
        ("dpo", {"loss": ("sigmoid", "x")}, "loss must be of sigmoid, .* got x"),
        ("dpo", {"loss": ()}, "got none"),
        ("dpo", {"loss_weights": (1.0,)}, "one for each of sigmoid_norm, sft"),
        ("dpo", {"ld_alpha": 1.5}, "ld_alpha must be from 0 to 1"),
        ("dpo", {"beta": 0.0}, "beta must be a number above 0"),
        ("grpo", {"generations": 1}, "generations must be a whole number of at least 2, got 1"),
        ("grpo", {"temperature": 0.0}, "temperature must be a number above 0, got 0.0"),
        ("grpo", {"max_new_tokens": 0}, "max_new_tokens must be a whole number of at least 1, got 0"),
        ("grpo", {"budget": -5}, "budget must be a whole number of at least 0, got -5"),
        ("grpo", {"batch_size": 60}, "batch_size 60 must be a multiple of generations 8"),
        ("grpo", {"price": -1.0}, "price must be at least 0"),
        ("ppo", {}, "the strategy must be one of"),
    ],
)
def test_a_value_out_of_range_is_named(strategy: str, given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        options_from(strategy, None, **given)


@pytest.mark.parametrize("strategy", OPTIONS)
def test_what_is_none_keeps_its_default(strategy: str) -> None:
    assert options_from(strategy, None, epochs=None) == OPTIONS[strategy]()


def test_a_flag_overrides_the_preset() -> None:
    options = options_from("sft", "paper", epochs=1.0)
    assert (options.epochs, options.rank) == (1.0, 8)
    with pytest.raises(UsageError, match="the paper has no grpo"):
        options_from("grpo", "paper")
    with pytest.raises(UsageError, match="preset must be paper"):
        options_from("sft", "mine")
