"""Two runs side by side, question by question.

A comparison says what a budget saved, and what it cost in right answers.

Reading order: `paired` (statistics of pairs), `run_stats`, `caveats` (what may be called a saving), `break_even` (does
the estimator pay), `changes`, `formatting`, `compare`, `noninferiority` (Tango's bound), `gate`, `comparability`.
"""
