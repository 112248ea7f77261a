"""Bodies of chat completions, repaired or refused."""

import json
from typing import Any

import pytest
from faulty_replies import DROP, TEXT, body

from tale_dspy.backends.reply_bodies import BrokenBodyError, repair_chat_body


def repaired(*args: Any, **fields: Any) -> dict[str, Any]:
    raw = body(*args, **fields).raw_body
    assert raw is not None
    data: dict[str, Any] = json.loads(repair_chat_body(raw))
    return data


def test_a_clean_body_stays_as_it_is() -> None:
    raw = body().raw_body
    assert raw is not None and repair_chat_body(raw) is raw


def test_thinking_among_the_parts_becomes_reasoning() -> None:
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": TEXT}]
    message = repaired({"content": parts})["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == (TEXT, "hm")


@pytest.mark.parametrize(
    ("usage", "kept"),
    [
        ({"prompt_tokens": "9", "completion_tokens": 4.0}, {"prompt_tokens": 9, "completion_tokens": 4}),
        ({"prompt_tokens": True, "completion_tokens": 4}, {"completion_tokens": 4}),
        ({"prompt_tokens": -1, "completion_tokens": 2.5}, None),
        ("many", None),
        (
            {"prompt_tokens": DROP, "completion_tokens": DROP, "input_tokens": 9},
            {"prompt_tokens": 9, "input_tokens": 9},
        ),
    ],
)
def test_a_count_is_a_whole_number_or_unknown(usage: Any, kept: Any) -> None:
    fields = {"total_tokens": DROP, **usage} if isinstance(usage, dict) else usage
    assert repaired(usage=fields)["usage"] == kept


@pytest.mark.parametrize(
    ("details", "kept"),
    [
        ({"reasoning_tokens": "5"}, {"reasoning_tokens": 5}),
        ({"reasoning_tokens": None, "audio_tokens": True}, {"reasoning_tokens": None, "audio_tokens": None}),
        ({"reasoning_tokens": "many"}, {"reasoning_tokens": None}),
        ({"reasoning_tokens": [5], "by_modality": [5]}, {"reasoning_tokens": None, "by_modality": [5]}),
    ],
)
def test_details_of_a_count_are_whole_numbers_or_unknown(details: Any, kept: Any) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 40, "total_tokens": 49, "completion_tokens_details": details}
    assert repaired(usage=usage)["usage"]["completion_tokens_details"] == kept


@pytest.mark.parametrize(
    ("thought", "text"), [([{"type": "text", "text": "hm"}], "hm"), ([{"x": 1}], None), (True, None), ("hm", "hm")]
)
@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_a_thought_is_a_text_or_nothing(name: str, thought: Any, text: str | None) -> None:
    message = repaired({"content": TEXT, name: thought})["choices"][0]["message"]
    assert (message["content"], message[name]) == (TEXT, text)


def test_as_many_choices_are_kept_as_were_asked_for() -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "4"}, "finish_reason": "stop"}
    assert len(repaired(choices=[choice] * 3)["choices"]) == 1
    raw = json.dumps({"choices": [choice] * 3}).encode()
    assert [c["index"] for c in json.loads(repair_chat_body(raw, 2))["choices"]] == [0, 1]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "no JSON: nothing"),
        (b"[1]", r"no JSON object: \[1\]"),
        (b'{"error": "down"}', "reports an error"),
        (b'{"id": "x"}', "holds no choice"),
        (b'{"choices": [{"text": "4"}]}', "a choice of the reply holds no message"),
        (b'{"choices": [{"message": {"content": true}}]}', "neither a text nor a list"),
    ],
)
def test_what_is_no_reply_is_refused(raw: bytes, message: str) -> None:
    with pytest.raises(BrokenBodyError, match=message):
        repair_chat_body(raw)


def test_a_body_nested_too_deep_is_refused() -> None:
    with pytest.raises(BrokenBodyError, match="no JSON"):
        repair_chat_body(b"[" * 100_000)


@pytest.mark.parametrize(
    ("reasoning", "total", "kept"),
    [
        (30, 59, (50, 30)),  # xAI: beside the completion of 20, as the total of 9 + 20 + 30 says
        (30, 29, (20, None)),  # more than all of the completion
        (15, 29, (20, 15)),
        (0, 29, (20, 0)),
        (30, DROP, (20, None)),
    ],
)
def test_reasoning_is_a_part_of_the_completion(reasoning: int, total: Any, kept: tuple[int, Any]) -> None:
    details = {"reasoning_tokens": reasoning}
    usage = {"prompt_tokens": 9, "completion_tokens": 20, "total_tokens": total, "completion_tokens_details": details}
    found = repaired(usage=usage)["usage"]
    assert (found["completion_tokens"], found["completion_tokens_details"]["reasoning_tokens"]) == kept


@pytest.mark.parametrize(("cached", "kept"), [(9, 9), (4, 4), (900, None)])
def test_cached_tokens_are_a_part_of_the_prompt(cached: int, kept: Any) -> None:
    found = repaired(usage={"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": cached}})["usage"]
    assert found["prompt_tokens_details"]["cached_tokens"] == kept


@pytest.mark.parametrize("count", [10**12, "1" * 5000, "٣", " 5 0 "])
def test_what_is_no_count_of_one_reply_is_unknown(count: Any) -> None:
    assert "completion_tokens" not in repaired(usage={"prompt_tokens": 9, "completion_tokens": count})["usage"]
