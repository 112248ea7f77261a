"""Whether two runs differ in one thing only.

Then a saving or loss can be attributed to it.

Either the model differs (its weights, name, server) or the prompt does (program, adapter, instructions, demos,
budgets); decoding, metric and questions must be the same.
"""

from typing import Literal

from tale_dspy.comparison.run_stats import config_of
from tale_dspy.errors import UsageError
from tale_dspy.protocols import JsonObject
from tale_dspy.runs.records import Run

Changed = Literal["model", "prompt", "nothing"]

MODEL = frozenset({"model", "weights", "address", "engine", "own_models", "fallbacks"})
"""What of a run's configuration says who answered."""
FREE = frozenset({"price", "paper_counts", "data"})
"""What has no part in an answer; of the data, the ids of the questions are compared."""
SAME = frozenset({"settings", "metric", "threshold", "repeats", "preset", "dspy"})
"""Decoding, judging and the release of DSPy: never different. All else is the prompt."""


def differing_factor(base: Run, tuned: Run) -> Changed:
    """Say what differs between two runs.

    Raises:
        UsageError: If they have not the same questions, decoding and metric, if both the model and the prompt differ,
            if one is not finished, or if a training or search saw its questions.
    """
    for side, run in (("base", base), ("tuned", tuned)):
        if run.info.get("contaminated"):
            raise UsageError(f"the {side} run is contaminated: a search or a training saw some of its questions")
        if run.stopped:
            raise UsageError(f"the {side} run is not finished ({run.stopped}): run the same command again")
    _require_same_questions(base, tuned)
    before, after = _flatten_config(config_of(base)), _flatten_config(config_of(tuned))
    differing = [name for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)]
    for name in differing:
        if name.partition(".")[0] in SAME:
            raise UsageError(
                f"the runs differ in {name.removeprefix('settings.')}: {_setting_text(before.get(name))} "
                f"in the base run, {_setting_text(after.get(name))} in the tuned run; "
                f"a gate needs the same decoding, metric and DSPy"
            )
    roots = {name.partition(".")[0] for name in differing} - FREE
    model, prompt = sorted(roots & MODEL), sorted(roots - MODEL)
    if model and prompt:
        raise UsageError(
            f"both the model ({', '.join(model)}) and the prompt ({', '.join(prompt)}) differ between the runs: no "
            "difference could be put down to either; run both models with the same program, such as cot"
        )
    return "model" if model else "prompt" if prompt else "nothing"


def _require_same_questions(base: Run, tuned: Run) -> None:
    import numpy as np

    before, after = (np.unique(run.columns.keys()) for run in (base, tuned))
    both = len(np.intersect1d(before, after, assume_unique=True))
    if not both:
        raise UsageError("the runs share no question: gate runs on the same data")
    if both < max(len(before), len(after)):
        raise UsageError(
            f"the runs have not the same questions: {len(before) - both} answers are only in the base run, "
            f"{len(after) - both} only in the tuned run, {both} in both"
        )


def _flatten_config(config: JsonObject) -> JsonObject:
    """Give every setting of the model a name of its own.

    A message can then say which one differs.
    """
    settings = config.get("settings")
    named = {f"settings.{k}": v for k, v in settings.items()} if isinstance(settings, dict) else {}
    return {k: v for k, v in config.items() if k != "settings"} | named


def _setting_text(value: object) -> str:
    return "unset" if value is None else str(value)
