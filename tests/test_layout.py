"""The house rules of the package that no type checker sees: who may import whom, and where things lie."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tale_dspy"
TESTS = ROOT / "tests"
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
"""Dotted name -> file of every module of the package."""

FLOORS = [
    [
        *("errors", "budget", "answers", "display", "prompts", "prompt_forms", "fields"),
        *("replies", "reply_sections", "ids", "tables", "row_stream", "statistics", "dspy_bridge"),
    ],
    ["backends", "accounting"],
    ["adapter", "named_sets", "option_columns", "datasets", "embedded"],
    ["programs"],
    ["runs"],
    ["comparison"],
    ["optimizers"],
    ["training"],
    ["reports", "testing", "integrations"],
    ["cli"],
]
"""The rooms of the package from the ground up: a room imports from its own floor and those below."""

FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
FACE = "tale_dspy"

HEAVY = {"torch", "transformers", "trl", "peft", "accelerate", "optuna", "matplotlib", "litellm"}
MAY_LOAD_HEAVY = {"training", "embedded"}
MAY_LOAD_OPTUNA = "tale_dspy.optimizers.samplers."
"""Its modules subclass Optuna's `BaseSampler`; the package itself loads them at first use."""
LOADED_BY_LITELLM = "tale_dspy.integrations.litellm_proxy"
"""LiteLLM's proxy loads it and needs a subclass of its own; nothing of the package imports it."""
MAY_NAME_TORCH = {"training", "embedded", "backends"}

HOUSE_TESTS = {"test_layout", "test_examples", "test_init"}
"""Test modules about the repository and not about a module of the package."""

TESTED_ELSEWHERE = {
    "tale_dspy.errors": "an error is tested where it is raised",
    "tale_dspy.embedded.story_templates": "nothing but sentences; test_problems tells stories with all of them",
    "tale_dspy.embedded.options": "nothing but defaults; test_build builds with them",
    "tale_dspy.runs.work_runner": "test_engine and tests/optimizers/search/test_runner do all their work with it",
    "tale_dspy.runs.session": "every call of every run in test_engine and test_folder goes through it",
}
"""Modules without a test module of their own, and why."""


class Import(NamedTuple):
    importer: str
    target: str
    line: int
    at_load: bool
    """Whether it runs when the importing module is loaded, and not inside a function."""

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.target}"


def room(module: str) -> str:
    """The first name under the package: `runs` of `tale_dspy.runs.engine`, the package's own name of its face."""
    return module.split(".")[1] if "." in module else module


def imports(module: str) -> Iterator[Import]:
    """All imports of a module that can run, those under `if TYPE_CHECKING` left out."""
    yield from _walk(module, ast.parse(MODULES[module].read_text(encoding="utf-8")), at_load=True)


def _walk(module: str, node: ast.AST, at_load: bool) -> Iterator[Import]:
    match node:
        case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
            for child in node.orelse:
                yield from _walk(module, child, at_load)
            return
        case ast.Import():
            for alias in node.names:
                yield Import(module, alias.name, node.lineno, at_load)
        case ast.ImportFrom():
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield Import(module, inner if inner in MODULES else str(node.module), node.lineno, at_load)
    inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    for child in ast.iter_child_nodes(node):
        yield from _walk(module, child, at_load and not inside)


ALL_IMPORTS = [found for module in MODULES for found in imports(module)]
OWN_IMPORTS = [found for found in ALL_IMPORTS if found.target.split(".")[0] == FACE]


def test_every_room_has_a_floor() -> None:
    assert {room(module) for module in MODULES} - {FACE} <= FLOOR.keys()


def test_floors_point_downwards_only() -> None:
    inside = [found for found in OWN_IMPORTS if FACE not in (room(found.importer), room(found.target))]
    assert [str(i) for i in inside if FLOOR[room(i.target)] > FLOOR[room(i.importer)]] == []


def test_only_the_command_line_imports_the_face_of_the_package() -> None:
    assert {room(i.importer) for i in OWN_IMPORTS if i.target == FACE} <= {FACE, "cli"}


