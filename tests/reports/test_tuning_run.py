"""A tuning that is not finished, one that is, and a front that is broken."""

import json
from pathlib import Path

import pytest

from tale_dspy.errors import RunFolderError
from tale_dspy.reports.tuning_run import front_table, load_tuning


def _tuning(folder: Path) -> Path:
    (folder / "0123456789abcdef").mkdir(parents=True)
    (folder / "0123456789abcdef/run.json").write_text("{}")
    return folder


def _front(folder: Path) -> Path:
    figures = {"accuracy": 0.5, "tokens": 20.0, "cost_usd": None, "n": 4}
    rows = [
        {"file": f"program-0{i}.json", "choices": {"scale": scale}, **figures, "selected": figures, "fresh": i == 1}
        for i, scale in enumerate((1.0, 0.5), 1)
    ]
    (folder / "front").mkdir()
    for row in rows:
        (folder / "front" / str(row["file"])).write_text(json.dumps(row["choices"]))
    (folder / "front/front.json").write_text(json.dumps({"data": "gsm8k", "programs": rows}))
    return folder


def test_a_tuning_that_is_not_finished_says_how_to_go_on(tmp_path: Path) -> None:
    tuning = load_tuning(_tuning(tmp_path / "t"))
    assert tuning.trials == 1 and tuning.chosen is None and tuning.comparison is None
    assert "1 trial, and it is not finished: the same `tale tune` command continues." in tuning.sentence


def test_the_chosen_program_is_the_one_whose_file_it_is(tmp_path: Path) -> None:
    folder = _front(_tuning(tmp_path / "t"))
    assert load_tuning(folder).sentence.endswith("2 of the programs on the front; none is chosen yet.")
    (folder / "program.json").write_text((folder / "front/program-02.json").read_text())
    tuning = load_tuning(folder)
    assert tuning.chosen is tuning.front[1] and tuning.data == "gsm8k"
    table = front_table(tuning.front, tuning.chosen)
    assert table.header == ["", "Right %", "Tokens", "What was chosen"], "an unknown price has no column"
    assert [cells[-1] for cells in table.cells] == ["unchanged", "scale 0.5 (not measured again)"]
    assert [cells[0] for cells in table.cells] == ["", "*"]


def test_a_front_that_no_version_writes_is_refused(tmp_path: Path) -> None:
    folder = _front(_tuning(tmp_path / "t"))
    (folder / "front/front.json").write_text(json.dumps({"data": "gsm8k", "programs": [{"file": "a.json"}]}))
    with pytest.raises(RunFolderError, match=r"front\.json holds what no version writes"):
        load_tuning(folder)
