"""Small models and adapters, made once for all tests of this folder."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_models import make_adapter, make_model


@pytest.fixture(scope="session", autouse=True)
def silent() -> None:
    from transformers.utils import logging

    logging.disable_progress_bar()


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory, silent: None) -> Path:
    """A Llama of 2 layers of 32."""
    return make_model(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="session")
def others(tmp_path_factory: pytest.TempPathFactory, silent: None) -> dict[str, Path]:
    """Models of other kinds."""
    root = tmp_path_factory.mktemp("others")
    return {kind: make_model(root / kind, kind) for kind in ("gpt2", "qwen2", "mistral")}


@pytest.fixture(scope="session")
def adapters(tmp_path_factory: pytest.TempPathFactory, base: Path) -> list[Path]:
    """Two LoRA adapters of `base`."""
    root = tmp_path_factory.mktemp("adapters")
    return [make_adapter(root / f"a{seed}", base, seed=seed) for seed in (1, 2)]


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Path], Path]:
    """Copy a folder to where a test may break it."""
    return lambda folder: shutil.copytree(folder, tmp_path / folder.name)
