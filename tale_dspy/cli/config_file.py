"""Read flags from the environment and from a file.

These are `TALE_<FLAG>`, `--config FILE.toml`, and the `config.toml` of a run.
"""

import copy
import inspect
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer
from typer.models import OptionInfo

from tale_dspy.cli.console import say
from tale_dspy.cli.flag_values import misfit
from tale_dspy.display import suggestion
from tale_dspy.errors import UsageError
from tale_dspy.protocols import JsonObject

PREFIX = "TALE_"
VARIABLES = {"data": "TALE_DATASET"}
"""Flags whose variable is another: `TALE_DATA` names the folder of the data sets."""
OTHER_VARIABLES = {"TALE_DATA", "TALE_CONTROLS"}
"""Variables of the package that are no flags."""
CONFIG_FILE = "config.toml"

PREFERENCES = "DPO and GRPO"
PANELS: dict[str, tuple[str, ...]] = {
    "Needed first": (
        *("data", "model", "limit", "max_usd", "out", "api_base", "concurrency", "temperature", "max_tokens", "json"),
        *("base", "epochs", "learning_rate", "evaluate", "merge_to"),
    ),
    "Training": (
        *("batch_size", "micro_batch", "rank", "alpha", "targets", "max_length", "quantize", "gradient_checkpointing"),
        *("checkpoint_every", "merge_strength"),
    ),
    PREFERENCES: (
        *("loss", "loss_weights", "beta", "ld_alpha", "generations", "reward", "price", "budget", "max_new_tokens"),
    ),
    "Evaluation": (*("eval_data", "eval_limit", "eval_program", "eval_api_base", "eval_model", "eval_base_model"),),
    "Budget and effort": (
        *("budgets", "efforts", "effort", "mode", "form", "on_truncation", "on_skip", "vanilla", "train_data"),
        *("train_limit", "sampler", "calls", "draws", "estimator", "min_neighbor_accuracy"),
        *(
            "optimizer",
            "prompt_model",
            "trials",
            "min_saving",
            "max_drop",
            "mean_tokens",
            "forms",
            "demos",
            "demo_sets",
            "fresh",
        ),
    ),
    "Data": ("inputs", "gold", "offset", "metric", "repeats", "seed", "allow_leak", "exclude"),
    "Model and provider": (
        *("engine", "server", "fallback", "adapter", "cache", "timeout", "retries", "retry_errors", "rpm", "tpm"),
        *("device", "dtype", "max_batch", "preset"),
    ),
    "Spend": ("max_total_output_tokens", "price_in", "price_out", "dry_run", "past", "yes"),
    "Many machines": ("ray", "shards", "shard", "batch", "batch_wait"),
    "Other": ("provenance", "config"),
}
"""Panels of the help, in their order; a flag that none names stands where it was declared."""

_PANEL_OF = {name: panel for panel, names in PANELS.items() for name in names}
_ORDER = {name: place for place, name in enumerate(_PANEL_OF)}


def panel_order(name: str) -> int:
    """Return where a flag stands in the help.

    Flags of no panel come after those of the first.
    """
    return _ORDER.get(name, len(PANELS["Needed first"]))


