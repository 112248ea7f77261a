"""From flags to one call of `tale_dspy.evaluate`: the glue that `tale eval`, `reproduce` and `demo` share."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tale_dspy.errors import UsageError

if TYPE_CHECKING:
    from tale_dspy.datasets import Dataset
    from tale_dspy.receipts import Price
    from tale_dspy.runs.options import Tally
    from tale_dspy.runs.records import Run

ADAPTERS = ("tale", "chat", "json", "xml")


@dataclass(frozen=True)
class Plan:
    """Everything `tale eval` was told. Field names are the flags'."""

    program: str
    data: str
    model: str
    inputs: str | None = None
    gold: str | None = None
    api_base: str | None = None
    api_key: str | None = field(default=None, repr=False)
    engine: str = "litellm"
    limit: int | None = None
    offset: int = 0
    concurrency: int = 32
    temperature: float | None = None
    max_tokens: int | None = None
    timeout: float = 120.0
    retries: int = 5
    retry_errors: bool = False
    metric: str | None = None
    max_usd: float | None = None
    max_total_output_tokens: int | None = None
    price_in: float | None = None
    price_out: float | None = None
    repeats: int = 1
    preset: str | None = None
    cache: bool = True
    seed: int | None = None
    adapter: str = "tale"
    mark: str | None = None
    allow_leak: bool = False
    vanilla: Path | None = None
    train_data: str | None = None
    train_limit: int = 100
    out: Path | None = None

    def checked(self) -> "Plan":
        """Return the plan with its preset filled in, or say which flag cannot be used."""
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"--limit must be at least 1, got {self.limit}")
        if self.offset < 0:
            raise UsageError(f"--offset must be at least 0, got {self.offset}")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise UsageError(f"--max-tokens must be at least 1, got {self.max_tokens}")
        if self.adapter not in ADAPTERS:
            raise UsageError(f"--adapter must be one of {', '.join(ADAPTERS)}, got {self.adapter!r}")
        if self.preset not in (None, "paper"):
            raise UsageError(f"--preset must be paper, got {self.preset!r}")
        if self.preset is None:
            return self
        temperature = 0.1 if self.temperature is None else self.temperature
        seed = 1024 if self.seed is None else self.seed
        return replace(self, temperature=temperature, max_tokens=self.max_tokens or 1024, seed=seed)

    def run(self, progress: "Callable[[Tally], None] | None" = None) -> "Run":
        """Load the data, build the program, and evaluate it."""
        from tale_dspy.programs.spec import imported, program_from, scale_of
        from tale_dspy.runs.engine import evaluate
        from tale_dspy.runs.records import load_run
        from tale_dspy.runs.scaled import with_scaled_budgets

        plan = self.checked()
        metric = None if plan.metric is None else imported(plan.metric)
        data = plan.load_data()
        program = program_from(plan.program, data.signature)
        factor = scale_of(plan.program)
        if factor is not None:
            if plan.vanilla is None:
                raise UsageError(f"{plan.program} needs --vanilla RUN, the folder of a cot run of the same questions")
            data = with_scaled_budgets(data, load_run(plan.vanilla), factor)
        options = plan.options(data)
        if plan.program == "budget:best":
            program = plan.best_budget(program, options)
        return evaluate(program, data, metric=metric, out=plan.folder(), progress=progress, **options)

    def load_data(self) -> "Dataset":
        """Load the questions that are asked."""
        from tale_dspy.datasets import load_dataset

        inputs = [name.strip() for name in self.inputs.split(",")] if self.inputs else None
        data = load_dataset(self.data, inputs=inputs, gold=self.gold, seed=self.seed or 0)
        return data.take(self.offset, self.limit)

    def best_budget(self, student: Any, options: dict[str, Any]) -> Any:
        """Choose the one fixed budget on training questions."""
        from tale_dspy.datasets import load_dataset
        from tale_dspy.optimizers.fixed_budget import BestFixedBudget

        name = self.train_data or f"{self.data}-train"
        train = load_dataset(name, seed=self.seed or 0).take(0, self.train_limit)
        folder = self.folder()
        search = BestFixedBudget(out=folder.parent / f"{folder.name}-search", **options)
        return search.compile(student, trainset=train)

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
            "config": {"preset": self.preset, "train_data": self.train_data, "train_limit": self.train_limit}
            if self.program == "budget:best"
            else {"preset": self.preset},
        }

    def language_model(self) -> Any:
        """Build the LM; a server of one's own needs no key."""
        from tale_dspy.backends.lm import LM

        settings = {"temperature": self.temperature, "max_tokens": self.max_tokens, "seed": self.seed}
        key = self.api_key
        if key is None and self.api_base and "OPENAI_API_KEY" not in os.environ:
            key = "none"  # the OpenAI client refuses to start without one
        return LM(
            self.model,
            engine=self.engine,
            cache=self.cache,
            **{k: v for k, v in settings.items() if v is not None},
            **({"api_base": self.api_base} if self.api_base else {}),
            **({"api_key": key} if key else {}),
        )

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
        """Return the run folder: the one given, or one named after data, program and model under runs/."""
        if self.out is not None:
            return self.out
        parts = (Path(self.data).name, self.program, self.model)
        return Path("runs") / "--".join(re.sub(r"[^\w.-]+", "-", part).strip("-") for part in parts)
