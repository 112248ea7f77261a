"""The plan of a command that asks questions.

It holds the flags of `tale eval`, and what they say of data, price and folder.
"""

import functools
import hashlib
import logging
import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tale_dspy.cli import flags
from tale_dspy.errors import UsageError
from tale_dspy.prompt_forms import prompt_form

if TYPE_CHECKING:
    from tale_dspy.backends.prices import Price
    from tale_dspy.datasets import Dataset

logger = logging.getLogger(__name__)

ADAPTERS = ("tale", "chat", "json", "xml")
TRUNCATION_POLICIES = ("force_answer", "retry_larger")

_PLAIN_NAME = re.compile(r"[a-z0-9][a-z0-9_.]*(?:-[a-z0-9_.]+)*")
_PLAIN_PROGRAM = re.compile(r"[a-z-]+|budget:(?:\d{1,9}|\d\.\d{1,3}x|best)")
_PLAIN_MODEL = re.compile(r"[a-z0-9_]+/[a-z0-9_.]{1,40}(?:-[a-z0-9_.]{1,40}){0,4}")
"""Models whose readable name is unique: see `Plan.folder`."""
_REASONING = re.compile(r"(?:^|/)(?:o\d|gpt-5)(?!.*-chat)")
"""OpenAI models that think natively, and refuse a temperature and small allowances."""

EVAL_ONLY = ("vanilla", "train_data", "train_limit")
"""Flags of `tale eval` alone."""
SHARD_FLAGS = ("shard", "ray", "shards")
"""Flags of the commands whose questions can be split."""
BATCH_FLAGS = ("batch", "batch_wait")
"""Flags of `tale eval` and `tale search`."""


@dataclass(frozen=True)
class Plan:
    """The flags of `tale eval`, in the order of its help."""

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
    form: flags.Form = None
    mode: flags.Mode = None
    provenance: flags.Provenance = None
    allow_leak: flags.AllowLeak = False
    on_truncation: flags.Recovery = None
    vanilla: flags.Vanilla = None
    train_data: flags.TrainData = None
    train_limit: flags.TrainLimit = 100
    shard: flags.ShardFlag = None
    ray: flags.Ray = None
    shards: flags.Shards = None
    batch: flags.Batch = False
    batch_wait: flags.BatchWait = 24.0
    device: flags.Device = None
    dtype: flags.Dtype = None
    max_batch: flags.MaxBatch = None
    out: flags.Out = None
    api_key: str | None = field(default=None, repr=False)
    """No flag: a key comes from the environment."""

    def checked(self) -> Self:
        """Return the plan with its preset filled in.

        The error for a flag that cannot be used names the flag.
        """
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
        if self.batch and (self.ray is not None or self.shards is not None):
            raise UsageError("--batch and --ray do not go together: a batch is worked on by the provider's machines")
        check_adapter(self.adapter)
        if self.form is not None:
            prompt_form(self.form)
        if self.on_truncation not in (None, *TRUNCATION_POLICIES):
            raise UsageError(f"--on-truncation must be {' or '.join(TRUNCATION_POLICIES)}, got {self.on_truncation!r}")
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

    def load_data(self, *, labelled: bool = True) -> "Dataset":
        """Load the questions that are asked.

        Only those of a file may lack gold, and only where none is needed.
        """
        return self.load(self.data, labelled).take(self.offset, self.limit)

    def load(self, name: str, labelled: bool = True) -> "Dataset":
        """Load a data set whose columns are those of --data."""
        from tale_dspy.datasets import load_dataset

        inputs = [column.strip() for column in self.inputs.split(",")] if self.inputs else None
        return load_dataset(name, inputs=inputs, gold=self.gold, seed=self.seed or 0, labelled=labelled)

    def price(self) -> "Price | None":
        """Return the price given by flags, per token."""
        from tale_dspy.backends.prices import Price

        if self.price_in is None and self.price_out is None:
            return None
        if self.price_in is None or self.price_out is None:
            missing = "--price-in" if self.price_in is None else "--price-out"
            raise UsageError(
                f"--price-in and --price-out go together, in US dollars per million tokens: give {missing}"
            )
        for flag, usd in (("--price-in", self.price_in), ("--price-out", self.price_out)):
            if not 0 <= usd < math.inf:
                raise UsageError(f"{flag} must be US dollars per million tokens, at least 0, got {usd:g}")
        return Price(self.price_in / 1e6, self.price_out / 1e6)

    def run_folder(self) -> Path:
        """Return the folder that is written: `folder()`, or that of the shard in it."""
        from tale_dspy.runs.shards import Shard

        return self.folder() if self.shard is None else self.folder() / Shard.parse(self.shard).folder_name

    def folder(self) -> Path:
        """Return the run folder.

        It is the one given, or one under runs/ named after data, program and model. Where the readable name does not
        tell two commands apart, as with two files of one name, a hash follows.
        """
        if self.out is not None:
            return self.out
        parts = (self.data, self.program, self.model)
        short = (Path(self.data).name, self.program, self.model)
        name = "--".join(re.sub(r"[^A-Za-z0-9_.-]+", "-", part).strip("-.")[:60] or "x" for part in short)
        plain = (_PLAIN_NAME, _PLAIN_PROGRAM, _PLAIN_MODEL)
        if not all(pattern.fullmatch(part) and len(part) <= 60 for pattern, part in zip(plain, parts, strict=True)):
            name += "--" + hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:8]
        return Path("runs") / name


def check_adapter(name: str) -> None:
    """Refuse what `--adapter` does not take."""
    if name not in ADAPTERS:
        raise UsageError(f"--adapter must be one of {', '.join(ADAPTERS)}, got {name!r}")


@functools.cache
def _tell_reasoning(model: str) -> None:
    logger.warning("%s takes no temperature and needs room to think: --preset paper sets the seed alone", model)
