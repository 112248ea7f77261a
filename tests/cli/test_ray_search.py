"""`tale search --ray`: shards that share what they learn, and one program at the end."""

import json
from pathlib import Path

import pytest
from elastic_replies import TRAIN, elastic_server
from local_ray import use_local_ray

from tale_dspy.cli.main import main


def write_data(path: Path) -> None:
    path.write_text("".join(json.dumps({"question": e.question, "answer": e.answer}) + "\n" for e in TRAIN))


def test_a_search_in_shards_ends_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_local_ray(monkeypatch)
    write_data(tmp_path / "d.jsonl")
    command = ["search", "tale-ep", "--data", str(tmp_path / "d.jsonl"), "--model", "openai/x", "--engine", "auto"]
    command += ["--no-cache", "--ray", "local", "--shards", "3", "--out", str(tmp_path / "out"), "--json"]
    command += ["--price-in", "1", "--price-out", "4", "--max-usd", "5"]
    with elastic_server() as server:
        assert main([*command, "--api-base", server.url]) == 0
        document = json.loads(capsys.readouterr().out)
        requests_before = server.stats.requests
        assert main([*command, "--api-base", server.url]) == 0
        assert server.stats.requests == requests_before, "a finished search asks nothing"
    assert document["n"] == len(TRAIN) and document["found"] > 0 and Path(document["program_file"]).is_file()
    assert len(list((tmp_path / "out").glob("shard-*-of-0003"))) == 3


def test_a_cap_in_shards_is_that_of_all_and_what_was_found_is_learned_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_local_ray(monkeypatch)
    write_data(tmp_path / "d.jsonl")
    command = ["search", "tale-ep", "--data", str(tmp_path / "d.jsonl"), "--model", "openai/x", "--engine", "auto"]
    command += ["--no-cache", "--ray", "local", "--shards", "2", "--out", str(tmp_path / "out"), "--json"]
    command += ["--max-tokens", "200", "--price-in", "1", "--price-out", "4", "--max-usd", "0.02"]
    with elastic_server() as server:
        assert main([*command, "--api-base", server.url]) == 3
        stats = server.stats
    assert (stats.prompt_tokens + 4 * stats.completion_tokens) / 1e6 <= 0.02
    captured = capsys.readouterr()
    assert json.loads(captured.out)["n"] > 0 and "of max_usd=0.02 spent" in captured.err
