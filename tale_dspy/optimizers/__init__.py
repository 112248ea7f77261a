"""Optimizers, one algorithm a file; each is a `dspy.teleprompt.Teleprompter`.

`fixed_budget`: the one budget that serves all questions best, the bar every per-question method must pass.
"""
