"""A saved program's budgets as JSON that any language can read.

`read_policy.mjs` shows how to read it.

The document, all numbers finite:

    format        "tale-policy"
    version       1
    token_budget  a fixed budget; the parts below are then null
    effort        a fixed effort word, or null
    regression    intercept, furthest, terms: [{feature, centre, scale, weight}]
    efforts       of an estimator of effort words: words, thresholds, confidence, default, furthest, terms
    estimator     limits of the estimate: scale, floor, ceiling, default
    program       limits of the budget sent: scale, floor, ceiling, default
    guarantee     what the calibration of the budgets guarantees, in words, or null

Each feature of a question's text is log(1 + count), where the counts are those of
`tale_dspy.programs.estimators.text_features`. With x = (feature - centre) / scale,

    estimate = exp(intercept + sum(weight * clamp(x, -furthest, furthest))), rounded to 4 decimals,

and at least `estimator.default` where any |x| is beyond `furthest`: the question is unlike those fitted. The estimate
is multiplied with `estimator.scale`, rounded up and kept within the limits of the estimator, then multiplied with
`program.scale`, rounded up and kept within those of the program. A blank text gets `estimator.default` within both,
without the scales.

With `efforts`, a question's word is the first whose chance to suffice, rounded to 6 decimals, is at least `confidence`:

    1 / (1 + exp(sum(weight * clamp(x, -furthest, furthest)) - threshold)),

the last word where none is, and `default` for a blank text. A word may carry the number of the phrase: `low+50`.
"""

import json
import shutil
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path

import dspy

from tale_dspy.budget import BudgetLimits
from tale_dspy.errors import UsageError
from tale_dspy.integrations.policy import FixedPolicy, as_policy, estimating_program
from tale_dspy.output_paths import check_file
from tale_dspy.programs.estimators.effort_estimator import FURTHEST as FURTHEST_EFFORT
from tale_dspy.programs.estimators.effort_estimator import EffortEstimator
from tale_dspy.programs.estimators.regression import FURTHEST, FeatureTerm
from tale_dspy.programs.estimators.regression_estimator import RegressionEstimator
from tale_dspy.programs.saving import load
from tale_dspy.programs.state import guarantees_of

READER = "read_policy.mjs"


def write_json_policy(source: Path, out: Path) -> list[Path]:
    """Write the policy of a saved program, and the reference reader beside it.

    Args:
        source: The saved program.
        out: The JSON file.

    Returns:
        Both files.

    Raises:
        StateError: If the source cannot be loaded.
        UsageError: If its budgets cannot be written as numbers, or another file is there.
    """
    document = policy_document(load(source))
    check_file(out, "policy of tale", b'"tale-policy"')
    check_file(out.with_name(READER), "reader of a policy of tale", b"tale export PROGRAM --to json-policy")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    with as_file(files("tale_dspy.integrations") / READER) as reader:
        shutil.copyfile(reader, out.with_name(READER))
    return [out, out.with_name(READER)]


def policy_document(program: dspy.Module) -> dict[str, object]:
    """Return the JSON document of a program's budgets.

    Args:
        program: A `TaleEP` with a `RegressionEstimator` or `EffortEstimator` that looks at one input, such an estimator
            alone, or a program with a fixed budget.

    Raises:
        UsageError: If the budgets are asked of a model, or need an embedding.
    """
    document: dict[str, object] = {
        "format": "tale-policy",
        "version": 1,
        "token_budget": None,
        "effort": None,
        "regression": None,
        "efforts": None,
        "estimator": None,
        "program": None,
        "guarantee": next(map(str, guarantees_of(program)), None),
    }
    policy = as_policy(program)
    if isinstance(policy, FixedPolicy):
        return {**document, "token_budget": policy.budget.tokens, "effort": policy.budget.effort}
    estimating = estimating_program(program)
    estimator = estimating.estimator
    if isinstance(estimator, EffortEstimator):
        return {**document, "efforts": _fitted_efforts(estimator)}
    if not isinstance(estimator, RegressionEstimator):
        raise UsageError(f"the budgets of {type(estimator).__name__} cannot be written as numbers")
    return {
        **document,
        "regression": _fitted_regression(estimator),
        "estimator": _limits_json(estimator.limits.value),
        "program": _limits_json(estimating.limits.value),
    }


def _fitted_regression(estimator: RegressionEstimator) -> dict[str, object] | None:
    """Return the fitted line.

    It is None before it was fitted; every question then gets the default.
    """
    fitted = estimator.fitted
    if fitted is None:
        return None
    if fitted.projection is not None:
        raise UsageError("the estimator needs an embedding of each question, which no JSON can hold")
    return {"intercept": fitted.intercept, "furthest": FURTHEST, "terms": _terms_json(fitted.terms)}


def _fitted_efforts(estimator: EffortEstimator) -> dict[str, object]:
    """Return the fitted model of words.

    Before it was fitted, every question gets the default.
    """
    fitted = estimator.fitted
    return {
        "words": [estimator.default] if fitted is None else list(fitted.words),
        "thresholds": [0.0] if fitted is None else list(fitted.thresholds),
        "confidence": 0.0 if fitted is None else fitted.confidence,
        "default": estimator.default,
        "furthest": FURTHEST_EFFORT,
        "terms": [] if fitted is None else _terms_json(fitted.terms),
    }


def _terms_json(terms: Sequence[FeatureTerm]) -> list[dict[str, object]]:
    return [
        {"feature": term.name.rpartition(".")[2], "centre": term.centre, "scale": term.scale, "weight": term.weight}
        for term in terms
    ]


def _limits_json(limits: BudgetLimits) -> dict[str, float]:
    return {"scale": limits.scale, "floor": limits.floor, "ceiling": limits.ceiling, "default": limits.default}
