"""The reasoning controls in force, and the parameters they may set.

Rows of the user come before the published ones.

A user adds a row by `tale_dspy.register_control(...)`, or by a TOML file named by `$TALE_CONTROLS`, which
`tale doctor --write FILE` writes:

    [[control]]
    name = "our gateway"
    models = "^openai/gateway-"
    kind = "word"
    words = ["low", "high"]
    on.extra_body.effort = "<value>"
    wire.effort = "<value>"
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from tale_dspy.backends.reasoning_control import VALUE, ReasoningControl
from tale_dspy.backends.reasoning_controls import REASONING_CONTROLS
from tale_dspy.errors import UsageError
from tale_dspy.protocols import RequestSettings, SettingsView

ENVIRONMENT = "TALE_CONTROLS"
"""Names a TOML file with rows of the user's."""

SHARED_HOLDERS = ("custom_params", "chat_template_kwargs", "extra_body", "allowed_openai_params", "generationConfig")
"""Settings that hold other things beside a reasoning control: what else is in them stays."""

_FIELDS = {field.name for field in fields(ReasoningControl)}
_registered: list[ReasoningControl] = []


def register_control(control: ReasoningControl | None = None, **row: Any) -> ReasoningControl:
    """Add a family of models and how it takes a budget, before all others.

    It holds for this process.

    Args:
        control: The row; or give its fields.
        **row: Fields of `ReasoningControl`: `name`, `models` (a regular expression searched in the model string in
            lower case), `kind` (`tokens`, `word` or `none`), `on` (settings of a call, with "<value>" in the place of
            the budget), `words`, `off` and so on. `wire`, the part of the request body that comes of `on`, is `on`
            with `extra_body` unpacked where it is not given.

    Returns:
        The row.

    Raises:
        UsageError: If it is no row.

    Example:
        >>> row = register_control(name="ours", models="^openai/ours-", kind="word", words=("low", "high"),
        ...                        on={"reasoning_effort": "<value>"})
        >>> row.wire
        {'reasoning_effort': '<value>'}
    """
    added = control if control is not None else control_from(row)
    if not isinstance(added, ReasoningControl):
        raise UsageError(f"register_control takes a ReasoningControl or its fields, got {type(added).__name__}")
    _registered[:] = [other for other in _registered if other.name != added.name]
    _registered.insert(0, added)
    _find_first.cache_clear()
    _gather_names.cache_clear()
    return added


def unregister_control(name: str) -> None:
    """Remove a row that the user registered.

    Nothing happens where no row has that name.
    """
    _registered[:] = [other for other in _registered if other.name != name]
    _find_first.cache_clear()
    _gather_names.cache_clear()


def control_from(row: SettingsView) -> ReasoningControl:
    """Build a row from its fields, as a file has them.

    Raises:
        UsageError: If a field is missing, unknown or of the wrong type.
    """
    unknown = sorted(set(row) - _FIELDS)
    if unknown:
        raise UsageError(f"a reasoning control has no field {unknown[0]!r}; it has {', '.join(sorted(_FIELDS))}")
    values: RequestSettings = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    for name in ("on", "wire", "off", "on_auto", "wire_auto", "wire_off", "wire_responses"):
        if values.get(name) is not None and not isinstance(values[name], Mapping):
            raise UsageError(f"reasoning control {row.get('name')!r}: {name} must be a table, got {values[name]!r}")
    if "on" in values and "wire" not in values:
        values["wire"] = unpacked(values["on"])
    if "checked" in values:
        values["checked"] = str(values["checked"])  # TOML has dates
    try:
        return ReasoningControl(**values)
    except TypeError as e:
        raise UsageError(f"reasoning control {row.get('name')!r}: {e}") from e


def unpacked(settings: SettingsView) -> RequestSettings:
    """Return the part of a request body that settings become.

    The content of `extra_body` is merged into it.
    """
    rest = {key: value for key, value in settings.items() if key not in ("extra_body", "allowed_openai_params")}
    body = settings.get("extra_body")
    return {**rest, **(body if isinstance(body, Mapping) else {})}


def read_controls(path: str | Path) -> tuple[ReasoningControl, ...]:
    """Read rows from a TOML file: an array of tables named `control`.

    Raises:
        UsageError: If the file cannot be read or is none, with its name.
    """
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) else e
        raise UsageError(f"{path}: no file of reasoning controls: {reason}") from e
    rows = document.get("control")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UsageError(f"{path}: a file of reasoning controls has tables [[control]]")
    try:
        return tuple(control_from(row) for row in rows)
    except UsageError as e:
        raise UsageError(f"{path}: {e}") from e


