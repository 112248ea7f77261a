"""What may be claimed of a difference between two runs, and its caveats."""

from collections.abc import Iterator

from tale_dspy.comparison.paired import PairedMeans, PairedRuns
from tale_dspy.comparison.run_stats import RunStats, data_name, prompting, setting
from tale_dspy.runs.records import Run

TRUNCATION_LIMIT = 0.01
"""Share of truncated replies above which a comparison says so (design, section 5)."""

BUDGET_APART = ("model", "temperature", "max_tokens")
"""Settings that shorten or lengthen replies by themselves."""


def blocking_reason(baseline: Run, run: Run, net: PairedMeans) -> str | None:
    """Say why the difference may not be called a budget saving.

    It returns None if it may.
    """
    causes = {
        "adapter": (setting(baseline, "adapter"), setting(run, "adapter")),
        "instructions or demos": (prompting(baseline), prompting(run)),
    }
    for what, (before, after) in causes.items():
        for side, value in (("baseline", before), ("run", after)):
            if value is None:
                return f"{what} not recorded in the {side}"
        if before != after:
            return f"other {what}"
    if setting(baseline, "dspy") != setting(run, "dspy"):
        return "other release of DSPy"
    differing = [name for name in BUDGET_APART if setting(baseline, name) != setting(run, name)]
    if differing:
        return f"other {' and '.join(differing)}"
    if net.interval is None:
        return "the net tokens are unknown"
    return None if net.interval[1] < 0 else "the net tokens are not shown to be lower"


def setting_notes(pairs: PairedRuns, sides: tuple[RunStats, RunStats]) -> Iterator[str]:
    """Say where the two runs are not the same experiment."""
    baseline, run = pairs.baseline, pairs.run
    settings = {name: (setting(baseline, name), setting(run, name)) for name in (*BUDGET_APART, "metric")}
    settings["DSPy"] = (setting(baseline, "dspy"), setting(run, "dspy"))
    for name, (before, after) in {**settings, "data": (data_name(baseline), data_name(run))}.items():
        if before != after:
            yield f"different {name}: {before} in the baseline, {after} in the run"
    if sides[0].unshared or sides[1].unshared:
        total = pairs.n + sides[0].unshared + sides[1].unshared
        yield (
            f"only {pairs.n} of {total} questions are shared: {sides[0].unshared} are only in the baseline, "
            f"{sides[1].unshared} only in the run"
        )
    repeats = [len(set(side.columns.repeat.tolist())) for side in (baseline, run)]
    if repeats[0] != repeats[1]:
        yield f"different repeats: {repeats[0]} in the baseline, {repeats[1]} in the run; common draws are compared"
    if not pairs.is_single:
        yield "several draws a question: the counts are questions whose share of right draws fell or rose (sign test)"
    for name, side in (("baseline", baseline), ("run", run)):
        if side.stopped:
            yield f"the {name} is not finished: {side.stopped}"
        if side.info.get("contaminated"):
            yield f"the {name} is contaminated: a search or a training saw some of its questions"


def figure_notes(sides: tuple[RunStats, RunStats], net: PairedMeans, price: PairedMeans) -> Iterator[str]:
    """Say what weakens the figures themselves."""
    for name, side in zip(("baseline", "run"), sides, strict=True):
        draws = sum(side.outcomes.values())
        truncated = side.outcomes.get("truncated", 0)
        if truncated > TRUNCATION_LIMIT * draws:
            yield f"{truncated} of {draws} replies of the {name} are truncated ({100 * truncated / draws:.1f} %)"
        if len(side.snapshots) > 1:
            yield f"mixed model snapshots in the {name}: {', '.join(side.snapshots)}"
        if side.skipped:
            yield f"{name}: {skip_sentence(side.skipped, side.reasoning_asked)}"
        if side.cached:
            yield f"{side.cached} of {draws} answers of the {name} came from a cache: no fresh draws, no latency"
        if side.recounted:
            yield f"{side.recounted} token counts of the {name} are a tokenizer's, not the provider's"
    before, after = sides[0].snapshots, sides[1].snapshots
    if before and after and before != after and sides[0].model == sides[1].model:
        yield f"mixed model snapshots: {', '.join(before)} in the baseline, {', '.join(after)} in the run"
    if sides[0].batched * sides[1].paid != sides[1].batched * sides[0].paid:  # another share of the calls
        for name, side in zip(("baseline", "run"), sides, strict=True):
            if side.batched:
                yield f"{name}: {batch_sentence(side.batched, side.paid)}, so the dollars differ by that, too"
    questions = price.n + price.unknown
    if net.unknown:  # holds every question whose output tokens are unknown
        yield f"tokens unknown on {net.unknown} of {questions} questions, left out of the token comparison"
    if price.unknown:
        yield f"price unknown on {price.unknown} of {questions} questions, left out of the money comparison"


def batch_sentence(batched: int, paid: int) -> str:
    """Say how many paid calls a batch API answered."""
    return f"{batched} of {paid} paid calls went through a batch API, at half the price"


def skip_sentence(skipped: int, replies: int) -> str:
    """Say how many replies have no reasoning although it was asked for."""
    return f"{skipped} of {replies} replies skip the reasoning they were asked for"
