"""Where a Ray cluster is not reachable or Ray not installed, one sentence says so at once."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tale_dspy.errors import MissingExtraError, UsageError
from tale_dspy.runs.ray_cluster import ray_cluster

TWO_CLUSTERS = """
import os
import ray  # by the program itself, before this library sets what Ray reads at its import
from tale_dspy.runs.ray_cluster import ray_cluster

for _ in range(2):
    with ray_cluster("local", cpus=1):
        print(ray.get(ray.remote(lambda: "worked").remote()))
print([name for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN") if name in os.environ])
"""


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


def test_a_program_that_has_imported_ray_starts_one_cluster_after_another(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | {"HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", TWO_CLUSTERS], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.stdout.splitlines() == ["worked", "worked", "[]"], done.stderr
    assert not (tmp_path / ".ray").exists(), "no token is left in the home directory"
