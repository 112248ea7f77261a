"""What a budget estimator costs beside what it saves, and where it breaks even: the part the paper leaves out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tale_dspy.comparison.paired import Draws
from tale_dspy.comparison.run_stats import config_of
from tale_dspy.runs.records import Run
from tale_dspy.statistics import mean_complete


@dataclass(frozen=True)
class EstimatorBreakEven:
    """What the budget estimator costs beside what it saves, in means over the `n` questions where all is known.

    With B and R the reply tokens of the two sides, s = 1 - R/B, e the estimator's completion and q its prompt tokens:

    - In tokens it pays if e < B - R. At the same s a longer reply saves more: it pays from B = e / s on.
    - In money it pays if H < B - R, where H = (B - R) + loss_usd / price_out is all the run pays besides its reply, in
      output tokens: e + q * price_in / price_out, plus the few prompt tokens of the budget phrase, less any rebate for
      cached prompts. So it pays from B = H / s on, and with estimator prompts below q - loss_usd / price_in.
    """

    n: int
    reply_tokens: float
    """B."""
    saved_tokens: float
    """B - R."""
    estimate_tokens: float
    """e."""
    loss_tokens: float
    """e - (B - R): above 0 the estimator costs more tokens than it saves."""
    break_even_tokens: float | None
    """Reply length from which it pays in tokens; None if it shortens nothing."""
    estimate_prompt_tokens: float | None = None
    """q."""
    loss_usd: float | None = None
    """US dollars a question that the run is dearer than the baseline; None if a price is unknown."""
    break_even_tokens_usd: float | None = None
    """Reply length from which it pays in money; None if it shortens nothing or no price per token is known."""
    break_even_prompt_tokens: float | None = None
    """Estimator prompt below which it pays in money, not above 0 if at none; None without prices or with free input."""


def estimator_balance(questions: Sequence[Draws], run: Run) -> EstimatorBreakEven | None:
    """Weigh the run's estimator against the reply tokens it saves; None unless only the run has one."""
    pairs = [pair for draws in questions for pair in draws]
    if any(b.estimate_tokens is not None for b, _ in pairs) or all(a.estimate_tokens is None for _, a in pairs):
        return None
    counted = [(b, a) for b, a in pairs if None not in (b.output_tokens, a.output_tokens, a.net_tokens)]
    priced = [(b, a) for b, a in counted if None not in (b.price_usd, a.price_usd)]
    balance = _in_tokens(priced or counted)
    return balance and _with_money(balance, priced or counted, run)


def _in_tokens(pairs: Draws) -> EstimatorBreakEven | None:
    before, after = mean_complete(b.output_tokens for b, _ in pairs), mean_complete(a.output_tokens for _, a in pairs)
    estimate = mean_complete(a.estimate_tokens or 0 for _, a in pairs)
    if before is None or after is None or estimate is None:
        return None
    saved, share = before - after, (before - after) / before if before else 0.0
    return EstimatorBreakEven(
        n=len(pairs),
        reply_tokens=before,
        saved_tokens=saved,
        estimate_tokens=estimate,
        loss_tokens=estimate - saved,
        break_even_tokens=estimate / share if share > 0 else None,
        estimate_prompt_tokens=mean_complete(
            a.estimate_prompt_tokens if a.estimate_tokens is not None else 0 for _, a in pairs
        ),
    )


def _with_money(balance: EstimatorBreakEven, pairs: Draws, run: Run) -> EstimatorBreakEven:
    """Add the figures in US dollars that the prices allow."""
    before, after = mean_complete(b.price_usd for b, _ in pairs), mean_complete(a.price_usd for _, a in pairs)
    if before is None or after is None:
        return balance
    loss, prices, prompt = after - before, _token_prices(run, pairs), balance.estimate_prompt_tokens
    balance = replace(balance, loss_usd=loss)
    share = balance.saved_tokens / balance.reply_tokens if balance.reply_tokens else 0.0
    if prices and prices[1] > 0 and share > 0:
        balance = replace(balance, break_even_tokens_usd=max(0.0, balance.saved_tokens + loss / prices[1]) / share)
    if prices and prices[0] > 0 and prompt is not None:
        balance = replace(balance, break_even_prompt_tokens=prompt - loss / prices[0])
    return balance


def _token_prices(run: Run, pairs: Draws) -> tuple[float, float] | None:
    """Give US dollars per prompt and per completion token: the recorded price, else the one the records agree on."""
    import numpy as np

    given = config_of(run).get("price")
    if isinstance(given, dict):
        prices = [given.get("input"), given.get("output")]
        known = [float(p) for p in prices if isinstance(p, (int, float)) and math.isfinite(p) and p >= 0]
        if len(known) == 2:
            return known[0], known[1]
    rows = [(r.prompt_tokens, r.net_tokens, r.price_usd) for pair in pairs for r in pair]
    table = np.array([row for row in rows if None not in row], dtype=np.float64).reshape(-1, 3)
    fit, _, rank, _ = np.linalg.lstsq(table[:, :2], table[:, 2])
    fit = fit.round(15)  # a free side is 0, not -1e-21
    # Rebates for cached prompts or two models at two prices leave a rest: then no single price is told.
    if rank < 2 or fit.min() < 0 or np.abs(table[:, :2] @ fit - table[:, 2]).max() > 0.01 * table[:, 2].mean():
        return None
    return float(fit[0]), float(fit[1])


def balance_notes(balance: EstimatorBreakEven | None) -> list[str]:
    """Say what the estimator loses, and at which length it would pay."""
    if balance is None or max(balance.loss_tokens, balance.loss_usd or 0.0) <= 0:
        return []
    more = "more" if balance.loss_tokens > 0 else "more money"
    text = f"the estimator costs {more} than it saves: {balance.loss_tokens:+.1f} net tokens"
    if balance.loss_usd is not None:
        text += f" and {1000 * balance.loss_usd:+.4f} USD per 1000 questions"
    if balance.break_even_tokens is None:
        return [f"{text}; replies got no shorter, so it pays at no reply length"]
    money = "" if balance.break_even_tokens_usd is None else f" ({balance.break_even_tokens_usd:.0f} in money)"
    text += f"; it would pay from a baseline reply of {balance.break_even_tokens:.0f} tokens on{money}"
    text += f", here {balance.reply_tokens:.0f}"
    prompt = balance.break_even_prompt_tokens
    if prompt is not None and balance.loss_usd is not None and balance.loss_usd > 0:
        here = (
            f"it would pay with estimator prompts under {prompt:.0f} tokens, here {balance.estimate_prompt_tokens:.0f}"
        )
        text += f"; in money {here if prompt > 0 else 'no estimator prompt is short enough'}"
    return [text]
