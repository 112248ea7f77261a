"""Every example runs as it stands, with nothing but a server in the place of the provider."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tale_dspy.testing import ScriptedServer, SolverReply, word_problems

OFFLINE = {"search_budgets", "train_a_short_model"}
"""Examples that ask the model that ships."""
EXAMPLES = sorted(Path(__file__).parent.parent.joinpath("examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path: Path, tmp_path: Path) -> None:
    rows = word_problems(12)
    data = tmp_path / "questions.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = [str(data)] if path.stem == "compare_two_runs" else []
    with ScriptedServer(SolverReply({r["question"]: r["answer"] for r in rows})) as server:
        env = {**os.environ, "OPENAI_API_BASE": server.url, "OPENAI_API_KEY": "none", "HOME": str(tmp_path)}
        result = subprocess.run(
            [sys.executable, str(path), *arguments], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300
        )
        assert result.returncode == 0, result.stderr
        assert "output tokens" in result.stdout
        assert (server.stats.answered == 0) == (path.stem in OFFLINE)
