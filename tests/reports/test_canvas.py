import re
from pathlib import Path

import pytest
from make_runs import random_run

from tale_dspy.reports import canvas
from tale_dspy.reports.accuracy_figure import accuracy_tokens
from tale_dspy.reports.canvas import escape_math
from tale_dspy.reports.rows import report_rows


@pytest.mark.parametrize(
    ("text", "expected"), [("$5", r"\$5"), ("中a\x1b", "\ufffda\\x1b"), ("a\nb", "a\nb"), ("\ud800", "\\ud800")]
)
def test_drawn_text_is_no_mathematics_and_has_known_characters_only(text: str, expected: str) -> None:
    assert escape_math(text) == expected


def test_the_style_of_the_user_is_neither_used_nor_changed(tmp_path: Path) -> None:
    import matplotlib

    rows = report_rows([random_run(5)])
    plain_bytes = accuracy_tokens(rows).save(tmp_path / "a")[1].read_bytes()
    with matplotlib.rc_context({"font.size": 30, "text.usetex": True}):
        assert accuracy_tokens(rows).save(tmp_path / "b")[1].read_bytes() == plain_bytes
        assert matplotlib.rcParams["font.size"] == 30


def test_every_colour_of_a_figure_has_a_variable_of_the_page() -> None:
    style = (Path(canvas.__file__).parent / "templates" / "report.css").read_text()
    assert {f"--{name}:" for name in canvas.COLOUR_VARIABLES.values()} <= set(re.findall(r"--[\w-]+:", style))


def test_a_figure_of_one_plot_is_narrow_on_a_page_and_as_it_was_afterwards() -> None:
    with canvas.house_style():
        figure, axes = canvas.blank_figure()
        canvas.draw_footer(axes, ["word " * 40, "Next."])
    before = figure.get_figwidth(), axes.texts[0].get_text()
    with canvas.narrow_figure(figure):
        assert figure.get_figwidth() == canvas.PAGE_WIDTH
        lines, letters = axes.texts[0].get_text().split("\n"), canvas.FOOTER_LETTERS * canvas.PAGE_WIDTH / before[0]
        assert max(map(len, lines)) <= letters + 1
        assert [line.endswith(" ") for line in lines] == [True, True, False, False]  # those of one sentence go on
    assert (figure.get_figwidth(), axes.texts[0].get_text()) == before
    assert not canvas.is_wide(figure)


def test_plots_side_by_side_are_wide_and_those_below_each_other_are_not() -> None:
    from matplotlib.figure import Figure

    beside, below = Figure(), Figure()
    beside.subplots(1, 2)
    below.subplots(2, 1)
    assert canvas.is_wide(beside) and not canvas.is_wide(below)
