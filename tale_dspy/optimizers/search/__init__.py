"""The search of each question's best budget, from one question to many.

Reading order: `question` (the trials of one question), `runner` (many questions at once), `folder`,
`records`, `summary`, `budget_override` (a given budget in place of an estimator's), `offline_eval`
(trials replayed under another budget), `gain` (against the best fixed budget), `ideal_range` (the paper's measures).
"""
