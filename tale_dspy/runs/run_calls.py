"""The journalled calls of a run, those behind its records."""

from collections.abc import Iterator

from tale_dspy.protocols import JsonObject
from tale_dspy.runs.completeness import JOURNAL
from tale_dspy.runs.files import read_jsonl
from tale_dspy.runs.records import Run


def iter_calls(run: Run) -> Iterator[JsonObject]:
    """Yield the rows of the journals of a run, one folder after the other.

    Of an answer that stands twice in the shards, each request is yielded once, as the shard whose record counts has it,
    so that sums over the calls agree with the summary of the run. What was paid twice is counted by `paid_twice`.
    """
    for part, folder in enumerate(run.parts):
        doubled: dict[tuple[object, ...], JsonObject] = {}
        for call in read_jsonl(folder / JOURNAL):
            counted_part = run.part_of_doubled.get((call["id"], call["repeat"]))
            if counted_part is None:
                yield call
            elif counted_part == part and call.get("error") is None:
                doubled[call["id"], call["repeat"], call["key"], call["step"]] = call
        yield from doubled.values()
