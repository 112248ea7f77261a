"""Small files of questions, and the fixtures that give them a place: a test module has those it imports."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from tale_dspy.datasets import Dataset

TABLE = [
    {"question": "1 + 1?\nthink", "answer": "2", "extra": "x"},
    {"question": "Größe, 数?", "answer": "3", "extra": ""},
]
"""Rows of a file with a column that nobody asks for."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the working directory and $TALE_DATA."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TALE_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`datasets` without network: it takes a local folder for the repository of that name."""
    import datasets
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    return folder


def write(name: str, content: str | bytes | list[dict[str, Any]]) -> str:
    """Write a file into the working directory: text, bytes, or rows as JSON lines."""
    if isinstance(content, list):
        content = "\n".join(json.dumps(row) for row in content)
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return name


def rows(data: Dataset) -> list[dict[str, Any]]:
    return [example.toDict() for example in data.examples]


def parquet(columns: list[tuple[str, list[Any]]]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    out = io.BytesIO()
    table = pyarrow.Table.from_arrays([pyarrow.array(v) for _, v in columns], names=[n for n, _ in columns])
    pyarrow.parquet.write_table(table, out)
    return out.getvalue()
