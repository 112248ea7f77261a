import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from serving import request

from tale_dspy.errors import DataError, UsageError
from tale_dspy.testing import Request
from tale_dspy.testing.messages import count_words
from tale_dspy.testing.problems import SolverReply, budget_of, kind_of, read_bank, word_problems

COT = "Q: {}\nPlease Give the response by strictly following this format: [[answer]].Let's think step by step:\n"
DIRECT = "Please answer the following question and give the answer directly without any reasoning process.\nQ: {}"
STATED = COT.replace("Let's", "First state the minimum number of tokens that you need. Let's")
ESTIMATE = 'Task: estimate the minimum number of tokens required.\n\nQuestion: "{}"\n'


BANK = {row["question"]: row["answer"] for row in word_problems(300)}
SOLVER = SolverReply(BANK)
QUESTION = next(q for q in BANK if SOLVER(request(COT.format(q))).text.endswith(f"[[{BANK[q]}]]"))  # type: ignore[union-attr]


def solve(form: str, question: str = QUESTION, **body: Any) -> str:
    return str(SOLVER(request(form.format(question), **body)).text)


def budgeted(budget: object) -> str:
    return COT.replace("step by step", f"step by step and use less than {budget} tokens")


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        (ESTIMATE, "estimate"),
        ("Please give [[budget]]", "estimate"),
        (STATED, "stated"),
        (budgeted(50), "budget"),
        ("使用少于 50 tokens:", "budget"),
        (DIRECT, "direct"),
        ("only keep a minimum draft, with 5 words at most.", "draft"),
        ("Be concise.", "concise"),
        (COT, "cot"),
        ("", "cot"),
        (
            "Respond with the corresponding output fields, starting with the field `[[ ## token_budget ## ]]`",
            "estimate",
        ),
        ("Respond with a JSON object: `token_budget`, then `reasoning`, then `answer`.", "stated"),
        ("Respond with a JSON object in the following order of fields: `answer`.", "direct"),
        ("Respond with a JSON object in the following order of fields: `reasoning`, then `answer`.", "cot"),
        ("[[ ## token_budget ## ]]\n30\n\nRespond with a JSON object: `reasoning`, then `answer`.", "budget"),
    ],
)
def test_the_kind_of_a_prompt_is_read_from_its_wording(prompt: str, kind: str) -> None:
    assert kind_of("", prompt) == kind


def test_an_instruction_in_the_system_message_decides_as_well() -> None:
    assert kind_of("Be concise.", COT) == "concise"


@pytest.mark.parametrize(
    ("prompt", "budget"),
    [
        ("use less than 50 tokens:", 50),
        ("Less Than 50 tokens ... less than 20 tokens", 20),
        ("at most -3 tokens", -3),
        ("use less than 12.5 tokens", None),
        ("tokens", None),
        ("less than 50 apples", None),
        (f"less than {'9' * 5000} tokens", int("9" * 18)),
    ],
)
def test_the_last_budget_of_a_prompt_counts(prompt: str, budget: int | None) -> None:
    assert budget_of(prompt) == budget


def test_the_estimate_is_a_number_in_the_papers_brackets() -> None:
    estimate = re.fullmatch(r"Budget: \[\[(\d+)]]", solve(ESTIMATE))
    assert estimate and 0.8 * SOLVER.need(QUESTION) - 1 <= int(estimate[1]) <= 1.8 * SOLVER.need(QUESTION) + 1


def test_a_chain_of_thought_is_two_and_a_half_to_five_times_the_need() -> None:
    assert 2.5 * SOLVER.need(QUESTION) - 1 <= count_words(solve(COT)) <= 5 * SOLVER.need(QUESTION) + 1


