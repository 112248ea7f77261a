"""BudgetSearch: find each question's best budget, and give the program an estimator that has learned from it."""

import json
import threading
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dspy
from dspy.teleprompt import Teleprompter

from tale_dspy.datasets import Dataset, example_ids
from tale_dspy.errors import UsageError
from tale_dspy.optimizers.question_search import Draw, Reply, Search, SearchPlan, search_question
from tale_dspy.optimizers.search_rows import SEARCH_FILE, SearchRow, Trial, Vanilla
from tale_dspy.programs.convert import replace_modules, unbudgeted
from tale_dspy.programs.copying import copy_program
from tale_dspy.programs.tale_ep import TaleEP
from tale_dspy.receipts import Call
from tale_dspy.runs.engine import evaluate, gold_field, questions_of
from tale_dspy.runs.records import Run, read_jsonl
from tale_dspy.runs.scoring import Metric, Question, aask, ask
from tale_dspy.runs.session import Unit

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
