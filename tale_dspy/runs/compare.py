"""Compare two runs question by question: what was saved, what got worse, and what may be called a budget saving.

Everything is paired on the questions and draws that both runs hold. Nothing here calls a model, prints or draws;
`tale_dspy.reports.diff` shows a `Comparison` on a terminal. Order: results, statistics, pairing, claims, text.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from tale_dspy.errors import UsageError
from tale_dspy.runs.records import Record, Run, quantile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TRUNCATION_LIMIT = 0.01
"""Share of truncated replies above which a comparison says so (design, section 5)."""

BUDGET_APART = ("model", "temperature", "max_tokens")
"""Settings that shorten or lengthen replies by themselves."""

ChangeKind = Literal["right->wrong", "wrong->right", "other"]
Draws = Sequence[tuple[Record, Record]]
"""One question's draws as pairs of (baseline, run)."""


@dataclass(frozen=True)
class PairedMeans:
    """One figure of both sides over the same questions (means over draws first), and its paired difference."""

    n: int
    """Questions on which the figure is known on both sides."""
    unknown: int
    """Shared questions left out because a draw on either side lacks the figure."""
    baseline: float | None = None
    run: float | None = None
    difference: float | None = None
    """Mean of run minus baseline."""
    interval: tuple[float, float] | None = None
    """95 % percentile bootstrap of the difference, resampling questions."""
    saving: float | None = None
    """1 - run / baseline, of the means; None where the baseline's mean is not above 0."""
    saving_interval: tuple[float, float] | None = None
    """95 % percentile bootstrap of the saving, from the same resamples."""


@dataclass(frozen=True)
class Side:
    """What one run alone shows on the shared draws."""

    name: str
    model: str | None
    unshared: int
    """Questions that only this side has."""
    estimate_tokens: float | None
    """Mean completion tokens of the budget calls, over the draws that had one."""
    latency_p50: float | None
    latency_p95: float | None
    outcomes: dict[str, int]
    """Draws by outcome; absent means 0."""
    cached: int
    """Draws answered from a cache, at least in part."""
    recounted: int
    """Draws whose tokens a tokenizer counted because the provider reported none."""
    snapshots: tuple[str, ...]
    """The model snapshots the provider named, sorted."""


@dataclass(frozen=True)
class EstimatorBalance:
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


@dataclass(frozen=True)
class Change:
    """One question on which the sides differ; of several draws, the first ones that show the difference."""

    id: str
    kind: ChangeKind
    question: str
    gold: Any
    baseline_outcome: str
    run_outcome: str
    baseline_answer: Any
    run_answer: Any
    baseline_budget: int | None
    run_budget: int | None
    baseline_tokens: int | None
    """Output tokens, estimate not included."""
    run_tokens: int | None
    baseline_reply: str | None
    run_reply: str | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A run against a baseline on the same questions. `str()` gives a summary to paste, `to_json()` plain JSON."""

    baseline: Side
    run: Side
    data: str | None
    n: int
    """Shared questions."""
    draws: int
    """Shared pairs of draws; equals `n` without repeats."""
    accuracy: PairedMeans
    """Share of right draws a question, 0 to 1."""
    right_to_wrong: int
    """Questions whose share of right draws fell: with one draw each, right in the baseline and not in the run."""
    wrong_to_right: int
    mcnemar_p: float
    """Exact two-sided p of the two counts: McNemar's test. With several draws a question, on which McNemar is not
    defined, it is the sign test on the shares of right draws, which with one draw is McNemar's."""
    output_tokens: PairedMeans
    net_tokens: PairedMeans
    """Output tokens with the estimator's."""
    price_usd: PairedMeans
    """Full price of a question in US dollars, paid or cached, estimator, input and cached tokens included."""
    estimator: EstimatorBalance | None
    """None unless the run, and only the run, asked an estimator."""
    why_not: str | None
    """Why the difference may not be called a budget saving; None if it may."""
    notes: list[str]
    """Sentences a reader needs beside the figures."""
    changes: list[Change]
    """Questions whose outcome changed: regressions, then repairs, then others, each in the baseline's order."""
    token_changes: list[Change]
    """Questions of the same outcomes but another budget or token count, the largest growth first."""
    seed: int
    resamples: int

    @property
    def is_budget_saving(self) -> bool:
        """Whether the tokens fell and nothing but the budget was changed, as far as the runs recorded it."""
        return self.why_not is None

    def to_json(self, *, token_changes: bool = False) -> dict[str, Any]:
        """Give everything as plain JSON (no NaN, no tuples); values JSON does not know become their text.

        Args:
            token_changes: Whether to include the often long list of unchanged outcomes with other token counts.
        """
        values = {"is_budget_saving": self.is_budget_saving, **asdict(self)}
        if not token_changes:
            del values["token_changes"]
        return {key: plain_json(value) for key, value in values.items()}

    def __str__(self) -> str:
        return "\n".join([*_figure_lines(self), *(f"note: {note}" for note in self.notes)])


