"""Which questions of a search are trained on, and how they are written."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import dspy
import pytest

from tale_dspy.errors import DataError, RunFolderError, UsageError
from tale_dspy.ids import example_id
from tale_dspy.optimizers.search.records import BestBudget, ConfirmationDraws, SearchRow, Trial, VanillaAnswer
from tale_dspy.training.distill import distill, known_questions

LONG = "First we look at it. Then we think about it again.\nAnswer: [[{}]]"


NONE = "no right reply is complete, beyond luck and shorter than without a budget"


def searched(n: int, **changed: Any) -> SearchRow:
    question, text = f"How much is {n} and 1?", f"{n}+1={n + 1}\nAnswer: [[{n + 1}]]"
    trial = Trial(10, 8, True, changed.pop("text", text), changed.pop("finish_reason", "stop"))
    best = BestBudget(10, 8.0, changed.pop("tokens", 8), trial.text, ConfirmationDraws(2, 2))
    if best.selected_tokens != 8:
        trial = Trial(10, best.selected_tokens, True, trial.text, "stop")
    fields: dict[str, Any] = {
        "id": example_id(dspy.Example(question=question, answer=str(n + 1)).with_inputs("question"), "answer"),
        "question": question,
        "gold": str(n + 1),
        "predictor": "self",
        "vanilla": VanillaAnswer(20, LONG.format(n + 1), True),
        "trials": [Trial(5, 30, False, "?"), trial],
        "best": best,
    }
    return SearchRow(**{**fields, **changed})


def test_a_plain_prompt_gets_the_models_own_short_reply() -> None:
    rows = distill([searched(1)])
    (row,) = rows.dataset
    assert row["prompt"] == [
        {"role": "system", "content": "You are a helpful assistant."},
        {
            "role": "user",
            "content": "Q: How much is 1 and 1?\nPlease Give the response by strictly following this format: "
            "[[answer]], for example: Answer: [[50]].Let's think step by step:\n",
        },
    ]
    assert row["completion"] == [{"role": "assistant", "content": "1+1=2\nAnswer: [[2]]"}]
    assert (rows.searched, rows.left_out, rows.saving) == (1, {}, 0.6)


def test_a_pair_prefers_it_to_the_vanilla_reply() -> None:
    (row,) = distill([searched(1)], "dpo").dataset
    assert row["chosen"][0]["content"] == "1+1=2\nAnswer: [[2]]"
    assert row["rejected"][0]["content"] == LONG.format(2)


def test_rows_are_written_as_the_deployed_program_will_ask_and_read_them() -> None:
    (row,) = distill([searched(1)], "dpo", dspy.ChainOfThought("question -> answer")).dataset
    for column in ("chosen", "rejected"):
        assert row[column][0]["content"].endswith("[[ ## answer ## ]]\n2\n\n[[ ## completed ## ]]")
    assert "[[ ## question ## ]]\nHow much is 1 and 1?" in row["prompt"][1]["content"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"best": None, "reason": "no budget was confirmed by fresh draws"}, "no budget was confirmed by fresh draws"),
        ({"best": None}, "no budget was found"),
        ({"text": None}, "the search did not keep the reply"),
        ({"finish_reason": "length"}, NONE),
        ({"tokens": 20}, NONE),
        ({"text": "no answer"}, "the program cannot ask it or read the reply"),
        ({"inputs": {"problem": "?"}}, "the program cannot ask it or read the reply"),
    ],
)
def test_a_question_that_cannot_be_trained_on_is_counted(changed: dict[str, Any], reason: str) -> None:
    rows = distill([searched(1), searched(2, **changed)])
    assert (len(rows.dataset), rows.left_out) == (1, {reason: 1})


def test_a_pair_needs_the_vanilla_reply() -> None:
    rows = distill([searched(1), searched(2, vanilla=VanillaAnswer(20, None, True))], "dpo")
    assert rows.left_out == {"the search did not keep the reply": 1}


def test_a_pair_of_the_same_words_is_none() -> None:
    same = searched(2)
    assert same.best is not None
    rows = distill([searched(1), searched(2, vanilla=VanillaAnswer(20, same.best.text, True))], "dpo")
    assert (len(rows.dataset), rows.left_out) == (1, {"the short reply has the words of the long one": 1})


def test_a_file_of_other_lines_is_no_search(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text('{"question": "1 + 1?", "answer": "2"}\n')
    with pytest.raises(RunFolderError, match=r"data\.jsonl, line 1: the line is none of a search: it lacks 'vanilla'"):
        distill(tmp_path / "data.jsonl")


def with_trials(*told: tuple[int, bool]) -> SearchRow:
    """A search whose best budget is the first trial's, with the tokens of all."""
    trials = [Trial(n, tokens, right, f"{tokens} Answer: [[2]]", "stop") for n, (tokens, right) in enumerate(told, 1)]
    best = BestBudget(1, float(told[0][0]), told[0][0], trials[0].text, ConfirmationDraws(0, 0))
    return searched(1, trials=trials, best=best, vanilla=VanillaAnswer(100, LONG.format(2), True))


@pytest.mark.parametrize(
    ("trials", "min_neighbor_accuracy", "tokens"),
    [
        ([(10, True), (30, True), (60, False)], 0.9, 10),
        ([(10, True), (11, False), (30, True), (90, True)], 0.9, 30),
        ([(10, True), (11, False), (30, True)], 0.5, 10),
        ([(10, True), (12, False), (30, True)], 0.9, 10),
        ([(10, True), (10, False), (30, True)], 0, 10),
        ([(10, True), (11, False), (30, True), (33, False), (70, True)], 0.9, 70),
    ],
)
def test_a_reply_that_was_right_by_luck_is_left_for_a_longer_one(
    trials: list[tuple[int, bool]], min_neighbor_accuracy: float, tokens: int
) -> None:
    (row,) = distill([with_trials(*trials)], min_neighbor_accuracy=min_neighbor_accuracy).dataset
    assert row["tokens"] == tokens and row["completion"][0]["content"].startswith(f"{tokens} ")


