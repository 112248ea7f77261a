"""What `tale train --eval` asks, and where."""

import pytest

from tale_dspy.cli.proving import Proof
from tale_dspy.errors import UsageError


@pytest.mark.parametrize("base", ["embedded", "local:embedded"])
def test_the_model_that_ships_is_proved_on_its_own_unseen_stories(base: str) -> None:
    assert Proof().checked(base) == Proof(data="embedded:test")


def test_other_models_need_questions_and_servers_the_names_of_both() -> None:
    with pytest.raises(UsageError, match="--eval needs --eval-data"):
        Proof().checked("some/model")
    with pytest.raises(UsageError, match="needs --eval-model and --eval-base-model"):
        Proof(data="x.csv", api_base="http://127.0.0.1/v1", model="tuned").checked("some/model")
    served = Proof(data="x.csv", api_base="http://127.0.0.1/v1", model="tuned", base_model="some/model")
    assert served.checked("some/model") == served
