"""Account for what each LM call was sent and spent.

It holds the ledger, the caps, and the one way to book a call.

Reading order: `receipts` (what one prediction cost), `history` (what DSPy says about a call), `token_counts` (what a
provider does not say), `reservation` (the most a call can cost), `ledger` (totals and caps), `tracking` (DSPy's
callbacks).
"""
