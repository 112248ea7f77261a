"""No secret of an LM stays in a text that is written."""

import pytest

from tale_dspy.backends.redaction import redact, register_secrets


def test_the_keys_of_an_lm_are_found_at_any_depth() -> None:
    register_secrets(
        {
            "api_key": "key-of-the-lm",
            "temperature": 0.1,
            "extra_headers": {"authorization": "Bearer token-in-a-header"},
            "extra_body": {"api_key": "key-in-the-body", "prompt_cache_key": "not-a-secret"},
        }
    )
    text = "refused: key-of-the-lm, token-in-a-header, key-in-the-body, not-a-secret"
    assert redact(text) == "refused: ***, ***, ***, not-a-secret"


def test_the_keys_of_the_environment_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "key-of-the-environment")
    assert redact("Incorrect API key: key-of-the-environment") == "Incorrect API key: ***"


def test_words_given_for_a_key_are_left_alone() -> None:
    register_secrets({"api_key": "none"})
    assert redact("none of them") == "none of them"


def test_passwords_in_addresses_are_left_out() -> None:
    assert redact("no route to http://me:hunter2@host/v1") == "no route to http://host/v1"
