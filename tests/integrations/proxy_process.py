"""A real `litellm` proxy with an exported folder, in front of a scripted backend."""

import os
import socket
import subprocess
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

KEY = "sk-5f0e6b8a1c2d4e3f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d"
START_S = 180.0


@dataclass(frozen=True)
class Proxy:
    """A proxy that answers."""

    url: str
    folder: Path
    """Where the exported files are."""
    log: Path
    key: str = KEY


def models_config(backend: str, callbacks: str = "[tale_hook.tale, prometheus]") -> str:
    """The configuration that was exported, with models of three families at a scripted backend."""
    rows = {
        "plain": ("openai/gpt-4o-mini", backend),
        "thinker": ("openai/gpt-5-mini", backend),
        "claude": ("anthropic/claude-opus-5", backend.removesuffix("/v1")),
    }
    models = "".join(
        f"  - model_name: {name}\n    litellm_params: {{model: {model}, api_base: '{base}', api_key: none}}\n"
        for name, (model, base) in rows.items()
    )
    router = (
        "  - model_name: auto\n    litellm_params:\n      model: auto_router/complexity_router\n"
        "      complexity_router_config:\n        classifier_type: custom\n        classifier_plugin: tale_hook.tier\n"
        "        tiers: {SIMPLE: plain, COMPLEX: thinker}\n"
    )
    general = "general_settings:\n  master_key: os.environ/LITELLM_MASTER_KEY\n"
    return f"model_list:\n{models}{router}litellm_settings:\n  callbacks: {callbacks}\n{general}"


@contextmanager
def running_proxy(folder: Path, **extra_env: str) -> Iterator[Proxy]:
    """Start an exported folder as its README says, and end it afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    scripts = sysconfig.get_path("scripts")
    env: Mapping[str, str] = {
        **os.environ,
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]),
        "LITELLM_MASTER_KEY": KEY,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "PORT": str(port),
        **extra_env,
    }
    log = folder / "proxy.log"
    with (
        log.open("w") as out,
        subprocess.Popen(["sh", folder / "start.sh"], env=env, stdout=out, stderr=out) as process,
    ):
        try:
            _wait(f"http://127.0.0.1:{port}/health/liveliness", process, log)
            yield Proxy(f"http://127.0.0.1:{port}", folder, log)
        finally:
            process.terminate()
            process.wait(30)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"the proxy did not start:\n{log.read_text()[-3000:]}")
