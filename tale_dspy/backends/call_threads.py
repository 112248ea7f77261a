"""The threads beside an event loop that makes calls through LiteLLM."""

from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context
from functools import partial
from typing import Any

from tale_dspy.dspy_bridge import price_litellm_result


class CallThreads(ThreadPoolExecutor):
    """The threads of an event loop, where jobs that only compute are done in it.

    LiteLLM makes a call ready in a thread, as some providers have a request of their own for it, and DSPy looks up its
    price in another. With OpenAI's SDK and a client of this package both only compute, for less time than it takes to
    hand them over.
    """

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> "Future[Any]":
        if not only_computes(fn):
            return super().submit(fn, *args, **kwargs)
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as e:  # as in a thread, whatever it is belongs to who waits for the result
            future.set_exception(e)
        return future


def only_computes(job: object) -> bool:
    """Return whether a job of LiteLLM or DSPy waits for nobody.

    Args:
        job: `partial(context.run, function, ...)`, as `asyncio.to_thread` and `litellm.acompletion` hand it over.
    """
    if not isinstance(job, partial) or not isinstance(getattr(job.func, "__self__", None), Context) or not job.args:
        return False
    function = job.args[0]
    if function is price_litellm_result:
        return True
    if not isinstance(function, partial) or "client" not in function.keywords:
        return False
    from tale_dspy.backends.guarded_openai import GuardedAsyncOpenAI

    return isinstance(function.keywords["client"], GuardedAsyncOpenAI)
