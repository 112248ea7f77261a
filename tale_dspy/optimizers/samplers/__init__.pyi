from .base import BudgetSampler as BudgetSampler
from .base import History as History
from .base import Observation as Observation
from .base import history_of as history_of
from .elastic import ElasticSampler as ElasticSampler
from .grid import GridSampler as GridSampler
from .halving import HalvingSampler as HalvingSampler
from .tpe import TPESampler as TPESampler
