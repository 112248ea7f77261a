"""The house rules of the package that no type checker sees: who may import whom, and where things lie."""

import ast
import tomllib
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
        *("replies", "reply_sections", "ids", "tables", "row_stream", "statistics", "dspy_bridge", "protocols"),
        *("step_drivers", "task_signature", "output_paths", "python_text"),
    ],
    ["backends", "accounting"],
    [
        "adapter",
        "adapter_names",
        "named_sets",
        "option_columns",
        "context_columns",
        "question_columns",
        "datasets",
        "embedded",
    ],
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
LOADED_WITH_WEIGHTS = tuple(f"tale_dspy.backends.local.{name}" for name in ("int8", "linear_layers", "upcast"))
"""Their layers subclass PyTorch's; the package loads them after the weights of a model."""
MAY_NAME_TORCH = {"training", "embedded", "backends"}

TEST_TOOLS = "provider_server"
"""A folder of the tests that holds a tool, the simulated wire formats of providers, and the tests of that tool."""

HOUSE_TESTS = {
    "test_layout",
    "test_docs",
    "test_doctests",
    "test_examples",
    "test_init",
    "test_notebooks",
    "test_pyproject",
}
"""Test modules about the repository and not about a module of the package."""

TESTED_ELSEWHERE = {
    "tale_dspy.errors": "an error is tested where it is raised",
    "tale_dspy.embedded.story_templates": "reads sentences; test_problems_embedded tells stories with all of them",
    "tale_dspy.embedded.options": "nothing but defaults; test_build builds with them",
    "tale_dspy.question_columns": "test_datasets loads tables of all kinds through it",
    "tale_dspy.backends.budget_planner": "test_reasoning_params and its wire test plan every kind of call with it",
    "tale_dspy.backends.control_templates": "test_reasoning_controls checks every row that is made with them",
    "tale_dspy.cli.search_setup": "test_search and test_ray_search search with what it prepares",
    "tale_dspy.runs.work_runner": "test_engine and tests/optimizers/search/test_runner do all their work with it",
    "tale_dspy.runs.stopped": "nothing but an exception; test_engine and test_batch_rounds see what it ends",
    "tale_dspy.runs.question_sample": "nothing but a record; test_engine draws with it",
    "tale_dspy.runs.run_lm": "test_engine asks every LM through it",
    "tale_dspy.runs.session": "every call of every run in test_engine and test_folder goes through it",
}
"""Modules without a test module of their own, and why."""


class Import(NamedTuple):
    importer: str
    target: str
    line: int
    kind: str
    """`load` (runs when the module is loaded), `lazy` (inside a function), or `typing` (under `if TYPE_CHECKING`)."""

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.target}"


DOORS = {
    ("tale_dspy.backends.lm", "tale_dspy.training.provider"): "DSPy asks an LM for its trainer: lm.infer_provider",
    ("tale_dspy.runs.records", "tale_dspy.comparison.compare"): "`run.compare(other)` of two runs",
}
"""The imports upwards, by name, and why."""


def room(module: str) -> str:
    """The first name under the package: `runs` of `tale_dspy.runs.engine`, the package's own name of its face."""
    return module.split(".")[1] if "." in module else module


def _walk(module: str, node: ast.AST, kind: str) -> Iterator[Import]:
    """All imports of a module: at load, inside functions, for type checkers, and by `import_module` of a literal."""
    match node:
        case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
            for child in node.body:
                yield from _walk(module, child, "typing")
            for child in node.orelse:
                yield from _walk(module, child, kind)
            return
        case ast.Import():
            for alias in node.names:
                yield Import(module, alias.name, node.lineno, kind)
        case ast.ImportFrom():
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield Import(module, inner if inner in MODULES else str(node.module), node.lineno, kind)
        case ast.Call(func=ast.Name(id="import_module") | ast.Attribute(attr="import_module")):
            if node.args and isinstance(node.args[0], ast.Constant):
                yield Import(module, str(node.args[0].value), node.lineno, "lazy")
    inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and kind == "load"
    for child in ast.iter_child_nodes(node):
        yield from _walk(module, child, "lazy" if inside else kind)


