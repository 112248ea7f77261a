"""Reading fields out of replies: every shape a value can have, and everything else a model may write."""

import enum
import json
import random
import time
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import dspy
import pydantic
import pytest
from pydantic.fields import FieldInfo

from tale_dspy.replies import quoted, read_fields

NASTY_TEXTS = [
    "",
    " ",
    "a",
    "50",
    "1,000",
    "answer",
    "choice",
    "null",
    "None",
    "True",
    "x [y] z",
    "[[a]]",
    "[[x]] and [[y]]",
    "]]",
    "[[",
    "a ] b",
    "[1, 2]",
    '"',
    '"q"',
    'say "hi"',
    'a: "b", [',
    "it's 12\" long]]",
    "line\nbreak",
    "\ttab\r\n",
    "  pad ",
    "[[ ## answer ## ]]\nfoo",
    "\n[[ ## completed ## ]]\n",
    "Answer: [[5]]",
    "the answer is 7",
    "#### 5",
    r"\boxed{7}",
    "\\",
    "\\n",
    "{}",
    "`code`",
    "**b**",
    "A",
    "A) foo",
    "B is wrong",
    "ü 漢字 😀",
    "\x00",
    "\u2028x",
    "\ud800",
    "x" * 50_000 + "]",
]


class Color(enum.Enum):
    RED = "red"
    DARK_BLUE = 2


class Item(pydantic.BaseModel):
    name: str
    price: float = 0.0
    tags: list[str] = []


def field(annotation: Any) -> FieldInfo:
    return dspy.Signature({"q": (str, dspy.InputField()), "x": (annotation, dspy.OutputField())}).output_fields["x"]


def read(reply: str, annotation: Any = str, name: str = "answer", **kwargs: Any) -> Any:
    return read_fields({name: field(annotation)}, reply, **kwargs)[0][name]


@pytest.mark.parametrize("text", NASTY_TEXTS, ids=range(len(NASTY_TEXTS)))
@pytest.mark.parametrize("choice", [False, True])
def test_any_text_is_read_back_as_it_was_written(text: str, choice: bool) -> None:
    reply = f"I think [[3]] is\nAnswer: [[{quoted(text, choice=choice)}]]"
    assert read(reply, name="choice" if choice else "answer", choice=choice) == text


@pytest.mark.parametrize("text", ["50", "Paris", "x [y] z", "[[a]]", "$5.00", "don't", "3/4"])
def test_texts_that_can_do_without_quotes_have_none(text: str) -> None:
    assert quoted(text) == text


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("Answer: [[50]]", "50"),
        ("First [[40]], then [[50]].", "50"),
        ("[[50]]\n\n", "50"),
        ("[[50]]. Wait, correction: the answer is 60.", "60"),
        ("Answer: [[40]]. No, that is wrong. Answer: [[50]]", "50"),
        ("Answer: [[50]] [[ ## completed ## ]]", "50"),
        ("Answer: [[50]]\n[[ ## completed ## ]]\nQ: 2+2?\nAnswer: [[4]]", "50"),
        ("as [[answer]] I say [[50]]", "50"),
        ("[[50]] in the form [[answer]]", "50"),
        ("m = [[1, 2\nso [[50]]", "50"),
        ("if [[ -f x ]; then\n" * 40 + "[[50]]", "50"),
        ("The answer is 50.", "50"),
        ("[[ ## reasoning ## ]]\nso\n\n[[ ## answer ## ]]\n50\n\n[[ ## completed ## ]]", "50"),
        ("[[a[b[0]]]]", "a[b[0]]"),
        ("[[x = m[[0]] + 1]]", "x = m[[0]] + 1"),
        ('[["a ] b"]]', "a ] b"),
        ('[["yes" and "no"]]', '"yes" and "no"'),
        ('[[12" pipe]] and [[6" hose]]', '6" hose'),
        ("", None),
        ("   \n ", None),
        ("[[]]", None),
        ("I have no idea", None),
    ],
)
def test_an_answer_is_the_last_bracket_unless_it_is_corrected(reply: str, answer: str | None) -> None:
    assert read(reply, thinks=True) == answer


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ("Choice: [[B]]", "B"),
        ("[[b]]", "B"),
        ("[[(B)]]", "B"),
        ("[[B) 5 apples]]", "B"),
        ("选项: [[B]]。", "B"),
        ("Choice: [[A]]. Sorry, the correct answer is B.", "B"),
        ("B is correct.", "B"),
        ("[[Paris]]", "Paris"),
    ],
)
def test_an_option_is_its_letter(reply: str, choice: str) -> None:
    assert read(reply, name="choice", choice=True) == choice


