"""Optuna's tree-structured Parzen estimator, as Optuna ships it."""

from tale_dspy.errors import MissingExtraError

try:
    from optuna.samplers import TPESampler as OptunaTPESampler
except ImportError as e:  # pragma: no cover - tested in a process of its own
    raise MissingExtraError("optuna", "search") from e


class TPESampler(OptunaTPESampler):
    """Search with Optuna's TPE, seeded.

    It is a general optimizer that knows nothing of budgets.

    It draws its first ten budgets at random, honours the constraint `wrong`, learns nothing from question to question
    and never has enough: `calls_per_question` of a `BudgetSearch`, or `n_trials` of `study.optimize`, ends its search.
    One generator serves all studies that share a sampler, so its budgets repeat only if the studies ask in the same
    order.

    Args:
        seed: Of its random numbers; Optuna's other options keep their defaults. For those, pass Optuna's own sampler.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed=seed)
