"""Parse `embedded`, `local:PATH` or `local:PATH+ADAPTER` of a model string."""

import re
from dataclasses import dataclass
from pathlib import Path

from tale_dspy.backends.local.files import gguf_refusal
from tale_dspy.errors import UsageError

PREFIX = "local:"
EMBEDDED = "embedded"

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def is_local(model: object) -> bool:
    """Return whether a model string names a model of this process."""
    return isinstance(model, str) and (model == EMBEDDED or model.startswith(PREFIX))


@dataclass(frozen=True)
class ModelPath:
    """Where a model lies."""

    base: str
    """A folder, or the name of a model of the Hugging Face hub."""
    adapter: Path | None = None
    """The folder of a LoRA adapter."""

    @property
    def folder(self) -> Path | None:
        """The folder of the base, or None if it is a name of the hub."""
        path = Path(self.base)
        return path if path.is_dir() else None


def parse_model_path(model: str) -> ModelPath:
    """Read a model string.

    A folder that exists is taken first, even if its name has the form of a hub name. Since a path may hold a `+`, the
    string is cut at the first `+` with an existing base before it (a folder, then a hub name) and an existing folder
    behind it; if all of it is a folder, it is not cut.

    Args:
        model: Such as `embedded`, `local:embedded+runs/adapter` or `local:Qwen/Qwen3-0.6B`.

    Raises:
        UsageError: If there is no such folder, and the string is no name a hub model can have.
    """
    text = EMBEDDED if model == EMBEDDED else model.removeprefix(PREFIX)
    if not text.strip():
        raise UsageError(f"{model!r} names no model: give local:PATH, local:PATH+ADAPTER or embedded")
    if text.lower().endswith(".gguf") and Path(text).expanduser().is_file():
        raise UsageError(gguf_refusal(Path(text)))
    if text == EMBEDDED or Path(text).expanduser().is_dir():
        return ModelPath(_base_name(text))
    cuts = [(text[:i], text[i + 1 :]) for i, c in enumerate(text) if c == "+"]
    attach_adapter = [(base, adapter) for base, adapter in cuts if adapter and Path(adapter).expanduser().is_dir()]
    for exists in (_is_here, _HUB_NAME.fullmatch):
        for base, adapter in attach_adapter:
            if exists(base):
                return ModelPath(_base_name(base), Path(adapter).expanduser())
    if not cuts and _HUB_NAME.fullmatch(text):
        return ModelPath(text)
    raise UsageError(_what_is_missing(model, text, cuts))


def _base_name(text: str) -> str:
    if text == EMBEDDED:
        return str(embedded_folder())
    return str(Path(text).expanduser()) if _is_here(text) else text


def embedded_folder() -> Path:
    """Return the folder of the model that ships with this package."""
    return Path(__file__).parents[2] / "embedded" / "model"


def _is_here(base: str) -> bool:
    return base == EMBEDDED or (bool(base) and Path(base).expanduser().is_dir())  # an empty path is the current folder


def _what_is_missing(model: str, text: str, cuts: list[tuple[str, str]]) -> str:
    for base, adapter in cuts:
        if _is_here(base) or (adapter and _HUB_NAME.fullmatch(base)):
            return f"{model}: the adapter must be a folder, but {adapter or 'an empty path'} is none"
    for base, adapter in cuts:
        if adapter and Path(adapter).expanduser().is_dir():
            return f"{model}: the model must be a folder or a hub name, but {base or 'an empty path'} is neither"
    return f"{model}: the model must be a folder or a name of the Hugging Face hub, but {text} is neither"
