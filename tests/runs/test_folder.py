"""Killed at any moment, a run loses no record and asks again at most what was in flight."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tale_dspy
from tale_dspy.errors import RunFolderError
from tale_dspy.testing import Request, ScriptedServer, SolverReply, word_problems

COUNT, KILLS, WIDTH = 240, 20, 32


class Killer:
    """A solver that kills the run when a given request arrives."""

    def __init__(self) -> None:
        rows = word_problems(COUNT)
        self.solve = SolverReply({r["question"]: r["answer"] for r in rows})
        self.asked = 0
        self.at: int | None = None
        self.pid = 0

    def __call__(self, request: Request) -> object:
        self.asked += 1
        if self.at is not None and self.asked >= self.at:
            self.at = None
            os.kill(self.pid, signal.SIGKILL)
        return self.solve(request)


def test_twenty_kills_under_32_way_load_lose_and_double_nothing(tmp_path: Path) -> None:
    rng, killer, out = random.Random(7), Killer(), tmp_path / "run"
    with ScriptedServer(killer, latency=0.002, record=0) as server:  # type: ignore[arg-type]
        command = [sys.executable, str(Path(__file__).with_name("kill_worker.py")), server.url, str(out), str(COUNT)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as worker:
            assert worker.stdin and worker.stdout
            codes = []
            for kill in range(KILLS + 1):
                killer.at = None
                worker.stdin.write("go\n")
                killer.pid = int(worker.stdout.readline())
                if kill < KILLS:
                    killer.at = killer.asked + rng.randrange(1, 2 * COUNT // KILLS + WIDTH)
                codes.append(int(worker.stdout.readline()))
            worker.stdin.close()
        assert codes[-1] == 0 and -signal.SIGKILL in codes
        run = tale_dspy.load_run(out)
        assert len(run.records) == len({r.id for r in run.records}) == COUNT
        assert not any(r.outcome == "error" for r in run.records)
        killed = codes.count(-signal.SIGKILL)
        assert killer.asked - 2 * COUNT <= killed * WIDTH


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"usage_source": []}, r"usage_source must be text, got \[\]"),
        ({"cost": -1.0}, "cost_usd must be from 0 to .*, got -1.0"),
        ({"cost": 10**400}, "cost_usd must be from 0 to .*, got 1000"),
        ({"usage": {"output_tokens": "many"}}, "output_tokens must be a whole number or null, got 'many'"),
        ({"key": 5}, "key of a call is 5, which none of this version writes"),
    ],
)
def test_a_journal_of_calls_that_cannot_be_is_not_continued(broken: dict[str, Any], said: str, tmp_path: Path) -> None:
    examples = [tale_dspy.load_dataset("embedded:test").examples[0]]
    with ScriptedServer("Answer: [[4]]") as server:
        lm = tale_dspy.LM("openai/x", api_base=server.url, api_key="k", cache=False)
        program = tale_dspy.VanillaCoT("question -> answer")
        tale_dspy.evaluate(program, examples, lm=lm, out=tmp_path)
        journal = tmp_path / "calls.jsonl"
        journal.write_text(json.dumps({**json.loads(journal.read_text()), **broken}) + "\n")
        (tmp_path / "records.jsonl").unlink()
        with pytest.raises(RunFolderError, match=rf"calls\.jsonl, line 1: {said}"):
            tale_dspy.evaluate(program, examples, lm=lm, out=tmp_path)
