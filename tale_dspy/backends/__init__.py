"""From a model string to a `dspy.LM`, and what a model counts and costs.

`lm.py` is the way in; `tokens.py` and `prices.py` answer for what a provider does not tell; `meter.py` hangs a ledger
into DSPy's callbacks.
"""
