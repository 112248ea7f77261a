"""A DSPy request as a local model reads it, and how its reply ends."""

import random
from typing import Any

import pytest
from dspy.lm15 import (
    Config,
    ContextLengthError,
    FunctionTool,
    ImagePart,
    InvalidRequestError,
    Message,
    Reasoning,
    Request,
    UnsupportedFeatureError,
)
from tiny_models import tokenizer as byte_tokenizer

from tale_dspy.backends.local.prompt_tokenizer import DEFAULT_MAX_TOKENS, GenerationJob, PromptTokenizer
from tale_dspy.backends.local.sampling import SamplingParams

END = 2


@pytest.fixture(scope="module")
def tokenizer() -> PromptTokenizer:
    return PromptTokenizer(byte_tokenizer(), frozenset({END}), 100, DEFAULT_MAX_TOKENS)


def request(*messages: Message, system: Any = None, tools: Any = (), **config: Any) -> Request:
    chat = messages or (Message.user("Hi"),)
    return Request(model="m", messages=chat, system=system, tools=tools, config=Config(**config))


def job(
    tokenizer: PromptTokenizer, text: str = "Hi", rollout: str = "", sample: int = 0, **config: Any
) -> GenerationJob:
    return tokenizer.job(request(Message.user(text), **config), rollout, sample)


def wrote(tokenizer: PromptTokenizer, text: str, **config: Any) -> tuple[GenerationJob, str | None]:
    """Let a reply be written byte by byte until it ends."""
    one = job(tokenizer, **config)
    for token in tokenizer.encode(text):
        finish = tokenizer.push(one, token)
        if finish:
            return one, finish
    return one, None


# The prompt


def test_the_prompt_is_that_of_the_chat_template(tokenizer: PromptTokenizer) -> None:
    messages = [Message.user("Hi"), Message.assistant("Ho"), Message.user("Hé")]
    ids = tokenizer.job(request(*messages, system="Be brief."), "", 0).ids
    turns = [("system", "Be brief."), ("user", "Hi"), ("assistant", "Ho"), ("user", "Hé")]
    wanted = "".join(f"<|im_start|>{role}\n{text}</s>\n" for role, text in turns) + "<|im_start|>assistant\n"
    assert ids == byte_tokenizer()(wanted, add_special_tokens=False)["input_ids"]


def test_without_a_chat_template_it_is_plain_text_with_its_beginning_marked() -> None:
    from tokenizers.processors import TemplateProcessing

    inner = byte_tokenizer()
    inner.chat_template = None
    inner._tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer = PromptTokenizer(inner, frozenset({END}), 100, 9)
    ids = tokenizer.job(request(Message.user("Hi"), system="Be brief."), "", 0).ids
    assert ids[0] == 1
    assert tokenizer.decode(ids) == "System: Be brief.\n\nUser: Hi\n\nAssistant:"


def test_messages_the_template_refuses_are_refused_in_one_sentence(tokenizer: PromptTokenizer) -> None:
    tokenizer.job(request(), "", 0)
    inner = byte_tokenizer()
    inner.chat_template = "{{ raise_exception('user and assistant must take turns') }}"
    with pytest.raises(InvalidRequestError, match="chat template refuses these messages: user and assistant must take"):
        PromptTokenizer(inner, frozenset(), 100, 9).job(request(), "", 0)


def test_a_template_runs_no_code() -> None:
    inner = byte_tokenizer()
    inner.chat_template = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    with pytest.raises(InvalidRequestError, match="unsafe"):
        PromptTokenizer(inner, frozenset(), 100, 9).job(request(), "", 0)


# Settings


def test_settings_are_those_of_the_request_and_neutral_without(tokenizer: PromptTokenizer) -> None:
    assert job(tokenizer).sampling == SamplingParams(0.0, 1.0, 0)
    assert job(tokenizer, temperature=0.5, top_p=0.9, top_k=7).sampling == SamplingParams(0.5, 0.9, 7)
    assert job(tokenizer, top_p=0).sampling.top_p == 0.0
    assert job(tokenizer, stop="a").stop == ("a",)


@pytest.mark.parametrize(
    ("told", "feature"),
    [
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"presence_penalty": -1.0}, "presence_penalty"),
        ({"logprobs": 3}, "logprobs"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"reasoning": Reasoning(effort="low")}, "reasoning"),
        ({"extensions": {"min_p": 0.1}}, "min_p"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"tools": (FunctionTool(name="add", description="", parameters={}),)}, "tools"),
    ],
)
def test_a_setting_that_would_be_ignored_is_refused(
    tokenizer: PromptTokenizer, told: dict[str, Any], feature: str
) -> None:
    with pytest.raises(UnsupportedFeatureError, match=f"and nothing else, but {feature} is set"):
        tokenizer.job(request(**told), "", 0)


