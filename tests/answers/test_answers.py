"""The judge as a whole: every right form of every gold accepted, no wrong one, and no reply that can stop it."""

import json
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from tale_dspy.answers import gold_from_gsm8k, judge, paper_judge, symbolic

# --- acceptance -----------------------------------------------------------------------------------------------------


def golds() -> list[str]:
    """The golds of GSM8K test where TALE_DATA has them, else a few of every shape."""
    path = Path(os.environ.get("TALE_DATA", ".")) / "gsm8k_test.jsonl"
    if not path.exists():
        return ["0", "2", "18", "-3", "-10", "2125", "65960", "114200", "1450000"]
    return [gold_from_gsm8k(json.loads(line)["answer"]) for line in path.read_text(encoding="utf-8").splitlines()]


def comma(gold: str) -> str:
    return f"{int(gold):,}"


def next_to(gold: str) -> str:
    return str(int(gold) + 1)


RIGHT_FORMS: dict[str, Callable[[str], str]] = {
    "brackets": lambda x: f"[[{x}]]",
    "thousands separators": lambda x: f"[[{comma(x)}]]",
    "dollars": lambda x: f"[[${x}]]",
    "decimals": lambda x: f"[[{x}.00]]",
    "spaces": lambda x: f"[[ {x} ]]",
    "unit": lambda x: f"[[{x} dollars]]",
    "escaped dollar": lambda x: rf"[[\${x}]]",
    "bold": lambda x: f"She adds 3 and 4.\nSo the result is **{x}**.",
    "boxed": lambda x: rf"So we get \boxed{{{x}}}",
    "hashes": lambda x: f"3 + 4 = 7\n#### {x}",
    "last sentence": lambda x: f"In total she pays ${x}.",
    "steps behind": lambda x: f"The answer is {x}. I used 2 steps.",
}
WRONG_FORMS: dict[str, Callable[[str], str]] = {
    "corrected": lambda x: f"[[{x}]] Wait, that is wrong. [[{next_to(x)}]]",
    "corrected in words": lambda x: f"[[{x}]] Correction: the answer is {next_to(x)}.",
    "another": lambda x: f"[[{next_to(x)}]]",
    "or": lambda x: f"[[{next_to(x)} or {x}]]",
    "list": lambda x: f"[[{next_to(x)}, {x}]]",
}


@pytest.mark.parametrize("form", RIGHT_FORMS.values(), ids=RIGHT_FORMS)
def test_every_right_form_of_every_gold_is_accepted(form: Callable[[str], str]) -> None:
    assert [x for x in golds() if not judge(form(x), x)] == []


@pytest.mark.parametrize("form", WRONG_FORMS.values(), ids=WRONG_FORMS)
def test_no_wrong_form_of_any_gold_is_accepted(form: Callable[[str], str]) -> None:
    assert [x for x in golds() if judge(form(x), x)] == []


# --- replies that people reported as misread, and their siblings ------------------------------------------------------

CASES = Path(__file__).parents[1] / "data" / "replies.jsonl"


def cases() -> dict[str, list[dict[str, Any]]]:
    """Return the cases by their kind: gold, reply, and whether the reply is right."""
    rows = [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines()]
    rows.sort(key=lambda row: row["kind"])
    return {kind: list(group) for kind, group in groupby(rows, key=lambda row: row["kind"])}


@pytest.mark.parametrize("kind", cases())
def test_every_reply_of_a_kind_is_judged_as_it_is_meant(kind: str) -> None:
    wrong = [row for row in cases()[kind] if judge(row["reply"], row["gold"]) != row["expect"]]
    assert wrong == []


# --- bounds ---------------------------------------------------------------------------------------------------------

