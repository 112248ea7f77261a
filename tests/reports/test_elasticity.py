from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from make_runs import make_record, make_run, random_run
from rich.console import Console

from tale_dspy.reports.elasticity import (
    CURVE_COLUMNS,
    Elasticity,
    elasticities,
    elasticity_notes,
    fixed_budget,
    rich_elasticity,
    rise_sentence,
)
from tale_dspy.runs.records import Run

N = 40
TOKENS = {5: 90, 10: 60, 40: 30, 160: 80}
"""Budget -> tokens: least at 40, and rising again below."""


def budget_run(budget: int, tokens: int | None = None, n: int = N, name: str | None = None, **config: Any) -> Run:
    """A run of `n` questions that all spend about the tokens a budget takes."""
    spent = TOKENS.get(budget, budget) if tokens is None else tokens
    budget_fields = {"token_budget": budget, "budget_source": "given"}
    records = [make_record(i, **budget_fields, output_tokens=spent + i % 3 - 1) for i in range(n)]
    return make_run(records, name or f"budget:{budget}", **config)


def ep_run(n: int = N) -> Run:
    estimate_fields = {"budget_source": "estimate", "estimate": (60, 10)}
    return make_run(
        [make_record(i, token_budget=20 + i, output_tokens=35, **estimate_fields) for i in range(n)], "tale-ep"
    )


def cot_run(n: int = N, name: str = "cot") -> Run:
    run = random_run(n, name, tokens=120)
    run.info["program"]["class"] = "VanillaCoT"
    return run


def curve_of(*runs: Run) -> Elasticity:
    (curve,) = elasticities([*map(budget_run, TOKENS), *runs])
    return curve


# ---- which runs are points


@pytest.mark.parametrize(
    ("fields", "budget"),
    [
        ([{"token_budget": 5, "budget_source": "given"}] * 2, 5),
        ([{"token_budget": 5, "budget_source": "given"}, {"outcome": "error"}], 5),
        ([{"token_budget": 5, "budget_source": "given"}, {"token_budget": 6, "budget_source": "given"}], None),
        ([{"token_budget": 5, "budget_source": "given"}, {}], None),
        ([{"token_budget": 5, "budget_source": "estimate"}] * 2, None),
        ([{"token_budget": 5, "budget_source": "given"}, {"token_budget": 5, "budget_source": "clamped"}], None),
        ([{"token_budget": 0, "budget_source": "given"}], None),
        ([{"outcome": "error"}], None),
        ([{}], None),
        ([], None),
    ],
)
def test_a_fixed_budget_is_read_from_the_records(fields: list[dict[str, Any]], budget: int | None) -> None:
    assert fixed_budget(make_run([make_record(i, **f) for i, f in enumerate(fields)])) == budget


@pytest.mark.parametrize("budgets", [(), (5,), (5, 10), (5, 10, 10)])
def test_fewer_than_three_budgets_are_no_curve(budgets: tuple[int, ...]) -> None:
    assert elasticities([*map(budget_run, budgets), cot_run()]) == []


def test_points_are_in_the_order_of_budgets_and_the_first_run_of_a_budget_counts() -> None:
    runs = [budget_run(b) for b in (160, 5, 40, 10)]
    (curve,) = elasticities([*runs, budget_run(5, tokens=7)])
    assert [p.budget for p in curve.points] == [5, 10, 40, 160]
    assert curve.runs == (runs[1], runs[3], runs[2], runs[0])
    assert curve.points[0].output_tokens == pytest.approx(90, abs=1)


@pytest.mark.parametrize(
    "other", [{"model": "m"}, {"data": {"name": "d"}}, {"settings": {"temperature": 1}}, {"weights": "f00"}]
)
def test_every_model_and_data_set_has_a_curve_of_its_own(other: dict[str, Any]) -> None:
    runs = [budget_run(b, **c) for b in TOKENS for c in ({}, other)]
    first, second = elasticities([*runs, cot_run()])
    assert len(first.points) == len(second.points) == len(TOKENS)
    assert first.vanilla is not None and second.vanilla is None


