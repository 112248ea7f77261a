"""Budgets under other adapters than TaleAdapter.

One sentence is added at the end of a prompt that is otherwise unchanged.
"""

from copy import copy
from functools import lru_cache, partial
from typing import Any

from tale_dspy.adapter import TaleAdapter
from tale_dspy.prompt_forms import BUDGET_SENTENCE
from tale_dspy.protocols import CallArguments, JsonObject
from tale_dspy.task_signature import BUDGET, REASONING


def with_budget_in_words(adapter: Any) -> Any:
    """Return an adapter that writes `token_budget` at the end of the prompt.

    It is written as a sentence. Real models ignored the field with a bare number that DSPy's adapters make of it, and
    kept to the sentence (docs/real_models.md). A prompt without a `reasoning` field is left as it is, and so is a
    `TaleAdapter`.

    Args:
        adapter: Any `dspy.Adapter`; not changed.
    """
    if isinstance(adapter, TaleAdapter):
        return adapter
    worded = copy(adapter)
    worded.format = partial(_format_with_budget, adapter)
    return worded


def _format_with_budget(
    adapter: Any, signature: Any, demos: list[JsonObject], inputs: CallArguments
) -> list[JsonObject]:
    states_budget = BUDGET in signature.input_fields and REASONING in signature.output_fields and inputs.get(BUDGET)
    if not states_budget:
        messages: list[JsonObject] = adapter.format(signature, demos, inputs)
        return messages
    plain = {k: v for k, v in inputs.items() if k != BUDGET}
    messages = adapter.format(_without_budget(signature), demos, plain)
    messages[-1] = {**messages[-1], "content": _append_sentence(messages[-1]["content"], inputs[BUDGET])}
    return messages


@lru_cache(maxsize=256)  # asked at every call; a signature is never changed, but replaced
def _without_budget(signature: Any) -> Any:
    return signature.delete(BUDGET)


def _append_sentence(content: Any, budget: object) -> Any:
    sentence = BUDGET_SENTENCE.replace("{budget}", str(budget))
    if isinstance(content, str):
        return content + sentence
    return [*content, {"type": "text", "text": sentence.strip()}]  # parts, as with images
