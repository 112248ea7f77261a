"""Decide who may write to the screen.

Results and warnings of this package may, the libraries below may not.

LiteLLM, DSPy and the HTTP clients log, warn and print on their own. What they have to say comes out as an outcome, an
error or an exit code; the lines themselves would only break the live bar and whoever reads our stderr.
"""

import atexit
import contextlib
import io
import logging
import os
import sys
import threading
import warnings

from tale_dspy.display import visible

_ENVIRONMENT = {
    # Prices come from the table that is installed: the same on each run, and no fetch on a closed network.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOG": "CRITICAL",
    "DATASETS_VERBOSITY": "critical",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_VERBOSITY": "critical",
}
"""Read by the libraries when they are imported; what the user has set himself stays."""
_LOGGERS = ("LiteLLM", "LiteLLM Proxy", "LiteLLM Router", "asyncio", "httpx", "openai")
_WARNERS = r"(aiohttp|asyncio|dspy|httpx|litellm|openai|pydantic)(\.|$)"


class StderrHandler(logging.StreamHandler):  # type: ignore[type-arg]  # generic for type checkers only
    """Write to the present `sys.stderr`.

    A live bar replaces it. What a record holds of a model's or a server's text cannot command the terminal.
    """

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def set_up() -> None:
    """Send this package's warnings to stderr and silence the libraries.

    Characters that the encoding lacks do not break the output.
    """
    if sys.stdout is None:  # closed by the caller, as `>&-` does
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[StderrHandler()])
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if not sys.warnoptions:
        warnings.filterwarnings("ignore", module=_WARNERS)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a lone surrogate, or a terminal that is not UTF-8
            stream.reconfigure(errors="backslashreplace")


def drop_stdout() -> None:
    """Discard what is left for stdout: its reader left, or its disk is full."""
    with contextlib.suppress(OSError, ValueError):  # not a file at all, as in a test
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def leave_at_once(code: int) -> None:
    """End the process without shutting the interpreter down.

    A request that was given up may still be in flight. Its thread may hold an import lock for ever, and LiteLLM imports
    once more when it is torn down: the process would hang where the user has just pressed Ctrl-C.
    """
    if any(thread.name.startswith("tale-") for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        atexit.register(os._exit, code)
