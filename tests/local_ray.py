"""A stand-in for Ray that does everything in this process, in order: actors, tasks, waiting and cancelling."""

import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

import tale_dspy.runs.ray_shards


class Actor:
    """Calls its methods at once: `actor.method.remote(...)` gives what `LocalRay.get` hands on."""

    def __init__(self, target: Any) -> None:
        self.target = target

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.target, name)
        return SimpleNamespace(remote=lambda *arguments: Answer(method(*arguments)))


class Answer:
    """What an actor has answered: a reference, and its future."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def future(self) -> "Answer":
        return self

    def result(self) -> Any:
        return self.value


class Task:
    """A task that has been started, and has ended or raises when it is asked for."""

    def __init__(self, function: Any, arguments: tuple[Any, ...]) -> None:
        plain = [a for a in arguments if not isinstance(a, Actor)]
        pickle.loads(pickle.dumps(plain))  # Ray sends them to another process
        self.function, self.arguments = function, arguments

    def result(self) -> Any:
        return self.function(*self.arguments)


class LocalRay:
    """The parts of the module `ray` that are used."""

    def __init__(self, cpus: int = 2) -> None:
        self.cpus = cpus
        self.cancelled: list[Task] = []
        self.exceptions = SimpleNamespace(RayTaskError=_RayTaskError, RayError=_RayError)
        strategy = SimpleNamespace(NodeAffinitySchedulingStrategy=lambda node, soft: (node, soft))
        self.util = SimpleNamespace(scheduling_strategies=strategy)

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": float(self.cpus)}

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(get_node_id=lambda: "here")

    def remote(self, what: Any) -> Any:
        def make(*arguments: Any) -> Any:
            return Actor(what(*arguments)) if isinstance(what, type) else Task(what, arguments)

        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=make))

    def get(self, what: Any) -> Any:
        if isinstance(what, list):
            return [self.get(one) for one in what]
        return what.result()

    def wait(self, tasks: list[Task], timeout: float, num_returns: int = 1) -> tuple[list[Task], list[Task]]:
        return tasks[:num_returns], tasks[num_returns:]

    def cancel(self, task: Task, force: bool, recursive: bool) -> None:
        self.cancelled.append(task)


class _RayError(Exception):
    pass


class _RayTaskError(_RayError):
    cause = ValueError("a bug")


def use_local_ray(monkeypatch: pytest.MonkeyPatch, cpus: int = 2) -> LocalRay:
    """Have shards run on the stand-in."""
    local = LocalRay(cpus)

    @contextmanager
    def cluster(address: str) -> Iterator[LocalRay]:
        yield local

    monkeypatch.setitem(sys.modules, "ray", local)  # type: ignore[arg-type]
    monkeypatch.setattr(tale_dspy.runs.ray_shards, "ray_cluster", cluster)
    return local
