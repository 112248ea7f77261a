"""Every form of PROGRAM and of --data that `tale eval` takes, down to the prompt that is sent."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest

import tale_dspy
from tale_dspy.testing import EffortReply, ScriptedServer, SolverReply, ThinkingReply, word_problems

REAL = [Path(os.environ["TALE_DATA"])] if "TALE_DATA" in os.environ else []


def records(folder: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(folder, "records.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("program", "kinds"),
    [
        ("direct", {"direct": 10}),
        ("cot", {"cot": 10}),
        ("dspy-cot", {"cot": 10}),
        ("concise", {"concise": 10}),
        ("draft", {"draft": 10}),
        ("tale-ep", {"estimate": 10, "budget": 10}),
        ("budget:50", {"budget": 10}),
        ("budget:1000000000", {"budget": 10}),
        ("dspy:ChainOfThought", {"cot": 10}),
        ("tale_dspy:TaleEP", {"estimate": 10, "budget": 10}),
    ],
)
def test_each_program_asks_its_own_prompt(
    program: str, kinds: dict[str, int], tale: Any, task_flags: list[str], server: Any
) -> None:
    output = tale("eval", program, *task_flags, "--json").json
    assert {kind: stats.requests for kind, stats in server.stats.by_kind.items()} == kinds
    assert output["program"] == program and output["outcomes"]["unreadable"] == output["outcomes"]["error"] == 0


def test_dspy_cot_is_dspys_own_prompt(tale: Any, task_flags: list[str], server: Any) -> None:
    tale("eval", "dspy-cot", *task_flags, "--out", "a")
    assert all("[[ ## question ## ]]" in r.prompt for r in server.requests)
    assert json.loads(Path("a/run.json").read_text())["config"]["adapter"] == "ChatAdapter"


def test_a_saved_program_asks_the_model_that_is_named(tale: Any, task_flags: list[str], server: Any) -> None:
    program = tale_dspy.BudgetedChainOfThought("question -> answer", token_budget=33)
    program.set_lm(tale_dspy.LM("openai/other", api_base="http://127.0.0.1:9/v1", api_key="old"))
    program.save("best.json")
    assert tale("eval", "best.json", *task_flags, "--out", "a").code == 0
    assert {r.body["model"] for r in server.requests} == {"scripted"}
    assert {r["token_budget"] for r in records("a")} == {33}


MODULE = """
import dspy, tale_dspy
instance = tale_dspy.VanillaCoT("question -> answer")
class Wrapped(dspy.Module):
    def __init__(self):
        super().__init__()
        self.inner = tale_dspy.budgeted(dspy.ChainOfThought("question -> answer"))
    def forward(self, question):
        return self.inner(question=question)
def factory():
    return Wrapped()
def for_task(signature):
    return tale_dspy.Concise(signature)
class holder:
    inside = instance
