"""The numbers of a run as columns, some 200 bytes a record.

Comparisons and tables of large runs are made from them.

Texts stay in `records.jsonl`; a column holds where each line begins, so that single records can be read. How columns
are stored beside the records is `stored_columns`.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from tale_dspy.protocols import JsonObject
from tale_dspy.runs.record import OUTCOMES, Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

RECORDS = "records.jsonl"
CORRECT = OUTCOMES.index("correct")

FLOATS = (
    "token_budget",
    "output_tokens",
    "net_tokens",
    "estimate_tokens",
    "prompt_tokens",
    "estimate_prompt_tokens",
    "reasoning_tokens",
    "price_usd",
    "latency_s",
)
"""Columns of numbers; NaN is unknown."""
NO_TEXT = -1
"""Code of a record without a text."""


@dataclass(frozen=True)
class TextColumn:
    """A column of few different texts.

    It has a code for each record, -1 where there is none.
    """

    codes: "NDArray[np.int32]"
    texts: tuple[str, ...]

    def counts(self) -> dict[str, int]:
        """Return how many records have each text that occurs."""
        import numpy as np

        counts = np.bincount(self.codes[self.codes >= 0], minlength=len(self.texts)).tolist()
        return {text: count for text, count in zip(self.texts, counts, strict=True) if count}


@dataclass(frozen=True)
class RunColumns:
    """The columns of a run, one entry a record, in the order of the records."""

    ids: "NDArray[np.bytes_]"
    repeat: "NDArray[np.int32]"
    outcome: "NDArray[np.int8]"
    """Index in `OUTCOMES`."""
    cached_calls: "NDArray[np.int32]"
    calls: "NDArray[np.int32]"
    token_budget: "Floats"
    output_tokens: "Floats"
    net_tokens: "Floats"
    """Output tokens with the estimator's, as `Record.net_tokens`."""
    estimate_tokens: "Floats"
    prompt_tokens: "Floats"
    estimate_prompt_tokens: "Floats"
    reasoning_tokens: "Floats"
    """Hidden tokens of native thinking, part of the output tokens."""
    price_usd: "Floats"
    """US dollars, paid or cached, as `Record.price_usd`."""
    latency_s: "Floats"
    usage_source: TextColumn
    response_model: TextColumn
    part: "NDArray[np.int16]"
    """Which of the run's folders holds the record."""
    offset: "Integers"
    """Where its line begins there, in bytes; of a run in memory, its index."""

    def __len__(self) -> int:
        return len(self.repeat)

    @property
    def is_correct(self) -> "NDArray[np.bool_]":
        """Whether each record is right."""
        is_correct: NDArray[np.bool_] = self.outcome == CORRECT
        return is_correct

    def take(self, places: "NDArray[np.int64]") -> "RunColumns":
        """Return the records at these places, in their order.

        The columns are not copied if the places are all of them in order.
        """
        import numpy as np

        if len(places) == len(self) and np.array_equal(places, np.arange(len(self))):
            return self
        chosen: JsonObject = {}
        for field in fields(self):
            value = getattr(self, field.name)
            is_text = isinstance(value, TextColumn)
            chosen[field.name] = TextColumn(value.codes[places], value.texts) if is_text else value[places]
        return RunColumns(**chosen)

    def question_ids(self) -> "NDArray[np.bytes_]":
        """Return the ids, each once, sorted."""
        import numpy as np

        return np.unique(self.ids)

    def keys(self) -> "NDArray[np.bytes_]":
        """Return a text for each record that names its question and its draw."""
        import numpy as np

        if not self.repeat.any():
            return self.ids
        draws = np.where(self.repeat > 0, np.char.add(b"#", self.repeat.astype("S")), b"")
        return np.char.add(self.ids, draws)


class ColumnBuilder:
    """Collects the columns of records that are read one by one."""

    def __init__(self) -> None:
        self._ids: list[bytes] = []
        self._integers = {name: array("q") for name in ("repeat", "outcome", "cached_calls", "calls", "part", "offset")}
        self._floats = {name: array("d") for name in FLOATS}
        self._texts: dict[str, dict[str, int]] = {"usage_source": {}, "response_model": {}}
        self._codes = {name: array("q") for name in self._texts}

    def add(self, record: Record, part: int = 0, offset: int = 0) -> None:
        """Add one record, and where it was read."""
        self._ids.append(record.id.encode())
        whole = self._integers
        whole["repeat"].append(record.repeat)
        whole["outcome"].append(OUTCOMES.index(record.outcome))
        whole["cached_calls"].append(record.cached_calls)
        whole["calls"].append(record.calls)
        whole["part"].append(part)
        whole["offset"].append(offset)
        for name, column in self._floats.items():
            value = getattr(record, name)
            column.append(_NAN if value is None else value)
        for name, codes in self._codes.items():
            text: str | None = getattr(record, name)
            codes_of = self._texts[name]
            codes.append(NO_TEXT if text is None else codes_of.setdefault(text, len(codes_of)))

    def columns(self) -> RunColumns:
        """Return what was collected."""
        import numpy as np

        kinds = {"repeat": np.int32, "outcome": np.int8, "part": np.int16, "offset": np.int64}
        whole: JsonObject = {
            name: np.asarray(values, dtype=kinds.get(name, np.int32)) for name, values in self._integers.items()
        }
        numbers: JsonObject = {name: np.asarray(values, dtype=np.float64) for name, values in self._floats.items()}
        texts: JsonObject = {
            name: TextColumn(np.asarray(codes, dtype=np.int32), tuple(self._texts[name]))
            for name, codes in self._codes.items()
        }
        ids = np.array(self._ids or [], dtype="S" if self._ids else "S1")
        return RunColumns(ids=ids, **whole, **numbers, **texts)


_NAN = float("nan")


def columns_of(records: Iterable[Record]) -> RunColumns:
    """Return the columns of records in memory."""
    builder = ColumnBuilder()
    for index, record in enumerate(records):
        builder.add(record, 0, index)
    return builder.columns()


def last_places(keys: "NDArray[np.bytes_]") -> "Integers":
    """Return the last place of each key, in the order of the places."""
    import numpy as np

    _, from_behind = np.unique(keys[::-1], return_index=True)
    return np.sort(len(keys) - 1 - from_behind)


def joined_columns(parts: Sequence[RunColumns]) -> RunColumns:
    """Return the columns of several folders as those of one run."""
    import numpy as np

    if len(parts) == 1:
        return parts[0]
    joined: JsonObject = {}
    for field in fields(RunColumns):
        values = [getattr(part, field.name) for part in parts]
        if isinstance(values[0], TextColumn):
            joined[field.name] = joined_texts(values)
        elif field.name == "part":
            joined["part"] = np.concatenate([np.full(len(part), n, np.int16) for n, part in enumerate(parts)])
        else:
            joined[field.name] = np.concatenate(values)
    return RunColumns(**joined)


def joined_texts(columns: Sequence[TextColumn]) -> TextColumn:
    """Return columns of texts as one, with a code for each different text."""
    import numpy as np

    texts = tuple(dict.fromkeys(text for column in columns for text in column.texts))
    codes = []
    for column in columns:
        place = np.array([*(texts.index(text) for text in column.texts), NO_TEXT], dtype=np.int32)
        codes.append(place[column.codes])
    return TextColumn(np.concatenate(codes), texts)
