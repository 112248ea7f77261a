"""What each call was asked, sent and spent; the ledger, the caps, and one way into the books.

Reading order: `receipts` (what one prediction cost), `history` (what DSPy tells about a call), `token_counts` (what a
provider does not tell), `reservation` (the most a call can cost), `ledger` (totals and caps), `tracking` (DSPy's
callbacks).
"""
