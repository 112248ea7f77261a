import base64
import os
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from make_runs import make_run, random_run
from traitlets.config import Config

from tale_dspy.errors import UsageError
from tale_dspy.reports.accuracy_figure import accuracy_tokens
from tale_dspy.reports.drawing import TABLE_ROWS, Drawing
from tale_dspy.reports.rows import report_rows
from tale_dspy.reports.tokens_figure import tokens_per_question


def drawing(name: str = "cot") -> Drawing:
    return accuracy_tokens(report_rows([random_run(3, name)]))


@pytest.mark.parametrize(
    ("out", "stem"), [("fig", "fig"), ("run.v1", "run.v1"), ("x.png", "x"), ("x.SVG", "x"), (".", "accuracy_tokens")]
)
def test_files_are_named_after_the_stem(out: str, stem: str, tmp_path: Path) -> None:
    assert [p.name for p in drawing().save(tmp_path / out)] == [stem + e for e in (".png", ".svg", ".csv")]


def test_a_path_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="the figure cannot be written to"):
        drawing().save(tmp_path / "file" / "x")
    assert os.listdir(tmp_path) == ["file"]


def test_the_svg_of_a_page_is_one_element_with_prefixed_ids_and_variable_colours() -> None:
    text = drawing().svg("f1-")
    root = ElementTree.fromstring(text)
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert root.tag.endswith("svg") and ids and all(str(i).startswith("f1-") for i in ids)
    assert set(re.findall(r'href="#([^"]*)"', text)) <= set(ids)
    assert "var(--blue, #0b4f8a)" in text and "http" not in re.sub(r'xmlns(:xlink)?="[^"]*"', "", text)


def test_no_text_of_a_run_becomes_markup_in_the_svg() -> None:
    text = drawing("</text><script>alert(1)</script>").svg()
    assert "<script" not in text and "&lt;script&gt;" in text


def test_a_notebook_shows_the_figure_as_a_picture_with_its_description_and_its_numbers(tmp_path: Path) -> None:
    shell = InteractiveShell.instance(ipython_dir=str(tmp_path), config=Config({"HistoryManager": {"enabled": False}}))
    try:
        with capture_output() as captured:
            drawing()._ipython_display_()
    finally:
        shell.restore_sys_module_state()
        InteractiveShell.clear_instance()
    picture, numbers = captured.outputs
    assert base64.b64decode(picture.data["image/png"]).startswith(b"\x89PNG")
    assert picture.metadata["image/png"]["alt"] == picture.data["text/plain"] == drawing().description
    assert "Numbers behind it" in numbers.data["text/html"] and "accuracy_low" in numbers.data["text/html"]


def test_the_table_behind_a_figure_is_short() -> None:
    runs = make_run("c" * 300), make_run("c" * 300, "b")
    header, cells = tokens_per_question(*runs).table()
    assert header == ["rank", "id", "baseline", "run"] and len(cells) == TABLE_ROWS
