"""Where the calls of an LM go."""

import dspy

import tale_dspy
from tale_dspy.backends.endpoint import fallback_lms, server_name


def test_only_a_tale_lm_names_its_server_and_its_fallbacks() -> None:
    lm = tale_dspy.LM("openai/x", server="vllm", fallbacks=["openai/y"])
    assert (server_name(lm), [other.model for other in fallback_lms(lm)]) == ("vllm", ["openai/y"])
    assert (server_name(dspy.LM("openai/x")), fallback_lms(dspy.LM("openai/x"))) == (None, ())


def test_the_fallbacks_of_a_fallback_follow_it() -> None:
    inner = tale_dspy.LM("openai/b", fallbacks=["openai/c"])
    lm = tale_dspy.LM("openai/a", fallbacks=[inner, "openai/d"])
    assert [other.model for other in fallback_lms(lm)] == ["openai/b", "openai/c", "openai/d"]