def compare(baseline: Run, run: Run, *, seed: int = 0, resamples: int = 10_000) -> Comparison:
    """Compare two runs on the questions both have.

    With repeats, draws of the same number are paired, draws that only one side has are left out (and told), and figures
    are means over draws first: the question is the unit of every interval. A question whose tokens or price are unknown
    on either side is left out of that figure only. A record that occurs twice counts once, the last.

    Args:
        baseline: The run that differences are measured from.
        run: The new run; differences are `run` minus `baseline`.
        seed: Seed of the bootstrap. Each figure starts from it anew, so its interval does not depend on the others.
        resamples: Bootstrap resamples.

    Raises:
        UsageError: If the runs share no question, or `resamples` is below 1.
    """
    if resamples < 1:
        raise UsageError(f"resamples must be at least 1 but is {resamples}")
    shared = _share(baseline, run)
    questions = list(shared.values())
    sides = _side(baseline, shared, 0), _side(run, shared, 1)
    figures: list[Callable[[Record], float | None]] = [lambda r: float(r.correct), output_tokens, net_tokens, price_usd]
    accuracy, output, net, price = paired_means(questions, figures, seed=seed, resamples=resamples)
    fell, rose = (sum(sign * _gain(draws) > 0 for draws in questions) for sign in (-1, 1))
    balance = _balance(questions, run)
    notes = [*_setting_notes(baseline, run, shared, sides), *_figure_notes(sides, net, price)]
    changes = [_change(draws) for draws in questions]
    kinds: tuple[ChangeKind, ...] = ("right->wrong", "wrong->right", "other")
    return Comparison(
        baseline=sides[0],
        run=sides[1],
        data=data_name(run),
        n=len(questions),
        draws=sum(map(len, questions)),
        accuracy=replace(accuracy, saving=None, saving_interval=None),
        right_to_wrong=fell,
        wrong_to_right=rose,
        mcnemar_p=mcnemar_p(fell, rose),
        output_tokens=output,
        net_tokens=net,
        price_usd=price,
        estimator=balance,
        why_not=_why_not(baseline, run, net),
        notes=notes + _estimator_notes(balance),
        changes=[c for kind in kinds for c in changes if c is not None and c.kind == kind],
        token_changes=_token_changes(questions),
        seed=seed,
        resamples=resamples,
    )


# Statistics