@pytest.mark.parametrize(
    ("annotation", "reply", "value"),
    [
        (int, "[[1,200]]", 1200),
        (int, "[[$1 200.00 in all]]", 1200),
        (int, "[[−5]]", -5),
        (int, "[[007]]", 7),
        (int, "[[1e3]]", 1000),
        (int, "[[5.5]]", None),
        (int, "[[3 or 4]]", None),
        (int, "[[" + "9" * 5000 + "]]", None),
        (int, "so the total is 12", 12),
        (float, "[[50%]]", 50.0),
        (float, "[[1/2]]", 0.5),
        (float, "[[1,5]]", None),
        (bool, "[[true]]", True),
        (bool, "[[No.]]", False),
        (bool, "[[perhaps]]", None),
        (Literal["pos", "neg"], "[[Pos]]", "pos"),
        (Literal["pos", "neg"], "[[**NEG**]]", "neg"),
        (Literal["pos", "neg"], "[[neutral]]", None),
        (Literal["a", "A"], "[[A]]", "A"),
        (Literal[1, 2], "[[2]]", 2),
        (Literal[True, None], "[[true]]", True),
        (int | None, "[[null]]", None),
        (int | None, "[[3]] or rather [[none]]", None),
        (int | None, "[[3]]", 3),
        (Literal["x"] | None, "[[X]]", "x"),
        (Color, "[[ ## answer ## ]]\nred", Color.RED),
        (Color, "[[ ## answer ## ]]\n2", Color.DARK_BLUE),
        (Color, "[[dark_blue]]", Color.DARK_BLUE),
        (list[int], "[[1, 2]]", [1, 2]),
        (list[int], "[[[1, 2]]]", [1, 2]),
        (list[list[int]], "[[1,2],[3,4]]", [[1, 2], [3, 4]]),
        (list[list[int]], "[[[[1,2],[3,4]]]]", [[1, 2], [3, 4]]),
        (list[list[int]], "[[1,2]]", [[1, 2]]),
        (list[str], '[["a]", "b"]]', ["a]", "b"]),
        (list[str], 'So:\n```json\n["a"]\n```\nDone.', ["a"]),
        (dict[str, int], 'So it is\n{"a": 1} as said', {"a": 1}),
        (dict[str, int], '[[{"a": 1}]]', {"a": 1}),
        (dict[str, int], "[[ ## answer ## ]]\n{'a': 1,}", {"a": 1}),
        (dict[str, int], "no idea", None),
        (Item, '[[ ## answer ## ]]\n{"name": "x", "tags": ["[[y]]"]}\nthat is all', Item(name="x", tags=["[[y]]"])),
        (Item, '[[ ## answer ## ]]\n{"price": 1}', None),
        (int | str, "[[ ## answer ## ]]\n5", 5),
        (Any, "[[ ## answer ## ]]\nfree text", "free text"),
    ],
)
def test_a_value_is_of_its_type_or_none(annotation: Any, reply: str, value: Any) -> None:
    assert read(reply, annotation, thinks=True) == value


def test_a_type_whose_validator_breaks_gives_none() -> None:
    class Broken(pydantic.BaseModel):
        a: int

        @pydantic.field_validator("a")
        @classmethod
        def divide(cls, value: int) -> int:
            return 1 // value

    assert read('[[ ## answer ## ]]\n{"a": 0}', Broken) is None


SEVERAL = {"sub_total": field(int), "total": field(float), "note": field(str)}


@pytest.mark.parametrize(
    ("reply", "values"),
    [
        ("Sub Total: [[5]], Total: [[7]], Note: [[ok]]", (5, 7.0, "ok")),
        ("**sub_total:** [[5]]\n**TOTAL:** [[7]]\nNote = [[ok]]", (5, 7.0, "ok")),
        ("Subtotal (USD): [[5]]\nThe total is [[7]] with note [[ok]]", (5, 7.0, "ok")),
        ("Total: [[7]]\nNote: [[ok]]\nSub total: [[5]]", (5, 7.0, "ok")),
        ("Sub Total: [[5]]\nNote: [[ok]]", (5, None, "ok")),
        ("Total: [[6]]\nSub Total: [[5]]\nTotal: [[7]]\nNote: [[ok]]", (5, 7.0, "ok")),
        ("Sub Total: [[five]]\nTotal: [[7]]\nNote: [[ok]]", (5, 7.0, "ok")),
        ("Sub Total: [[a few]]\nTotal: [[7]]\nNote: [[ok]]", (None, 7.0, "ok")),
        ("Sub Total: 5\nTotal: 7\nNote: ok", (5, 7.0, "ok")),
        ('Sub Total: [[5]]\nTotal: [[7]]\nNote: [["Total: [[9]]"]]', (5, 7.0, "Total: [[9]]")),
        ("[[ ## sub_total ## ]]\n5\n[[ ## total ## ]]\n7\n[[ ## note ## ]]\nok", (5, 7.0, "ok")),
        ("[[5]] [[7]] [[ok]]", (None, None, None)),
        ("", (None, None, None)),
    ],
)
def test_several_outputs_are_read_by_their_labels(reply: str, values: tuple[Any, ...]) -> None:
    assert tuple(read_fields(SEVERAL, reply)[0].values()) == values


