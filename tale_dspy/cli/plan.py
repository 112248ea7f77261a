"""From flags to one call of `tale_dspy.evaluate`: the glue that `tale eval`, `reproduce` and `demo` share."""

import functools
import hashlib
import logging
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tale_dspy.cli import flags
from tale_dspy.errors import UsageError

if TYPE_CHECKING:
    from tale_dspy.datasets import Dataset
    from tale_dspy.receipts import Price
    from tale_dspy.runs.options import Tally
    from tale_dspy.runs.records import Run

logger = logging.getLogger(__name__)

ADAPTERS = ("tale", "chat", "json", "xml")
RESCUES = ("answer", "escalate")

_PLAIN_NAME = re.compile(r"[a-z0-9][a-z0-9_.]*(?:-[a-z0-9_.]+)*")
_PLAIN_PROGRAM = re.compile(r"[a-z-]+|budget:(?:\d{1,9}|\d\.\d{1,3}x|best)")
_PLAIN_MODEL = re.compile(r"[a-z0-9_]+/[a-z0-9_.]{1,40}(?:-[a-z0-9_.]{1,40}){0,4}")
"""What is told apart by its readable name alone: see `Plan.folder`."""
_REASONING = re.compile(r"(?:^|/)(?:o\d|gpt-5)(?!.*-chat)")
"""OpenAI models that think natively, and refuse a temperature and small allowances."""


OF_BUDGETS = ("vanilla", "train_data", "train_limit")
"""Flags that `tale eval` alone has: they are for its programs budget:0.25x and budget:best."""


