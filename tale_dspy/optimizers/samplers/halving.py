"""The paper's search for the best budget.

It halves the budget while the answer stays right and the tokens really fall.
"""

from tale_dspy.optimizers.samplers.base import BudgetSampler, QuestionHistory


class HalvingSampler(BudgetSampler):
    """Search as the paper does.

    It is Algorithm 1 with the greedy feasibility of Algorithm 2 (paper, section 4 and A.6).

    The first budget is half the tokens of the answer without one. A budget is accepted if its answer is right and used
    strictly fewer tokens than the one accepted before; then half of it is tried. The first that fails ends the search.
    The printed algorithm returns that failing budget; here the best trial of the study is the last one accepted, as in
    the authors' code. Deterministic, and nothing is learned from one question for the next.

    Asked on after the end, it proposes the accepted budget again. A running trial counts as accepted.
    """

    def propose(self, history: QuestionHistory) -> int:
        """Return half of the budget accepted last, in whole tokens."""
        # Algorithm 1: budget <- budget // 2, from the tokens of the answer without a budget on.
        accepted, going_on = self._last_accepted(history)
        for budget in history.pending:
            accepted = min(accepted, budget)
        return max(history.lowest, accepted // 2 if going_on else accepted)

    def should_stop(self, history: QuestionHistory) -> bool:
        """Return whether a budget failed, or the smallest one was accepted."""
        accepted, going_on = self._last_accepted(history)
        return bool(history.trials) and (not going_on or accepted <= history.lowest)

    @staticmethod
    def _last_accepted(history: QuestionHistory) -> tuple[int, bool]:
        """Return the budget accepted last and whether none has failed yet."""
        accepted, tokens = history.vanilla_tokens, float(history.vanilla_tokens)
        for trial in history.trials:
            # Algorithm 2, greedy feasibility: right, and strictly fewer tokens than the last accepted answer. Below the
            # ideal range tokens grow again (token elasticity), so that a further halving ends the search there.
            if not trial.right or trial.tokens >= tokens:
                return accepted, False
            accepted, tokens = trial.budget, trial.tokens
        return accepted, True