def test_other_questions_tell_luck_apart() -> None:
    lucky = with_trials((10, True), (30, True))
    others = [dataclasses.replace(with_trials((30, True), (10, False)), id=f"{n:016x}") for n in range(3)]
    rows = distill([lucky, *others])
    assert rows.dataset[0]["tokens"] == 30


def test_a_question_without_a_steady_reply_is_left_out() -> None:
    rows = distill([searched(2), with_trials((10, True), (11, False))])
    assert rows.left_out == {NONE: 1}


def test_a_reply_of_a_confirming_draw_is_taken() -> None:
    row = with_trials((10, True))
    drawn = BestBudget(1, 9.0, 10, "9 Answer: [[2]]", ConfirmationDraws(2, 2))
    (training_row,) = distill([dataclasses.replace(row, best=drawn)]).dataset
    assert training_row["completion"][0]["content"] == "9 Answer: [[2]]"


def test_near_duplicates_are_trained_on_once() -> None:
    rows = distill([searched(1), searched(1, question="HOW MUCH is 1 and 1 ?", id="x"), searched(2)])
    assert (len(rows.dataset), rows.left_out) == (2, {"a near-duplicate of another question": 1})


def test_the_questions_of_a_run_are_excluded(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "records.jsonl").write_text(json.dumps({"id": searched(1).id + "-2", "question": None}) + "\n")
    file = tmp_path / "test.jsonl"
    file.write_text(json.dumps({"question": "how much is 2 and 1", "answer": "3"}) + "\n")
    rows = distill([searched(n) for n in (1, 2, 3)], exclude=[run, file])
    assert ([row["id"] for row in rows.dataset], rows.left_out) == ([searched(3).id], {"excluded": 2})


def test_held_reads_searches_training_rows_and_data_sets(tmp_path: Path) -> None:
    (tmp_path / "search.jsonl").write_text(json.dumps(searched(1).to_json()) + "\n")
    assert list(known_questions(tmp_path)) == [(searched(1).id, "How much is 1 and 1?")]
    distill([searched(1)]).save(tmp_path / "sft.jsonl")
    assert list(known_questions(tmp_path / "sft.jsonl")) == [(searched(1).id, None)]
    (tmp_path / "test.csv").write_text("question,answer\n1+1?,2\n")
    assert [text for _, text in known_questions(tmp_path / "test.csv")] == ["1+1?"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no run folder and no search"):
        list(known_questions(tmp_path / "empty"))


def test_a_file_is_written_once_and_never_over_other_rows(tmp_path: Path) -> None:
    rows = distill([searched(1)])
    rows.save(tmp_path / "a" / "sft.jsonl")
    rows.save(tmp_path / "a" / "sft.jsonl")
    with pytest.raises(UsageError, match="with other rows"):
        distill([searched(2)]).save(tmp_path / "a" / "sft.jsonl")
    with pytest.raises(UsageError, match="cannot be written"):
        rows.save(tmp_path)


def test_a_search_that_gives_nothing_says_why() -> None:
    with pytest.raises(DataError, match="none of the 2 searched questions can be trained on: 2 no budget was found"):
        distill([searched(1, best=None), searched(2, best=None)])
    with pytest.raises(DataError, match="no rows"):
        distill([])


def test_bad_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="format must be one of sft, dpo, got 'rl'"):
        distill([searched(1)], "rl")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"min_neighbor_accuracy must be a share from 0 to 1, got 1\.5"):
        distill([searched(1)], min_neighbor_accuracy=1.5)
    with pytest.raises(RunFolderError, match="is no search"):
        distill(tmp_path)


def test_rows_at_several_budgets_state_the_budget_and_hold_the_longest_right_reply_within_it() -> None:
    row = with_trials((10, True), (30, True), (60, False))
    rows = distill([row], min_neighbor_accuracy=0, budgets=[20, 50, 200, 5])
    assert [(r["budget"], r["tokens"]) for r in rows.dataset] == [(20, 10), (50, 30), (200, 100)]
    assert all(f"{r['budget']} tokens" in r["prompt"][-1]["content"] for r in rows.dataset)
    assert {r["id"] for r in rows.dataset} == {row.id}


def test_rows_at_budgets_may_be_pairs_and_need_a_program_that_takes_one() -> None:
    row = with_trials((10, True), (30, True))
    (pair,) = distill([row], "dpo", min_neighbor_accuracy=0, budgets=[20]).dataset
    assert pair["chosen"][0]["content"].startswith("10 ") and pair["rejected"][0]["content"] == LONG.format(2)
    with pytest.raises(UsageError, match="rows with budgets need a program that takes one: ChainOfThought does not"):
        distill([row], "sft", dspy.ChainOfThought("question -> answer"), budgets=[20])
    with pytest.raises(UsageError, match="budgets"):
        distill([row], budgets=[0])


def test_a_question_whose_right_replies_are_all_longer_than_the_budgets_is_counted() -> None:
    rows = distill([with_trials((10, True)), searched(2)], min_neighbor_accuracy=0, budgets=[9])
    assert rows.left_out == {"no right reply is complete, beyond luck and within one of the budgets": 1}
