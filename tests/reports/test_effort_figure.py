from pathlib import Path

from make_runs import effort_run, make_record, make_run, random_run

from tale_dspy.reports.effort_figure import effort_curves, effort_drawings, effort_sentence


def test_words_are_ordered_by_effort_and_read_against_the_run_without_one() -> None:
    vanilla = random_run(10)
    vanilla.info["program"]["class"] = "VanillaCoT"
    (curve,) = effort_curves([effort_run("high", 300), vanilla, effort_run("low"), effort_run("low", 999)])
    assert curve.words == ["low", "high"] and curve.vanilla is vanilla
    assert effort_sentence(curve) == (
        "Mean output tokens go from 54.5 at low to 304.5 at high: +250.0 [+250.0, +250.0] (paired 95 % interval on 10 "
        "questions)."
    )


def test_words_without_an_effect_are_said() -> None:
    (curve,) = effort_curves([effort_run("low", 50), effort_run("high", 50)])
    assert "so an effect of the words is not shown." in effort_sentence(curve)


def test_one_word_other_settings_and_words_with_numbers_are_no_curve() -> None:
    assert effort_curves([effort_run("low"), make_run("cc")]) == []
    assert effort_curves([effort_run("low"), effort_run("high", model="other")]) == []
    assert effort_curves([effort_run("low", budget=50), effort_run("high", budget=50)]) == []


def test_words_that_share_no_question_are_no_curve() -> None:
    other = make_run([make_record(i + 50, effort="high", budget_source="given") for i in range(3)], "effort:high")
    assert effort_curves([effort_run("low"), other]) == []


def test_each_model_has_a_figure_with_a_line_a_word(tmp_path: Path) -> None:
    runs = [effort_run(word, 40 * k, model=model) for model in "ab" for k, word in enumerate(("low", "high"), 1)]
    drawings = list(effort_drawings(runs))
    assert [d.stem for d in drawings] == ["effort", "effort_02"]
    assert [row["effort"] for row in drawings[0].rows] == ["low", "high"]
    assert all(path.stat().st_size for path in drawings[0].save(tmp_path))


def test_the_line_without_a_budget_is_named_below() -> None:
    vanilla = random_run(10)
    vanilla.info["program"]["class"] = "VanillaCoT"
    (drawing,) = effort_drawings([vanilla, effort_run("low"), effort_run("high")])
    (below,) = [text.get_text() for axes in drawing.figure.axes for text in axes.texts]
    assert below.startswith("Dashed: cot, without a budget.")