@dataclass(frozen=True)
class Plan:
    """Everything `tale eval` was told: its flags, in the order of its help."""

    program: flags.Program
    data: flags.Data
    model: flags.Model
    inputs: flags.Inputs = None
    gold: flags.Gold = None
    api_base: flags.ApiBase = None
    engine: flags.Engine = "litellm"
    server: flags.Server = None
    limit: flags.Limit = None
    offset: flags.Offset = 0
    concurrency: flags.Concurrency = 32
    rpm: flags.Rpm = None
    tpm: flags.Tpm = None
    fallback: flags.Fallback = None
    temperature: flags.Temperature = None
    max_tokens: flags.MaxTokens = None
    timeout: flags.Timeout = 120.0
    retries: flags.Retries = 5
    retry_errors: flags.RetryErrors = False
    metric: flags.MetricFlag = None
    max_usd: flags.MaxUsd = None
    max_total_output_tokens: flags.MaxTotalTokens = None
    price_in: flags.PriceIn = None
    price_out: flags.PriceOut = None
    repeats: flags.Repeats = 1
    preset: flags.Preset = None
    cache: flags.Cache = True
    seed: flags.Seed = None
    adapter: flags.Adapter = "tale"
    mode: flags.Mode = None
    mark: flags.Mark = None
    allow_leak: flags.AllowLeak = False
    rescue: flags.Rescue = None
    vanilla: flags.Vanilla = None
    train_data: flags.TrainData = None
    train_limit: flags.TrainLimit = 100
    out: flags.Out = None
    api_key: str | None = field(default=None, repr=False)
    """No flag: a command line can be seen by others."""

    def checked(self) -> Self:
        """Return the plan with its preset filled in, or say which flag cannot be used."""
        for flag, value, least in (
            ("--limit", self.limit, 1),
            ("--offset", self.offset, 0),
            ("--max-tokens", self.max_tokens, 1),
            ("--train-limit", self.train_limit, 1),
        ):
            if value is not None and value < least:
                raise UsageError(f"{flag} must be at least {least}, got {value}")
        if self.temperature is not None and not 0 <= self.temperature < math.inf:
            raise UsageError(f"--temperature must be a number of at least 0, got {self.temperature}")
        if self.api_base is not None and not re.match(r"https?://[^/@\s]+(/|$)", self.api_base):
            raise UsageError(
                "--api-base must be an address such as http://127.0.0.1:8000/v1, without user and password"
            )
        if self.adapter not in ADAPTERS:
            raise UsageError(f"--adapter must be one of {', '.join(ADAPTERS)}, got {self.adapter!r}")
        if self.rescue not in (None, *RESCUES):
            raise UsageError(f"--rescue must be {' or '.join(RESCUES)}, got {self.rescue!r}")
        if self.preset not in (None, "paper"):
            raise UsageError(f"--preset must be paper, got {self.preset!r}")
        return self if self.preset is None else self._as_in_the_paper()

    def _as_in_the_paper(self) -> Self:
        seed = 1024 if self.seed is None else self.seed
        if _REASONING.search(self.model):
            _tell_reasoning(self.model)
            return replace(self, seed=seed)
        temperature = 0.1 if self.temperature is None else self.temperature
        return replace(self, temperature=temperature, max_tokens=self.max_tokens or 1024, seed=seed)

    def run(self, progress: "Callable[[Tally], None] | None" = None, data: "Dataset | None" = None) -> "Run":
        """Load the data, unless it is given, build the program, and evaluate it."""
        import dspy

        from tale_dspy.programs.spec import imported, program_from, scale_of
        from tale_dspy.runs.engine import evaluate

        dspy.disable_logging()  # what matters of it comes back as an outcome or an error
        plan = self.checked()
        metric = None if plan.metric is None else imported(plan.metric)
        data = plan.load_data() if data is None else data
        program = program_from(plan.program, data.signature)
        plan.check_inputs(program, data)
        if plan.program.endswith(".json"):
            program.set_lm(None)  # --model and --api-base decide, not what the file was tuned with
        plan.set_rescue(program)
        options = plan.options(data)
        plan.set_mode(program, options["lm"])
        if not plan.is_finished(len(data)):
            plan.check_provider(options["lm"])
        factor = scale_of(plan.program)
        if factor is not None:
            data = plan.scaled(data, factor, options)
        if plan.program == "budget:best":
            program = plan.best_budget(program, data, metric, options, progress)
        return evaluate(program, data, metric=metric, out=plan.folder(), progress=progress, **options)

    def set_rescue(self, program: Any) -> None:
        """Give the modules of a program the policy that the flag names."""
        from tale_dspy.programs.base import TaleModule
        from tale_dspy.programs.copying import modules_of
        from tale_dspy.programs.rescue import check_rescue

        if self.rescue is None:
            return
        modules = [module for module in modules_of(program) if isinstance(module, TaleModule)]
        if not modules:
            raise UsageError(f"--rescue is for modules of tale_dspy, and {self.program} has none")
        for module in modules:
            module.rescue = check_rescue(self.rescue)

    def load_data(self, *, labelled: bool = True) -> "Dataset":
        """Load the questions that are asked; only a file's may be without gold, and only where none is needed."""
        return self._load(self.data, labelled).take(self.offset, self.limit)

    def _load(self, name: str, labelled: bool = True) -> "Dataset":
        from tale_dspy.datasets import load_dataset

        inputs = [column.strip() for column in self.inputs.split(",")] if self.inputs else None
        return load_dataset(name, inputs=inputs, gold=self.gold, seed=self.seed or 0, labelled=labelled)

    def check_inputs(self, program: Any, data: "Dataset") -> None:
        """Say which inputs of a saved program the data lacks."""
        from tale_dspy.adapter import BUDGET
        from tale_dspy.programs.base import TaleModule

        given = list(data.examples[0].inputs().keys())
        wanted = list(program.predict.signature.input_fields) if isinstance(program, TaleModule) else []
        missing = [name for name in wanted if name not in (*given, BUDGET)]
        if missing:
            raise UsageError(f"{self.program} needs the input {missing[0]!r}, but {data.name} gives {', '.join(given)}")

    def set_mode(self, program: Any, lm: Any) -> None:
        """Have the program send its budgets as --mode says, or as the paper does, in the prompt alone.

        Of a program that sends none the mode says whether a model that thinks natively shows its reasoning again.

        Raises:
            UsageError: If there is no such mode, the program has none, or the model has no such dial.
        """
        from tale_dspy.backends.dials import MODES
        from tale_dspy.programs.dialling import check_dials, dialled_modules, thinking_modules

        if self.mode is not None and self.mode not in MODES:
            raise UsageError(f"--mode must be one of {', '.join(MODES)}, got {self.mode!r}")
        dialled, plain = dialled_modules(program), thinking_modules(program)
        modules = dialled if self.mode in ("native", "cap") and dialled else [*dialled, *plain]
        if self.mode is not None and not modules:
            raise UsageError(f"--mode says how a budget is sent, and {self.program} sends none")
        wanted = self.mode or ("prompt" if self.preset == "paper" else None)
        for module in modules:
            module.mode = wanted or module.mode  # a VanillaCoT says itself that it has no dial
        check_dials(program, lm)

    def scaled(self, data: "Dataset", factor: float, options: dict[str, Any]) -> "Dataset":
        """Give each question its share of the tokens of the vanilla run; the configuration then tells which."""
        from tale_dspy.adapter import BUDGET
        from tale_dspy.datasets import data_hash
        from tale_dspy.runs.records import load_run
        from tale_dspy.runs.scaled import with_scaled_budgets

        if self.vanilla is None:
            raise UsageError(f"{self.program} needs --vanilla RUN, the folder of a cot run of the same questions")
        scaled = with_scaled_budgets(data, load_run(self.vanilla), factor)
        options["config"] |= {"budgets": data_hash(str(example[BUDGET]) for example in scaled.examples)}
        return scaled

    def best_budget(
        self,
        student: Any,
        data: "Dataset",
        metric: Any,
        options: dict[str, Any],
        progress: "Callable[[Tally], None] | None" = None,
    ) -> Any:
        """Choose the one fixed budget on training questions; what that costs is taken off the caps."""
        from tale_dspy.datasets import data_hash, example_ids
        from tale_dspy.errors import SpendCapReached
        from tale_dspy.optimizers.fixed_budget import BestFixedBudget

        if self.train_data is None and Path(self.data).suffix:
            raise UsageError("budget:best tries budgets on other questions than it is evaluated on: give --train-data")
        train = self._load(self.train_data or _training_questions(self.data)).take(0, self.train_limit)
        ids = example_ids(train.examples, train.gold)
        both = len({*ids} & {*example_ids(data.examples, data.gold)})
        if both and not self.allow_leak:  # said before the search is paid
            raise UsageError(f"{both} of {len(data)} questions are training questions, too: allow it with --allow-leak")
        options["config"] |= {"train": {"name": train.name, "n": len(train), "hash": data_hash(ids)}}
        folder = self.folder()
        out = folder.parent / f"{folder.name}-search"
        search = BestFixedBudget(metric, out=out, progress=progress, **options)
        program = search.compile(student, trainset=train)
        if search.stopped:
            message = f"{search.stopped}; the search is kept in {out}, the same command continues"
            raise SpendCapReached(message, search.caps.ledger)
        options |= search.caps.left()
        return program

    def options(self, data: "Dataset") -> dict[str, Any]:
        """Return the keyword arguments of `evaluate` beside program, data, metric and folder."""
        return {
            "lm": self.language_model(),
            "adapter": self.make_adapter(data),
            "name": self.program,
            "concurrency": self.concurrency,
            "repeats": self.repeats,
            "max_usd": self.max_usd,
            "max_total_output_tokens": self.max_total_output_tokens,
            "price": self.price(),
            "timeout": self.timeout,
            "retries": self.retries,
            "retry_errors": self.retry_errors,
            "paper_counts": self.preset == "paper",
            "allow_leak": self.allow_leak,
            "mark": self.mark,
            "config": {"preset": self.preset},
        }

    def language_model(self) -> Any:
        """Build the LM; a server of one's own needs no key.

        Raises:
            UsageError: If the engine is unknown, or the settings are none for the model.
        """
        from dspy.utils.exceptions import LMConfigurationError

        from tale_dspy.backends.lm import LM

        settings: dict[str, Any] = {"temperature": self.temperature, "max_tokens": self.max_tokens, "seed": self.seed}
        key = self.api_key
        if key is None and self.api_base and "OPENAI_API_KEY" not in os.environ:
            key = "none"  # the OpenAI client refuses to start without one
        settings |= {"api_base": self.api_base, "api_key": key, "server": self.server}
        settings |= {"rpm": self.rpm, "tpm": self.tpm}
        given = {k: v for k, v in settings.items() if v is not None}
        try:
            fallbacks = [self._fallback(model) for model in self.fallback or ()]
            if fallbacks:  # else the run tries again, with an attempt a line in its journal
                given["num_retries"] = self.retries
            lm = LM(self.model, engine=self.engine, cache=self.cache, fallbacks=fallbacks, **given)
        except LMConfigurationError as e:  # settings that DSPy knows the model refuses
            raise UsageError(f"--model {self.model}: {e.message}") from e
        return lm

    def _fallback(self, model: str) -> Any:
        """Build an LM that answers in the place of --model: with the same decoding, at its own provider's address."""
        from tale_dspy.backends.lm import LM

        decoding = {"temperature": self.temperature, "max_tokens": self.max_tokens, "seed": self.seed}
        given: dict[str, Any] = {k: v for k, v in decoding.items() if v is not None}
        return LM(model, engine=self.engine, cache=self.cache, **given)

    def is_finished(self, n: int) -> bool:
        """Tell whether the folder has as many records as there are answers to get: nothing will be asked then."""
        try:
            return (self.folder() / "records.jsonl").read_bytes().count(b"\n") >= n * self.repeats
        except OSError:
            return False

    def check_provider(self, lm: Any) -> None:
        """Say at once that LiteLLM has no such provider, where it will be asked; a local model is loaded.

        LiteLLM and what it loads at its first request are loaded here, before any latency is measured.
        """
        if not isinstance(lm.engine, str):
            lm.engine.load()
            return
        if self.engine == "lm15" or (self.engine == "auto" and _is_routed_by_dspy(lm)):
            return
        from dspy.clients import disable_litellm_logging

        disable_litellm_logging()
        import litellm
        import openai.resources  # noqa: F401

        litellm.ModelResponse()  # builds its schema, about which pydantic warns: now, while that goes nowhere
        try:
            litellm.get_llm_provider(self.model, api_base=self.api_base)
        except litellm.exceptions.BadRequestError:
            raise UsageError(
                f"--model {self.model}: LiteLLM knows no provider of this name; give PROVIDER/MODEL, such as "
                "openai/gpt-4o-mini, and openai/MODEL with --api-base for a server of your own"
            ) from None

    def make_adapter(self, data: "Dataset") -> Any:
        """Build the adapter: the paper's prompts for this data, unless told otherwise."""
        import dspy

        from tale_dspy.adapter import TaleAdapter

        if self.program == "dspy-cot" and self.adapter == "tale":
            return dspy.ChatAdapter()
        plain = {"chat": dspy.ChatAdapter, "json": dspy.JSONAdapter, "xml": dspy.XMLAdapter}
        if self.adapter in plain:
            return plain[self.adapter]()
        return TaleAdapter(None if data.form in ("answer", "choice") else data.form)

    def price(self) -> "Price | None":
        """Return the price given by flags, per token."""
        from tale_dspy.receipts import Price

        if self.price_in is None and self.price_out is None:
            return None
        if self.price_in is None or self.price_out is None or min(self.price_in, self.price_out) < 0:
            raise UsageError("--price-in and --price-out go together, in US dollars per million tokens, none below 0")
        return Price(self.price_in / 1e6, self.price_out / 1e6)

    def folder(self) -> Path:
        """Return the run folder: the one given, or one under runs/ named after data, program and model.

        Where the readable name does not tell two commands apart, as with two files of one name, a hash follows.
        """
        if self.out is not None:
            return self.out
        told = (self.data, self.program, self.model)
        short = (Path(self.data).name, self.program, self.model)
        name = "--".join(re.sub(r"[^A-Za-z0-9_.-]+", "-", part).strip("-.")[:60] or "x" for part in short)
        plain = (_PLAIN_NAME, _PLAIN_PROGRAM, _PLAIN_MODEL)
        if not all(pattern.fullmatch(part) and len(part) <= 60 for pattern, part in zip(plain, told, strict=True)):
            name += "--" + hashlib.sha256("\0".join(told).encode("utf-8", "surrogateescape")).hexdigest()[:8]
        return Path("runs") / name


def _training_questions(data: str) -> str:
    """Name the training questions that belong to a named set."""
    return "embedded:train" if data.split(":")[0] == "embedded" else f"{data}-train"


def _is_routed_by_dspy(lm: Any) -> bool:
    """Whether DSPy's own stack knows the provider; engine auto goes through LiteLLM otherwise."""
    from dspy.clients.capabilities import resolve
    from dspy.lm15 import LM15Error

    try:
        resolve(lm)
    except (LM15Error, ValueError, TypeError):
        return False
    return True


@functools.cache
def _tell_reasoning(model: str) -> None:
    logger.warning("%s takes no temperature and needs room to think: --preset paper sets the seed alone", model)