def test_a_field_in_camel_case_is_known_by_its_words() -> None:
    fields = {"subTotal": field(int), "x1": field(int)}
    assert read_fields(fields, "Sub Total: [[5]]\nX 1: [[6]]")[0] == {"subTotal": 5, "x1": 6}


@pytest.mark.parametrize(
    "reply",
    [
        'Total: [[7]]\n[[ ## data ## ]]\n{"a": [1]}',
        '[[ ## data ## ]]\n{"a": [1]}\nTotal: [[7]]',
        '[[ ## data ## ]]\n{}\n[[ ## data ## ]]\n{"a": [1]}\nTotal: 7',
        'Total: [[7]]\n[[ ## data ## ]]\n{"a": [1]}\n[[ ## completed ## ]]\n[[ ## data ## ]]\n{}',
    ],
)
def test_short_and_long_outputs_are_read_in_any_order(reply: str) -> None:
    fields = {"total": field(int), "data": field(dict[str, Any])}
    assert read_fields(fields, reply)[0] == {"total": 7, "data": {"a": [1]}}


@pytest.mark.parametrize(
    ("reply", "before"),
    [
        ("2 and 3 is 5.\nAnswer: [[5]]", "2 and 3 is 5.\n"),
        ("2 and 3 is 5. **Final Answer:** [[5]]", "2 and 3 is 5. "),
        ("2 and 3 is [[5]]", "2 and 3 is "),
        ("[[3]] is not it.\nAnswer: [[5]]", "[[3]] is not it.\n"),
        ("答案: [[5]]", ""),
        ("Answer: [[5]]", ""),
        ("so\n\n[[ ## answer ## ]]\n5", "so\n\n"),
    ],
)
def test_what_stands_before_the_answer_is_the_reasoning(reply: str, before: str) -> None:
    assert read_fields({"answer": field(str)}, reply, thinks=True)[1] == before


def test_a_direct_text_without_any_mark_is_the_reply() -> None:
    assert read(" It rains. ", name="summary") == "It rains."
    assert read(" It rains. ", name="summary", thinks=True) is None
    assert read("Summary: **It rains.**", name="summary", thinks=True) == "It rains."
    assert read("x = 1", dspy.Code).code == "x = 1"
    assert read("x = 1", dspy.Code, thinks=True) is None


ALL_KINDS = [
    {"answer": field(str)},
    {"summary": field(str)},
    {"x": field(int)},
    {"x": field(dict[str, list[int]])},
    {"x": field(list[list[int]])},
    {"x": field(Literal["a", "b"]), "y": field(bool), "z": field(Item)},
]
TOKENS = ["[[", "]]", "[", "]", "{", "}", '"', "'", ":", ",", "\n", "answer", "x", "y", "5", "-3.2", "A", " ", "null"]
TOKENS += [
    "[[ ## x ## ]]",
    "[[ ## completed ## ]]",
    "\\",
    r"\boxed{",
    "####",
    "```",
    "```json\n",
    "é",
    "\x00",
    "\ud800",
]


def test_nothing_a_model_writes_raises() -> None:
    chance = random.Random(0)
    for _ in range(600):
        reply = "".join(chance.choices(TOKENS, k=chance.randint(0, 40)))
        for fields in ALL_KINDS:
            values, before = read_fields(fields, reply, thinks=True)
            assert values.keys() == fields.keys()
            assert reply.startswith(before)


FIELD_CASES = Path(__file__).parent / "data" / "fields.jsonl"
TYPES: dict[str, Any] = {
    "int": int,
    "float": float,
    "bool": bool,
    "str": str,
    "list[str]": list[str],
    "list[int]": list[int],
    "list[list[int]]": list[list[int]],
    "set[str]": set[str],
    "tuple[int, ...]": tuple[int, ...],
    "dict[str, int]": dict[str, int],
    "Literal['pos', 'neg']": Literal["pos", "neg"],
    "Literal['yes', 'no', 'maybe']": Literal["yes", "no", "maybe"],
}


def field_cases() -> dict[str, list[dict[str, Any]]]:
    """Return the cases by their kind: type of the only field, reply, and the value in it."""
    rows = [json.loads(line) for line in FIELD_CASES.read_text(encoding="utf-8").splitlines()]
    return {kind: list(group) for kind, group in groupby(rows, key=lambda row: row["kind"])}


