"""The command line: one file a command, no logic.

Everything here calls what `import tale_dspy` offers, too.
"""
