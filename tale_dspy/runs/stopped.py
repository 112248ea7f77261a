"""What ends the questions in flight once a run has ended."""

SHUTDOWN_GRACE_S = 5.0
"""Seconds that calls in flight are given to end after Ctrl-C or a fault, so that their answers are kept."""


class RunStopped(BaseException):
    """Ends the questions in flight once the run has ended.

    It never leaves the engine.
    """