def docstrings(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield ast.get_docstring(node) or ""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield from docstrings(child)


ALL_IMPORTS: list[Import] = []
DOCSTRINGS: list[tuple[str, str]] = []
"""Module and text of every docstring of the package."""
for name, path in MODULES.items():
    tree = ast.parse(path.read_text(encoding="utf-8"))
    ALL_IMPORTS += _walk(name, tree, "load")
    DOCSTRINGS += ((name, text) for text in docstrings(tree) if text)
OWN_IMPORTS = [found for found in ALL_IMPORTS if found.target.split(".")[0] == FACE]


def test_every_room_has_a_floor() -> None:
    assert {room(module) for module in MODULES} - {FACE} <= FLOOR.keys()


def test_floors_point_downwards_only() -> None:
    inside = [edge for edge in OWN_IMPORTS if FACE not in (room(edge.importer), room(edge.target))]
    upwards = [i for i in inside if FLOOR[room(i.target)] > FLOOR[room(i.importer)]]
    assert [str(i) for i in upwards if (i.importer, i.target) not in DOORS] == []


def test_every_door_upwards_is_used() -> None:
    assert {(i.importer, i.target) for i in OWN_IMPORTS} >= DOORS.keys()


def test_only_the_command_line_imports_the_face_of_the_package() -> None:
    assert {room(i.importer) for i in OWN_IMPORTS if i.target == FACE} <= {FACE, "cli"}


def test_only_the_command_line_imports_the_testing_tools() -> None:
    importers = {room(i.importer) for i in OWN_IMPORTS if room(i.target) == "testing"}
    assert importers <= {"testing", "cli"}


def test_no_modules_import_each_other_in_a_circle_of_any_kind() -> None:
    graph = {module: set[str]() for module in MODULES}
    for edge in OWN_IMPORTS:
        is_inner = edge.target in MODULES and edge.target != edge.importer and FACE not in (edge.importer, edge.target)
        if is_inner and (edge.importer, edge.target) not in DOORS:
            graph[edge.importer].add(edge.target)
    TopologicalSorter(graph).prepare()


def test_no_rooms_import_each_other_in_a_circle() -> None:
    graph = {name: set[str]() for name in FLOOR}
    for edge in OWN_IMPORTS:
        one, other = room(edge.importer), room(edge.target)
        if FACE not in (one, other) and one != other and (edge.importer, edge.target) not in DOORS:
            graph[one].add(other)
    TopologicalSorter(graph).prepare()


def test_heavy_packages_are_not_imported_when_a_module_is_loaded() -> None:
    early = [i for i in ALL_IMPORTS if i.kind == "load" and i.target.split(".")[0] in HEAVY]
    samplers = [i for i in early if i.importer.startswith(MAY_LOAD_OPTUNA) and i.target.split(".")[0] == "optuna"]
    allowed = [*samplers, *(i for i in early if i.importer in (LOADED_BY_LITELLM, *LOADED_WITH_WEIGHTS))]
    assert [str(i) for i in early if room(i.importer) not in MAY_LOAD_HEAVY and i not in allowed] == []


def test_the_samplers_are_not_imported_when_another_module_is_loaded() -> None:
    early = [i for i in ALL_IMPORTS if i.kind == "load" and i.target.startswith(MAY_LOAD_OPTUNA)]
    assert [str(i) for i in early if not i.importer.startswith(MAY_LOAD_OPTUNA.removesuffix("."))] == []


def test_layers_of_pytorch_are_not_imported_when_another_module_is_loaded() -> None:
    early = [i for i in ALL_IMPORTS if i.kind == "load" and i.target.startswith(LOADED_WITH_WEIGHTS)]
    assert [str(i) for i in early if i.importer not in LOADED_WITH_WEIGHTS] == []


def test_torch_is_named_where_models_run_in_this_process_only() -> None:
    torch_imports = [i for i in ALL_IMPORTS if i.target.split(".")[0] == "torch"]
    assert [str(i) for i in torch_imports if room(i.importer) not in MAY_NAME_TORCH] == []


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
        known |= {m.stem for m in (TESTS / TEST_TOOLS).glob("*.py") if folder.name == TEST_TOOLS}
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
    ("source", "kinds"),
    [
        ("import torch", ["load"]),
        ("def f():\n import torch", ["lazy"]),
        ("class A:\n import torch", ["load"]),
        ("try:\n import torch\nexcept ImportError:\n pass", ["load"]),
        ("async def f():\n from torch import nn", ["lazy"]),
        ("if TYPE_CHECKING:\n import torch\nelse:\n import torch", ["typing", "load"]),
        ("import typing\nif typing.TYPE_CHECKING:\n import torch", ["load", "typing"]),
        ("def f():\n importlib.import_module('torch')", ["lazy"]),
        ("def f(name):\n import_module(name)", []),
    ],
)
def test_the_walk_sees_every_kind_of_import(source: str, kinds: list[str]) -> None:
    assert [edge.kind for edge in _walk("m", ast.parse(source), "load")] == kinds


def test_docstrings_begin_with_one_short_line_that_ends() -> None:
    lines = [(module, text.partition("\n")[0]) for module, text in DOCSTRINGS]
    assert [(module, line) for module, line in lines if len(line) > 75 or not line.endswith(".")] == []


def test_every_file_that_is_no_module_is_packaged() -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    others = [path for path in files if path.suffix not in (".py", ".pyc")]
    packaged = {path for pattern in data["tale_dspy"] for path in PACKAGE.glob(pattern)}
    packaged |= {path for path in others for pattern in data["*"] if path.match(pattern)}
    assert [str(path.relative_to(ROOT)) for path in others if path not in packaged] == []


def test_no_two_test_modules_share_a_name() -> None:
    names = [path.name for path in TESTS.rglob("*.py") if path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names)), "pytest imports test modules by their name alone"
