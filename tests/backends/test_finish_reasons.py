"""What the last word of a reply means."""

import pytest

from tale_dspy.backends.finish_reasons import FINISH_REASONS, normalize_finish_reason


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        (("length",), "length"),
        (("MAX_TOKENS",), "length"),
        (("stop", "model_length"), "length"),
        (("stop", "SAFETY"), "content_filter"),
        (("stop", None), "stop"),
        (("end_turn",), "stop"),
        (("never seen before",), "stop"),
        ((None, ""), None),
        ((7,), None),
        (("tool_call",), "tool_calls"),
        (("stop", "network_error"), "error"),
        (("insufficient_system_resource",), "error"),
        (("abort",), "error"),
    ],
)
def test_the_word_that_says_more_than_stop_counts(words: tuple[object, ...], meaning: str | None) -> None:
    assert normalize_finish_reason(*words) == meaning


def test_the_table_is_written_in_lower_case() -> None:
    assert all(word == word.lower() for word in FINISH_REASONS)
