"""Content hashes that name questions, on any machine and in any process.

Runs, searches and leak checks use these ids.
"""

import hashlib
import json
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tale_dspy.errors import DataError

if TYPE_CHECKING:
    import dspy


def example_id(example: "dspy.Example", gold_field: str) -> str:
    """Return the content hash of a question.

    It has 16 hex digits, over inputs and gold. A `token_budget` among the inputs does not count, so a budgeted copy of
    a question keeps its id. Values that JSON cannot hold count by their content where pydantic knows it, else by their
    `repr` without the address.

    Args:
        example: The question, inputs marked.
        gold_field: The field of the right answer; an example without it counts as having None.

    Raises:
        DataError: If the inputs are not marked.
    """
    if example._input_keys is None:
        raise DataError("an example has no inputs: mark them with .with_inputs('question')")
    # As `example.inputs()`, which copies the example.
    inputs = {name: value for name, value in example.items() if name in example._input_keys}
    inputs.pop("token_budget", None)
    return digest({"inputs": inputs, "gold": example.get(gold_field)})


@dataclass(frozen=True, eq=False)
class ContentHashes:
    """The content hashes of examples, as numbers, in their order."""

    examples: Sequence[Any]
    values: "array[int]"

    @classmethod
    def of(cls, examples: Sequence[Any], gold_field: str) -> "ContentHashes":
        """Hash examples.

        Raises:
            DataError: If one of them is no example, or has no inputs marked.
        """
        import dspy

        values = array("Q")
        for number, example in enumerate(examples):
            if not isinstance(example, dspy.Example) or not example._input_keys:
                raise DataError(
                    f"examples[{number}] must be a dspy.Example with its inputs marked by .with_inputs(...)"
                )
            values.append(int(example_id(example, gold_field), 16))
        return cls(examples, values)


def example_ids(examples: Iterable["dspy.Example"], gold_field: str) -> list[str]:
    """Return the ids in order.

    The 2nd, 3rd ... of identical `examples` gets `-2`, `-3` ...: each is a question.
    """
    occurrences: Counter[str] = Counter()
    ids = []
    for example in examples:
        key = example_id(example, gold_field)
        occurrences[key] += 1
        ids.append(key if occurrences[key] == 1 else f"{key}-{occurrences[key]}")
    return ids


def data_hash(ids: Iterable[str]) -> str:
    """Return 16 hex digits that stand for these questions in this order."""
    content = hashlib.sha256()
    for number, key in enumerate(ids):
        content.update(f"\n{key}".encode() if number else key.encode())
    return content.hexdigest()[:16]


def digest(value: object) -> str:
    """Return 16 hex digits that stand for a value.

    The order of its keys does not matter.
    """
    try:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=_plain_value)
    except (TypeError, ValueError, RecursionError):  # keys that are no strings, a value that holds itself
        text = _without_addresses(value)
    # JSON may hold half of a surrogate pair, which UTF-8 has no bytes for.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _plain_value(value: Any) -> Any:
    import dspy
    import pydantic

    if isinstance(value, pydantic.BaseModel):
        return value.model_dump()
    if isinstance(value, dspy.Example):
        return value.toDict()
    if isinstance(value, set | frozenset):
        return sorted(map(_without_addresses, value))  # a set's own order changes from process to process
    return _without_addresses(value)


def _without_addresses(value: object) -> str:
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
