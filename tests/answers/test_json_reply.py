"""Replies that are JSON objects, and which of their values is the answer."""

import pytest

from tale_dspy.answers.json_reply import json_answer, json_object


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ('{"answer": 18}', "18"),
        ('{"answer": 18.50}', "18.50"),
        ('```json\n{"reasoning": "9*2", "Final Answer": "18"}\n```', "18"),
        ('[{"answer": 18}]', "18"),
        ('So:\n{"correct_option": "B"}', "B"),
        ("{'answer': 18}", "18"),
        ('{"response": {"answer": 18}}', "18"),
        ('{"days": 18}', "18"),
        ('{"answer": ["a", "b"]}', "a, b"),
        ('{"apples": 3, "pears": 18}', None),
        ('{"answer": null}', None),
    ],
)
def test_the_value_of_the_key_that_names_the_answer_is_read(reply: str, answer: str | None) -> None:
    fields = json_object(reply)
    assert fields is not None
    assert json_answer(fields) == answer


@pytest.mark.parametrize("reply", ["", "18", "{18}", r"\boxed{18}", "[1, 2]", '{"answer": 18', "{" * 50_000 + "}"])
def test_any_other_reply_is_no_json_object(reply: str) -> None:
    assert json_object(reply) is None
