"""Choose which folders count as a model or an adapter, before loading them.

Weights are safetensors and everything else is JSON or text: nothing is ever unpickled, and no code of a folder is run.
This module does not import torch.
"""

import hashlib
import json
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

from tale_dspy.errors import DataError, UsageError, first_line
from tale_dspy.protocols import JsonObject

MANIFEST = "manifest.json"
CARD = "tale_adapter.json"
"""What a training run of ours writes beside an adapter: `base_sha256` is the `weights_hash` of the base, `seen` the ids
of the questions it was trained on, with their role."""
TRAINING_FILE = "training.json"
"""What a training of ours begins the folder of an adapter with."""
_READ = (".safetensors", ".json", ".jinja", ".model", ".txt")
"""What transformers may read of a folder, and so decides replies."""
_NOT_READ = (MANIFEST, CARD)
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".msgpack", ".h5")
_PLAIN_STARTS = (None, True, False, "gaussian", "eva")
"""How a LoRA may have been begun: with all others, such as `pissa`, peft takes the beginning out of the base, whose
matrices belong to others too."""
_LARGEST_HEADER = 100_000_000
_CHUNK = 1 << 20

_hashes: dict[tuple[str, int, int], str] = {}
_lock = threading.Lock()


def check_model(folder: Path) -> None:
    """Check what can be checked of a model without loading it.

    Raises:
        UsageError: If it is no folder of a model, or its weights are not safetensors.
        DataError: If a file is broken, or is not the one its manifest tells of.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder of a model: there is no such folder")
    config = _read_object(folder, "config.json", "is no folder of a model")
    if not isinstance(config.get("model_type"), str):
        raise DataError(f"{folder / 'config.json'} names no model_type, so that it is no model's")
    weights = _weight_files(folder)
    if not weights:
        pickles = sorted(p.name for p in folder.iterdir() if p.suffix in _PICKLES)
        if pickles:
            raise UsageError(f"{folder} holds its weights as {pickles[0]}, but only safetensors are loaded")
        quantized = sorted(folder.glob("*.gguf"))
        if quantized:
            raise UsageError(gguf_refusal(quantized[0]))
        raise UsageError(f"{folder} holds no weights: a .safetensors file is needed")
    for path in weights:
        check_safetensors(path)
    for name in sorted(set(_indexed_files(folder).values())):
        if not (folder / name).is_file():
            raise DataError(f"{folder} lacks {name}, which its index names")
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise UsageError(f"{folder} holds no tokenizer: {_TOKENIZERS[0]} is needed")
    if (folder / _TOKENIZERS[0]).is_file():
        _read_object(folder, _TOKENIZERS[0], "holds no tokenizer")
    check_manifest(folder)


def gguf_refusal(file: Path) -> str:
    """Return why a GGUF file is not loaded, and the way round.

    transformers can read such a file, but not all that its tokenizer does before it looks words up: SmolLM2's numbers,
    which are split into digits, then become other tokens than those the model was trained on.
    """
    return (
        f"{file} is a GGUF file, whose tokenizer cannot be read faithfully here: take the model's Hugging Face folder "
        f"or hub name, or serve the file (llama-server -m {file.name}) and use openai/NAME with "
        "api_base='http://localhost:8080/v1'"
    )


def check_adapter(folder: Path, base: str, base_folder: Path) -> None:
    """Check what can be checked of a LoRA adapter without loading it.

    Args:
        folder: The adapter's.
        base: Folder or hub name of the model it is to be put on.
        base_folder: Where that model lies.

    Raises:
        UsageError: If it is no LoRA adapter, its weights are not safetensors, or it was trained on another model: by
            the hash of the base in its `tale_adapter.json`, or without one by the last part of the name of its base.
        DataError: If a file is broken.
    """
    if (folder / TRAINING_FILE).is_file() and not (folder / CARD).is_file():
        raise UsageError(f"{folder} holds a training that is not finished: the same `tale train` continues it")
    config = _read_object(folder, "adapter_config.json", "is no folder of an adapter")
    if config.get("peft_type") != "LORA":
        raise UsageError(f"{folder} is an adapter of type {config.get('peft_type')}, but only LORA is put on")
    if config.get("init_lora_weights") not in _PLAIN_STARTS:
        raise UsageError(
            f"{folder} changes the matrices of its base (init_lora_weights is {config['init_lora_weights']}): save it "
            "as a plain LoRA, with path_initial_model_for_weight_conversion"
        )
    weights = folder / "adapter_model.safetensors"
    if not weights.is_file():
        raise UsageError(f"{folder} holds no adapter_model.safetensors, and nothing else is loaded")
    check_safetensors(weights)
    check_manifest(folder)
    # Adapters of this package record the hash of their base. Of others only the name of the base is known, and of that
    # only the last part: the same model may be a folder here and a hub name there.
    trained_on = str(config.get("base_model_name_or_path") or "")
    base_hash = _read_object(folder, CARD, "").get("base_sha256") if (folder / CARD).is_file() else None
    same_base = (
        _last_part(trained_on) == _last_part(base) if base_hash is None else base_hash == weights_hash(base_folder)
    )
    if not same_base:
        raise UsageError(f"{folder} was trained on another model ({trained_on or 'unnamed'}) than {base}")


def seen_by(folder: Path) -> dict[str, str]:
    """Return id -> role of the questions a model was trained on.

    The model is an adapter, or one that an adapter was merged into.

    Raises:
        DataError: If its card cannot be read.
    """
    if not (folder / CARD).is_file():
        return {}
    roles = _read_object(folder, CARD, "").get("seen") or {}
    if not isinstance(roles, dict):
        raise DataError(f"{folder / CARD}: seen must map ids to roles, got {type(roles).__name__}")
    return {str(id_): str(role) for id_, role in roles.items()}


def _last_part(path: str) -> str:
    """Return the last part of a path or hub name.

    For a folder of the hub's cache it is the name of the repository.
    """
    # The hub's cache has folders `models--OWNER--NAME/snapshots/COMMIT`.
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]
    cached = [part.rpartition("--")[2] for part in parts if part.startswith("models--")]
    return (cached or parts or [""])[-1]


def check_manifest(folder: Path) -> None:
    """Compare a folder with its manifest, if it has one.

    A manifest is `{"files": {name: sha256}}`.

    Raises:
        DataError: If the manifest cannot be read, or a file is missing or another.
    """
    if not (folder / MANIFEST).is_file():
        return
    files = _read_object(folder, MANIFEST, "").get("files")
    if not isinstance(files, dict):
        raise DataError(f"{folder / MANIFEST} must hold the files and their sha256")
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise DataError(f"{folder} lacks {name}, which its manifest names")
        if file_hash(path) != expected:
            raise DataError(f"{path} is not the file its manifest tells of: it was changed or damaged")


def check_safetensors(path: Path) -> None:
    """Check that the header and all tensors of a safetensors file are there.

    Raises:
        DataError: If it is cut off or none at all.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            # safetensors: 8 bytes (little-endian length n of the header), n bytes of JSON, then the tensors, whose
            # `data_offsets` count from the end of the header.
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(size - 8, _LARGEST_HEADER):
                raise ValueError("its header is longer than the file")
            header = json.loads(file.read(length))
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        if 8 + length + max(ends, default=0) != size:
            raise ValueError(f"its tensors need {8 + length + max(ends, default=0)} bytes, it has {size}")
    except (OSError, struct.error, ValueError, TypeError, LookupError, AttributeError, RecursionError) as e:
        raise DataError(f"{path} is no whole safetensors file: {first_line(e)}") from e


