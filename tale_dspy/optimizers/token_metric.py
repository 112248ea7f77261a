"""A metric that wants the right answer first and few tokens second.

It is for `dspy.MIPROv2`, `dspy.GEPA` and other DSPy optimizers.

DSPy's optimizers rewrite instructions and choose demos by one number. With a metric of answers alone they make prompts
longer and replies, too; here a right answer is worth less, the more tokens it took, and always more than a wrong one.
"""

import math
from dataclasses import dataclass
from typing import Any

import dspy

from tale_dspy.datasets import example_id
from tale_dspy.errors import UsageError
from tale_dspy.programs.base import TalePrediction
from tale_dspy.programs.predictor import TalePredict
from tale_dspy.runs.questions import gold_field
from tale_dspy.runs.scoring import Metric, Question, answers_match, score_of
from tale_dspy.task_signature import BUDGET, REASONING


@dataclass(frozen=True)
class TokenAwareMetric:
    """See `token_aware_metric`, which makes and checks it."""

    metric: Metric | None
    weight: float
    tokens: float
    threshold: float

    def __call__(
        self, example: Any, pred: Any, trace: Any = None, pred_name: str | None = None, pred_trace: Any = None
    ) -> Any:
        """Score one answer as the optimizer that asks expects it.

        Returns:
            While demos are collected (a trace, no predictor) whether the answer is right, since any number above 0
            would pass; for GEPA's reflection (a predictor) a Prediction with `score` and `feedback`; else the score.
        """
        if pred_name is None:
            base, _ = self._answer_score(example, pred)
            return self._weigh_tokens(base, pred) if trace is None else base >= self.threshold
        predictor = pred_trace[0][0] if pred_trace else None
        return self.explain(example, pred, is_estimator=_estimates_budget(predictor))

    def explain(self, example: dspy.Example, pred: object, *, is_estimator: bool = False) -> dspy.Prediction:
        """Return the score and, in words, how it came about.

        Args:
            example: The question with its gold.
            pred: The answer.
            is_estimator: Whether the words are for what estimates budgets, and not for what reasons within them.
        """
        base, sentence = self._answer_score(example, pred)
        right = base >= self.threshold
        advice = _for_estimator(pred, right) if is_estimator else _for_reasoner(pred, right)
        return dspy.Prediction(
            score=self._weigh_tokens(base, pred), feedback=" ".join([sentence, _cost_sentence(pred), advice]).strip()
        )

    def _answer_score(self, example: dspy.Example, pred: Any) -> tuple[float, str]:
        """Return the score of the answer alone, and a sentence about it."""
        if self.metric is None:
            gold = gold_field(example)
            question = Question(example_id(example, gold), example, gold)
            right = isinstance(pred, dspy.Prediction) and answers_match(question, pred)
            outputs = {k: v for k, v in pred.items() if k != REASONING} if isinstance(pred, dspy.Prediction) else pred
            return float(right), "Right." if right else f"Wrong: expected {question.gold!r}, got {outputs!r}."
        value = self.metric(example, pred)
        score = score_of(value)
        feedback = value.get("feedback") if isinstance(value, dspy.Prediction) else None
        return score, str(feedback or ("Right." if score >= self.threshold else f"Wrong: score {score:g}."))

    def _weigh_tokens(self, base: float, pred: object) -> float:
        tokens = net_tokens(pred)
        # t / (t + self.tokens) rises from 0 to 1 and is 1/2 at `self.tokens`; unknown tokens count as infinitely many.
        return base * (1 - self.weight * (1.0 if tokens is None else tokens / (tokens + self.tokens)))


def token_aware_metric(
    metric: Metric | None = None, *, weight: float = 0.3, tokens: float = 200.0, threshold: float = 1.0
) -> TokenAwareMetric:
    """Return a metric for any DSPy optimizer that prefers fewer tokens.

    Of two right answers, the one with fewer tokens scores higher. The score is `s * (1 - weight * t / (t + tokens))`,
    where s is the score of the answer alone and t counts what the reasoning and the estimate of its budget wrote. Where
    t is unknown the whole weight is lost: unknown is not 0.

    Args:
        metric: Scores the answer alone, from 0 to 1, with or without `feedback`; None compares it with the gold.
        weight: Share of the score that tokens may cost, from 0 to below 1: so a right answer beats any wrong one.
        tokens: Where half of the weight is lost; what an answer takes today is a good choice.
        threshold: Score from which on an answer is right.

    Raises:
        UsageError: If a number is out of its range.

    Example:
        >>> metric = token_aware_metric(tokens=150)
        >>> gepa = dspy.GEPA(metric=metric, auto="light", reflection_lm=lm)
    """
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < 1:
        raise UsageError(f"weight must be from 0 to below 1, got {weight!r}")
    if isinstance(tokens, bool) or not isinstance(tokens, int | float) or not 0 < tokens < math.inf:
        raise UsageError(f"tokens must be a positive number, got {tokens!r}")
    return TokenAwareMetric(metric, weight, tokens, threshold)


def net_tokens(pred: Any) -> int | None:
    """Return the completion tokens of an answer, its budget's estimate included.

    It is None if they are unknown. Predictions of other modules tell their tokens under
    `dspy.context(track_usage=True)`.
    """
    if isinstance(pred, TalePrediction) and pred._receipt is not None:
        written = [call.output_tokens for call in pred._receipt.calls]
    else:
        usage = pred.get_lm_usage() if isinstance(pred, dspy.Prediction) else None
        written = [counts.get("completion_tokens") for counts in (usage or {}).values()]
    known = [n for n in written if n is not None]
    return sum(known) if known and len(known) == len(written) else None


def _estimates_budget(predictor: Any) -> bool:
    return isinstance(predictor, TalePredict) and BUDGET in predictor.signature.output_fields


def _cost_sentence(pred: object) -> str:
    tokens = net_tokens(pred)
    if tokens is None:
        return "How many tokens it took is unknown."
    estimate = pred.estimate_tokens if isinstance(pred, TalePrediction) else None
    return f"It took {tokens} tokens{'' if estimate is None else f', {estimate} of them to estimate the budget'}."


def _used_and_budget(pred: object) -> tuple[int, int] | None:
    if not isinstance(pred, TalePrediction) or pred.token_budget is None or pred.output_tokens is None:
        return None
    return pred.output_tokens, pred.token_budget


def _for_reasoner(pred: object, right: bool) -> str:
    known = _used_and_budget(pred)
    if known is None:
        return "Write down no more than the answer needs." if right else ""
    used, budget = known
    if used > budget:
        return f"The reasoning took {used} tokens, the budget was {budget}: write down only the steps the answer needs."
    if right:
        return f"The reasoning took {used} tokens of a budget of {budget}: good."
    return f"The reasoning took {used} tokens of a budget of {budget}: use what there is to get the answer right."


def _for_estimator(pred: object, right: bool) -> str:
    known = _used_and_budget(pred)
    if known is None:
        return ""
    used, budget = known
    if used > budget:
        return (
            f"The budget was {budget}, but {used} tokens were needed: a budget that cannot be kept is ignored and "
            "makes replies longer. Estimate what is really needed."
        )
    if right:
        return f"The budget was {budget}, of which {used} were used: no larger budget is needed for such a question."
    return f"The budget was {budget}, which may have been too small: estimate more for such a question."
