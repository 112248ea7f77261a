"""Modules that estimate how many tokens a question needs.

They ask a model, use examples, or use a regression.
"""
