"""`tale search --ray`: search the questions in shards, and merge the results."""

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

from tale_dspy.cli.plan import Plan
from tale_dspy.cli.ray_eval import check_ray, live_table, questions_of_plan, split_of
from tale_dspy.cli.search_setup import SearchOptions, prepare_search, require_one_predictor

if TYPE_CHECKING:
    from tale_dspy.runs.ray_shards import ShardContext

LEAST_USD = 1e-9
"""The cap where nothing is left: above 0, as a cap must be, and below the price of any call."""


def search_on_ray(plan: Plan, settings: SearchOptions) -> tuple[Plan, str | None]:
    """Search all shards and write their results as one search folder.

    Returns:
        The plan of what is left to do there, to learn an estimator and to compare, under what is left of the caps; and
        the sentence of the cap that ended the shards early, or None.

    Raises:
        UsageError: If the search cannot be split, or no cluster is reachable.
        KeyboardInterrupt: On Ctrl-C, after what was finished has been written.
    """
    from tale_dspy.optimizers.search.merge import merge_searches
    from tale_dspy.runs.ray_shards import run_shards
    from tale_dspy.runs.shard_coordinator import SharedLimits
    from tale_dspy.runs.shards import shards_in

    address, out = check_ray(plan), plan.folder()
    require_one_predictor(prepare_search(replace(plan, ray=None, shards=None), settings).student, "--ray")
    one = replace(plan, ray=None, shards=None, api_key=None)
    limits = SharedLimits(plan.max_usd, plan.max_total_output_tokens, plan.rpm, plan.tpm)
    work = functools.partial(search_shard, one, settings)
    try:
        with live_table(f"search on {plan.data}") as watch:
            count = plan.shards or split_of(out)
            end, _ = run_shards(address, count, out, work, limits, watch, lambda: merge_searches(out, shards_in(out)))
    except KeyboardInterrupt:
        merge_searches(out, shards_in(out))
        raise
    usd, tokens = plan.max_usd, plan.max_total_output_tokens
    left = replace(
        one,
        max_usd=None if usd is None else max(usd - end.used.usd, LEAST_USD),
        max_total_output_tokens=None if tokens is None else max(int(tokens - end.used.tokens), 1),
    )
    return left, end.stopped


def search_shard(plan: Plan, settings: SearchOptions, context: "ShardContext") -> bool:
    """Search one shard, in a worker; return whether a cap ended it."""
    prepared = prepare_search(replace(plan, shard=str(context.shard)), settings, questions_of_plan(plan))
    search = prepared.search
    search.shared_caps, search.exchange = context.caps, context.share
    if context.limiter is not None:
        prepared.options["lm"].limiter = context.limiter
    search.options = replace(search.options, progress=context.progress)
    search.compile(prepared.student, trainset=prepared.data)
    return search.stopped is not None