"""


@pytest.mark.parametrize("attribute", ["instance", "Wrapped", "factory", "for_task", "holder.inside"])
def test_a_program_of_ones_own_is_imported(attribute: str, tale: Any, task_flags: list[str]) -> None:
    Path(f"own_{attribute[:3].lower()}.py").write_text(MODULE)
    result = tale("eval", f"own_{attribute[:3].lower()}:{attribute}", *task_flags, "--json")
    assert result.code == 0 and result.json["outcomes"]["correct"] > 7


@pytest.mark.parametrize("name", ["table.csv", "table.jsonl", "table.tsv"])
def test_columns_are_named_and_renamed(name: str, tale: Any, task_flags: list[str], server: Any) -> None:
    rows = [{"Question Text": q, "Right": a, "else": "x"} for q, a in list(server.bank.items())[:4]]
    with Path(name).open("w", newline="") as file:
        if name.endswith("jsonl"):
            file.write("".join(json.dumps(row) + "\n" for row in rows))
        else:
            writer = csv.DictWriter(file, rows[0].keys(), delimiter="," if name.endswith("csv") else "\t")
            writer.writeheader()
            writer.writerows(rows)
    flags = ["--data", name, "--inputs", "Question Text", "--gold", "Right"]
    assert tale("eval", "cot", *task_flags, *flags, "--json").json["outcomes"]["correct"] == 4


def test_two_inputs_are_both_sent(tale: Any, task_flags: list[str], server: Any) -> None:
    Path("two.jsonl").write_text('{"context": "Ada has 3 apples.", "question": "How many?", "answer": "3"}\n')
    assert tale("eval", "tale-ep", *task_flags, "--data", "two.jsonl", "--inputs", "context, question").code == 0
    assert all("Ada has 3 apples." in r.prompt and "How many?" in r.prompt for r in server.requests)


def test_choice_data_gets_the_choice_prompt(tale: Any, task_flags: list[str]) -> None:
    Path("choice.jsonl").write_text('{"question": "Which?", "options": ["one", "two"], "answer": "B"}\n')
    with ScriptedServer("I think so. Choice: [[B]]") as server:
        result = tale("eval", "cot", *task_flags, "--data", "choice.jsonl", "--api-base", server.url, "--json")
        assert result.json["accuracy"] == 1.0
        (request,) = server.requests
    assert "Which?\nA. one\nB. two\n" in request.prompt and "[[choice]],for example: Choice: [[A]]" in request.prompt


@pytest.fixture
def small_data(tmp_path: Path) -> Path:
    """A folder of named sets with one row each."""
    (tmp_path / "mathbench").mkdir()
    (tmp_path / "gsm8k_test.jsonl").write_text('{"question": "One and one?", "answer": "1+1=2\\n#### 2"}\n')
    row = {"question": "一加一等于几？", "options": ["1", "2", "3", "4"], "answer": "B", "topic": ""}
    (tmp_path / "mathbench" / "middle-single_choice_cn.jsonl").write_text(json.dumps(row) + "\n")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "phrase"), [("gsm8k", "Let's think step by step:"), ("mathbench-middle-cn", "让我们一步一步思考：")]
)
def test_named_data_gets_the_papers_prompt(
    name: str,
    phrase: str,
    tale: Any,
    task_flags: list[str],
    server: Any,
    small_data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for folder in [small_data, *REAL]:
        monkeypatch.setenv("TALE_DATA", str(folder))
        result = tale("eval", "cot", *task_flags, "--data", name, "--limit", "3", "--out", folder.name, "--json")
        assert result.code == 0 and result.json["data"] == name
        assert result.json["n"] == (1 if folder == small_data else 3)
    assert all(phrase in r.prompt for r in server.requests)


@pytest.mark.parametrize("policy", ["force_answer", "retry_larger"])
def test_answers_that_thinking_used_up_are_rescued_and_counted(policy: str, tale: Any, task_flags: list[str]) -> None:
    rows = [json.loads(line) for line in Path("questions.jsonl").read_text().splitlines()]
    solver = SolverReply({row["question"]: row["answer"] for row in rows}, wrong=0.0)
    reply = ThinkingReply(solver) if policy == "force_answer" else ThinkingReply(solver, thought=150)
    with ScriptedServer(reply) as thinking:
        flags = [*task_flags, "--api-base", thinking.url, "--max-tokens", "150", "--no-cache", "--json"]
        plain = tale("eval", "cot", *flags, "--out", "a").json
        output = tale("eval", "cot", *flags, "--on-truncation", policy, "--engine", "litellm", "--out", "b").json
        assert output["calls"] == thinking.stats.requests - 10
        assert 10 * output["output_tokens_mean"] == thinking.stats.completion_tokens - 1500
    assert plain["outcomes"] == {**dict.fromkeys(plain["outcomes"], 0), "empty": 10} and plain["calls"] == 10
    assert output["outcomes"]["correct"] == output["recoveries"]["cut"] == output["recoveries"]["answered"] == 10
    assert output["recoveries"]["output_tokens"] == 10 * output["output_tokens_mean"] - 1500
    assert (
        f"recovered: 10 of 10 answers that were cut or empty, in {output['recoveries']['calls']}"
        in tale("report", "a", "b", "--out", "r").out + Path("r/table.md").read_text()
    )


def test_a_program_without_modules_of_ours_cannot_be_rescued(tale: Any, task_flags: list[str]) -> None:
    result = tale("eval", "dspy-cot", *task_flags, "--on-truncation", "force_answer")
    assert (result.code, result.sentence) == (
        2,
        "error: --on-truncation is for modules of tale_dspy, and dspy-cot has none",
    )
    assert (
        "--on-truncation must be force_answer or retry_larger"
        in tale("eval", "cot", *task_flags, "--on-truncation", "pray").sentence
    )


def test_a_model_may_state_its_budget_itself(tale: Any, task_flags: list[str]) -> None:
    output = tale("eval", "self-budgeted", *task_flags, "--form", "paper", "--out", "a", "--json").json
    rows = [json.loads(line) for line in Path("a/records.jsonl").read_text().splitlines()]
    assert output["calls"] == 10 and output["estimate_tokens_mean"] is None
    assert {row["budget_source"] for row in rows} == {"stated"} and all(row["token_budget"] for row in rows)


@pytest.mark.parametrize(
    ("program", "efforts", "calls"),
    [("effort:low", {"low"}, 10), ("no-thinking", {"minimal"}, 10), ("vote:4:effort:high", {"high"}, 30)],
)
def test_efforts_and_votes_are_programs(program: str, efforts: set[str], calls: int, tale: Any, tmp_path: Path) -> None:
    rows = word_problems(10)
    (tmp_path / "q.jsonl").write_text(
        "".join(json.dumps({k: r[k] for k in ("question", "answer")}) + "\n" for r in rows)
    )
    with ScriptedServer(EffortReply({row["question"]: row["answer"] for row in rows})) as server:
        flags = ["--data", str(tmp_path / "q.jsonl"), "--model", "openai/gpt-5", "--api-base", server.url]
        result = tale("eval", program, *flags, "--engine", "auto", "--out", "a", "--no-cache", "--json")
        assert result.code == 0 and {r.body["reasoning_effort"] for r in server.requests} == efforts
        assert server.stats.requests == calls
    recorded_efforts = {r["effort"] for r in records("a")}
    assert recorded_efforts == {{"no-thinking": "none"}.get(program, program.rsplit(":", 1)[-1])}
