"""Modules that say how many tokens a question deserves: by asking a model, from examples, or by a regression."""