def with_config(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--config`, and its flags environment variables and panels."""
    signature = inspect.signature(command)
    parameters = [p.replace(annotation=_with_environment(p.name, p.annotation)) for p in signature.parameters.values()]
    option = typer.Option("--config", help="TOML file of flags; the command line and TALE_<FLAG> win.", is_eager=True)
    kinds = {name: parameter.annotation for name, parameter in signature.parameters.items()}

    def load_defaults(context: typer.Context, value: Path | None) -> Path | None:
        return _load_defaults(kinds, context, value)

    option.callback, option.expose_value = load_defaults, False
    option.rich_help_panel = "Other"
    config = inspect.Parameter(
        "config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[Path | None, option]
    )

    def run(*args: Any, config: Path | None = None, **kwargs: Any) -> Any:
        _warn_of_unknown_variables(kinds)
        return command(*args, **kwargs)

    run.__doc__, run.__name__ = command.__doc__, getattr(command, "__name__", "run")
    run.__signature__ = signature.replace(parameters=[*parameters, config])  # type: ignore[attr-defined]
    return run


def _with_environment(name: str, annotation: object) -> object:
    """Return the annotation of a flag with its variable and its panel."""
    if get_origin(annotation) is not Annotated:
        return annotation
    kind, *rest = get_args(annotation)
    dressed = []
    for info in rest:
        if isinstance(info, OptionInfo):
            info = copy.copy(info)
            info.envvar = info.envvar or VARIABLES.get(name, PREFIX + name.upper())
            info.show_envvar = False
            info.rich_help_panel = info.rich_help_panel or _PANEL_OF.get(name)
        dressed.append(info)
    return Annotated[kind, *dressed]


def _warn_of_unknown_variables(flags: Iterable[str]) -> None:
    """Warn of variables that look like a misspelt flag and have no effect.

    The warning goes to stderr.
    """
    names = {*_PANEL_OF, *flags}
    known = {VARIABLES.get(name, PREFIX + name.upper()) for name in names} | OTHER_VARIABLES
    bare = [name.removeprefix(PREFIX) for name in known]
    for variable in sorted({name for name in os.environ if name.startswith(PREFIX)} - known):
        if suggestion(variable.removeprefix(PREFIX), bare):  # with the prefix, any two names are alike
            hint = suggestion(variable, known)
            say(f"${variable} is set and has no effect: no flag has this name{hint}", err=True)


def _load_defaults(kinds: Mapping[str, object], context: typer.Context, value: Path | None) -> Path | None:
    """Take the defaults of a command from a file.

    This is an eager callback: it runs before other flags are read.
    """
    if value is None:
        return None
    parameters = {parameter.name: parameter for parameter in context.command.params}
    defaults: JsonObject = {}
    for key, setting in read_config(value).items():
        name = key.replace("-", "_")
        if name not in parameters or name == "config":
            hint = suggestion(name, [flag for flag in parameters if flag])
            raise UsageError(f"{value}: {context.info_name} has no flag {key}{hint}")
        if (expected := misfit(kinds[name], setting)) is not None:
            raise UsageError(f"--config {value}: {key} must be {expected}, got {setting!r}")
        defaults[name] = setting
    context.default_map = {**(context.default_map or {}), **defaults}
    return value


def read_config(path: Path) -> JsonObject:
    """Return the flags of a file.

    Raises:
        UsageError: If it cannot be read, is no TOML, or holds a table.
    """
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as e:
        reason = e.strerror if isinstance(e, OSError) else f"it is no UTF-8 ({e.reason} at byte {e.start})"
        raise UsageError(f"--config {path} cannot be read: {reason}") from e
    except tomllib.TOMLDecodeError as e:
        raise UsageError(f"--config {path} is no TOML: {e}") from e
    for key, value in settings.items():
        if isinstance(value, dict):
            raise UsageError(f"--config {path}: {key} is a table; flags stand at the top, such as limit = 200")
    return settings


def write_config(folder: Path, options: Any, extra: Mapping[str, Any] = {}) -> None:
    """Write the `config.toml` that repeats a command, beside the results.

    It never holds a key, because no flag does.

    Args:
        folder: The run folder, which exists.
        options: A dataclass of flags.
        extra: Other flags.
    """
    import tomli_w

    settings: JsonObject = {}
    for field in fields(options):
        value = getattr(options, field.name)
        if get_origin(field.type) is Annotated and value is not None and value != field.default:
            settings[field.name] = str(value) if isinstance(value, Path) else value
    settings.update({name: value for name, value in extra.items() if value is not None})
    (folder / CONFIG_FILE).write_text(tomli_w.dumps(settings), encoding="utf-8")
