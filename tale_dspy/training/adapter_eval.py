"""Test that a trained model is shorter and not worse.

One plain program runs on base and tuned model, and the gate decides.

The verdict is written into the card of the adapter. A model that fails is kept, and marked.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tale_dspy.backends.local.files import CARD
from tale_dspy.comparison.gate import GateResult, noninferiority_test
from tale_dspy.datasets import Dataset
from tale_dspy.errors import RunFolderError
from tale_dspy.runs.scoring import Metric
from tale_dspy.runs.shared_caps import SharedCaps
from tale_dspy.training.folder import write_json

BASE, TUNED = "base", "tuned"
"""Run folders of the test."""
_HEADING = "\n## Gate\n"


def evaluate_adapter(
    program: Any,
    base: Any,
    tuned: Any,
    examples: Dataset | Sequence[Any],
    *,
    out: Path,
    metric: Metric | None = None,
    min_saving: float = 0.3,
    max_drop: float = 0.01,
    **options: Any,
) -> GateResult:
    """Ask base and tuned model alike, and let the gate decide.

    Both get the same questions from the same program.

    Args:
        program: A program without budgets and without LMs of its own, such as `VanillaCoT`.
        base: The LM before.
        tuned: The LM after, with the same settings.
        examples: Questions that no search and no training saw.
        out: Folder that gets the run folders `base` and `tuned`; what is finished there is only read.
        metric: As in `evaluate`.
        min_saving: As in `noninferiority_test`.
        max_drop: As in `noninferiority_test`.
        **options: As in `evaluate`: `adapter`, `concurrency`, `timeout` ...; caps hold for both runs together.

    Raises:
        UsageError: If the tuned model was trained on some of the questions, or the runs cannot be compared.
        SpendCapReached: If a cap ended a run; the same call continues it.
    """
    caps = SharedCaps(options.pop("max_usd", None), options.pop("max_total_output_tokens", None))
    base_run, tuned_run = (
        caps.evaluate(program, examples, metric=metric, out=out / name, **{**options, "lm": lm})
        for name, lm in ((BASE, base), (TUNED, tuned))
    )
    return noninferiority_test(base_run, tuned_run, min_saving=min_saving, max_drop=max_drop)


def record_verdict(adapter: Path, verdict: GateResult) -> None:
    """Write a verdict into the card of an adapter and its README.

    It replaces an earlier one.

    Raises:
        RunFolderError: If the folder has no card.
    """
    card = adapter / CARD
    try:
        about = json.loads(card.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise RunFolderError(f"{card} cannot be read: {e}") from e
    write_json(card, {**about, "gate": verdict.to_json()})
    readme = adapter / "README.md"
    if readme.is_file():
        text = readme.read_text(encoding="utf-8").partition(_HEADING)[0]
        readme.write_text(f"{text}{_HEADING}\n{_verdict_sentence(verdict)}\n", encoding="utf-8")


def _verdict_sentence(verdict: GateResult) -> str:
    v = verdict
    return (
        f"**{v.outcome}** on {v.n} questions of {v.data or 'unnamed data'}: {v.reason}. "
        f"Accuracy {100 * v.accuracy[0]:.2f} -> {100 * v.accuracy[1]:.2f} %, "
        f"output tokens a question {v.tokens[0]:.1f} -> {v.tokens[1]:.1f}."
    )
