"""The shelf of samplers: every name is there, and nothing is loaded before it is used."""

import subprocess
import sys

import pytest

from tale_dspy.optimizers import samplers


def test_every_name_leads_somewhere() -> None:
    assert all(getattr(samplers, name).__name__ == name for name in samplers.__all__)


def test_an_unknown_name_is_said() -> None:
    with pytest.raises(AttributeError, match="NoSampler"):
        samplers.NoSampler  # noqa: B018


def test_optuna_comes_with_the_first_name_used() -> None:
    code = "import sys; from tale_dspy.optimizers import samplers; assert 'optuna' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_optuna_is_said_with_the_line_that_installs_it() -> None:
    code = "import sys; sys.modules['optuna'] = None; from tale_dspy.optimizers.samplers import HalvingSampler"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'tale-dspy[search]'" in result.stderr
