"""A DSPy provider that trains on this machine.

`dspy.BootstrapFinetune` and `lm.finetune` train with TRL through it.

`tale_dspy.LM("local:...")` brings it along. DSPy's own `LocalProvider` cannot run with a current TRL, and serves what
it trained with a server of its own; here the trained model is an adapter that the next LM of this process puts on the
base that is loaded already.
"""

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dspy import Provider, TrainingJob

from tale_dspy.backends.local.files import contents_hash
from tale_dspy.backends.local.model_path import is_local, parse_model_path
from tale_dspy.backends.local.weights import resolve_folder
from tale_dspy.dspy_bridge import TrainDataFormat, TrainingStatus, get_finetune_directory
from tale_dspy.errors import TaleError, UsageError
from tale_dspy.protocols import JsonObject

if TYPE_CHECKING:
    from tale_dspy.training.options import DpoOptions, SftOptions
    from tale_dspy.training.plan import TrainingPlan
    from tale_dspy.training.trainer import Progress, TrainedAdapter, TrainingStep

PREFERENCE = "preference"
"""The format of rows with a `chosen` and a `rejected` reply, which DSPy has no name for."""

_STRATEGIES = {TrainDataFormat.CHAT: "sft", TrainDataFormat.COMPLETION: "sft", PREFERENCE: "dpo"}
_one_at_a_time = threading.Lock()  # a trainer takes all cores, and TRL's state is the process's


class CancelledTrainingError(TaleError):
    """A training was cancelled; its last checkpoint is kept."""


class LocalTrainingJob(TrainingJob):  # type: ignore[misc]  # dspy ships no types
    """A training in a thread of this process.

    It is a future whose result is the tuned LM, or the error.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.step: TrainingStep | None = None
        """How far it is; None before the first step."""
        self._stop = threading.Event()

    def status(self) -> TrainingStatus:
        """Say where it stands; does not wait."""
        if self.done():
            failed = self.cancelled() or isinstance(self.result(), Exception)
            return TrainingStatus.cancelled if self._stop.is_set() else _ENDS[failed]
        return TrainingStatus.pending if self.step is None else TrainingStatus.running

    def cancel(self) -> bool:
        """Ask the training to end after the step it is at.

        The result is then a `CancelledTrainingError`.

        Returns:
            Whether it was still going on.
        """
        if self.done():
            return False
        self._stop.set()
        return True

    def watch(self, step: "TrainingStep") -> None:
        """Take the figures of a step.

        Raises:
            CancelledTrainingError: If `cancel` was called.
        """
        self.step = step
        if self._stop.is_set():
            raise CancelledTrainingError(f"the training was cancelled at step {step.step} of {step.steps}")


_ENDS = {True: TrainingStatus.failed, False: TrainingStatus.succeeded}


class TrlProvider(Provider):  # type: ignore[misc]  # dspy ships no types
    """Train LoRA adapters on models of this process with TRL, one at a time.

    Rows in the format `chat` (`messages`) or `completion` (`prompt` and `completion`) are fine-tuned on, the loss lying
    on the last reply alone; rows in the format `preference` (`prompt`, `chosen` and `rejected`, texts or lists of
    messages) are trained on by DPO.

    `train_kwargs` are fields of `SftOptions` or `DpoOptions`, such as `epochs` and `learning_rate`, and `out`, the
    folder of the adapter. Without it a folder under DSPy's `DSPY_FINETUNEDIR` is named after base, rows and options:
    the same call again trains nothing, and one that was killed goes on.

    Example:
        >>> lm = tale_dspy.LM("local:Qwen/Qwen3-0.6B")  # doctest: +SKIP
        >>> job = lm.finetune(rows, "preference", {"epochs": 2, "out": "adapters/short"})  # doctest: +SKIP
        >>> tuned = job.result()  # an LM, or the exception  # doctest: +SKIP
    """

    def __init__(self) -> None:
        super().__init__()
        self.finetunable = True
        self.TrainingJob = LocalTrainingJob

    @staticmethod
    def is_provider_model(model: str) -> bool:
        """Return whether a model string is one of this process."""
        return is_local(model)

    @staticmethod
    def finetune(
        job: TrainingJob,
        model: str,
        train_data: list[JsonObject],
        train_data_format: TrainDataFormat | str | None,
        train_kwargs: Mapping[str, Any] | None = None,
    ) -> str:
        """Train, and return the model string of the tuned model.

        Raises:
            UsageError: If the format or an option is unknown, or base or folder cannot be used.
            DataError: If a row cannot be trained on.
            MissingExtraError: If a package is missing.
            CancelledTrainingError: If `job.cancel` was called.
        """
        if not is_local(model):
            raise UsageError(f"{model} does not run in this process: train local:PATH, or give the LM another provider")
        strategy = _STRATEGIES.get(train_data_format or TrainDataFormat.CHAT)
        if strategy is None:
            raise UsageError(f"train_data_format must be chat, completion or {PREFERENCE}, got {train_data_format!r}")
        settings = dict(train_kwargs or {})
        out = Path(settings.pop("out", None) or _training_folder(strategy, model, train_data, settings))
        options = _read_options(strategy, settings)
        watch = job.watch if isinstance(job, LocalTrainingJob) else None
        with _one_at_a_time:
            return train(model, train_data, out, options, progress=watch).model


def train(
    base: str, data: object, out: Path, options: "SftOptions | DpoOptions", *, progress: "Progress | None" = None
) -> "TrainedAdapter":
    """Train by the strategy that the options are of; arguments as in `train_sft`."""
    from tale_dspy.training.plan import plan_training

    return run_plan(plan_training(base, data, out, options), progress)


def run_plan(plan: "TrainingPlan", progress: "Progress | None" = None) -> "TrainedAdapter":
    """Train what was planned, by the strategy of its options."""
    from tale_dspy.training.trainer import run_training

    if plan.options.strategy == "sft":
        from tale_dspy.training.sft import build
    elif plan.options.strategy == "dpo":
        from tale_dspy.training.dpo import build
    else:
        from tale_dspy.training.grpo import build
    return run_training(plan, build, progress)


def _read_options(strategy: str, settings: JsonObject) -> "SftOptions | DpoOptions":
    from tale_dspy.training.options import DpoOptions, SftOptions

    kind: Any = SftOptions if strategy == "sft" else DpoOptions
    known = {f.name for f in fields(kind)}
    strange = sorted(settings.keys() - known)
    if strange:
        raise UsageError(f"train_kwargs has {strange[0]}, but {strategy} takes out, {', '.join(sorted(known))}")
    options: SftOptions | DpoOptions = kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()})
    return options


def _training_folder(strategy: str, model: str, rows: list[JsonObject], options: JsonObject) -> Path:
    """Name a folder after all that decides the training.

    A base that was written anew counts as another one.
    """
    base = contents_hash(resolve_folder(parse_model_path(model)))
    key = json.dumps([strategy, model, base, rows, options], sort_keys=True, ensure_ascii=False, default=str)
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return Path(get_finetune_directory()) / f"tale-{strategy}-{digest}"
