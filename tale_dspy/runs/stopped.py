"""What ends the questions in flight once a run has ended."""


class RunStopped(BaseException):
    """Ends the questions in flight once the run has ended.

    It never leaves the engine.
    """