@pytest.mark.parametrize("name", ["out", "answer", "solution", "final_answer"])
@pytest.mark.parametrize("thinks", [True, False])
@pytest.mark.parametrize("kind", field_cases())
def test_every_reply_of_a_kind_gives_the_field_its_value(kind: str, thinks: bool, name: str) -> None:
    wrong = []
    for row in field_cases()[kind]:
        reply = row["reply"].replace("## out ##", f"## {name} ##").replace('"out"', f'"{name}"')
        value = read(reply, TYPES[row["type"]], name=name, thinks=thinks)
        value = list(value) if isinstance(value, set | tuple) else value
        if value != row["expect"]:
            wrong.append((reply, row["expect"], value))
    assert wrong == []


def test_thinking_inside_a_reply_is_its_reasoning_and_never_a_value() -> None:
    reply = "<think>Answer: [[20]]</think>So it is 9*2.\nAnswer: [[18]]"
    values, before = read_fields({"answer": field(str)}, reply, thinks=True)
    assert (values, before.split("\n\n")) == ({"answer": "18"}, ["Answer: [[20]]", "So it is 9*2.\n"])
    cut = read_fields({"answer": field(str)}, "<think>Answer: [[20]]", thinks=True)
    assert cut == ({"answer": None}, "Answer: [[20]]")


def test_a_json_object_of_the_fields_is_read() -> None:
    fields = {"total": field(int), "items": field(list[str]), "note": field(str)}
    reply = '{"reasoning": "so", "total": 7, "items": ["a"], "note": "ok"}'
    assert read_fields(fields, reply) == ({"total": 7, "items": ["a"], "note": "ok"}, "so")
    assert read('{"a": 1}', dict[str, int], name="out") == {"a": 1}


LONG = {
    "10 MB of words": "lorem ipsum 12 " * 700_000,
    "10 MB of brackets": "[" * 10_000_000,
    "10 MB of spaces": " " * 10_000_000,
    "10 MB of lines": "\n" * 10_000_000,
    "10 MB of JSON": "[[ ## x ## ]]\n{" + '"a": [1],' * 1_000_000 + "}",
    "closing": "]" * 100_000,
    "nested": "[" * 50_000 + "]" * 50_000,
    "small": "[[a]]" * 25_000,
    "empty": "[[]]" * 25_000,
    "quotes": '[["' * 33_000,
    "strings": ':"' * 50_000,
    "broken JSON": "[[ ## x ## ]]\n" + '{"a": [1, "b' * 20_000,
    "labels": "x: [[1]] y: [[2]]\n" * 50_000,
    "markers": "[[ ## x ## ]]\n" * 50_000,
    "fences": "```json\n" * 50_000,
    "digits": "9," * 50_000,
    "spaced label": "answer" + " " * 100_000 + "x",
}


@pytest.mark.parametrize("reply", LONG.values(), ids=LONG)
def test_no_reply_takes_longer_than_two_seconds(reply: str) -> None:
    for fields in (ALL_KINDS[0], ALL_KINDS[3], ALL_KINDS[5]):
        started = time.thread_time()
        read_fields(fields, reply, thinks=True)
        assert time.thread_time() - started < 2


TWO_FIELDS = [
    ("[[ ## answer ## ]]\n18\n\n[[ ## confidence ## ]]\n0.9\n\n[[ ## completed ## ]]", "18", 0.9),
    ("[[ ## confidence ## ]]\n0.9\n[[ ## answer ## ]]\n18", "18", 0.9),
    ("[[ ## answer ## ]] 18 [[ ## confidence ## ]] 0.9 [[ ## completed ## ]]", "18", 0.9),
    ("Answer: [[18]], Confidence: [[0.9]]", "18", 0.9),
    ("Confidence: [[0.9]]\nAnswer: [[18]]", "18", 0.9),
    ("Answer: 18\nConfidence: 90%", "18", 90.0),
    ('{"answer": "18", "confidence": 0.9}', "18", 0.9),
    ('```json\n{"answer": "18", "confidence": 0.9}\n```', "18", 0.9),
    ("Answer: [[18]]", "18", None),
    ("The answer is 18.", None, None),
]


@pytest.mark.parametrize(("reply", "answer", "confidence"), TWO_FIELDS)
def test_no_field_of_several_takes_the_value_of_another(
    reply: str, answer: str | None, confidence: float | None
) -> None:
    values, _ = read_fields({"answer": field(str), "confidence": field(float)}, reply, thinks=True)
    assert values == {"answer": answer, "confidence": confidence}


def test_an_answer_that_is_taken_back_is_no_value() -> None:
    assert read("[[18]]. That's wrong.", int) is None