def test_the_elasticity_curve_falls_rebounds_and_fails() -> None:
    need, full = SOLVER.need(QUESTION), SOLVER.length(QUESTION, "cot")
    words = {budget: count_words(solve(budgeted(budget))) for budget in (-1, 0, need // 3, need, 2 * need, full, 9999)}
    assert words[-1] == words[0] > words[need // 3] > words[need]
    assert words[need] <= need
    assert words[2 * need] <= 2 * need
    assert words[full] == words[9999] == full
    assert solve(budgeted(need)).endswith(f"[[{BANK[QUESTION]}]]")
    assert not solve(budgeted(need // 3)).endswith(f"[[{BANK[QUESTION]}]]")


def test_shorter_kinds_are_shorter() -> None:
    lengths = [SOLVER.length(QUESTION, kind) for kind in ("direct", "draft", "concise", "cot")]
    assert lengths == sorted(lengths)
    assert count_words(solve(DIRECT)) == 2


@pytest.mark.parametrize(("form", "share"), [(COT, 0.05), (DIRECT, 0.6), (budgeted(9999), 0.05)])
def test_a_fixed_share_of_the_questions_is_answered_wrongly(form: str, share: float) -> None:
    wrong = [not solve(form, question).endswith(f"[[{gold}]]") for question, gold in BANK.items()]
    assert statistics.fmean(wrong) == pytest.approx(share, abs=0.06)


def test_the_same_prompt_gets_the_same_reply_and_another_seed_another() -> None:
    assert solve(COT) == str(SolverReply(BANK)(request(COT.format(QUESTION))).text)
    lengths = [[SolverReply(BANK, seed=seed).length(q, "cot") for q in BANK] for seed in (0, 1)]
    assert lengths[0] != lengths[1]


def test_choices_differ() -> None:
    requests = [request(COT.format(QUESTION)), Request(**{**vars(request(COT.format(QUESTION))), "choice": 1})]
    assert len({SOLVER(one).text for one in requests}) == 2
    wrong = [Request(**{**vars(request(COT.format(q))), "choice": 1}) for q in BANK]
    right = [str(SOLVER(one).text).endswith(f"[[{gold}]]") for one, gold in zip(wrong, BANK.values(), strict=True)]
    assert statistics.fmean(right) == pytest.approx(0.81, abs=0.08)


@pytest.mark.parametrize(
    ("gold", "wrong"), [("A", "B"), ("D", "A"), ("-1", "0"), ("1/2", "unknown"), ("unknown", "17")]
)
def test_a_wrong_answer_is_of_the_same_sort(gold: str, wrong: str) -> None:
    assert SolverReply({"Q?": gold}, wrong=1.0)(request("Q?")).text.endswith(f"[[{wrong}]]")  # type: ignore[union-attr]


def test_a_choice_question_is_answered_as_a_choice() -> None:
    reply = SolverReply({"Which?\nA. 1\nB. 2": "B"}, wrong=0.0)(request("Which?\nA. 1\nB. 2\nformat: [[choice]]"))
    assert str(reply.text).endswith("\nChoice: [[B]]")


def test_the_question_that_stands_last_and_is_longest_is_answered() -> None:
    solver = SolverReply({"1+1?": "2", "1+1? And 2+2?": "4", "Why?": "so"})
    assert solver.find("demo: Why?\n\n1+1? And 2+2? Think.") == "1+1? And 2+2?"
    assert solver.find("(1+1?) Why") == "1+1?"
    assert solver.find("nothing") is None


def test_an_unknown_question_gets_a_number() -> None:
    assert re.search(r"\nAnswer: \[\[\d+]]$", str(SolverReply({})(request("How many?")).text))


@pytest.mark.parametrize("cap", ["max_tokens", "max_completion_tokens"])
def test_the_solver_stops_at_the_allowance(cap: str) -> None:
    reply = SOLVER(request(COT.format(QUESTION), **{cap: 7}))
    assert (count_words(reply.text), reply.finish_reason) == (7, "length")
    assert SOLVER(request(COT.format(QUESTION), **{cap: 7000})).finish_reason == "stop"


@pytest.mark.parametrize("adapter", ["ChatAdapter", "JSONAdapter"])
@pytest.mark.parametrize("signature", ["question -> answer: int", "question, token_budget: int -> reasoning, answer"])
def test_the_layouts_of_dspy_parse(adapter: str, signature: str) -> None:
    import dspy

    program, form = dspy.Signature(signature), vars(dspy)[adapter]()
    system, user = form.format(program, [], {"question": QUESTION, "token_budget": 40})
    fields = form.parse(program, SOLVER(request(user["content"], system=system["content"])).text)
    assert fields.keys() == program.output_fields.keys()
    assert str(fields["answer"]).isdigit()


def test_word_problems_are_distinct_seeded_and_a_prefix_of_longer_lists() -> None:
    rows = word_problems(500, seed=3)
    assert rows[:40] == word_problems(40, seed=3) != word_problems(40)
    assert len({row["question"] for row in rows}) == 500
    assert {row["steps"] for row in rows} == {1, 2, 3, 4}
    assert all(re.fullmatch(r"\d+", row["answer"]) for row in rows)
    assert word_problems(0) == []


@pytest.mark.parametrize(
    ("pattern", "answer"),
    [
        (r"has (\d+) \w+ and gives (\d+)", lambda a, b: a - b),
        (r"fills (\d+) boxes with (\d+) .* keeps (\d+)", lambda a, b, c: a * b + c),
        (r"brings (\d+) .* keeps (\d+) .* \$(\d+) each", lambda a, b, c: (a - b) * c),
        (r"collects (\d+) .* loses (\d+) .* (\d+) friends\. .* would (\d+)", lambda a, b, c, d: (a - b) // c * d),
        (r"makes (\d+) .* next (\d+) .* makes (\d+) .* sells (\d+)", lambda a, b, c, d: a + b * (a + c) - d),
    ],
)
def test_the_answers_follow_from_the_questions(pattern: str, answer: Callable[..., int]) -> None:
    matches = [(re.search(pattern, row["question"]), row["answer"]) for row in word_problems(500)]
    checked = [(answer(*map(int, match.groups())), int(gold)) for match, gold in matches if match]
    assert len(checked) > 50
    assert all(ours == gold >= 0 for ours, gold in checked)


def test_every_question_of_the_banks_is_found_in_every_form() -> None:
    assert all(
        SOLVER.find(form.format(q)) == q for q in BANK for form in (COT, DIRECT, ESTIMATE, "[[ ## q ## ]]\n{}\n")
    )


@pytest.mark.parametrize("line", ["{", "[]", '{"question": "q"}', '{"question": [], "answer": 1}', "\xff"])
def test_a_bank_with_a_broken_line_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "bank.jsonl").write_text(line, encoding="latin-1")
    with pytest.raises(DataError, match=r"bank\.jsonl"):
        read_bank(tmp_path / "bank.jsonl")


@pytest.mark.parametrize(
    "build",
    [
        lambda: SolverReply({" ": "1"}),
        lambda: SolverReply({}, wrong=2),
        lambda: word_problems(-1),
    ],
)
def test_impossible_banks_and_counts_are_refused(build: Callable[[], object]) -> None:
    with pytest.raises(UsageError):
        build()
