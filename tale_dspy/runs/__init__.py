"""The run engine: many questions at once, stopped and resumed at will.

Each call is journalled before its answer is used.

Reading order: `records` (what a finished question holds), `folder` (the files),
`session` (one LM call inside a run), `scoring` (from a prediction to an outcome), `engine` (`evaluate`).
"""
