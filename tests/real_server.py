"""A real `transformers serve` for tests."""

import os
import socket
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def served(home: Path, *models: Path) -> Iterator[str]:
    """Serve models, each by its folder as name, and give the address.

    Args:
        home: An empty folder for the cache of the hub.
        *models: The one model that is served; none lets each request name its own.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [Path(sysconfig.get_path("scripts")) / "transformers", "serve", *models, "--device", "cpu"]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", port],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            output = []
            for line in server.stdout:
                output.append(line)
                if "running on" in line:
                    break
            else:
                pytest.fail("the server did not start:\n" + "".join(output))
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            server.communicate()
