"""Make a `dspy.LM` of a model string.

It adds reasoning controls, limits, retries and prices.

`lm` is the way in. `reasoning_controls` holds what each model family takes, `reasoning_params` turns a budget into the
parameters of one call, `retry` and `limiter` decide when a call is sent again, `local` runs a model in this process.
"""
