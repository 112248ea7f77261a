"""What `tale eval` cannot do is said in one sentence, before anything is sent or written."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tale_dspy.testing import Faults

FILES = {
    "empty.jsonl": "",
    "no_answer.jsonl": '{"question": "a", "answer": "1"}\n{"question": "b"}\n',
    "broken.jsonl": '{"question": "a", "answer": "1"}\n{"question": \n',
    "context.jsonl": '{"context": "c", "question": "q", "answer": "1"}\n',
    "none.json": '{"a": 1}',
    "list.json": "[1]",
    "other.json": '{"tale_dspy": {"format": 1, "class": "Nothing", "signature": []}}',
    "cut.json": '{"tale_dspy": {"format": 1, "class": "VanillaCoT", "signature": [["question", "in", "str"]',
    "raising.py": "raise RuntimeError('at import')",
    "leaving.py": "import sys; sys.exit(5)",
    "wrong.py": "def (",
    "things.py": "number = 3\ndef failing():\n    raise KeyError('mine')\n",
}


@pytest.fixture
def files(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("cot --data missing.jsonl", "missing.jsonl does not exist"),
        ("cot --data empty.jsonl", "empty.jsonl has no rows"),
        ("cot --data no_answer.jsonl", "no_answer.jsonl:2: row without answer"),
        ("cot --data broken.jsonl", "broken.jsonl:2: not JSON"),
        ("cot --data gsm9k", "did you mean gsm8k"),
        ("cot --data things.py", "unknown extension '.py'"),
        ("cot --gold nothing", "no 'nothing'"),
        ("cot --inputs nothing", "no input 'nothing'"),
        ("nonsense", "no program 'nonsense'"),
        ("budget:0", "at least 1, got 0"),
        ("budget:-1", "whole number of tokens"),
        ("budget:abc", "whole number of tokens"),
        ("budget:1e9", "whole number of tokens"),
        ("budget:0x", "above 0"),
        ("budget:0.25x", "--vanilla"),
        ("budget:0.25x --vanilla nowhere", "nowhere is not a run folder"),
        ("budget:best", "--train-data"),
        ("budget:best --train-data questions.jsonl", "10 of 10 questions are training questions"),
        ("budget:best --train-data questions.jsonl --train-limit 0", "--train-limit must be at least 1"),
        ("missing.json", "missing.json does not exist"),
        ("none.json", "not saved by a tale_dspy module"),
        ("list.json", "not saved by a tale_dspy module"),
        ("other.json", "'Nothing' cannot be built"),
        ("cut.json", "cannot be read as JSON"),
        ("best.pkl", "never loaded"),
        ("nowhere:x", "No module named 'nowhere'"),
        ("raising:x", "RuntimeError: at import"),
        ("leaving:x", "SystemExit: 5"),
        ("wrong:x", "SyntaxError"),
        ("things:nothing", "no attribute 'nothing'"),
        ("things:number", "must be a dspy.Module"),
        ("things:failing", "KeyError: 'mine'"),
        ("cot --metric nowhere:x", "No module named 'nowhere'"),
        ("cot --metric things:nothing", "no attribute 'nothing'"),
        ("cot --model nonsense", "knows no provider"),
        ("cot --model nonsense/x --engine litellm", "knows no provider"),
        ("cot --model local:x", "local:x runs in this process: it takes no api_base"),
        ("cot --engine nonsense", "engine must be one of litellm, auto, lm15"),
        ("cot --api-base nonsense", "--api-base must be an address"),
        ("cot --api-base http://user:hunter2@127.0.0.1/v1", "without user and password"),
        ("cot --preset nonsense", "--preset must be paper"),
        ("cot --adapter nonsense", "--adapter must be one of tale, chat, json, xml"),
        ("cot --limit 0", "--limit must be at least 1, got 0"),
        ("cot --offset -1", "--offset must be at least 0, got -1"),
        ("cot --offset 10", "leaves none of the 10 questions"),
        ("cot --max-tokens 0", "--max-tokens must be at least 1"),
        ("cot --temperature nan", "--temperature must be a number"),
        ("cot --concurrency 0", "concurrency must be a whole number of at least 1"),
        ("cot --repeats 0", "repeats must be a whole number of at least 1"),
        ("cot --retries -1", "retries must be a whole number of at least 0"),
        ("cot --timeout 0", "--timeout must be a number above 0"),
        ("cot --max-usd 0", "--max-usd must be a number above 0"),
        ("cot --max-usd 1", "--price-in"),
        ("cot --price-in 1", "go together, in US dollars per million tokens: give --price-out"),
        ("cot --price-in nan --price-out 1", "--price-in must be US dollars per million tokens, at least 0, got nan"),
        ("cot --price-in 1 --price-out -2", "--price-out must be US dollars per million tokens, at least 0, got -2"),
        ("cot --concurrency 99999999999999999999", "concurrency must be at most 1,000,000, got 9999"),
        ("cot --max-usd inf", "--max-usd must be a number above 0, got inf"),
        ("cot --price-in -1 --price-out 1", "--price-in must be US dollars per million tokens, at least 0, got -1"),
        ("cot --price-in nan --price-out 1", "price"),
        ("cot --model openai/o3-mini --temperature 0.5", "reasoning models"),
        ("cot --out questions.jsonl", "is a file"),
        ("cot --out .", "no run folder"),
    ],
)
def test_bad_input_is_2_and_one_sentence(args: str, said: str, tale: Any, task_flags: list[str], server: Any) -> None:
    before = sorted(os.listdir())
    program, *flags = args.split()
    result = tale("eval", program, *task_flags, *flags, "--json")
    assert (result.code, result.out) == (2, "")
    assert said in result.sentence and result.sentence.startswith("error: ") and "hunter2" not in result.sentence
    assert server.stats.requests == 0
    assert sorted(set(os.listdir()) - {"__pycache__", ".lock"}) == before


def test_a_folder_of_another_configuration_is_refused_and_kept(tale: Any, task_flags: list[str], server: Any) -> None:
    tale("eval", "cot", *task_flags, "--out", "a")
    before = {p.name: p.read_bytes() for p in Path("a").iterdir()}
    for flags, message in (
        (["--temperature", "0.5"], "settings.temperature was null, now 0.5"),
        (["--limit", "5"], "data.n was 10, now 5"),
        (["--adapter", "chat"], "adapter was"),
        (["--model", "openai/other"], "model was"),
        (["--api-base", "http://example.invalid/v1"], "address was"),
    ):
        result = tale("eval", "cot", *task_flags, "--out", "a", *flags)
        assert result.code == 2 and message in result.sentence
    assert {p.name: p.read_bytes() for p in Path("a").iterdir()} == before
    assert server.stats.requests == 10


def test_other_budgets_are_another_configuration(tale: Any, task_flags: list[str]) -> None:
    tale("eval", "cot", *task_flags, "--out", "v")
    tale("eval", "draft", *task_flags, "--out", "w")
    assert tale("eval", "budget:0.5x", *task_flags, "--vanilla", "v", "--out", "a").code == 0
    result = tale("eval", "budget:0.5x", *task_flags, "--vanilla", "w", "--out", "a")
    assert result.code == 2 and "budgets was" in result.sentence


def test_a_saved_program_that_needs_another_input_is_refused(tale: Any, task_flags: list[str], server: Any) -> None:
    import tale_dspy

    tale_dspy.VanillaCoT("context, question -> answer").save("p.json")
    result = tale("eval", "p.json", *task_flags)
    assert result.code == 2 and "needs the input 'context'" in result.sentence
    assert server.stats.requests == 0


@pytest.mark.parametrize("fault", ["unauthorized", "not_found", "quota"])
@pytest.mark.parametrize("engine", ["auto", "litellm"])
def test_a_refusal_of_the_provider_is_1_at_once(
    fault: str, engine: str, tale: Any, task_flags: list[str], server: Any
) -> None:
    server.faults = Faults(**{fault: True})
    result = tale("eval", "cot", *task_flags, "--engine", engine, "--concurrency", "2", "--out", "a", "--json")
    assert (result.code, result.out) == (1, "")
    assert result.sentence.startswith("error: openai/scripted refuses the request: ")
    assert server.stats.requests <= 2
    server.faults = Faults()
    assert tale("eval", "cot", *task_flags, "--engine", engine, "--out", "a", "--json").json["n"] == 10


@pytest.mark.parametrize(
    ("engine", "model", "variable"),
    [
        ("auto", "openai/gpt-4o-mini", "OPENAI_API_KEY"),
        ("litellm", "openai/gpt-4o-mini", "OPENAI_API_KEY"),
        ("litellm", "gemini/gemini-2.0-flash", "GEMINI_API_KEY"),
        ("litellm", "anthropic/claude-sonnet-4-5", "ANTHROPIC_API_KEY"),
        ("lm15", "anthropic/claude-sonnet-4-5", "ANTHROPIC_API_KEY"),
    ],
)
def test_a_missing_key_is_1_at_once_and_named(
    engine: str, model: str, variable: str, tale: Any, task_flags: list[str]
) -> None:
    data = task_flags[:2]
    result = tale("eval", "cot", *data, "--model", model, "--engine", engine)
    assert result.code == 1
    assert variable in result.sentence and result.sentence.startswith(f"error: {model} refuses the request")


@pytest.mark.parametrize("engine", ["auto", "litellm"])
def test_a_server_that_is_not_there_is_1(engine: str, tale: Any, task_flags: list[str], server: Any) -> None:
    server.stop()
    result = tale("eval", "cot", *task_flags, "--engine", engine, "--retries", "0")
    assert result.code == 1 and "onnect" in result.sentence


def test_a_program_that_always_fails_is_1(tale: Any, task_flags: list[str]) -> None:
    Path("broken_program.py").write_text(
        "import dspy\nclass Broken(dspy.Module):\n    def forward(self, question):\n        raise KeyError('mine')\n"
    )
    result = tale("eval", "broken_program:Broken", *task_flags)
    assert result.code == 1 and "no question could be answered: KeyError: 'mine'" in result.sentence


def test_a_folder_that_cannot_be_written_is_1(tale: Any, task_flags: list[str]) -> None:
    result = tale("eval", "cot", *task_flags, "--out", "/proc/nothing/run")
    assert result.code == 1 and "cannot be written" in result.sentence


def test_a_corrupt_run_folder_is_2(tale: Any, task_flags: list[str]) -> None:
    tale("eval", "cot", *task_flags, "--out", "a")
    lines = Path("a/records.jsonl").read_text().splitlines(keepends=True)
    Path("a/records.jsonl").write_text("".join([lines[0], "{broken\n", *lines[2:]]))
    result = tale("eval", "cot", *task_flags, "--out", "a")
    assert result.code == 2 and "line 2 is not JSON" in result.sentence
    Path("a/run.json").write_text(json.dumps({"format": 99}))
    result = tale("eval", "cot", *task_flags, "--out", "a")
    assert result.code == 2 and "format 99" in result.sentence
