"""The run engine: many questions at once, each call journalled before its answer is used, stopped and resumed at will.

Reading order: `records` (what a finished question holds), `folder` (the files), `retry` (what is tried again),
`session` (one LM call inside a run), `scoring` (from a prediction to an outcome), `engine` (`evaluate`).
Then two runs side by side: `paired` (statistics), `sides`, `claims` (what may be called a saving), `balance` (does the
estimator pay), `changes`, `wording`, `compare`.
"""
