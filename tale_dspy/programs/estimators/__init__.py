"""Modules that say how many tokens a question deserves.

By asking a model, from examples, or by a regression.
"""
