"""Where a Ray cluster is not reachable or Ray not installed, one sentence says so at once."""

import os
import socket
import sys

import pytest

from tale_dspy.errors import MissingExtraError, UsageError
from tale_dspy.runs.ray_cluster import ray_cluster


def test_without_ray_the_pip_line_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tale-dspy\[ray\]'"), ray_cluster("local"):
        pass


def test_an_address_where_nothing_listens_is_refused_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        pytest.raises(UsageError, match=f"no Ray cluster is reachable at 127.0.0.1:{port}"),
        ray_cluster(f"127.0.0.1:{port}"),
    ):
        pass


@pytest.mark.parametrize("address", ["nonsense", "host:", ":6379", "host:port"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="--ray is local, auto or the HOST:PORT of a cluster"), ray_cluster(address):
        pass


def test_the_environment_is_as_it_was_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    before = dict(os.environ)
    with pytest.raises(UsageError), ray_cluster("nonsense"):
        pass
    assert dict(os.environ) == before
