"""A search that was stopped, killed or cut short: nothing that was answered is asked again."""

import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import dspy
import pytest
from elastic_replies import TRAIN, asking, elastic_server

import tale_dspy
from tale_dspy.optimizers.budget_search import BudgetSearch
from tale_dspy.optimizers.samplers import HalvingSampler
from tale_dspy.optimizers.samplers.base import QuestionHistory
from tale_dspy.optimizers.search.records import SearchRow, load_search
from tale_dspy.runs.options import Tally


def search(server: Any, out: Path | None, **options: Any) -> list[SearchRow]:
    settings: dict[str, Any] = {"sampler": "halving", "repeats": 0, "concurrency": 3, "lm": asking(server), **options}
    search = BudgetSearch(out=out, **settings)
    search.compile(tale_dspy.TaleEP("question -> answer"), trainset=TRAIN)
    return sorted(search.rows, key=lambda row: row.id)


def test_a_search_cut_off_anywhere_goes_on_where_it_was(tmp_path: Path) -> None:
    out = tmp_path / "s"
    with elastic_server() as server:
        first = search(server, out, repeats=2)
        requests_before = server.stats.requests
        for name, n_lines in (("search.jsonl", 4), ("calls.jsonl", requests_before - 15)):
            lines = (out / name).read_bytes().splitlines(keepends=True)
            (out / name).write_bytes(b"".join(lines[:n_lines]) + lines[n_lines][:30])  # in the middle of a line
        again = search(server, out, repeats=2)
        assert server.stats.requests == requests_before + 15
    assert again == first == sorted(load_search(out), key=lambda row: row.id)


def test_after_sigkill_only_calls_in_flight_are_paid_again(tmp_path: Path) -> None:
    out, many = tmp_path / "s", threading.Event()
    with elastic_server(latency=0.02) as server:
        here = Path(__file__)
        paths = [*map(str, (*here.parents[:3], Path(tale_dspy.__file__).parents[1])), os.environ.get("PYTHONPATH", "")]
        command = [sys.executable, str(here.with_name("killed_search.py")), server.url, str(out)]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        with subprocess.Popen(command, env=env) as process:
            while server.stats.requests < 20 and process.poll() is None:
                many.wait(0.01)
            process.kill()
        assert process.returncode == -9, "it was finished before it could be killed"
        again = search(server, out)
        prompts = Counter(request.prompt for request in server.requests)
        fresh = search(server, None)
    assert sum(prompts.values()) - len(prompts) <= 3
    assert again == fresh


def test_progress_counts_questions_with_the_tokens_that_are_left(tmp_path: Path) -> None:
    figures: list[tuple[int, int, int]] = []

    def watch(tally: Tally) -> None:
        figures.append((tally.total, tally.done, tally.correct))

    with elastic_server(lambda number, budget: number > 3) as server:
        rows = search(server, tmp_path / "s", progress=watch)
        assert figures[0] == (12, 0, 0) and figures[-1] == (12, 12, 8)
        tallies: list[Tally] = []
        search(server, tmp_path / "s", progress=tallies.append)
    tokens_left = sum(row.best.tokens if row.best else row.vanilla.tokens or 0 for row in rows)
    (tally,) = tallies  # all was there before
    assert (tally.done, tally.output_tokens) == (12, tokens_left) and tokens_left < 12 * 120


class Watched(HalvingSampler):
    """Knows how many threads think at once, at most."""

    def __init__(self) -> None:
        super().__init__()
        self.thinking = self.most = 0
        self.nudge = threading.Event()

    def propose(self, history: QuestionHistory) -> int:
        self.thinking += 1
        self.most = max(self.most, self.thinking)
        self.nudge.wait(0.002)  # lets the others run
        self.thinking -= 1
        return super().propose(history)


def test_many_are_asked_at_once_and_one_thread_thinks_at_a_time() -> None:
    sampler = Watched()
    with elastic_server(latency=0.02) as server:
        search(server, None, sampler=sampler, concurrency=6, metric=lambda example, pred: pred.answer == example.answer)
        assert server.stats.max_in_flight >= 4
    assert sampler.most == 1


def test_ctrl_c_keeps_what_is_finished(tmp_path: Path) -> None:
    def interrupt(tally: Tally) -> None:
        if tally.done == 4:
            raise KeyboardInterrupt

    with elastic_server() as server:
        with pytest.raises(KeyboardInterrupt):
            search(server, tmp_path / "s", progress=interrupt)
        assert 4 <= len(load_search(tmp_path / "s")) < 12
        assert len(search(server, tmp_path / "s")) == 12


def test_a_block_of_track_around_books_the_calls_and_its_cap_holds() -> None:
    with elastic_server() as server, tale_dspy.track() as ledger:
        search(server, None)
        assert ledger.calls == server.stats.requests


def test_an_adapter_of_dspys_own_that_cannot_read_a_reply_makes_a_wrong_trial() -> None:
    with elastic_server() as server:
        rows = search(server, None, adapter=dspy.ChatAdapter(use_json_adapter_fallback=False))
    assert {row.reason for row in rows} == {"wrong without a budget"}
    assert {row.vanilla.tokens for row in rows} == {120} and all(row.vanilla.text for row in rows)
