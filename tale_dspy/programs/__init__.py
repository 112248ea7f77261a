"""The paper's programs and their controls as DSPy modules, one a file.

Reading order, each adds one idea: `base` (a module with a receipt), `direct`, `cot`, `concise` and `chain_of_draft`,
`budgeted` (a given budget), `estimator` (asks for one), `tale_ep` (asks, then keeps to it), `convert` (budgets a
program that already exists), `saving` (one JSON file and back). Below them lie `predictor`, `state`, `copying` and
`typenames`.
"""
