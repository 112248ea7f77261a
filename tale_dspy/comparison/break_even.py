"""What a budget estimator costs and saves, and where it breaks even.

The part the paper leaves out.
"""

import math
from dataclasses import dataclass, replace

from tale_dspy.comparison.paired import PairedRuns
from tale_dspy.comparison.run_stats import config_of
from tale_dspy.runs.columns import RunColumns
from tale_dspy.runs.records import Run


@dataclass(frozen=True)
class EstimatorBreakEven:
    """What the budget estimator costs beside what it saves.

    All figures are means over the `n` questions where everything is known.

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


def estimator_balance(pairs: PairedRuns) -> EstimatorBreakEven | None:
    """Compare the cost of a run's estimator with the reply tokens it saves.

    It returns None unless only the run has one.
    """
    import numpy as np

    before, after = pairs.before, pairs.after
    if np.isfinite(before.estimate_tokens).any() or not np.isfinite(after.estimate_tokens).any():
        return None
    # Unknown values are NaN. Where some questions have prices, all means are over those, so that tokens and money are
    # of the same questions; where none has, over all with known tokens.
    counted = np.isfinite(before.output_tokens) & np.isfinite(after.output_tokens) & np.isfinite(after.net_tokens)
    priced = counted & np.isfinite(before.price_usd) & np.isfinite(after.price_usd)
    known = np.flatnonzero(priced if priced.any() else counted)
    before, after = before.take(known), after.take(known)
    balance = _in_tokens(before, after)
    return balance and _with_money(balance, before, after, pairs.run)


def _in_tokens(before: RunColumns, after: RunColumns) -> EstimatorBreakEven | None:
    import numpy as np

    if not len(before):
        return None
    reply, shorter = float(before.output_tokens.mean()), float(after.output_tokens.mean())
    # A question whose budget needed no estimate (a given one, or a model that thinks natively) cost 0 for it.
    is_estimated = np.isfinite(after.estimate_tokens)
    estimate = float(np.where(is_estimated, after.estimate_tokens, 0.0).mean())
    prompt = float(np.where(is_estimated, after.estimate_prompt_tokens, 0.0).mean())
    saved, share = reply - shorter, (reply - shorter) / reply if reply else 0.0
    return EstimatorBreakEven(
        n=len(before),
        reply_tokens=reply,
        saved_tokens=saved,
        estimate_tokens=estimate,
        loss_tokens=estimate - saved,
        break_even_tokens=estimate / share if share > 0 else None,
        estimate_prompt_tokens=prompt if math.isfinite(prompt) else None,
    )


def _with_money(balance: EstimatorBreakEven, before: RunColumns, after: RunColumns, run: Run) -> EstimatorBreakEven:
    """Add the figures in US dollars that the prices allow."""
    loss = float(after.price_usd.mean()) - float(before.price_usd.mean())
    if not math.isfinite(loss):
        return balance
    prices, prompt = _token_prices(run, before, after), balance.estimate_prompt_tokens
    balance = replace(balance, loss_usd=loss)
    share = balance.saved_tokens / balance.reply_tokens if balance.reply_tokens else 0.0
    # loss = (H - (B - R)) price_out, so H = (B - R) + loss / price_out tokens; it pays from B = H / s on.
    if prices and prices[1] > 0 and share > 0:
        balance = replace(balance, break_even_tokens_usd=max(0.0, balance.saved_tokens + loss / prices[1]) / share)
    # The loss vanishes if the estimator's prompt is shorter by loss / price_in tokens.
    if prices and prices[0] > 0 and prompt is not None:
        balance = replace(balance, break_even_prompt_tokens=prompt - loss / prices[0])
    return balance


def _token_prices(run: Run, before: RunColumns, after: RunColumns) -> tuple[float, float] | None:
    """Return US dollars per prompt and per completion token.

    They are the recorded price, or else the one the records agree on.
    """
    import numpy as np

    price = config_of(run).get("price")
    if isinstance(price, dict):
        prices = [price.get("input"), price.get("output")]
        known = [float(p) for p in prices if isinstance(p, (int, float)) and math.isfinite(p) and p >= 0]
        if len(known) == 2:
            return known[0], known[1]
    # Least squares over the answers of both runs, a row each: price = p_in * prompt tokens + p_out * completion tokens.
    sides = [np.stack([side.prompt_tokens, side.net_tokens, side.price_usd], axis=1) for side in (before, after)]
    table = np.concatenate(sides)
    table = table[np.isfinite(table).all(axis=1)]
    fit, _, rank, _ = np.linalg.lstsq(table[:, :2], table[:, 2])
    fit = fit.round(15)  # a free side is 0, not -1e-21
    # Rebates for cached prompts or two models at two prices leave a residue: no single price fits then. It must fit
    # each answer to 1 % of the mean price. Rank 1 (prompt and completion in one ratio everywhere) cannot tell the two
    # apart.
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
