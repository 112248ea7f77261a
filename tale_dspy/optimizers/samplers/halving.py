"""The paper's search for the best budget: halve on while the answer stays right and the tokens really fall."""

from tale_dspy.optimizers.samplers.base import BudgetSampler, History


class HalvingSampler(BudgetSampler):
    """Search as the paper does: Algorithm 1 with the greedy feasibility of Algorithm 2 (paper section 4, A.6).

    The first budget is half the tokens of the answer without one. A budget is kept if its answer is right and used
    strictly fewer tokens than the one kept before; then half of it is tried. The first that fails ends the search. The
    printed algorithm returns that failing budget; here the best trial of the study is the last one kept, as in the
    authors' code. Deterministic, and nothing is learned from one question for the next.

    Asked on after the end, it asks the kept budget again. A trial that is still running counts as kept.
    """

    def propose(self, history: History) -> int:
        """Return half of the budget kept last, in whole tokens."""
        kept, going_on = self._kept(history)
        for budget in history.pending:
            kept = min(kept, budget)
        return max(history.lowest, kept // 2 if going_on else kept)

    def enough(self, history: History) -> bool:
        """Tell whether a budget failed, or the smallest one was kept."""
        kept, going_on = self._kept(history)
        return bool(history.seen) and (not going_on or kept <= history.lowest)

    @staticmethod
    def _kept(history: History) -> tuple[int, bool]:
        """Return the budget kept last and whether none has failed yet."""
        kept, tokens = history.vanilla_tokens, float(history.vanilla_tokens)
        for trial in history.seen:
            if not trial.right or trial.tokens >= tokens:
                return kept, False
            kept, tokens = trial.budget, trial.tokens
        return kept, True