def _read_object(folder: Path, name: str, otherwise: str) -> JsonObject:
    """Read a JSON object of a folder.

    If the file is missing, the error says that the folder is `otherwise`.
    """
    path = folder / name
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{folder} {otherwise}: it has no {name}") from None
    except (OSError, ValueError, RecursionError) as e:
        raise DataError(f"{path} cannot be read as JSON: {first_line(e)}") from e
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold a JSON object, got {type(content).__name__}")
    return content


def _weight_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("*.safetensors") if p.is_file())


def _indexed_files(folder: Path) -> dict[str, str]:
    name = "model.safetensors.index.json"
    if not (folder / name).is_file():
        return {}
    files = _read_object(folder, name, "").get("weight_map")
    if not isinstance(files, dict) or not all(isinstance(v, str) and Path(v).name == v for v in files.values()):
        raise DataError(f"{folder / name} must map tensors to files of its folder")
    return files


def _read_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.suffix in _READ and path.name not in _NOT_READ and path.is_file():
            yield path


def stamp(folder: Path) -> str:
    """Return a text that changes when a file of the folder is written anew.

    It is made of times and sizes; no file is read for it.
    """
    return repr([(p.name, p.stat().st_mtime_ns, p.stat().st_size) for p in _read_files(folder)])


def contents_hash(folder: Path) -> str:
    """Hash all files of a folder that decide replies.

    They are weights, configuration, tokenizer and chat template.
    """
    hashes = [(p.name, file_hash(p)) for p in _read_files(folder)]
    return hashlib.sha256(repr(hashes).encode()).hexdigest()


def weights_hash(folder: Path) -> str:
    """Hash the weights of a folder alone: the sha256 of its safetensors file.

    With several such files, it is the hash of their hashes.
    """
    hashes = [file_hash(p) for p in _weight_files(folder)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def file_hash(path: Path) -> str:
    """Return the sha256 of a file.

    The file is read once as long as its time and size stay the same.
    """
    about = path.stat()
    key = (str(path.resolve()), about.st_mtime_ns, about.st_size)
    with _lock:
        digest_hex = _hashes.get(key)
    if digest_hex is None:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        digest_hex = digest.hexdigest()
        with _lock:
            _hashes[key] = digest_hex
    return digest_hex
