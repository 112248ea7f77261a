"""A Ray cluster to work on: a new one, or one that runs already.

Ray learns nothing of keys: workers of `local` inherit the environment of this process, those of a cluster have that of
their nodes. Its usage statistics, its dashboard and the token file in the home directory are off.
"""

import os
import secrets
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from tale_dspy.errors import MissingExtraError, UsageError

LOCAL = "local"
CONNECT_S = 10.0
"""Seconds until a cluster that does not answer counts as not reachable."""
STORE_BYTES = 80_000_000
"""Memory of Ray's object store on a cluster of one's own, about the least it takes: only figures go through it."""


@contextmanager
def ray_cluster(address: str, cpus: int | None = None) -> Iterator[Any]:
    """Connect to a cluster, or start one that ends with the block.

    A process that is already connected uses that connection, and stays connected.

    Args:
        address: `local`, `auto` (a cluster that runs on this machine, or the one of `RAY_ADDRESS`), or `host:port`.
        cpus: Workers at once of a cluster of one's own; None takes the cores of this machine.

    Yields:
        The module `ray`.

    Raises:
        MissingExtraError: If Ray is not installed.
        UsageError: If no cluster is reachable there.
    """
    with _set_environment(_settings(address)):
        try:
            import ray
        except ImportError as e:
            raise MissingExtraError("ray", "ray") from e
        if ray.is_initialized():
            yield ray
            return
        _reread_environment()
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        folder = tempfile.mkdtemp(prefix="tale-ray-") if address == LOCAL else None
        if address not in (LOCAL, "auto"):
            _require_listener(address)
        try:
            _connect(ray, address, cpus, folder)
            for number, handler in handlers.items():  # Ray puts its own there, which ends the process at once
                signal.signal(number, handler)
            yield ray
        finally:
            ray.shutdown()
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
    _reread_environment()


def _settings(address: str) -> dict[str, str]:
    settings = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    if "RAY_AUTH_MODE" not in os.environ:
        settings["RAY_AUTH_MODE"] = "token"  # the default, of which Ray speaks on stderr where it is not set
    if address == LOCAL:
        settings["RAY_raylet_start_wait_time_s"] = "300"  # on a busy machine Ray gives up too early
        settings["RAY_worker_niceness"] = "0"  # else workers yield to everything else on the machine
        # Without one given, Ray leaves a token in the home directory.
        settings["RAY_AUTH_TOKEN"] = os.environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(32)
    return settings


def _reread_environment() -> None:
    """Let Ray read the mode and the token of its authentication again.

    It keeps those of its import, or of the cluster before: a program that imported Ray itself, or that starts a second
    cluster, would be refused by its own cluster.
    """
    raylet: Any = import_module("ray._raylet")
    try:
        config, loader = raylet.Config, raylet.AuthenticationTokenLoader
    except AttributeError:  # a version of Ray that keeps nothing of them, or keeps it elsewhere
        return
    config.initialize("")
    loader.instance().reset_cache()


@contextmanager
def _set_environment(settings: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _require_listener(address: str) -> None:
    """Refuse an address where nothing listens.

    Ray itself would try for minutes, during which Ctrl-C has no effect.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"--ray is local, auto or the HOST:PORT of a cluster, got {address!r}")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
    except (OSError, OverflowError) as e:
        raise UsageError(f"no Ray cluster is reachable at {address}: {e}") from e


def _connect(ray: Any, address: str, cpus: int | None, folder: str | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    try:
        if folder is not None:
            ray.init(
                address=LOCAL,
                num_cpus=cpus,
                include_dashboard=False,
                object_store_memory=STORE_BYTES,
                _temp_dir=folder,
                **quiet,
            )
        else:
            ray.init(address=address, **quiet)
    except ray.exceptions.AuthenticationError as e:
        raise UsageError(
            f"the Ray cluster at {address} wants a token: set RAY_AUTH_TOKEN, or RAY_AUTH_MODE=disabled if it has none"
        ) from e
    except (ConnectionError, ValueError, RuntimeError, OSError) as e:
        if folder is not None:
            raise UsageError(f"Ray does not start: {str(e).strip().splitlines()[0]}") from e
        hint = "" if address != "auto" else "; `ray start --head` starts one, and --ray local needs none"
        raise UsageError(f"no Ray cluster is reachable at {address}{hint}") from e
