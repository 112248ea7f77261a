"""The content of `run.json`: what decides the result, and no secret."""

import hashlib
import ipaddress
import json
import re
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dspy

from tale_dspy.adapter_names import describe_adapter
from tale_dspy.backends.endpoint import fallback_lms
from tale_dspy.backends.lm import LM
from tale_dspy.backends.local.model_path import embedded_folder, parse_model_path
from tale_dspy.backends.redaction import public_config
from tale_dspy.datasets import Dataset, data_hash
from tale_dspy.errors import UsageError
from tale_dspy.programs.base import TaleModule
from tale_dspy.programs.estimators.estimator import BudgetEstimator
from tale_dspy.programs.guarantee import warn_of_others
from tale_dspy.programs.state import ModuleState, guarantees_of, seen_by, tuned_with
from tale_dspy.protocols import JsonObject, LanguageModel, Program
from tale_dspy.runs.configuration import FORMAT
from tale_dspy.runs.options import RunOptions
from tale_dspy.runs.questions import QuestionStream
from tale_dspy.runs.scoring import Metric
from tale_dspy.task_signature import own_instructions


def describe_run(
    program: Program,
    lm: Any,
    questions: QuestionStream,
    metric: Metric | None,
    options: RunOptions,
    examples: object,
) -> JsonObject:
    """Build the content of `run.json`.

    `config` decides the result: a folder with another one is refused. The rest tells how and when the run was made.

    Raises:
        UsageError: If the program has seen some of the questions, and `allow_leak` is not set.
    """
    roles_by_id = {**_seen_by_models(program, lm), **seen_by(program), **(options.seen or {})}
    overlap = sorted(key for key in questions.ids() if key in roles_by_id)
    if overlap and not options.allow_leak:
        roles = ", ".join(sorted({roles_by_id[i] for i in overlap}))
        raise UsageError(
            f"{len(overlap)} of {len(questions)} questions were used to make this program ({roles}): evaluate on "
            "others, or allow it with --allow-leak (allow_leak=True), which marks the run contaminated"
        )
    for guarantee in guarantees_of(program):
        warn_of_others(guarantee, state_hash(program), _data_name(examples))
    data = {"name": _data_name(examples), "n": len(questions), "hash": data_hash(questions.ids())}
    return {
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "program": {"name": options.name or type(program).__name__, "class": type(program).__name__},
        "config": {
            "program": {"name": options.name or type(program).__name__, "state": state_hash(program)},
            "dspy": _dspy_release(),
            "model": getattr(lm, "model", None),
            "engine": _engine_name(lm),
            **_weights_hash(lm),
            "address": _endpoint_of(lm, compared=True),
            "settings": public_config(getattr(lm, "kwargs", {})),
            "adapter": _adapter_names(program, options),
            "prompting": prompting(program),
            **_own_models(program),
            **_fallback_models(lm),
            "data": data,
            "metric": "answer equality" if metric is None else metric_name(metric),
            "threshold": options.threshold,
            "repeats": options.repeats,
            "price": None if options.price is None else {"input": options.price.input, "output": options.price.output},
            "paper_counts": options.paper_counts,
            **dict(options.config or {}),
        },
        "address": _endpoint_of(lm, compared=False),
        "versions": versions(),
        "provenance": options.provenance or _provenance_of(program, lm),
        "seen": sorted(roles_by_id),
        "tuned_with": sorted(tuned_with(program)),
        "contaminated": bool(overlap),
    }


_NO_PROMPT = ("lm", "traces", "train", "guarantee")


def state_hash(program: Program) -> str:
    """Hash what a program brings to a prompt.

    That is instructions, demos, limits and settings, but not its language models. The attributes of its modules count
    as far as they are numbers, text or lists of these; code does not.
    """
    state = {
        name: {k: v for k, v in param.dump_state().items() if k not in _NO_PROMPT}
        for name, param in program.named_parameters()
        if not isinstance(param, ModuleState) or param.affects_output()
    }
    settings = {name: p.config for name, p in program.named_predictors() if p.config}
    modules = program.named_sub_modules(dspy.Module)
    attributes = {name: _plain_attributes(vars(m)) for name, m in modules if not isinstance(m, dspy.Predict)}
    return _hash_value({"state": state, "settings": settings, "attributes": attributes})


def _plain_attributes(attributes: JsonObject) -> JsonObject:
    def is_plain(value: object) -> bool:
        return isinstance(value, int | float | str | bool) or (
            isinstance(value, list | tuple) and bool(value) and all(map(is_plain, value))
        )

    return {k: v for k, v in attributes.items() if not k.startswith("_") and is_plain(v)}