def test_only_the_command_line_imports_the_testing_tools() -> None:
    importers = {room(i.importer) for i in OWN_IMPORTS if room(i.target) == "testing"}
    assert importers <= {"testing", "cli"}


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {module: set[str]() for module in MODULES}
    for found in OWN_IMPORTS:
        if found.at_load and found.target in MODULES and found.target != found.importer:
            graph[found.importer].add(found.target)
    TopologicalSorter(graph).prepare()


def test_heavy_packages_are_not_imported_when_a_module_is_loaded() -> None:
    early = [i for i in ALL_IMPORTS if i.at_load and i.target.split(".")[0] in HEAVY]
    samplers = [i for i in early if i.importer.startswith(MAY_LOAD_OPTUNA) and i.target.split(".")[0] == "optuna"]
    allowed = [*samplers, *(i for i in early if i.importer == LOADED_BY_LITELLM)]
    assert [str(i) for i in early if room(i.importer) not in MAY_LOAD_HEAVY and i not in allowed] == []


def test_the_samplers_are_not_imported_when_another_module_is_loaded() -> None:
    early = [i for i in ALL_IMPORTS if i.at_load and i.target.startswith(MAY_LOAD_OPTUNA)]
    assert [str(i) for i in early if not i.importer.startswith(MAY_LOAD_OPTUNA.removesuffix("."))] == []


def test_torch_is_named_where_models_run_in_this_process_only() -> None:
    named = [i for i in ALL_IMPORTS if i.target.split(".")[0] == "torch"]
    assert [str(i) for i in named if room(i.importer) not in MAY_NAME_TORCH] == []


def test_only_the_bridge_imports_what_dspy_does_not_export() -> None:
    inner = [i for i in ALL_IMPORTS if i.target.startswith("dspy.")]
    assert [str(i) for i in inner if i.importer != "tale_dspy.dspy_bridge"] == []


@pytest.mark.parametrize("name", ["programs", "optimizers", "training"])
def test_a_link_at_the_root_leads_to_the_room(name: str) -> None:
    link = ROOT / name
    assert link.is_symlink()
    assert link.resolve() == (PACKAGE / name).resolve(strict=True)


def test_every_test_module_is_named_after_the_module_it_tests() -> None:
    # test_adapter_typed.py may stand beside test_adapter.py, and test_runs.py in tests/runs tests the package itself.
    strays = []
    for path in TESTS.rglob("test_*.py"):
        folder = path.relative_to(TESTS).parent
        known = {*(m.stem for m in (PACKAGE / folder).glob("*.py")), folder.name}
        known |= {m.name for m in (PACKAGE / folder).glob("*") if m.is_dir()}
        if path.stem not in HOUSE_TESTS and not any(is_test_of(path, name) for name in known if name):
            strays.append(str(path.relative_to(ROOT)))
    assert strays == []


def test_every_module_has_a_test_module() -> None:
    missing = set()
    for module, path in MODULES.items():
        folder = TESTS / path.relative_to(PACKAGE).parent
        if path.stem != "__init__" and not any(is_test_of(test, path.stem) for test in folder.glob("test_*.py")):
            missing.add(module)
    assert missing == TESTED_ELSEWHERE.keys()


def is_test_of(path: Path, name: str) -> bool:
    """Whether a test module belongs to the module or room of that name."""
    return path.stem == f"test_{name}" or path.stem.startswith(f"test_{name}_")


@pytest.mark.parametrize(
    ("source", "at_load"),
    [
        ("import torch", [True]),
        ("def f():\n import torch", [False]),
        ("class A:\n import torch", [True]),
        ("try:\n import torch\nexcept ImportError:\n pass", [True]),
        ("async def f():\n from torch import nn", [False]),
        ("if TYPE_CHECKING:\n import torch\nelse:\n import torch", [True]),
        ("import typing\nif typing.TYPE_CHECKING:\n import torch", [True]),
    ],
)
def test_the_walk_sees_what_is_loaded_early(source: str, at_load: list[bool]) -> None:
    assert [found.at_load for found in _walk("m", ast.parse(source), at_load=True)] == at_load


def test_no_two_test_modules_share_a_name() -> None:
    names = [path.name for path in TESTS.rglob("*.py") if path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names)), "pytest imports test modules by their name alone"
