"""The worst case of a call is never below what it can really cost."""

import math
import random
from typing import Any

import pydantic
import pytest
from dspy.lm15 import Config, Message, Request

from tale_dspy.accounting.reservation import RESERVED_TOKENS, Reservation, worst_case
from tale_dspy.accounting.token_counts import count_cl100k
from tale_dspy.backends.output_limit import max_output_tokens
from tale_dspy.backends.prices import Price

PER_PROMPT_TOKEN = Price(1.0, 0.0)
MESSAGES = [{"role": "user", "content": "what is 2 + 2"}]


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        ({}, None),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 8}, 8),
        ({"max_output_tokens": 9}, 9),
        ({"max_tokens": 7, "max_completion_tokens": 8}, 8),
        ({"max_tokens": None, "max_completion_tokens": 8}, 8),
        ({"max_tokens": 7.5}, 8),
        ({"max_tokens": 0}, None),
        ({"max_tokens": -1}, None),
        ({"max_tokens": math.inf}, None),
        ({"max_tokens": math.nan}, None),
        ({"max_tokens": "many"}, None),
    ],
)
def test_the_allowance_of_a_call(config: dict[str, Any], tokens: int | None) -> None:
    assert max_output_tokens(config) == tokens


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        ({}, RESERVED_TOKENS),
        ({"max_tokens": 10}, 10),
        ({"max_tokens": 10, "n": 3}, 30),
        ({"max_tokens": 10, "n": None}, 10),
        ({"max_tokens": 10, "n": "3"}, 10),
        ({"max_tokens": 10, "n": -3}, 10),
    ],
)
def test_the_tokens_of_all_choices_are_reserved(config: dict[str, Any], tokens: int) -> None:
    assert worst_case("q", config, None).tokens == tokens


def test_money_is_the_prompt_and_the_allowance_at_their_prices() -> None:
    assert worst_case("abcd", {"max_tokens": 10}, Price(1.0, 100.0)).usd == len('["abcd"]') + 1000.0


def test_without_a_price_no_money_is_reserved() -> None:
    assert worst_case("q", {"max_tokens": 10}, None) == Reservation(0.0, 10)


REQUEST = Request(model="m", messages=(Message.user("q"),), config=Config())


@pytest.mark.parametrize("request_", ["q", MESSAGES, REQUEST])
def test_every_shape_of_a_prompt_is_measured(request_: Any) -> None:
    assert worst_case(request_, {"max_tokens": 1}, PER_PROMPT_TOKEN).usd > 0


class Answer(pydantic.BaseModel):
    a_field_with_quite_a_long_name: str


@pytest.mark.parametrize(
    "along",
    [{"tools": [{"type": "function"}]}, {"response_format": Answer}, {"functions": [{"name": "a function"}]}],
)
def test_what_is_sent_beside_the_prompt_is_measured_too(along: dict[str, Any]) -> None:
    bare = worst_case(MESSAGES, {}, PER_PROMPT_TOKEN).usd
    assert worst_case(MESSAGES, along, PER_PROMPT_TOKEN).usd >= bare + 20


def test_bytes_are_an_upper_bound_of_tokens() -> None:
    chance = random.Random(0)
    alphabets = ["abc def ", "这是价格 ", "🙂🏳️‍🌈", "0123456789", "\x00\x7f\n\t", "\ud800\udfff"]
    for _ in range(200):
        text = "".join(chance.choices(chance.choice(alphabets), k=chance.randint(0, 200)))
        assert worst_case(text, {"max_tokens": 1}, PER_PROMPT_TOKEN).usd >= count_cl100k(text)
