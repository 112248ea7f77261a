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


def merge_adapter(model: str, out: str | Path) -> str:
    """Write the folder of a model with its adapter merged in.

    The weights have the precision of the base. The card of the adapter goes with it, so that what it was trained on
    stays known.

    Args:
        model: `BASE+ADAPTER`, with or without `local:` before it.
        out: A folder that does not exist yet, or is empty; one that holds this very merged model is left as it is.

    Returns:
        The model string of the merged model.

    Raises:
        UsageError: If there is no adapter in `model`, or it belongs to another base.
        RunFolderError: If the folder holds something else.
        DataError: If a file is broken.
    """
    require()
    place, folder = parse_model_path(model if is_local(model) else PREFIX + model), Path(out)
    if place.adapter is None:
        raise UsageError(f"{model} has no adapter to merge: give BASE+ADAPTER")
    if _is_merged_into(folder, place.adapter):
        return f"{PREFIX}{folder}"
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunFolderError(f"{folder} is there already: give another folder for the merged model")
    base = resolve_folder(place)
    files.check_adapter(place.adapter, place.base, base)
    loaded = attach_adapter(load_model(base, "cpu", "auto"), place.adapter, place.base).merge_and_unload()
    folder.mkdir(parents=True, exist_ok=True)
    with quiet_transformers():
        loaded.save_pretrained(folder)
    for path in base.iterdir():
        if _belongs_to_tokenizer(path) and not (folder / path.name).exists():
            shutil.copy2(path, folder)
    if (place.adapter / files.CARD).is_file():
        shutil.copy2(place.adapter / files.CARD, folder / files.CARD)
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)  # safetensors makes it readable for its owner alone
    names = sorted(p.name for p in folder.iterdir() if p.name != files.CARD)
    write_json(folder / files.MANIFEST, {"files": {name: files.file_hash(folder / name) for name in names}})
    return f"{PREFIX}{folder}"


def _is_merged_into(folder: Path, adapter: Path) -> bool:
    """Return whether the adapter was merged into this folder before.

    The manifest shows it, because it is written last.
    """
    return (folder / files.MANIFEST).is_file() and _training_card(folder) == _training_card(adapter) != {}


def _training_card(folder: Path) -> JsonObject:
    """Read what a card says of the training.

    The verdict that the gate added later is left out.
    """
    try:
        card: JsonObject = json.loads((folder / files.CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: value for key, value in card.items() if key != "gate"}


def _belongs_to_tokenizer(path: Path) -> bool:
    """Return whether a file is of the tokenizer or the chat template.

    Weights and files about them are not.
    """
    is_description = path.name in (files.MANIFEST, files.CARD) or path.name.endswith(".index.json")
    return path.suffix in (".json", ".jinja", ".model", ".txt") and not is_description