@pytest.mark.parametrize("told", [{"frequency_penalty": 0.0, "presence_penalty": 0}, {"extensions": {}}])
def test_a_setting_that_changes_nothing_is_taken(tokenizer: PromptTokenizer, told: dict[str, Any]) -> None:
    assert tokenizer.job(request(**told), "", 0).ids


def test_a_part_that_is_no_text_is_refused(tokenizer: PromptTokenizer) -> None:
    picture = Message.user([ImagePart(url="http://127.0.0.1/x.png")])
    with pytest.raises(UnsupportedFeatureError, match="reads text only, got a part of type image"):
        tokenizer.job(request(picture), "", 0)


# Limits


def test_the_limit_is_the_callers_or_the_models_own_and_never_beyond_the_window(tokenizer: PromptTokenizer) -> None:
    room = 100 - len(job(tokenizer).ids)
    endless = PromptTokenizer(byte_tokenizer(), frozenset(), None, 77)
    assert [
        job(tokenizer, max_tokens=5).max_tokens,
        job(tokenizer, max_tokens=500).max_tokens,
        job(tokenizer).max_tokens,
    ] == [
        5,
        room,
        room,
    ]
    assert [job(endless).max_tokens, job(endless, max_tokens=5000).max_tokens] == [77, 5000]


def test_a_prompt_that_leaves_no_room_is_refused(tokenizer: PromptTokenizer) -> None:
    longest = 100 - len(job(tokenizer, "").ids) - 1
    assert job(tokenizer, "x" * longest).max_tokens == 1
    with pytest.raises(ContextLengthError, match=r"the prompt has 100 tokens, but the model can look at 100"):
        job(tokenizer, "x" * (longest + 1))


# The draw


def test_a_draw_is_that_of_seed_prompt_rollout_and_choice() -> None:
    one, two = (PromptTokenizer(byte_tokenizer(), frozenset(), 200, 9) for _ in range(2))
    draws = [
        job(one),
        job(one, seed=1),
        job(one, "Ho"),
        job(one, rollout="1"),
        job(one, sample=1),
    ]
    assert len({d.rng.random() for d in draws}) == 5
    same = [job(two), job(two, seed=0), job(two, temperature=0.7, top_p=0.5, max_tokens=3)]
    assert {d.rng.random() for d in same} == {job(one).rng.random()}
    assert isinstance(same[0].rng, random.Random)


# The end of a reply


def test_a_reply_ends_at_its_end_token_which_is_counted_and_not_shown(tokenizer: PromptTokenizer) -> None:
    one, finish = wrote(tokenizer, "Yes.</s>more")
    reply = tokenizer.reply(one, str(finish))
    assert (reply.text, reply.finish, reply.output_tokens, reply.input_tokens) == ("Yes.", "stop", 5, len(one.ids))


def test_a_reply_ends_at_the_limit(tokenizer: PromptTokenizer) -> None:
    one, finish = wrote(tokenizer, "abcdef", max_tokens=3)
    assert tokenizer.reply(one, str(finish)) == tokenizer.reply(one, "length")
    assert tokenizer.reply(one, "length").text == "abc"


def test_an_end_token_that_is_the_last_allowed_is_an_end(tokenizer: PromptTokenizer) -> None:
    assert wrote(tokenizer, "ab</s>", max_tokens=3)[1] == "stop"


@pytest.mark.parametrize(
    ("text", "stop", "wanted"),
    [
        ("one\n\ntwo", ("\n\n",), ("one", 5)),
        ("one two", ("two", "e"), ("on", 3)),
        ("abcabd", ("abd", "zz"), ("abc", 6)),
        ("äöü", ("ü",), ("äö", 6)),
        ("🙂🙃", ("🙃",), ("🙂", 8)),
        ("x" * 50 + "stop", ("stop",), ("x" * 50, 54)),
        ("stop", ("stop",), ("", 4)),
    ],
)
def test_a_reply_ends_before_a_stop_string_whose_tokens_are_counted(
    tokenizer: PromptTokenizer, text: str, stop: tuple[str, ...], wanted: tuple[str, int]
) -> None:
    one, finish = wrote(tokenizer, text + " and more", stop=stop)
    assert finish == "stop"
    reply = tokenizer.reply(one, finish)
    assert (reply.text, reply.output_tokens) == wanted


def test_a_stop_string_that_never_comes_changes_nothing(tokenizer: PromptTokenizer) -> None:
    one, finish = wrote(tokenizer, "abc</s>", stop=("abd", "c</s>"))
    assert tokenizer.reply(one, str(finish)).text == "abc"


def test_of_two_stop_strings_in_one_token_the_first_cuts(tokenizer: PromptTokenizer) -> None:
    one = job(tokenizer, stop=("b", "a"))
    for token in tokenizer.encode("xab"):
        one.written.append(token)
    assert tokenizer.reply(one, "stop").text == "x"
