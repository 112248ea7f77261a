"""Commands as processes of their own, on a terminal or not."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from typing import Any

# A process started in the background by a shell ignores SIGINT, and so would its children: these shall not.
_INTERRUPTIBLE = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
COMMAND = (sys.executable, "-c", f"{_INTERRUPTIBLE}; from tale_dspy.cli.main import main; raise SystemExit(main())")


def on_terminal(columns: int, *args: str, **options: Any) -> tuple[int, list[str]]:
    """Run a command with stdin, stdout and stderr, unless told otherwise, on a terminal of that width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    env = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")} | {"TERM": "xterm"}
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "env": env, **options}
    with subprocess.Popen([*COMMAND, *args], **streams) as running:
        os.close(theirs)
        screen = b""
        while chunk := _read(ours):
            screen += chunk
    os.close(ours)
    return running.returncode, plain(screen.decode())


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux tells that the other side was closed
        return b""


def plain(screen: str) -> list[str]:
    """The lines a terminal was sent, without colours and cursor movements."""
    return re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen))