def control_toml(control: ReasoningControl) -> str:
    """Write a row in the form `read_controls` reads.

    Fields at their default are left out.
    """
    import tomli_w

    defaults = asdict(ReasoningControl(name="", models="", kind="none"))
    row = {key: value for key, value in asdict(control).items() if value != defaults[key] or key in ("name", "models")}
    return tomli_w.dumps({"control": [{"kind": control.kind, **row}]})


def controls_table() -> str:
    """Return which model takes what as a Markdown table, one row a family."""
    head = ("Models", "Budget is sent as", "Thinks", "Off", "Source, date")
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    for control in reasoning_controls():
        takes = {"tokens": _numbers_taken(control), "word": ", ".join(control.words), "none": f"prompt ({control.why})"}
        off = "yes" if control.off is not None else "no"
        cells = (control.name, takes[control.kind], control.thinks, off, f"{control.source}, {control.checked}")
        lines.append(" | ".join(cell.replace("|", "\\|") for cell in cells))
    return "\n".join(f"| {line} |" for line in lines)


def _numbers_taken(control: ReasoningControl) -> str:
    if control.maximum is None or control.maximum >= 10**9:
        return f"tokens, {control.minimum:,} or more"
    return f"tokens, {control.minimum:,} to {control.maximum:,}"


def reasoning_controls() -> tuple[ReasoningControl, ...]:
    """Return the rows in force: registered, of `$TALE_CONTROLS`, then published."""
    return (*_registered, *_from_environment(), *REASONING_CONTROLS)


def _from_environment() -> tuple[ReasoningControl, ...]:
    path = os.environ.get(ENVIRONMENT)
    if not path:
        return ()
    try:
        changed = Path(path).stat().st_mtime_ns
    except OSError as e:
        raise UsageError(f"${ENVIRONMENT} names {path}, which cannot be read: {e.strerror}") from e
    return _read_once(path, changed)


@lru_cache(maxsize=8)
def _read_once(path: str, changed: int) -> tuple[ReasoningControl, ...]:
    return read_controls(path)


def find_control(model: str, server: str | None = None) -> ReasoningControl | None:
    """Return the first row that fits a model string, or None without a known one.

    Args:
        model: The model string, such as `openai/gpt-5`.
        server: `vllm`, `sglang` or `llama.cpp`, where the model string does not tell what answers.
    """
    key = model.lower() if server is None else f"{server}:{model.lower()}"
    return _find_first(key, _from_environment_key())


def _from_environment_key() -> tuple[str, int] | None:
    """Return what changes where the rows of the environment do."""
    path = os.environ.get(ENVIRONMENT)
    if not path:
        return None
    rows = _from_environment()
    return path, id(rows)


@lru_cache(maxsize=256)
def _find_first(key: str, environment: tuple[str, int] | None) -> ReasoningControl | None:
    return next((control for control in reasoning_controls() if re.search(control.models, key)), None)


# ---- the parameters that rows may set


@dataclass(frozen=True)
class ParameterNames:
    """Where settings of a call turn a reasoning control, gathered from the rows."""

    settings: tuple[str, ...]
    """Names of settings, such as `reasoning_effort`."""
    body: tuple[str, ...]
    """Names of fields of `extra_body`, those of the settings included."""
    nested: Mapping[str, tuple[str, ...]]
    """Field of `extra_body` that holds other things, too -> its fields that turn a control."""
    numbers: tuple[tuple[str, ...], ...]
    """Paths from the settings down to a number of thinking tokens."""


def parameter_names() -> ParameterNames:
    """Return the parameters of all rows in force."""
    return _gather_names(_from_environment_key())


@lru_cache(maxsize=8)
def _gather_names(environment: tuple[str, int] | None) -> ParameterNames:
    settings: dict[str, None] = {}
    body: dict[str, None] = {}
    nested: dict[str, dict[str, None]] = {}
    numbers: dict[tuple[str, ...], None] = {}
    for control in reasoning_controls():
        templates = [t for t in (control.on, control.on_auto, control.off) if t is not None]
        paths = [path for template in templates for path in _leaf_paths(template)]
        paths += [(tuple(path.split(".")), None) for path in control.also]
        for path, value in paths:
            if control.kind == "tokens" and value == VALUE:
                numbers[path] = None
                if path[0] == "extra_body":  # some callers leave it out
                    numbers[path[1:]] = None
            if path[0] != "extra_body":
                settings[path[0]] = None
            elif path[1] in SHARED_HOLDERS:
                nested.setdefault(path[1], {})[path[2]] = None
            else:
                body[path[1]] = None
    settings.pop("allowed_openai_params", None)
    return ParameterNames(tuple(settings), (*settings, *body), {k: tuple(v) for k, v in nested.items()}, tuple(numbers))


def _leaf_paths(template: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each leaf of a template with the path to it."""
    if isinstance(template, Mapping):
        for name, value in template.items():
            yield from _leaf_paths(value, (*above, name))
    else:
        yield above, template
