"""The effort words a program's models can be asked at.

Each may come with and without the phrase.
"""

import logging
from collections.abc import Sequence
from typing import Any, Literal

import dspy

from tale_dspy.backends.model_control import is_reasoning_model
from tale_dspy.backends.reasoning_params import distinct_settings, effort_words
from tale_dspy.optimizers.search.budget_override import BudgetedPredictor, budgeted_predictors
from tale_dspy.optimizers.search.budget_space import with_phrase
from tale_dspy.protocols import Program

logger = logging.getLogger(__name__)

Efforts = Sequence[str] | Literal["auto"] | None
"""Effort words with or without a number, the words of the model, or none of them: token budgets."""


def effort_settings(program: dspy.Module | Program, lm: Any, efforts: Efforts) -> tuple[str, ...]:
    """Return the settings of a search or a sweep.

    Of settings that would send the same request only one is returned.

    Args:
        program: Holds one or more budgeted predictors.
        lm: Language model of predictors that have none of their own.
        efforts: Words as given; `auto` takes all words that the models share, with and without the phrase, if they are
            reasoning models that take words and the program may send them; None takes none.

    Returns:
        The settings in their order, such as `low+50`; none where token budgets are to be asked.
    """
    modules = list(budgeted_predictors(program).values())
    if efforts is None or not modules:
        return ()
    models = [module.predict.lm or lm for module in modules]
    wanted = _words_of(modules, models) if efforts == "auto" else list(efforts)
    if not wanted:
        return ()
    settings = distinct_settings(models[0], wanted)
    for setting in settings:
        if setting.same:
            logger.warning("effort %s: asked once", setting)
    return tuple(str(setting.value) for setting in settings)


def _words_of(modules: Sequence[BudgetedPredictor], models: Sequence[Any]) -> list[str]:
    if any(module.mode not in ("auto", "native") for module in modules) or None in models:
        return []
    words = [effort_words(model) if is_reasoning_model(model) else () for model in models]
    common = [word for word in words[0] if all(word in others for others in words)]
    return list(with_phrase(common)) if common else []
