"""A small model, rows for it, and searches to distil."""

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "backends" / "local"))  # tiny_models


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of 2 layers of 32 with random weights."""
    from tiny_models import make_model
    from transformers.utils import logging

    logging.disable_progress_bar()
    return make_model(tmp_path_factory.mktemp("models") / "base", ends=2)


@pytest.fixture(scope="session")
def rows() -> list[dict[str, Any]]:
    """Rows with all columns that SFT and DPO want."""
    return [row(n) for n in range(12)]


def row(n: int) -> dict[str, Any]:
    texts = {"completion": f"{n}+1={n + 1}", "chosen": f"{n}+1={n + 1}", "rejected": f"Well. {n} and one more, {n + 1}"}
    prompt = [{"role": "system", "content": "Help."}, {"role": "user", "content": f"{n} and 1" + "?" * (n % 4)}]
    replies = {column: [{"role": "assistant", "content": text}] for column, text in texts.items()}
    return {"id": f"{n:016x}", "prompt": prompt, **replies}
