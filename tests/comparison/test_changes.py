from make_runs import make_record, make_run

from tale_dspy.comparison.compare import compare
from tale_dspy.runs.records import Run


def test_with_repeats_a_question_falls_when_its_share_of_right_draws_falls() -> None:
    def run(*draws: str) -> Run:
        outcome = {"c": "correct", "w": "wrong", "t": "truncated"}
        rows = [make_record(i, repeat=k, outcome=outcome[x]) for i, d in enumerate(draws) for k, x in enumerate(d)]
        return make_run(rows)

    c = compare(run("ccw", "wwc", "cww", "wwc", "ccc"), run("cww", "cwc", "wcw", "ttc", "ccc"))
    assert (c.right_to_wrong, c.wrong_to_right) == (1, 1)
    assert [(x.id[-1], x.kind) for x in c.changes] == [("0", "right->wrong"), ("1", "wrong->right"), ("3", "other")]
    assert [(x.baseline_outcome, x.run_outcome) for x in c.changes][2] == ("wrong", "truncated")
    assert "sign test" in str(c)


def test_regressions_come_first_and_hold_both_replies() -> None:
    c = compare(make_run("wcwcw"), make_run("cwecw"))
    assert [(x.kind, x.id[-1]) for x in c.changes] == [("right->wrong", "1"), ("wrong->right", "0"), ("other", "2")]
    first = c.changes[0]
    assert (first.question, first.gold, first.baseline_outcome, first.run_outcome) == (
        "What is 1 plus 0?",
        "1",
        "correct",
        "wrong",
    )
    assert (first.baseline_answer, first.run_reply, first.run_tokens) == ("1", "It is [[1]]", 100)


def test_token_changes_are_questions_of_the_same_outcome_the_largest_growth_first() -> None:
    tokens = [90, 300, None, 100, 120]
    run = make_run([make_record(i, output_tokens=t, token_budget=7 if i == 3 else None) for i, t in enumerate(tokens)])
    c = compare(make_run("ccccc"), run)
    assert c.changes == []
    assert [x.run_tokens for x in c.token_changes] == [300, 120, 100, 90, None]


def test_inputs_stand_in_for_a_question() -> None:
    rows = [[make_record(0, question=None, inputs={"a": 1, "b": [2]}, outcome=o)] for o in ("correct", "wrong")]
    assert compare(*map(make_run, rows)).changes[0].question == "a: 1\nb: [2]"
