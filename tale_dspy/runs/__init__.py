"""The run engine: many questions at once, each call journalled before its answer is used, stopped and resumed at will.

Reading order: `records` (what a finished question holds), `folder` (the files),
`session` (one LM call inside a run), `scoring` (from a prediction to an outcome), `engine` (`evaluate`).
"""
