"""Samplers that search the best token budget of one question, one a file.

Each is an Optuna `BaseSampler`.

`base`: the conventions of a study, and what all but TPE share. `halving`: the paper's search. `tpe`: Optuna's own.
`grid`: every budget, the truth that the others are held against. `elastic`: ours, which learns from question to
question, upon `elasticity_model` (its posterior of a model), `fit_elasticity` (how that is learned), `acquisition`
(the saving a call is expected to bring) and `trust` (how expected savings compare with real ones). Importing this
package loads nothing; Optuna comes with the first name used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