N = 100_000
HOSTILE = {
    "open brackets": "[" * N,
    "nested brackets": "[" * N + "]" * N,
    "nested marks": "[[" * N + "18" + "]]" * N,
    "open intervals": "[[a,b" * N,
    "open boxes": r"\boxed{" * N,
    "nested boxes": r"\boxed{" * N + "}" * N,
    "open strings": '[[ "' + r"\"" * N,
    "strings": '[["' * N,
    "braces": "{" * 10 * N,
    "parentheses": "(a" * N,
    "hashes": "#### " * N,
    "statements": "answer is " * N,
    "long statements": "answer to " * N,
    "corrections": "[[1]]" + " wait it is" * N,
    "markers": "[[ ## " * N,
    "empty marks": "[[]]" * N,
    "joined marks": "[[1]] or " * N,
    "options": "A or " * N,
    "lines": "\n" * 10 * N + "x",
    "ten megabytes": "x" * 10_000_000,
    "digits": "9" * 1_000_000,
    "groups": "1" + ",111" * N + "1",
    "spaced groups": "1" + " 111" * N + "1",
    "fractions": "1/" * N,
    "bold": "**a" * N,
    "exponent": "1e999999999",
    "tower": "10**10**10",
    "latex tower": "[[9^9^9^9]]",
    "factorial": "1000000!",
    "nul": "\0" * N,
    "surrogates": "\ud800" * N,
    "one surrogate": "[[x+\ud800]]",
    "deep fraction": "[[" + r"\frac{1}{" * N + "1" + "}" * N + "]]",
    "deep sets": "[[" + "{1," * 500 + "1" + "}" * 500 + "]]",
    "expansion": "[[(x+y+z+w)^999 - 1]]",
    "product": r"[[\prod_{k=1}^{9999} k^k]]",
    "colons": "9:" * N,
    "lines of digits": ("9" * 1900 + "\n") * 300,
    "lines of lists": ("1,2" * 600 + "\n") * 300,
    "overlines": ("9" * 900 + r"\overline" + "9" * 900 + "\n") * 300,
    "repeating": ("0.1212121212" * 150 + "...\n") * 300,
    "currency": "$9" * 3 * N,
    "number words": "one hundred and " * N,
    "halves": "2 and a half " * N,
    "numerals": "一百" * 3 * N,
    "remarks": "used 9 tokens " * N,
    "unfinished remarks": "this used " * N,
    "next questions": "\nQ: [[1]]" * N,
    "deep JSON": '{"a":' * N,
    "deep lists": "[" * 50_000 + "]" * 50_000 + "}",
    "thoughts": "<think></think>" * N,
    "open thoughts": "<think>" * N,
    "channels": "<|channel|>analysis<|message|>" * N,
    "white brackets": "⟦1⟧" * N,
    "combining marks": "e" + "\u0301" * 10 * N,
    "asides": ("(9" * 900 + "\n") * 300,
    "nested cosines": "[[" + "cos(" * 20 + "x" + ")" * 20 + "]]",
    "integral": r"[[\int_0^1 e^{e^{e^{x}}} dx]]",
    "braced tower": "[[2^{3^{4^{5^{6^{7}}}}}]]",
}


REPEATED = [
    *(
        "wait, no, ",
        ". oops wait sorry",
        ". that is wrong",
        "I made a mistake. ",
        "- ",
        "<<9*2=18>>",
        "<<9*2=",
        "✓",
        "7️⃣",
    ),
    *("<|im_end|>", "a<|im_end|>", "<s></s>", "[INST]", "```thinking\n", "<details><summary>think", "```python\n"),
    *(
        "1. ",
        "1. 9\n",
        "step 1: ",
        "Check: ",
        "1\nVerification: ",
        "cannot be ",
        "not enough ",
        "(e.g. Answer: [[50]] ",
    ),
    *("(e.g. ", "let's think step by step and use less than ", "9 in the ", "9:30 in the morning ", "1_000", "10 ** "),
    *(
        "respuesta es ",
        "B remains ",
        '"B"',
        "vitamin B ",
        "B, because ",
        "A. x\n\n",
        "yes, ",
        "is yes\n",
        ": ",
        "9 + 9 = ",
    ),
    *("two dozen and a half ", "9+9+", "\n9", "| 9 ", "\\framebox{", "Answer: Dr. ", "no: ", "Thinking...\n", "9 "),
]
HOSTILE |= {token: token * (200_000 // len(token)) for token in REPEATED}


@pytest.mark.parametrize("reply", HOSTILE.values(), ids=HOSTILE)
def test_no_reply_takes_two_seconds_or_raises_in_any_thread(reply: str) -> None:
    symbolic.all_same((("1+x", "x+1"),))  # the child runs: its start is the machine's matter
    took: list[float] = []

    def judge_it() -> None:
        for gold in ("18", "A", "x^2+1", "(1, 2)"):
            for call in (partial(judge, reply, gold), partial(paper_judge, reply, gold, gold != "A")):
                start = time.thread_time()  # the child that compares mathematics has its own limit
                call()
                took.append(time.thread_time() - start)

    thread = threading.Thread(target=judge_it)
    thread.start()
    thread.join()
    assert len(took) == 8
    assert max(took) < 2


@pytest.mark.parametrize("gold", ["1e999999999", "10**10**10", "1e350", "9" * 31 + "e300"])
def test_no_gold_raises(gold: str) -> None:
    assert not judge("[[x+1]]", gold)
