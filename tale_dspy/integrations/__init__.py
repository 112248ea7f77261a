"""Budgets outside DSPy: LiteLLM proxy, inspect_ai, mlflow, JSON.

`policy` is what they share: the budget a saved program gives a question. `exports` lists what `tale export` writes.
Each integration loads its package at first use, and needs the extra named after it.
"""
