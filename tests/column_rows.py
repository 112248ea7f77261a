"""Records of every kind, written as a run folder, and what columns say of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from make_runs import make_record, random_run

from tale_dspy.runs.columns import FLOATS, RECORDS, RunColumns
from tale_dspy.runs.record import OUTCOMES, Record


def rows_of(columns: RunColumns) -> list[dict[str, Any]]:
    """What the columns say of each record, None where it is unknown."""
    texts = {name: getattr(columns, name) for name in ("usage_source", "response_model")}
    return [
        {
            "id": columns.ids[i].decode(),
            "repeat": int(columns.repeat[i]),
            "outcome": OUTCOMES[columns.outcome[i]],
            "calls": int(columns.calls[i]),
            "cached_calls": int(columns.cached_calls[i]),
            **{n: None if np.isnan(getattr(columns, n)[i]) else getattr(columns, n)[i] for n in FLOATS},
            **{n: None if c.codes[i] < 0 else c.texts[c.codes[i]] for n, c in texts.items()},
        }
        for i in range(len(columns))
    ]


def records() -> list[Record]:
    plain = random_run(20, repeats=2).records
    return [
        *plain,
        make_record(90, output_tokens=None, usage_source="unknown", response_model=None, latency_s=None),
        make_record(91, estimate=(30, 9), token_budget=50, outcome="truncated", cached_calls=1, saved_cost_usd=0.1),
        make_record(92, id="b" * 16 + "-2", cost_usd=None),
    ]


def write(folder: Path, rows: list[Record]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"format": 1, "program": {"name": "p"}, "config": {"repeats": 2}}))
    (folder / RECORDS).write_text("".join(json.dumps(row.to_json()) + "\n" for row in rows))
    return folder
