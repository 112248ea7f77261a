"""A dataclass that a command takes is spelled out as flags, and reaches the command built."""

import inspect
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import typer

from tale_dspy.cli.groups import Command, expand_dataclass

Count = Annotated[int, typer.Option(help="How many.")]


@dataclass(frozen=True)
class Group:
    name: Annotated[str, typer.Option(help="A name.")]
    count: Count = 3
    secret: str = "kept"


@dataclass(frozen=True, kw_only=True)
class Other(Group):
    name: Annotated[str, typer.Option(help="Another name.")] = "x"


def called(command: Command, words: str) -> Any:
    """What a command gives when it is told these words."""
    app = typer.Typer()
    app.command()(command)
    return app(words.split(), standalone_mode=False)


def test_a_command_gets_its_dataclass_built() -> None:
    @expand_dataclass()
    def run(group: Group, loud: bool = False) -> Any:
        return group, loud

    assert called(run, "--name a --count 7 --loud") == (Group("a", 7), True)
    assert called(run, "--name a") == (Group("a"), False)


def test_flags_stand_where_the_dataclass_stands_and_required_ones_first() -> None:
    def run(*, first: Count = 1, group: Group, last: Count = 2) -> int:
        """Say it."""
        return 0

    command = expand_dataclass()(run)
    parameters = inspect.signature(command).parameters
    assert list(parameters) == ["name", "first", "count", "last"]
    assert [p.default for p in parameters.values()] == [inspect.Parameter.empty, 1, 3, 2]
    assert (command.__name__, command.__doc__) == ("run", "Say it.")


def test_a_field_declared_again_keeps_its_place() -> None:
    @expand_dataclass()
    def run(group: Other) -> Any:
        return group

    name, count = inspect.signature(run).parameters.values()
    assert name.annotation.__metadata__[0].help == "Another name."
    assert count.annotation == Count
    assert called(run, "") == Other(name="x")


def test_what_is_left_out_is_no_flag_and_keeps_its_default() -> None:
    @expand_dataclass(without=["count"])
    def run(group: Group) -> Any:
        return group

    assert list(inspect.signature(run).parameters) == ["name"]
    assert called(run, "--name a") == Group("a")


def test_one_flag_cannot_mean_two_things() -> None:
    with pytest.raises(ValueError, match="duplicate parameter name: 'count'"):

        @expand_dataclass()
        def run(group: Group, count: int = 1) -> int:
            return 0