@pytest.mark.parametrize("other", [{"price": None}, {"repeats": 2}, {"data": {"name": "gsm8k", "n": 9}}])
def test_what_does_not_change_the_replies_does_not_split_a_curve(other: dict[str, Any]) -> None:
    (curve,) = elasticities([budget_run(5, **other), budget_run(10), budget_run(40)])
    assert len(curve.points) == 3


@pytest.mark.parametrize("fields", [{"id": "other"}, {"output_tokens": None}])
def test_budgets_without_a_common_question_of_known_tokens_are_no_curve(fields: dict[str, Any]) -> None:
    last = make_run([make_record(0, token_budget=40, budget_source="given", **fields)])
    assert elasticities([budget_run(5), budget_run(10), last]) == []


# ---- the figures


def test_a_point_holds_what_its_run_shows() -> None:
    point = curve_of().points[2]
    assert (point.program, point.budget, point.n, point.accuracy, point.net_tokens) == ("budget:40", 40, N, 1, 29.975)
    assert point.output_tokens == pytest.approx(29.975)
    low, high = point.output_tokens_interval or (0, 0)
    assert (low + high) / 2 == pytest.approx(29.975) and 0.1 < high - low < 1
    assert [p.below_budget for p in curve_of().points] == [0, 0, 1, 1]


def test_a_reply_as_long_as_its_budget_is_not_below_it() -> None:
    (curve,) = elasticities([budget_run(b, tokens=10) for b in (9, 10, 11)])
    shares = [p.below_budget for p in curve.points]
    assert shares == pytest.approx([0, 14 / 40, 27 / 40])


def test_only_questions_that_all_budgets_were_tried_on_count() -> None:
    (curve,) = elasticities([budget_run(5), budget_run(10, n=10), budget_run(40), cot_run(5)])
    assert (curve.n, curve.unshared, {p.n for p in curve.points}) == (10, 30, {10})
    text = " ".join(elasticity_notes(curve))
    assert "30 questions that not every budget was tried on" in text and "cot has 5 of the 10 questions" in text


def test_unknown_tokens_leave_a_question_out_of_the_tokens_of_all_but_not_of_the_accuracy() -> None:
    lost = budget_run(5)
    lost.records[0] = replace(lost.records[0], output_tokens=None, outcome="wrong")
    (curve,) = elasticities([lost, budget_run(10), budget_run(40)])
    assert (curve.uncounted, curve.rise.n, curve.points[0].accuracy) == (1, N - 1, 1 - 1 / N)
    assert curve.points[1].output_tokens == pytest.approx(60)
    assert "Tokens are unknown on 1 questions" in " ".join(elasticity_notes(curve))


def test_draws_of_a_question_are_averaged_first() -> None:
    def drawn(budget: int, *tokens: int) -> Run:
        budget_fields = {"token_budget": budget, "budget_source": "given"}
        records = [
            make_record(i, repeat=k, output_tokens=t, **budget_fields) for i in (0, 1) for k, t in enumerate(tokens)
        ]
        return make_run(records, f"budget:{budget}")

    (curve,) = elasticities([drawn(5, 10, 30), drawn(10, 4, 6), drawn(20, 7)])
    assert [p.output_tokens for p in curve.points] == [20, 5, 7]
    assert (curve.rise.n, curve.rise.difference) == (2, 15)


def test_one_question_has_no_interval_of_tokens() -> None:
    (curve,) = elasticities([budget_run(b, n=1) for b in TOKENS])
    assert curve.points[0].output_tokens_interval is None
    assert "[" not in {c.name: c for c in CURVE_COLUMNS}["Output tokens"].cell(curve.points[0])


# ---- what it is read against


def test_vanilla_and_budgeting_programs_are_read_against_the_curve() -> None:
    curve = curve_of(make_run("c" * N, "direct"), cot_run(), ep_run())
    assert curve.vanilla is not None and curve.vanilla.program == "cot" and curve.vanilla.budget is None
    (estimated,) = curve.estimated
    assert (estimated.program, estimated.budget, estimated.output_tokens, estimated.net_tokens) == (
        "tale-ep",
        39.5,
        35,
        45,
    )
    assert [row.program for row in curve.rows][-2:] == ["cot", "tale-ep"]


