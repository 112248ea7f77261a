"""A searched question and its reply in the form of the deployed program."""

from collections.abc import Mapping
from typing import Any

import dspy
from dspy import AdapterParseError

from tale_dspy.adapter import TaleAdapter
from tale_dspy.answers import answers_equal
from tale_dspy.errors import UsageError
from tale_dspy.programs.base import TaleModule
from tale_dspy.protocols import JsonObject, Predictor, Program
from tale_dspy.task_signature import BUDGET, REASONING, is_estimator

Messages = list[dict[str, str]]

_MARKER = "[[ ## "


class TrainingPrompt:
    """The prompts and replies of one predictor, as training rows have them.

    Args:
        program: Any `dspy.Module`.
        searched: The name of the predictor that was searched; only looked at where a program has several.
        adapter: Overrides the adapter the program would be run with.
        budgeted: Whether prompts state a budget; without it, the predictor is asked as if it had none.

    Raises:
        UsageError: If the program has no predictor of that name, or it takes no budget where one is to be stated.
    """

    def __init__(self, program: Any, searched: str, adapter: Any = None, *, budgeted: bool = False) -> None:
        self.name, predictor = _find_predictor(program, searched)
        signature = predictor.signature
        takes_budget = BUDGET in signature.input_fields
        if budgeted and not takes_budget:
            raise UsageError(
                f"rows with budgets need a program that takes one: {type(program).__name__} does not, "
                "BudgetedChainOfThought does"
            )
        self.signature = signature.delete(BUDGET) if takes_budget and not budgeted else signature
        self.demos = predictor.demos
        self.adapter = adapter or _adapter_of(program, predictor)

    def prompt(self, inputs: Mapping[str, object], budget: int | None = None) -> Messages | None:
        """Return the messages of a question.

        It is None if the question lacks an input of the predictor.

        Args:
            inputs: The question's.
            budget: Tokens that the prompt states, where it is to state any.
        """
        fields = {**inputs, BUDGET: budget} if BUDGET in self.signature.input_fields else dict(inputs)
        names = list(self.signature.input_fields)
        if any(name not in fields for name in names):
            return None
        fields = {name: fields[name] for name in names}
        rendered = self.adapter.format(signature=self.signature, demos=self.demos, inputs=fields)
        messages = [{"role": m["role"], "content": m["content"]} for m in rendered]
        return messages if all(isinstance(m["content"], str) for m in messages) else None

    def reply(self, text: str, gold: Any) -> str | None:
        """Return a reply in the program's own format.

        A text in that format is returned as it is; any other is written anew.

        Args:
            text: A right reply, in the format of any adapter.
            gold: The right answer; None where it is not known.

        Returns:
            None if its fields cannot be read.
        """
        for reader in (self.adapter, TaleAdapter(), dspy.ChatAdapter()):
            values = self._parse_complete(reader, text)
            if values is None or not self._is_right(values, gold):
                continue
            # A reply without reasoning is written with none, and not with the word None.
            texts = {k: "" if v is None and k == REASONING else v for k, v in values.items()}
            written: str = self.adapter.format_assistant_message_content(self.signature, texts)
            # TaleAdapter reads replies with the markers of ChatAdapter, too, but does not ask for them.
            same_form = (_MARKER in written) == (_MARKER in text)
            return text if reader is self.adapter and same_form else written.strip()
        parsed = self._parse_complete(self.adapter, text)
        # A right answer that is not the gold's own form, as a metric of the user's may accept.
        return text if parsed is not None and not any(_MARKER in str(value) for value in parsed.values()) else None

    def _parse_complete(self, reader: Any, text: str) -> JsonObject | None:
        try:
            values: JsonObject = reader.parse(self.signature, text)
        except (AdapterParseError, ValueError):
            return None
        outputs = [name for name in self.signature.output_fields if name != REASONING]
        return None if any(values.get(name) is None for name in outputs) else values

    def _is_right(self, values: Mapping[str, object], gold: object) -> bool:
        outputs = [name for name in self.signature.output_fields if name != REASONING]
        if len(outputs) != 1:
            return not any(_MARKER in str(values[name]) for name in outputs)
        value = values[outputs[0]]
        return _MARKER not in str(value) if gold is None else answers_equal(value, gold)


def _find_predictor(program: Program, searched: str) -> tuple[str, Any]:
    candidates = {name: p for name, p in program.named_predictors() if not is_estimator(p.signature)}
    if len(candidates) == 1:
        return next(iter(candidates.items()))
    name = next((n for n in candidates if searched in (n, n.removesuffix(".predict"))), None)
    if name is None:
        known = ", ".join(candidates) or "none"
        raise UsageError(f"{searched} was searched, but {type(program).__name__} has the predictors {known}")
    return name, candidates[name]


def _adapter_of(program: Program, predictor: Predictor) -> Any:
    """Return the adapter a predictor would be called with.

    It is its module's, the configured one, or its kind's default.
    """
    owners = [m for _, m in program.named_sub_modules(TaleModule) if m.predict is predictor]
    return owners[0].adapter_in_force() if owners else dspy.settings.adapter or dspy.ChatAdapter()
