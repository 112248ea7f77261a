"""Optimizers, one algorithm a file.

Those with a `compile` are `dspy.teleprompt.Teleprompter`s.

`fixed_budget`: the one budget that serves all questions best, the bar every per-question method must pass.
`budget_search`: each question's best budget, and an estimator that has learned from them.
`pareto`: wording, demos, budgets, estimator and mode tuned together, as a `front` of programs.
`token_metric`: the metric with which MIPROv2 and GEPA look at tokens, too.
`calibrate`: the smallest budgets that provably lose no more right answers than allowed.
`budget_sweep`: a program at several budgets, which token elasticity is seen on; `ideal_range`: the paper's measures.
"""
