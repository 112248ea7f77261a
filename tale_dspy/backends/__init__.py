"""From a model string to a `dspy.LM`, and what a model counts and costs.

`lm.py` is the way in. `history.py` reads what DSPy tells about a call; `tokens.py` and `prices.py` answer for what a
provider does not tell, and `worst_case.py` for what is not known yet. `meter.py` hangs a ledger into DSPy's callbacks.
"""
