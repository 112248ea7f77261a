"""What ends the questions in flight once a run has ended."""


class RunStopped(BaseException):
    """Ends the questions in flight once the run has ended.

    Never seen outside the engine.
    """
