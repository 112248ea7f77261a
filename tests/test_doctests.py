"""The examples of the docstrings run, against a scripted model and a handful of questions it knows."""

import doctest
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import dspy
import pytest

import tale_dspy
from tale_dspy.testing import ScriptedServer, SolverReply, word_problems

ROOT = Path(__file__).parents[1]
EXAMPLE = re.compile(r"^ *>>> ", re.MULTILINE)
SKIPS = {
    "tale_dspy.integrations.litellm_proxy": "LiteLLM's proxy has an environment of its own",
    "tale_dspy.optimizers.calibrate": "a guarantee takes hundreds of questions",
    "tale_dspy.training.internalize": "trains a model",
    "tale_dspy.training.provider": "trains a model",
}
"""Modules with examples that no test runs, and why."""

MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((ROOT / "tale_dspy").rglob("*.py"))
    if EXAMPLE.search(path.read_text(encoding="utf-8"))
]


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, object]]:
    """Names an example may use: DSPy, the package's own, and data sets of a few questions."""
    rows = [{"question": "1+1?", "answer": "2"}, *word_problems(11)]
    questions = [dspy.Example(question=r["question"], answer=r["answer"]).with_inputs("question") for r in rows]
    monkeypatch.chdir(tmp_path)
    with ScriptedServer(SolverReply({r["question"]: r["answer"] for r in rows})) as server:
        lm = tale_dspy.LM("openai/gpt-4o-mini", api_base=server.url, api_key="none")
        with dspy.context(lm=lm):
            yield {
                **{name: getattr(tale_dspy, name) for name in tale_dspy.__all__},
                "dspy": dspy,
                "lm": lm,
                "program": tale_dspy.TaleEP("question -> answer"),
                "question": rows[1]["question"],
                "train": questions[:6],
                "dev": questions[6:],
            }


@pytest.mark.parametrize("name", [name for name in MODULES if name not in SKIPS])
def test_the_examples_of_a_module_give_what_they_show(name: str, names: dict[str, object]) -> None:
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, extraglobs=names):
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0


def test_an_example_is_skipped_only_where_it_needs_what_no_test_has() -> None:
    assert {name for name in MODULES if "+SKIP" in _source(name)} == set(SKIPS)


def _source(name: str) -> str:
    path = ROOT / name.replace(".", "/")
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")