def mcnemar_p(fell: int, rose: int) -> float:
    """Give the exact two-sided p of a count against its counterpart under fair coin flips (McNemar, sign test).

    Binomial terms are taken relative to the central one, so no count is too large; a p below 1e-300 may come out as 0.
    """
    n, few = fell + rose, min(fell, rose)
    term, half, tail = 1.0, 0.0, 0.0
    for i in range(n // 2, -1, -1):
        half += term
        tail += term if i <= few else 0.0
        term *= i / (n - i + 1)
        if term == 0.0:
            break
    whole = 2 * half - (0.0 if n % 2 else 1.0)  # an even n has one central term, an odd one two
    return min(1.0, 2 * tail / whole)


def paired_means(
    questions: Sequence[Draws], figures: Sequence[Callable[[Record], float | None]], *, seed: int, resamples: int
) -> list[PairedMeans]:
    """Give means, paired differences and percentile bootstrap intervals of several figures of the same questions.

    The interval of a difference is that of `scipy.stats.bootstrap` (percentile, mean of the paired differences) under
    `numpy.random.default_rng(seed)`.
    """
    import numpy as np

    samples = []
    for figure in figures:
        means = [tuple(_mean(figure(draw[side]) for draw in draws) for side in (0, 1)) for draws in questions]
        samples.append(np.array([m for m in means if None not in m], dtype=np.float64).reshape(-1, 2).T)
    results = []
    for sample, (before, after) in zip(samples, _resampled_means(samples, seed, resamples), strict=True):
        n = sample.shape[1]
        if n == 0:
            results.append(PairedMeans(n=0, unknown=len(questions)))
            continue
        baseline, run = sample.mean(axis=1).tolist()
        result = PairedMeans(
            n=n,
            unknown=len(questions) - n,
            baseline=baseline,
            run=run,
            difference=run - baseline,
            interval=_middle_95(after - before),
            saving=1 - run / baseline if baseline > 0 else None,
            saving_interval=_middle_95(1 - after / before) if before.min() > 0 else None,
        )
        results.append(result)
    return results


def _resampled_means(
    samples: "Sequence[NDArray[np.float64]]", seed: int, resamples: int
) -> "list[NDArray[np.float64]]":
    """Draw the two means of each sample (2 x n) again and again; samples of one size share the drawn questions."""
    import numpy as np

    drawn = [np.empty((2, resamples)) for _ in samples]
    for n in sorted({s.shape[1] for s in samples} - {0}):
        rng, rows = np.random.default_rng(seed), max(1, 2_000_000 // n)  # rows bound the memory, not the result
        for start in range(0, resamples, rows):
            at = rng.integers(0, n, (min(rows, resamples - start), n))
            for sample, means in zip(samples, drawn, strict=True):
                if sample.shape[1] == n:
                    means[:, start : start + rows] = [side.take(at).mean(axis=1) for side in sample]
    return drawn


def _middle_95(values: "NDArray[np.float64]") -> tuple[float, float]:
    import numpy as np

    low, high = np.percentile(values, [2.5, 97.5]).tolist()
    return low, high


def _mean(values: Iterable[float | None]) -> float | None:
    """Mean of the values; None if there is none or one is unknown."""
    known = list(values)
    total = math.fsum(math.nan if v is None else v for v in known)
    return total / len(known) if known and math.isfinite(total) else None


# What a record says, taken strictly: a figure of which a part is unknown is unknown


def output_tokens(record: Record) -> float | None:
    """Give the completion tokens of the reasoning calls."""
    return record.output_tokens


def net_tokens(record: Record) -> float | None:
    """Give output tokens with the estimator's; unknown too if an estimator was asked and its tokens are unknown."""
    asked = record.estimate_prompt_tokens is not None or record.usage_source == "unknown"
    return None if record.estimate_tokens is None and asked else record.net_tokens


def price_usd(record: Record) -> float | None:
    """Give the full price in US dollars; unknown too if it came from a cache and its old price is unknown."""
    # With a metric that asks a model the cached call may be the metric's, unless the program's own cost nothing.
    own_cached = record.cached_calls > 0 and (record.metric_tokens is None or not record.cost_usd)
    return None if own_cached and record.saved_cost_usd is None else record.price_usd


# Pairing


def _share(baseline: Run, run: Run) -> dict[str, list[tuple[Record, Record]]]:
    ours = {(r.id, r.repeat): r for r in run.records}
    shared: dict[str, list[tuple[Record, Record]]] = {}
    for key, record in {(r.id, r.repeat): r for r in baseline.records}.items():
        if key in ours:
            shared.setdefault(record.id, []).append((record, ours[key]))
    if not shared:
        sides = [
            f"{r.name} on {data_name(r) or 'unnamed data'} ({len({x.id for x in r.records})} questions)"
            for r in (baseline, run)
        ]
        raise UsageError(f"the runs share no question: {sides[0]} and {sides[1]}; compare runs on the same data")
    return {key: sorted(draws, key=lambda pair: pair[0].repeat) for key, draws in shared.items()}


def _side(run: Run, shared: Mapping[str, Draws], side: Literal[0, 1]) -> Side:
    records = [draw[side] for draws in shared.values() for draw in draws]
    latencies = sorted(r.latency_s for r in records if r.latency_s is not None)
    model = config_of(run).get("model")
    return Side(
        name=run.name,
        model=None if model is None else str(model),
        unshared=len({r.id for r in run.records} - shared.keys()),
        estimate_tokens=_mean(r.estimate_tokens for r in records if r.estimate_tokens is not None),
        latency_p50=quantile(latencies, 0.50),
        latency_p95=quantile(latencies, 0.95),
        outcomes=dict(Counter(r.outcome for r in records)),
        cached=sum(r.cached_calls > 0 for r in records),
        recounted=sum(r.usage_source == "tokenizer" for r in records),
        snapshots=tuple(sorted({r.response_model for r in records if r.response_model})),
    )


def _gain(draws: Draws) -> int:
    """Right draws of the run minus those of the baseline."""
    return sum(after.correct - before.correct for before, after in draws)


def _change(draws: Draws) -> Change | None:
    """Describe how the outcomes of a question changed, or give None if they did not."""
    gain = _gain(draws)
    if gain:
        before = next(b for b, _ in draws if b.correct == (gain < 0))
        after = next(a for _, a in draws if a.correct == (gain > 0))
        return _as_change(before, after, "right->wrong" if gain < 0 else "wrong->right")
    if Counter(b.outcome for b, _ in draws) == Counter(a.outcome for _, a in draws):
        return None
    return _as_change(*next(pair for pair in draws if pair[0].outcome != pair[1].outcome), "other")


def _token_changes(questions: Iterable[Draws]) -> list[Change]:
    """List the questions of unchanged outcomes whose budget or tokens changed, unknown growth last."""
    changes = []
    for draws in questions:
        if _change(draws) is None:
            for b, a in draws:
                if (b.token_budget, b.output_tokens) != (a.token_budget, a.output_tokens):
                    changes.append(_as_change(b, a, "other"))
                    break

    def growth(change: Change) -> float:
        known = change.run_tokens is not None and change.baseline_tokens is not None
        return (change.run_tokens or 0) - (change.baseline_tokens or 0) if known else -math.inf

    return sorted(changes, key=growth, reverse=True)


def _as_change(before: Record, after: Record, kind: ChangeKind) -> Change:
    question = before.question
    if question is None:
        question = "\n".join(f"{name}: {value}" for name, value in (before.inputs or {}).items())
    return Change(
        id=before.id,
        kind=kind,
        question=question,
        gold=before.gold,
        baseline_outcome=before.outcome,
        run_outcome=after.outcome,
        baseline_answer=before.answer,
        run_answer=after.answer,
        baseline_budget=before.token_budget,
        run_budget=after.token_budget,
        baseline_tokens=before.output_tokens,
        run_tokens=after.output_tokens,
        baseline_reply=before.reply,
        run_reply=after.reply,
    )


# What may be claimed, and what must be said beside it


def config_of(run: Run) -> dict[str, Any]:
    """Give the configuration in `run.json`; empty where it is missing or not an object."""
    config = run.info.get("config")
    return config if isinstance(config, dict) else {}


def _setting(run: Run, name: str) -> Any:
    """Give a setting of the run: its own entry in the configuration, or among the model's settings."""
    config = config_of(run)
    settings = config.get("settings")
    return config.get(name, settings.get(name) if isinstance(settings, dict) else None)


def data_name(run: Run) -> str | None:
    """Give the name of the run's data set, if recorded."""
    data = config_of(run).get("data")
    name = data.get("name") if isinstance(data, dict) else data
    return None if name is None else str(name)


def _prompting(run: Run) -> list[Any] | None:
    """Give instructions and demos of the predictors that are no estimators, names dropped; None if not recorded."""
    value = config_of(run).get("prompting")
    if not isinstance(value, list) or not value or not all(isinstance(v, (list, tuple)) and len(v) > 1 for v in value):
        return None
    return [list(v[1:]) for v in value]


def _why_not(baseline: Run, run: Run, net: PairedMeans) -> str | None:
    """Say why the difference may not be called a budget saving (design, section 5); None if it may."""
    causes = {
        "adapter": (_setting(baseline, "adapter"), _setting(run, "adapter")),
        "instructions or demos": (_prompting(baseline), _prompting(run)),
    }
    for what, (before, after) in causes.items():
        for side, value in (("baseline", before), ("run", after)):
            if value is None:
                return f"{what} not recorded in the {side}"
        if before != after:
            return f"other {what}"
    differing = [name for name in BUDGET_APART if _setting(baseline, name) != _setting(run, name)]
    if differing:
        return f"other {' and '.join(differing)}"
    if net.interval is None:
        return "the net tokens are unknown"
    return None if net.interval[1] < 0 else "the net tokens are not shown to be lower"


def _balance(questions: Sequence[Draws], run: Run) -> EstimatorBalance | None:
    """Weigh the run's estimator against the reply tokens it saves; None unless only the run has one."""
    pairs = [pair for draws in questions for pair in draws]
    if any(b.estimate_tokens is not None for b, _ in pairs) or all(a.estimate_tokens is None for _, a in pairs):
        return None
    counted = [(b, a) for b, a in pairs if None not in (b.output_tokens, a.output_tokens, net_tokens(a))]
    priced = [(b, a) for b, a in counted if None not in (price_usd(b), price_usd(a))]
    known = priced or counted
    before, after = _mean(b.output_tokens for b, _ in known), _mean(a.output_tokens for _, a in known)
    estimate = _mean(a.estimate_tokens or 0 for _, a in known)
    if before is None or after is None or estimate is None:
        return None
    saved, share = before - after, (before - after) / before if before else 0.0
    balance = EstimatorBalance(
        n=len(known),
        reply_tokens=before,
        saved_tokens=saved,
        estimate_tokens=estimate,
        loss_tokens=estimate - saved,
        break_even_tokens=estimate / share if share > 0 else None,
        estimate_prompt_tokens=_mean(
            a.estimate_prompt_tokens if a.estimate_tokens is not None else 0 for _, a in known
        ),
    )
    paid_before, paid_after = _mean(price_usd(b) for b, _ in known), _mean(price_usd(a) for _, a in known)
    if paid_before is None or paid_after is None:
        return balance
    loss, prices, prompt = paid_after - paid_before, _token_prices(run, known), balance.estimate_prompt_tokens
    balance = replace(balance, loss_usd=loss)
    if prices and prices[1] > 0 and share > 0:
        balance = replace(balance, break_even_tokens_usd=max(0.0, saved + loss / prices[1]) / share)
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
    records = [r for pair in pairs for r in pair if r.prompt_tokens is not None]
    rows = [(r.prompt_tokens, net_tokens(r), price_usd(r)) for r in records]
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)
    fit, _, rank, _ = np.linalg.lstsq(table[:, :2], table[:, 2])
    fit = fit.round(15)  # a free side is 0, not -1e-21
    # Rebates for cached prompts or two models at two prices leave a rest: then no single price is told.
    if rank < 2 or fit.min() < 0 or np.abs(table[:, :2] @ fit - table[:, 2]).max() > 0.01 * table[:, 2].mean():
        return None
    return float(fit[0]), float(fit[1])


def _setting_notes(baseline: Run, run: Run, shared: Mapping[str, Draws], sides: tuple[Side, Side]) -> Iterator[str]:
    """Say where the two runs are not the same experiment."""
    settings = {name: (_setting(baseline, name), _setting(run, name)) for name in (*BUDGET_APART, "metric")}
    for name, (before, after) in {**settings, "data": (data_name(baseline), data_name(run))}.items():
        if before != after:
            yield f"different {name}: {before} in the baseline, {after} in the run"
    if sides[0].unshared or sides[1].unshared:
        total = len(shared) + sides[0].unshared + sides[1].unshared
        yield (
            f"only {len(shared)} of {total} questions are shared: {sides[0].unshared} are only in the baseline, "
            f"{sides[1].unshared} only in the run"
        )
    repeats = [len({r.repeat for r in side.records}) for side in (baseline, run)]
    if repeats[0] != repeats[1]:
        yield f"different repeats: {repeats[0]} in the baseline, {repeats[1]} in the run; common draws are compared"
    if any(len(draws) > 1 for draws in shared.values()):
        yield "several draws a question: the counts are questions whose share of right draws fell or rose (sign test)"
    for name, side in (("baseline", baseline), ("run", run)):
        if side.stopped:
            yield f"the {name} is not finished: {side.stopped}"
        if side.info.get("contaminated"):
            yield f"the {name} is contaminated: a search or a training saw some of its questions"


def _figure_notes(sides: tuple[Side, Side], net: PairedMeans, price: PairedMeans) -> Iterator[str]:
    """Say what weakens the figures themselves."""
    for name, side in zip(("baseline", "run"), sides, strict=True):
        draws = sum(side.outcomes.values())
        truncated = side.outcomes.get("truncated", 0)
        if truncated > TRUNCATION_LIMIT * draws:
            yield f"{truncated} of {draws} replies of the {name} are truncated ({100 * truncated / draws:.1f} %)"
        if len(side.snapshots) > 1:
            yield f"mixed model snapshots in the {name}: {', '.join(side.snapshots)}"
        if side.cached:
            yield f"{side.cached} of {draws} answers of the {name} came from a cache: no fresh draws, no latency"
        if side.recounted:
            yield f"{side.recounted} token counts of the {name} are a tokenizer's, not the provider's"
    before, after = sides[0].snapshots, sides[1].snapshots
    if before and after and before != after and sides[0].model == sides[1].model:
        yield f"mixed model snapshots: {', '.join(before)} in the baseline, {', '.join(after)} in the run"
    questions = price.n + price.unknown
    if net.unknown:  # holds every question whose output tokens are unknown
        yield f"tokens unknown on {net.unknown} of {questions} questions, left out of the token comparison"
    if price.unknown:
        yield f"price unknown on {price.unknown} of {questions} questions, left out of the money comparison"


def _estimator_notes(balance: EstimatorBalance | None) -> list[str]:
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


# Text


def plain_json(value: Any) -> Any:
    """Turn a value into plain JSON: tuples become lists, NaN, infinities and foreign types their text."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(k): plain_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_json(v) for v in value]
    return str(value)


def number(value: float | None, digits: int = 1, *, sign: bool = False) -> str:
    """Write a number with thousands separators; an unknown one as a dash, never as 0."""
    if value is None:
        return "–"
    rounded = round(value, digits) + 0.0  # no "-0.0"
    return f"{rounded:+,.{digits}f}" if sign else f"{rounded:,.{digits}f}"


def p_text(p: float) -> str:
    """Write a p value as `= 0.0123` or `< 0.0001`."""
    return f"= {p:.4f}" if p >= 0.0001 else "< 0.0001"


def change_text(means: PairedMeans, scale: float = 1.0, digits: int = 1) -> str:
    """Write a paired difference with its interval, such as `-240.8 [-250.1, -231.4]`."""
    if means.difference is None or means.interval is None:
        return "–"
    low, high = (number(scale * v, digits, sign=True) for v in means.interval)
    return f"{number(scale * means.difference, digits, sign=True)} [{low}, {high}]"


def saving_text(saving: float) -> str:
    """Write a saved fraction as `saves 12.0 %` or `costs 12.0 % more`."""
    return f"saves {number(100 * saving)} %" if saving >= 0 else f"costs {number(-100 * saving)} % more"


def _figure_lines(c: Comparison) -> Iterator[str]:
    def line(name: str, means: PairedMeans, scale: float = 1.0, digits: int = 1, unit: str = "") -> str:
        before, after = (number(None if v is None else scale * v, digits) for v in (means.baseline, means.run))
        saving = "" if means.saving is None else f"   {saving_text(means.saving)}"
        return f"{name:<15}{before} -> {after}{unit}   {change_text(means, scale, digits)}{saving}"

    a, b = c.baseline, c.run
    draws = "" if c.draws == c.n else f", {c.draws} draws"
    yield f"{b.name} against {a.name} on {c.data or 'unnamed data'}: {c.n} questions{draws}; difference [95 % interval]"
    yield line("accuracy", c.accuracy, 100, unit=" %") + " points"
    test = "McNemar" if c.draws == c.n else "sign test"
    yield (
        f"{'outcomes':<15}{c.right_to_wrong} right->wrong, {c.wrong_to_right} wrong->right, "
        f"exact {test} p {p_text(c.mcnemar_p)}"
    )
    yield line("output tokens", c.output_tokens)
    yield f"{'estimate':<15}{number(a.estimate_tokens)} -> {number(b.estimate_tokens)}"
    yield line("net tokens", c.net_tokens)
    yield line("USD per 1000", c.price_usd, 1000, 4)
    yield (
        f"{'latency':<15}p50 {number(a.latency_p50, 2)} -> {number(b.latency_p50, 2)} s, "
        f"p95 {number(a.latency_p95, 2)} -> {number(b.latency_p95, 2)} s"
    )
    claim = (
        "yes, in net tokens: adapter, instructions and demos are the same"
        if c.is_budget_saving
        else f"not claimed: {c.why_not}"
    )
    yield f"{'budget saving':<15}{claim}"
