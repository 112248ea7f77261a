"""`tale eval`: the one JSON object, what goes over the wire, what is kept, and no secret in it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tale_dspy.testing import Faults, Reply, Request, ScriptedServer

KEYS = {
    *("program", "model", "data", "n", "accuracy", "accuracy_ci95", "output_tokens_mean", "estimate_tokens_mean"),
    *("prompt_tokens_mean", "cost_usd", "calls", "paid_calls", "cached_calls", "outcomes", "latency_p50"),
    *("latency_p95", "wall_s", "run_dir"),
}


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]


def sampling(request: Request) -> tuple[Any, ...]:
    body = request.body
    return body["temperature"], body.get("max_tokens", body.get("max_completion_tokens")), body["seed"]


def test_json_is_one_object_with_the_contracts_keys(tale: Any, task_flags: list[str], server: Any) -> None:
    result = tale("eval", "tale-ep", *task_flags, "--json", "--out", "a")
    output = result.json
    assert (result.code, result.err, result.out.count("\n")) == (0, "", 1)
    assert output.keys() >= KEYS
    assert output["n"] == 10 and output["calls"] == output["paid_calls"] == server.stats.requests == 20
    assert output["accuracy"] == sum(r["outcome"] == "correct" for r in records(Path("a"))) / 10
    tokens = output["output_tokens_mean"] + output["estimate_tokens_mean"]
    assert tokens * 10 == pytest.approx(server.stats.completion_tokens)
    assert output["prompt_tokens_mean"] * 10 == pytest.approx(server.stats.prompt_tokens)
    assert (output["model"], output["data"], output["run_dir"]) == ("openai/scripted", "questions.jsonl", "a")


def test_unknown_figures_are_null_and_never_0(tale: Any, task_flags: list[str]) -> None:
    with ScriptedServer(Reply("Answer: [[1]]", usage=False)) as server:
        output = tale("eval", "cot", *task_flags, "--api-base", server.url, "--json").json
    assert output["output_tokens_mean"] is output["cost_usd"] is output["estimate_tokens_mean"] is None
    assert output["unknown_tokens"] == 10


def test_the_table_and_the_folder_are_shown(tale: Any, task_flags: list[str]) -> None:
    result = tale("eval", "cot", *task_flags)
    assert result.code == 0 and result.err == ""
    assert "cot" in result.out and "kept in runs/questions.jsonl--cot--openai-scripted\n" in result.out


def test_both_engines_give_the_same_figures(tale: Any, task_flags: list[str], server: Any) -> None:
    summaries = [
        tale("eval", "cot", *task_flags, "--engine", e, "--out", e, "--json").json for e in ("auto", "litellm", "lm15")
    ]
    same = ("accuracy", "output_tokens_mean", "prompt_tokens_mean", "outcomes", "calls", "paid_calls")
    assert [[f[k] for k in same] for f in summaries] == [[summaries[0][k] for k in same]] * 3
    assert server.stats.requests == 30  # no engine answers from the cache of another


def test_the_paper_preset_sets_what_the_paper_used(tale: Any, task_flags: list[str], server: Any) -> None:
    assert tale("eval", "cot", *task_flags, "--preset", "paper", "--out", "a").code == 0
    assert {sampling(r) for r in server.requests} == {(0.1, 1024, 1024)}
    assert all(r["output_tokens_cl100k"] and r["paper_correct"] is not None for r in records(Path("a")))


def test_flags_win_over_the_preset(tale: Any, task_flags: list[str], server: Any) -> None:
    flags = ["--temperature", "0.7", "--max-tokens", "300", "--seed", "7"]
    assert tale("eval", "cot", *task_flags, "--preset", "paper", *flags).code == 0
    assert {sampling(r) for r in server.requests} == {(0.7, 300, 7)}


def test_nothing_is_sent_that_was_not_asked_for(tale: Any, task_flags: list[str], server: Any) -> None:
    tale("eval", "cot", *task_flags)
    assert {frozenset(r.body) for r in server.requests} == {frozenset({"model", "messages"})}


def test_the_preset_leaves_a_thinking_model_its_own_settings(tale: Any, task_flags: list[str], server: Any) -> None:
    assert tale("eval", "cot", *task_flags, "--model", "openai/o3-mini", "--preset", "paper").code == 0
    assert not {"temperature", "max_tokens", "max_completion_tokens"} & {k for r in server.requests for k in r.body}


def test_repeats_are_fresh_draws_with_an_error_by_question(tale: Any, task_flags: list[str]) -> None:
    def reply(request: Request) -> str:
        return f"Answer: [[{'nothing' if request.seen == 1 else 17}]]"

    with ScriptedServer(reply) as server:
        flags = ["--api-base", server.url, "--repeats", "3", "--out", "a"]
        output = tale("eval", "cot", *task_flags, *flags, "--json").json
        assert server.stats.requests == 30
    assert (output["n"], output["repeats"], len(records(Path("a")))) == (10, 3, 30)
    assert output["accuracy"] in (0.0, pytest.approx(2 / 30))
    assert output["accuracy_ci95"] is not None


def test_the_cache_answers_a_second_folder_and_no_cache_asks_again(
    tale: Any, task_flags: list[str], server: Any
) -> None:
    first = tale("eval", "cot", *task_flags, "--out", "a", "--json").json
    again = tale("eval", "cot", *task_flags, "--out", "b", "--json").json
    assert (server.stats.requests, again["cached_calls"], again["paid_calls"]) == (10, 10, 0)
    assert again["output_tokens_mean"] == first["output_tokens_mean"] and again["latency_p50"] is None
    tale("eval", "cot", *task_flags, "--out", "c", "--no-cache")
    assert server.stats.requests == 20


RESUME = """
import sys
from tale_dspy.cli.main import main
code = main(sys.argv[1:])
print("litellm" in sys.modules)
raise SystemExit(code)
"""


def test_a_finished_run_is_shown_again_without_a_request_or_litellm(
    tale: Any, task_flags: list[str], server: Any, tmp_path: Path
) -> None:
    command = ["eval", "cot", *task_flags, "--engine", "litellm", "--out", "a", "--json"]
    first = tale(*command).out
    result = subprocess.run([sys.executable, "-c", RESUME, *command], cwd=tmp_path, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "") and result.stdout.endswith("\nFalse\n")
    assert json.loads(result.stdout.splitlines()[0])["accuracy"] == json.loads(first)["accuracy"]
    assert server.stats.requests == 10


def test_prices_are_dollars_per_million_tokens(tale: Any, task_flags: list[str], server: Any) -> None:
    output = tale("eval", "cot", *task_flags, "--price-in", "2", "--price-out", "8", "--json").json
    cost = (2 * server.stats.prompt_tokens + 8 * server.stats.completion_tokens) / 1e6
    assert output["cost_usd"] == pytest.approx(cost)


def test_offset_and_limit_pick_the_questions(tale: Any, task_flags: list[str], server: Any) -> None:
    output = tale("eval", "direct", *task_flags, "--offset", "7", "--limit", "5", "--out", "a", "--json").json
    assert output["n"] == 3
    assert sorted(r["question"] for r in records(Path("a"))) == sorted(list(server.bank)[7:10])


def test_no_more_questions_are_in_flight_than_concurrency_allows(tale: Any, task_flags: list[str], server: Any) -> None:
    server.latency = 0.02
    tale("eval", "cot", *task_flags, "--concurrency", "3", "--no-cache")
    assert server.stats.max_in_flight == 3


def test_a_server_that_hangs_is_given_up_and_asked_again(tale: Any, task_flags: list[str], server: Any) -> None:
    server.faults = Faults(hung=0.3)
    output = tale("eval", "cot", *task_flags, "--timeout", "0.3", "--json").json
    assert server.stats.hung > 0 and output["outcomes"]["error"] == 0 and output["n"] == 10


def test_questions_that_ended_in_an_error_are_asked_again_on_demand(
    tale: Any, task_flags: list[str], server: Any
) -> None:
    first = next(iter(server.bank))
    server.faults = Faults(server_error=1.0, tries=None, only=first)
    command = ["eval", "cot", *task_flags, "--retries", "0", "--json"]
    assert tale(*command).json["outcomes"]["error"] == 1
    server.faults = Faults()
    assert tale(*command).json["outcomes"]["error"] == 1
    assert tale(*command, "--retry-errors").json["outcomes"]["error"] == 0
    assert server.stats.requests == 11


def test_the_provenance_is_kept_with_the_run(tale: Any, task_flags: list[str]) -> None:
    assert "simulated" in tale("eval", "cot", *task_flags, "--provenance", "simulated", "--out", "a").out
    assert json.loads(Path("a/run.json").read_text())["provenance"] == "simulated"


def test_a_key_is_sent_and_never_written(
    tale: Any, task_flags: list[str], server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-do-not-write-me")
    result = tale("eval", "cot", *task_flags, "--out", "a")
    assert result.code == 0 and all(r.authorized for r in server.requests)
    text = result.out + result.err + "".join(p.read_text() for p in Path("a").iterdir())
    assert "do-not-write-me" not in text


def test_a_metric_of_ones_own_judges_and_may_print(tale: Any, task_flags: list[str]) -> None:
    Path("judging.py").write_text("def half(example, pred, trace=None):\n    print('judged')\n    return 0.5\n")
    result = tale("eval", "cot", *task_flags, "--metric", "judging:half", "--out", "a", "--json")
    assert result.json["n"] == 10 and result.err == "judged\n" * 10
    assert {(r["score"], r["outcome"]) for r in records(Path("a"))} == {(0.5, "wrong")}
    assert json.loads(Path("a/run.json").read_text())["config"]["metric"] == "judging:half"


def test_a_metric_that_gives_no_number_makes_errors_that_say_so(tale: Any, task_flags: list[str]) -> None:
    Path("judging_none.py").write_text("def nothing(example, pred, trace=None):\n    return float('nan')\n")
    assert (
        tale("eval", "cot", *task_flags, "--metric", "judging_none:nothing", "--out", "a", "--json").json["accuracy"]
        == 0
    )
    assert all(r["error"].startswith("metric: TypeError: a metric must give a bool") for r in records(Path("a")))


@pytest.mark.parametrize("adapter", ["chat", "json", "xml"])
def test_dspys_own_adapters_can_be_used(adapter: str, tale: Any, task_flags: list[str]) -> None:
    result = tale("eval", "cot", *task_flags, "--adapter", adapter, "--limit", "2", "--out", "a", "--json")
    assert result.err == "" and result.json["n"] == 2
    assert json.loads(Path("a/run.json").read_text())["config"]["adapter"].lower() == f"{adapter}adapter"


def test_a_fallback_answers_where_the_model_is_down_and_is_kept_in_the_folder(
    tale: Any, task_flags: list[str], server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOSTED_VLLM_API_BASE", server.url)
    flags = ["--limit", "2", "--retries", "0", "--fallback", "hosted_vllm/other", "--concurrency", "1", "--json"]
    flags += ["--out", "a"]
    with ScriptedServer(Reply("wrong key", status=401)) as down:
        result = tale("eval", "cot", *task_flags, *flags, "--api-base", down.url)
    assert (result.code, down.stats.requests) == (1, 1)  # no other model fares better with a key that is wrong
    with ScriptedServer(Reply("down", status=503)) as down:
        output = tale("eval", "cot", *task_flags, *flags, "--api-base", down.url).json
    assert (output["outcomes"]["error"], output["paid_calls"]) == (0, 2)
    assert json.loads(Path("a/run.json").read_text())["config"]["fallbacks"] == ["hosted_vllm/other"]


def test_requests_and_tokens_a_minute_must_be_above_0(tale: Any, task_flags: list[str], server: Any) -> None:
    for flag in ("--rpm", "--tpm"):
        result = tale("eval", "cot", *task_flags, flag, "0")
        assert (result.code, flag.removeprefix("--") + " must be a number above 0" in result.sentence) == (2, True)


def test_a_fallback_without_a_price_is_no_way_around_a_cap(tale: Any, task_flags: list[str], server: Any) -> None:
    task_flags = [a if a != "openai/scripted" else "openai/gpt-4o-mini" for a in task_flags]
    result = tale("eval", "cot", *task_flags, "--fallback", "openai/unheard-of", "--max-usd", "1")
    assert (result.code, server.stats.requests) == (2, 0)
    assert "none is known for openai/unheard-of" in result.sentence