@pytest.mark.parametrize(("first", "vanilla"), [(True, "mine"), (False, None)])
def test_a_program_without_budget_is_the_reference_if_it_is_the_first_run(first: bool, vanilla: str | None) -> None:
    mine, runs = make_run("c" * N, "mine"), [budget_run(b) for b in TOKENS]
    (curve,) = elasticities([mine, *runs] if first else [*runs, mine])
    assert (curve.vanilla and curve.vanilla.program) == vanilla


def test_a_reference_may_have_other_instructions_but_not_another_model() -> None:
    reference = cot_run()
    reference.info["config"] = reference.info["config"] | {"prompting": [["predict", "Be brief.", ""]]}
    other = cot_run()
    other.info["config"] = other.info["config"] | {"model": "m"}
    assert curve_of(reference).vanilla is not None
    assert curve_of(other).vanilla is None


# ---- what is said


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        ({5: 90, 10: 60, 40: 30}, "Tokens rise again as the budget shrinks: they are least, 30.0 at budget 40, and"),
        ({5: 90, 10: 60, 40: 30}, "the smallest budget, 5, takes 60.0 [60.0, 60.0] more (paired difference on 40 que"),
        ({5: 10, 10: 60, 40: 90}, "No rise is seen: mean tokens are least at the smallest budget tried (10.0 at bud"),
        ({5: 10, 10: 10, 40: 10}, "No rise is seen"),
    ],
)
def test_the_first_note_says_whether_tokens_rise_again(tokens: dict[int, int], said: str) -> None:
    (curve,) = elasticities([budget_run(b, t) for b, t in tokens.items()])
    assert said in elasticity_notes(curve)[0]


def test_a_rise_within_chance_is_not_called_one() -> None:
    budget_fields = {"token_budget": 5, "budget_source": "given"}
    noisy = make_run([make_record(i, **budget_fields, output_tokens=30 + 40 * (-1) ** i + 1) for i in range(N)])
    (curve,) = elasticities([noisy, budget_run(10), budget_run(40)])
    assert rise_sentence(curve).startswith("No rise is shown: mean tokens are least, 30.0 at budget 40; the smallest")


def test_every_provenance_is_reported_with_its_programs() -> None:
    runs = [budget_run(b) for b in TOKENS]
    for run in runs:
        run.info["provenance"] = "simulated"
    (alike,) = elasticities(runs)
    assert elasticity_notes(alike)[-1] == "Model: openai/gpt-4o-mini. Evidence: simulated."
    runs[0].info["contaminated"] = True
    (mixed,) = elasticities(runs)
    assert "Evidence of budget:5: simulated (contaminated)." in elasticity_notes(mixed)
    assert "Evidence of budget:10, budget:40, budget:160: simulated." in elasticity_notes(mixed)


@pytest.mark.parametrize("width", [60, 80, 99, 100, 160])
def test_the_curve_fits_the_terminal(width: int) -> None:
    screen = Console(file=StringIO(), width=width)
    screen.print(rich_elasticity(curve_of(cot_run(), ep_run()), width))
    text = screen.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= width
    assert ("Below budget" in text) == (width >= 100)
    assert "tale-ep" in text and "Tokens rise again" in text


def test_bars_are_as_long_as_the_tokens() -> None:
    screen = Console(file=StringIO(), width=80)
    screen.print(rich_elasticity(curve_of(cot_run()), 80))
    text = screen.file.getvalue()  # type: ignore[attr-defined]
    lines = {line.split()[0]: line.count("━") for line in text.splitlines() if "━" in line}
    assert lines["cot"] > lines["5"] > lines["10"] > lines["40"] > 0


def test_tokens_of_nothing_are_shown_all_the_same() -> None:
    (curve,) = elasticities([budget_run(b, tokens=1) for b in TOKENS])
    zero = replace(curve, points=tuple(replace(p, output_tokens=0.0) for p in curve.points))
    Console(file=StringIO()).print(rich_elasticity(zero))


def test_a_program_named_in_markup_stays_a_name() -> None:
    screen = Console(file=StringIO(), width=100)
    screen.print(rich_elasticity(curve_of(cot_run(name="[red]a\x1b[2J")), 100))
    assert "[red]a\\x1b[2J" in screen.file.getvalue()  # type: ignore[attr-defined]
