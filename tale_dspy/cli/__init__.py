"""The command line: one file a command, no logic; everything here calls what `import tale_dspy` offers, too."""