def _seen_by_models(program: Program, lm: LanguageModel) -> dict[str, str]:
    """Return the questions that local models were trained on."""
    models = [lm, *(p.lm for _, p in program.named_predictors())]
    return {id_: role for model in models if isinstance(model, LM) for id_, role in model.seen.items()}


def _own_models(program: Program) -> JsonObject:
    """Name the models of predictors that have one of their own."""
    lms = [(name, p.lm) for name, p in program.named_predictors() if p.lm is not None]
    models = {name: "@".join([lm.model, *_weights_hash(lm).values()]) for name, lm in lms}
    return {"own_models": models} if models else {}


def _fallback_models(lm: LanguageModel) -> JsonObject:
    """Name the models that may answer in the place of another."""
    models = [one.model for one in fallback_lms(lm)]
    return {"fallbacks": models} if models else {}


def prompting(program: Program) -> list[list[str]]:
    """Return name, instructions and demos of each predictor.

    Estimators are left out: a claim of a saving does not depend on their prompts.
    """
    estimators = {id(m.predict) for _, m in program.named_sub_modules(BudgetEstimator)}
    return [
        [name, own_instructions(p.signature), _hash_value([dict(d) for d in p.demos]) if p.demos else ""]
        for name, p in program.named_predictors()
        if id(p) not in estimators
    ]


def _dspy_release() -> str:
    """Return the feature release of DSPy, such as 3.4.

    Prompts and baselines change from one to the next.
    """
    return ".".join(version("dspy").split(".")[:2])


def versions() -> dict[str, str]:
    """Return the versions of what a run goes through."""
    installed = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in ("tale-dspy", "dspy", "litellm", "math-verify"):
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            installed[package] = "not installed"
    return installed


def _hash_value(value: object) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=_without_address)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _without_address(value: object) -> str:
    """Describe what JSON cannot hold.

    The memory address is removed, since it would differ in the next process.
    """
    return re.sub(r" at 0x[0-9a-fA-F]+", "", str(value))


def _data_name(examples: object) -> str:
    return examples.name if isinstance(examples, Dataset) else "examples"


def metric_name(metric: Metric) -> str:
    """Name a metric by its module and its name there, as `--metric` takes it."""
    return f"{getattr(metric, '__module__', '')}:{getattr(metric, '__qualname__', type(metric).__name__)}"


def _engine_name(lm: LanguageModel) -> str | None:
    if not isinstance(lm, dspy.LM):
        return None if lm is None else type(lm).__name__
    return lm.engine if isinstance(lm.engine, str) else type(lm.engine).__name__


def _weights_hash(lm: LanguageModel) -> dict[str, str]:
    """Hash the files of a local model.

    A model that was trained further may lie at the same path.
    """
    return {"weights": lm.identity} if isinstance(lm, LM) and lm.identity else {}


EMBEDDED_PROVENANCE = "embedded (trained here to obey budgets)"
"""What figures of the model that ships are evidence of: of nothing about other models."""


def _provenance_of(program: Program, lm: LanguageModel) -> str | None:
    """Return the provenance of a run of the embedded model alone.

    It is None where another model answers, too.
    """
    answering = [lm if p.lm is None else p.lm for p in program.predictors()]
    return EMBEDDED_PROVENANCE if answering and all(map(_is_embedded, answering)) else None


def _is_embedded(lm: LanguageModel) -> bool:
    return isinstance(lm, LM) and bool(lm.identity) and Path(parse_model_path(lm.model).base) == embedded_folder()


def _endpoint_of(lm: LanguageModel, *, compared: bool) -> str | None:
    """Return host and path of the endpoint.

    User, password and query are left out. A loopback port may change between processes.
    """
    kwargs = getattr(lm, "kwargs", {})
    try:
        parts = urlsplit(str(kwargs.get("api_base") or kwargs.get("base_url") or ""))
        host, port = parts.hostname, parts.port
    except ValueError:  # no address at all; the first request will say so
        return None
    if not host:
        return None
    if compared and _is_loopback(host):
        return "loopback"
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{name}{f':{port}' if port else ''}{parts.path}"


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def _adapter_names(program: Program, options: RunOptions) -> str:
    """Name the adapters that answers are rendered with, estimates aside."""
    configured = options.adapter or dspy.settings.adapter
    names = set()
    owners = {id(m.predict): m for _, m in program.named_sub_modules(TaleModule)}
    estimators = {id(m.predict) for _, m in program.named_sub_modules(BudgetEstimator)}
    for predictor in program.predictors():
        owner = owners.get(id(predictor))
        if id(predictor) not in estimators:
            in_force = owner.adapter_in_force(configured) if owner else configured or dspy.ChatAdapter()
            names.add(describe_adapter(in_force))
    return "+".join(sorted(n for n in names if n))
