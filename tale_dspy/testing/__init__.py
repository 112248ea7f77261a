"""Tools for testing programs without a provider.

They are a scripted server, a scripted solver and questions to ask.

Reading order: `messages` (what a test says to the server and hears from it), `faults`, `problems` (the questions, and
the script that answers them), `thinking` (one that thinks first), `efforts` (one whose thinking an effort word sets),
`wire`, `request_log`, `server`. Nothing here is a model: every reply is the work of a function that the caller can
read, so no accuracy or length that comes out of it says anything about language models.

Example:
    >>> from tale_dspy.testing import Reply, ScriptedServer
    >>> with ScriptedServer(lambda request: Reply("Answer: [[4]]")) as server:
    ...     pass  # dspy.LM("openai/scripted", api_base=server.url, api_key="any")
    >>> server.stats.requests
    0
"""

from typing import TYPE_CHECKING, Any

from tale_dspy.testing.efforts import EffortReply
from tale_dspy.testing.faults import Faults
from tale_dspy.testing.messages import Reply, Request
from tale_dspy.testing.problems import SolverReply, word_problems
from tale_dspy.testing.request_log import KindStats, ServerStats
from tale_dspy.testing.thinking import ThinkingReply

if TYPE_CHECKING:
    from tale_dspy.testing.server import ScriptedServer as ScriptedServer

__all__ = [
    "EffortReply",
    "Faults",
    "KindStats",
    "Reply",
    "Request",
    "ScriptedServer",
    "ServerStats",
    "SolverReply",
    "ThinkingReply",
    "word_problems",
]


def __getattr__(name: str) -> Any:
    # Late, so that `python -m tale_dspy.testing.server` does not find itself imported before it runs.
    if name == "ScriptedServer":
        from tale_dspy.testing.server import ScriptedServer

        return ScriptedServer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
