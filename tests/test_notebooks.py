"""The notebooks run from top to bottom without a key, and are kept as a reader sees them: executed, without a fault."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
QUICK = {"QUESTIONS": 8, "TRAINING": 16, "EPOCHS": 1}
"""Parameters of the first code cell, small enough for a suite of tests."""


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]


def quick(notebook: Any) -> Any:
    """The notebook with its parameters replaced: as a cell behind the one that is tagged `parameters`, as papermill."""
    place = next(i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
    assignments = [f"{name} = {value}" for name, value in QUICK.items() if f"{name} = " in notebook.cells[place].source]
    assert assignments
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell("\n".join(assignments)))  # type: ignore[no-untyped-call]
    return notebook


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    place = {"metadata": {"path": str(tmp_path)}}
    client = NotebookClient(quick(read(path)), timeout=240, startup_timeout=240, resources=place)
    executed = client.execute()
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    assert any("95 %" in html for html in (o.get("data", {}).get("text/html", "") for o in outputs))
    assert (tmp_path / "runs").is_dir()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_executed_and_names_no_machine(path: Path) -> None:
    cells = [cell for cell in read(path).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert len(outputs) > 8
    text = path.read_text(encoding="utf-8")
    assert str(Path.home()) not in text and "/tmp/" not in text and "site-packages" not in text
    assert path.stat().st_size < 400_000
