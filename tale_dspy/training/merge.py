"""Put an adapter into the weights of its base.

It serves servers that take no adapters, and further training.
"""

import json
import shutil
from pathlib import Path

from tale_dspy.backends.local import files
from tale_dspy.backends.local.model_path import PREFIX, is_local, parse_model_path
from tale_dspy.backends.local.weights import attach_adapter, load_model, quiet_transformers, resolve_folder
from tale_dspy.errors import RunFolderError, UsageError
from tale_dspy.protocols import JsonObject
from tale_dspy.training.folder import write_json
from tale_dspy.training.plan import require


def merge_adapter(model: str, out: str | Path, strength: float = 1.0) -> str:
    """Write the folder of a model with its adapter merged in, in full or in part.

    The weights have the precision of the base. The card of the adapter goes with it, so that what it was trained on
    stays known.

    With a strength s below 1 the weights are W + s (W_adapter - W): what lies between the long and the short model on
    the line through both (long-to-short merging, arXiv 2501.12599 and 2503.20641; WiSE-FT, 2109.01903).
    An adapter that is too short, and has lost accuracy for it, gives a length between without another training.

    Args:
        model: `BASE+ADAPTER`, with or without `local:` before it.
        out: A folder that does not exist yet, or is empty; one that holds this very merged model is left as it is.
        strength: Share of what the adapter changes, above 0 and at most 1.

    Returns:
        The model string of the merged model.

    Raises:
        UsageError: If there is no adapter in `model`, it belongs to another base or lies in `out`, or the strength is
            out of range.
        RunFolderError: If the folder holds something else.
        DataError: If a file is broken.
    """
    require()
    from peft.helpers import rescale_adapter_scale

    place, folder = parse_model_path(model if is_local(model) else PREFIX + model), Path(out)
    if place.adapter is None:
        raise UsageError(f"{model} has no adapter to merge: give BASE+ADAPTER")
    check_merge(folder, strength, place.adapter)
    if _is_merged_into(folder, place.adapter, strength):
        return f"{PREFIX}{folder}"
    base = resolve_folder(place)
    files.check_adapter(place.adapter, place.base, base)
    adapted = attach_adapter(load_model(base, "cpu", "auto"), place.adapter, place.base)
    with rescale_adapter_scale(adapted, strength):
        merged = adapted.merge_and_unload()
    folder.mkdir(parents=True, exist_ok=True)
    with quiet_transformers():
        merged.save_pretrained(folder)
    for path in base.iterdir():
        if _belongs_to_tokenizer(path) and not (folder / path.name).exists():
            shutil.copy2(path, folder)
    if card := _card_of_merge(place.adapter, strength):
        write_json(folder / files.CARD, card)
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)  # safetensors makes it readable for its owner alone
    names = sorted(p.name for p in folder.iterdir() if p.name != files.CARD)
    write_json(folder / files.MANIFEST, {"files": {name: files.file_hash(folder / name) for name in names}})
    return f"{PREFIX}{folder}"


def check_merge(out: str | Path, strength: float, adapter: str | Path) -> None:
    """Refuse what `merge_adapter` can never write, before there is an adapter.

    Args:
        out: The folder of the merged model.
        strength: Share of what the adapter changes.
        adapter: The folder the adapter is in, or will be.

    Raises:
        UsageError: If the strength is out of range, or both folders are the same.
        RunFolderError: If the folder is a file, or holds anything but this adapter, merged with this strength.
    """
    if not 0 < strength <= 1:
        raise UsageError(f"the strength of a merge must be above 0 and at most 1, got {strength!r}")
    folder = Path(out)
    if folder.resolve() == Path(adapter).resolve():
        raise UsageError(f"{folder} is the folder of the adapter: give another folder for the merged model")
    is_free = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    if not is_free and not _is_merged_into(folder, Path(adapter), strength):
        raise RunFolderError(f"{folder} is there already: give another folder for the merged model")


def _is_merged_into(folder: Path, adapter: Path, strength: float) -> bool:
    """Return whether the adapter was merged into this folder with this strength.

    The manifest shows it, because it is written last.
    """
    if not (folder / files.MANIFEST).is_file():
        return False
    # The gate may have written its verdict into either card since.
    ours, theirs = ({**card, "gate": None} for card in (_read_card(folder), _card_of_merge(adapter, strength)))
    return ours == theirs != {"gate": None}


def _card_of_merge(adapter: Path, strength: float) -> JsonObject:
    """Return the card of a merged model.

    A verdict on the whole adapter says nothing of a part of it.
    """
    card = _read_card(adapter)
    return card if not card or strength == 1 else {**card, "gate": None, "merge_strength": strength}


def _read_card(folder: Path) -> JsonObject:
    """Return the card of a folder, {} where there is none that can be read."""
    try:
        card: JsonObject = json.loads((folder / files.CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return card


def _belongs_to_tokenizer(path: Path) -> bool:
    """Return whether a file is of the tokenizer or the chat template.

    Weights and files about them are not.
    """
    is_description = path.name in (files.MANIFEST, files.CARD) or path.name.endswith(".index.json")
    return path.suffix in (".json", ".jinja", ".model", ".txt") and not is_description
