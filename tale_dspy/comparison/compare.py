"""Compare two runs question by question.

A comparison says what was saved, what got worse, and what may be called a budget saving.

Everything is paired on the questions and draws that both runs hold. Nothing here calls a model, prints or draws;
`tale_dspy.reports.diff` shows a `Comparison` on a terminal. The parts: `paired` (aligned columns and intervals),
`run_stats`, `caveats`, `break_even` (of the estimator), `changes`, `formatting`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from tale_dspy.comparison.break_even import EstimatorBreakEven, balance_notes, estimator_balance
from tale_dspy.comparison.caveats import blocking_reason, figure_notes, setting_notes
from tale_dspy.comparison.changes import QuestionChange, changes_of, token_changes
from tale_dspy.comparison.formatting import change_text, number, p_text, plain_json, saving_text, side_texts
from tale_dspy.comparison.paired import Figure, PairedMeans, pair_runs, paired_means
from tale_dspy.comparison.run_stats import RunStats, data_name, run_stats
from tale_dspy.display import TextPrinter, html_table
from tale_dspy.errors import UsageError
from tale_dspy.protocols import JsonObject
from tale_dspy.runs.records import Run
from tale_dspy.statistics import mcnemar_p


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A run against a baseline on the same questions.

    `str()` gives a summary to paste, `to_json()` plain JSON.
    """

    baseline: RunStats
    run: RunStats
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
    estimator: EstimatorBreakEven | None
    """None unless the run, and only the run, asked an estimator."""
    blocking_reason: str | None
    """Why the difference may not be called a budget saving; None if it may."""
    notes: list[str]
    """Sentences a reader needs beside the figures."""
    changes: Sequence[QuestionChange]
    """Questions whose outcome changed: regressions, then repairs, then others, each in the baseline's order."""
    token_changes: Sequence[QuestionChange]
    """Questions of the same outcomes but another budget or token count, the largest growth first."""
    seed: int
    resamples: int

    @property
    def is_budget_saving(self) -> bool:
        """Return whether tokens fell and only the budget was changed.

        It holds as far as the runs recorded their settings.
        """
        return self.blocking_reason is None

    @property
    def exact_test(self) -> str:
        """Return name and p of the exact test of the two counts.

        An example is `McNemar p = 0.0123`.
        """
        return f"{'McNemar' if self.draws == self.n else 'sign test'} p {p_text(self.mcnemar_p)}"

    def to_json(self, *, token_changes: bool = False) -> JsonObject:
        """Return everything as plain JSON (no NaN, no tuples).

        Values that JSON does not have become their text.

        Args:
            token_changes: Whether to include the often long list of unchanged outcomes with other token counts.
        """
        lists = {"changes": self.changes, "token_changes": self.token_changes if token_changes else ()}
        plain = asdict(replace(self, changes=(), token_changes=()))
        values = {"is_budget_saving": self.is_budget_saving, **plain}
        values |= {name: [asdict(change) for change in changes] for name, changes in lists.items()}
        if not token_changes:
            del values["token_changes"]
        return {key: plain_json(value) for key, value in values.items()}

    def _repr_html_(self) -> str:
        """Show the paired differences in a notebook."""
        names = f"{self.run.name} against {self.baseline.name} on {self.data or 'unnamed data'}, {self.n:,} questions"
        changed = f"{self.right_to_wrong} right->wrong, {self.wrong_to_right} wrong->right, exact {self.exact_test}"
        claim = "Not a budget saving" if self.blocking_reason else "Adapter, instructions and demos are the same"
        notes = [changed, claim + (f": {self.blocking_reason}" if self.blocking_reason else ""), *self.notes]
        rows = [
            [name, *side_texts(means, scale, digits), change_text(means, scale, digits), saving_text(means)]
            for name, means, scale, digits in (
                ("accuracy %", self.accuracy, 100.0, 1),
                ("output tokens", self.output_tokens, 1.0, 1),
                ("net tokens", self.net_tokens, 1.0, 1),
                ("USD per 1000", self.price_usd, 1000.0, 4),
            )
        ]
        header = ["", "baseline", "run", "difference [95 % paired]", "saving"]
        return html_table(header, rows, caption=names, note=". ".join(notes) + ".")

    def _repr_pretty_(self, printer: TextPrinter, cycle: bool) -> None:
        """Show in IPython what `print` shows."""
        printer.text(str(self))

    def __str__(self) -> str:
        return "\n".join([*_figure_lines(self), *(f"note: {note}" for note in self.notes)])


_FIGURES: tuple[Figure, ...] = (
    lambda c: c.is_correct.astype(float),
    lambda c: c.output_tokens,
    lambda c: c.net_tokens,
    lambda c: c.price_usd,
)


def compare(baseline: Run, run: Run, *, seed: int = 0, resamples: int = 10_000) -> Comparison:
    """Compare two runs on the questions both have.

    With repeats, draws of the same number are paired, draws that only one side has are left out with a note, and
    figures are means over draws first: the question is the unit of every interval. A question whose tokens or price are
    unknown on either side is left out of that figure only. A record that occurs twice counts once, the last.

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
    pairs = pair_runs(baseline, run)
    sides = run_stats(baseline, pairs.before, pairs.n), run_stats(run, pairs.after, pairs.n)
    accuracy, output, net, price = paired_means(pairs, _FIGURES, seed=seed, resamples=resamples)
    fell, rose = (int((sign * pairs.more_right > 0).sum()) for sign in (-1, 1))
    balance = estimator_balance(pairs)
    return Comparison(
        baseline=sides[0],
        run=sides[1],
        data=data_name(run),
        n=pairs.n,
        draws=pairs.draws,
        accuracy=replace(accuracy, saving=None, saving_interval=None),
        right_to_wrong=fell,
        wrong_to_right=rose,
        mcnemar_p=mcnemar_p(fell, rose),
        output_tokens=output,
        net_tokens=net,
        price_usd=price,
        estimator=balance,
        blocking_reason=blocking_reason(baseline, run, net),
        notes=[*setting_notes(pairs, sides), *figure_notes(sides, net, price), *balance_notes(balance)],
        changes=changes_of(pairs),
        token_changes=token_changes(pairs),
        seed=seed,
        resamples=resamples,
    )


def _figure_lines(c: Comparison) -> Iterator[str]:
    def line(name: str, means: PairedMeans, scale: float = 1.0, digits: int = 1, unit: str = "") -> str:
        before, after = side_texts(means, scale, digits)
        cells = f"{before} -> {after}{unit}", change_text(means, scale, digits), saving_text(means)
        return f"{name:<15}{'   '.join(filter(None, cells))}"

    a, b = c.baseline, c.run
    draws = "" if c.draws == c.n else f", {c.draws} draws"
    yield f"{b.name} against {a.name} on {c.data or 'unnamed data'}: {c.n} questions{draws}; difference [95 % interval]"
    yield line("accuracy", c.accuracy, 100, unit=" %") + " points"
    counts = f"{c.right_to_wrong} right->wrong, {c.wrong_to_right} wrong->right"
    yield f"{'outcomes':<15}{counts}, exact {c.exact_test}"
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
        else f"not claimed: {c.blocking_reason}"
    )
    yield f"{'budget saving':<15}{claim}"
