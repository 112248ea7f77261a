"""InternalizeBudget: the same program on a model that is short by itself.

It is TALE-PT (paper, section 5.3).
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import dspy

from tale_dspy.backends.local.model_path import is_local
from tale_dspy.comparison.gate import GateResult, noninferiority_test
from tale_dspy.datasets import Dataset
from tale_dspy.dspy_bridge import Teleprompter
from tale_dspy.errors import UsageError
from tale_dspy.optimizers.budget_search import BudgetSearch
from tale_dspy.optimizers.search.budget_override import budgeted_predictors
from tale_dspy.optimizers.search.records import SearchRow
from tale_dspy.programs.base import TaleModule
from tale_dspy.programs.convert import budgeted, unbudgeted
from tale_dspy.programs.copying import copy_program, modules_of
from tale_dspy.protocols import JsonObject, LanguageModel, Program
from tale_dspy.runs.options import RunOptions
from tale_dspy.runs.questions import questions_of
from tale_dspy.runs.records import Run
from tale_dspy.runs.scoring import Metric
from tale_dspy.runs.shared_caps import SharedCaps

if TYPE_CHECKING:
    from tale_dspy.training.options import DpoOptions, SftOptions
    from tale_dspy.training.trainer import Progress, TrainedAdapter

logger = logging.getLogger(__name__)

Strategy = Literal["sft", "dpo"]
STRATEGIES: tuple[Strategy, ...] = ("sft", "dpo")


class InternalizeBudget(Teleprompter):  # type: ignore[misc]  # dspy ships no types
    """Train the model on its own short replies, and test that it is not worse.

    It searches budgets, distils the short replies, trains on them, and lets the gate decide. The program that comes
    back has no budgets: its predictors ask the tuned model plainly. Where the gate fails or cannot decide, the model is
    kept and marked, and a warning says so.

    Args:
        strategy: `sft` trains on the short replies; `dpo` prefers them to those without a budget.
        out: Folder of everything: `search`, the rows, `adapter-sft` or `adapter-dpo`, and the runs of the gate. The
            same call continues what was killed there, and repeats nothing that is finished.
        metric: As in `evaluate`; None compares answers.
        train: Options of the training; None takes the defaults of the strategy.
        search: Arguments of `BudgetSearch`: `sampler`, `calls_per_question`, `repeats`, `seed`.
        min_saving: As in `noninferiority_test`.
        max_drop: As in `noninferiority_test`.
        max_usd: Cap on US dollars of search and evaluations together; a local model costs none, a metric may.
        max_total_output_tokens: Cap on completion tokens of the same.
        **options: As in `evaluate`, for search and gate: `lm`, `adapter`, `concurrency`, `timeout` ...; `progress`
            hears of evaluations and search, `train_progress` of each training step.

    Raises:
        UsageError: If an argument cannot be used.

    Attributes:
        rows: What the last search found.
        trained: The adapter of the last training.
        verdict: What the gate said of it; None without a valset.

    Example:
        >>> tuning = InternalizeBudget("sft", out="runs/short", lm=tale_dspy.LM("embedded"))  # doctest: +SKIP
        >>> program = tuning.compile(VanillaCoT("question -> answer"), trainset=a, valset=b)  # doctest: +SKIP
        >>> program.gate.passed  # doctest: +SKIP
        True
    """

    def __init__(
        self,
        strategy: Strategy = "sft",
        *,
        out: str | Path,
        metric: Metric | None = None,
        train: "SftOptions | DpoOptions | None" = None,
        search: Mapping[str, Any] | None = None,
        min_saving: float = 0.3,
        max_drop: float = 0.01,
        max_usd: float | None = None,
        max_total_output_tokens: int | None = None,
        **options: Any,
    ) -> None:
        if strategy not in STRATEGIES:
            raise UsageError(f"strategy must be one of {', '.join(STRATEGIES)}, got {strategy!r}")
        if train is not None and train.strategy != strategy:
            raise UsageError(f"train holds options of {train.strategy}, but the strategy is {strategy}")
        taken = sorted({"max_usd", "max_total_output_tokens", "out"} & set(search or {}))
        if taken:
            raise UsageError(f"search takes no {taken[0]}: that of InternalizeBudget holds for its search, too")
        self.strategy: Strategy = strategy
        self.out, self.metric, self.train = Path(out), metric, train
        self.search = dict(search or {})
        self.min_saving, self.max_drop = min_saving, max_drop
        self.max_usd, self.max_total_output_tokens = max_usd, max_total_output_tokens
        self.train_progress: Progress | None = options.pop("train_progress", None)
        SharedCaps(max_usd, max_total_output_tokens)
        RunOptions(**options)  # both said now, and not after the search
        self.options = options
        self._reset_results()

    def _reset_results(self) -> None:
        self.rows: list[SearchRow] = []
        self.trained: TrainedAdapter | None = None
        self.verdict: GateResult | None = None

    def compile(
        self,
        student: Any,
        *,
        trainset: Dataset | Sequence[object],
        teacher: Any = None,
        valset: Dataset | Sequence[object] | None = None,
        **kwargs: object,
    ) -> Any:
        """Return a copy of the student without budgets, bound to the tuned model.

        The gate's verdict is its `gate`.

        Args:
            student: A program with chains of thought, budgeted or not; not changed.
            trainset: Questions to search and to train on.
            teacher: Not used.
            valset: Questions for the gate, which must not be among the trainset; near-duplicates of them are not
                trained on. None leaves the gate out, with a warning.
            **kwargs: Not used.

        Raises:
            UsageError: If the model does not run in this process, there is nothing to budget, or questions are in both
                sets.
            DataError: If the search found nothing to train on.
            SpendCapReached: If the cap ended it; the same call continues with a new one.
            MissingExtraError: If the extra `train` is not installed.
        """
        self._reset_results()
        lm = self._language_model()
        _check_apart(trainset, valset)
        searched, plain = _budgeted_and_plain(student)
        caps = SharedCaps(self.max_usd, self.max_total_output_tokens)
        base = None if valset is None else self._run_program(plain, lm, valset, "base", caps)
        self._search_budgets(searched, lm, trainset, caps)
        self.trained = self._train_adapter(plain, lm)
        tuned = lm.copy(model=self.trained.model)
        program = self._bind_adapter(plain, tuned)
        if base is None or valset is None:
            logger.warning("no valset: whether the tuned model is shorter and not worse was not looked at")
        else:
            self._judge_adapter(base, self._run_program(program, tuned, valset, f"tuned-{self.strategy}", caps))
        program.gate = self.verdict
        return program

    def _language_model(self) -> Any:
        lm = self.options.get("lm") or dspy.settings.lm
        if lm is None or not is_local(getattr(lm, "model", None)):
            name = "none is configured" if lm is None else f"{lm.model} does not"
            raise UsageError(
                f"InternalizeBudget trains the model it asks, which must run in this process (local:PATH or embedded); "
                f"{name}: search with BudgetSearch, then tale distill and tale train"
            )
        return lm

    def _run_program(self, program: Any, lm: Any, examples: Any, name: str, caps: SharedCaps) -> Run:
        options = {"name": type(program).__name__, **self.options, "lm": lm}
        return caps.evaluate(program, examples, metric=self.metric, out=self.out / name, **options)

    def _search_budgets(self, program: Any, lm: LanguageModel, trainset: Any, caps: SharedCaps) -> None:
        run_options = {k: v for k, v in self.options.items() if k not in ("name", "repeats", "allow_leak")}
        options: JsonObject = {**run_options, "lm": lm, **caps.left(), **self.search, "out": self.out / "search"}
        search = BudgetSearch(self.metric, **options)
        try:
            search.compile(program, trainset=trainset)
        finally:
            caps.ledger.absorb(search.caps.ledger)
        self.rows = search.rows

    def _train_adapter(self, plain: Any, lm: Any) -> "TrainedAdapter":
        from tale_dspy.training.distill import distill
        from tale_dspy.training.options import DpoOptions, SftOptions
        from tale_dspy.training.provider import train

        excluded = [self.out / "base"] if (self.out / "base").is_dir() else []
        rows = distill(self.rows, self.strategy, plain, adapter=self.options.get("adapter"), exclude=excluded)
        rows.save(self.out / f"{self.strategy}.jsonl")
        options = self.train or (SftOptions() if self.strategy == "sft" else DpoOptions())
        place = self.out / f"adapter-{self.strategy}"
        return train(lm.model, rows.dataset, place, options, progress=self.train_progress)

    def _bind_adapter(self, plain: Program, tuned: Program) -> Any:
        """Return the program with the tuned model where it was trained for.

        The program remembers the questions that the model has seen.
        """
        program = copy_program(plain)
        names = {row.predictor for row in self.rows}
        predictors = list(program.named_predictors())
        for name, predictor in predictors:
            if len(predictors) == 1 or name in names or name.removesuffix(".predict") in names:
                predictor.lm = tuned
        for module in modules_of(program):
            if isinstance(module, TaleModule):
                module.seen.add((row.id for row in self.rows), "search")
        return program

    def _judge_adapter(self, base: Run, tuned: Run) -> None:
        from tale_dspy.training.adapter_eval import record_verdict

        self.verdict = noninferiority_test(base, tuned, min_saving=self.min_saving, max_drop=self.max_drop)
        if self.trained is not None:
            record_verdict(self.trained.path, self.verdict)
        if not self.verdict.passed:
            logger.warning("the tuned model is kept and marked %s", self.verdict)


def _budgeted_and_plain(student: Program) -> tuple[Any, Any]:
    """Return the program with budgets that is searched, and the deployed one.

    The deployed program has no budgets.
    """
    if not isinstance(student, dspy.Module):
        raise UsageError(f"the student must be a dspy.Module, got {type(student).__name__}")
    if budgeted_predictors(student):
        return student, unbudgeted(student)
    return budgeted(student), copy_program(student)


def _check_apart(trainset: Any, valset: Any) -> None:
    """Say now that questions are in both sets, and not after the search."""
    if valset is None:
        return
    both = len({*questions_of(trainset).ids()} & {*questions_of(valset).ids()})
    if both:
        raise UsageError(f"{both} questions are in both trainset and valset: the gate needs questions nobody has seen")
