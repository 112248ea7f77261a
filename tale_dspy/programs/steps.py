"""One generator for a module's `forward` and `aforward`.

It yields its calls, and a driver makes them with or without `await`.

def steps(self, kwargs):                     # written once
with self.call_scope() as calls:
raw = yield call_of(self.predict, kwargs)
return self.to_prediction(raw, calls)
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import dspy

from tale_dspy.protocols import AsyncProgram
from tale_dspy.step_drivers import adrive, drive

Result = TypeVar("Result")


@dataclass(frozen=True)
class PendingCall:
    """A call that a driver makes: by `call`, or by awaiting `acall`."""

    call: Callable[[], Any]
    acall: Callable[[], Awaitable[Any]]


Steps = Generator[PendingCall, Any, Result]
"""Yields calls, is sent what each returned or raised, and returns a result."""


def call_of(module: dspy.Module, kwargs: Mapping[str, object]) -> PendingCall:
    """Return the call of a module with these arguments.

    Where it is awaited, a module without an `aforward` works in a thread.
    """
    return PendingCall(lambda: module(**kwargs), lambda: _awaitable_call(module, kwargs))


def _awaitable_call(module: Any, kwargs: Mapping[str, object]) -> Awaitable[Any]:
    call: Callable[..., Awaitable[Any]] = module.acall
    if not isinstance(module, AsyncProgram):
        call = dspy.asyncify(module)
    return call(**kwargs)


def run_steps(steps: Steps[Result]) -> Result:
    """Make the calls of a generator one after another and return its result."""
    return drive(steps, lambda pending: pending.call())


async def arun_steps(steps: Steps[Result]) -> Result:
    """Await the calls of a generator one after another and return its result."""
    return await adrive(steps, lambda pending: pending.acall())


def gathered(calls: Sequence[PendingCall]) -> PendingCall:
    """Return one call that makes several.

    They are made one after another, or all at once where they are awaited.
    """

    async def acall() -> list[Any]:
        return list(await asyncio.gather(*(pending.acall() for pending in calls)))

    return PendingCall(lambda: [pending.call() for pending in calls], acall)
