"""Folders that are no models or adapters, or broken ones, are refused in one sentence before anything is loaded."""

import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_models import Bomb, changed

from tale_dspy.backends.local import files
from tale_dspy.errors import DataError, TaleError, UsageError

Copied = Callable[[Path], Path]


def refused(check: Callable[..., None], *args: Any) -> tuple[type[TaleError], str]:
    with pytest.raises(TaleError) as caught:
        check(*args)
    assert "\n" not in str(caught.value)
    return type(caught.value), str(caught.value)


def write(path: Path, header: object, data: bytes = b"", length: int | None = None) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)


def test_whole_folders_are_taken(base: Path, others: dict[str, Path], adapters: list[Path]) -> None:
    for folder in (base, *others.values()):
        files.check_model(folder)
    for adapter in adapters:
        files.check_adapter(adapter, str(base), base)


# A model


def cut_off(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def a_gguf_instead(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "small.gguf").write_bytes(b"GGUF")


def a_pickle_instead(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))


def index(**files_of: Any) -> Callable[[Path], object]:
    return written("model.safetensors.index.json", json.dumps({"weight_map": files_of}))


def removed(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def written(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("damage", "kind", "message"),
    [
        (removed("config.json"), UsageError, "is no folder of a model: it has no config.json"),
        (written("config.json", "{"), DataError, "config.json cannot be read as JSON"),
        (written("config.json", "[]"), DataError, "config.json must hold a JSON object, got list"),
        (written("config.json", "{}"), DataError, "names no model_type"),
        (written("config.json", "[" * 100_000), DataError, "config.json cannot be read as JSON"),
        (removed("model.safetensors"), UsageError, "holds no weights: a .safetensors file is needed"),
        (a_gguf_instead, UsageError, "small.gguf is a GGUF file, whose tokenizer cannot be read faithfully here"),
        (a_pickle_instead, UsageError, "holds its weights as pytorch_model.bin, but only safetensors are loaded"),
        (cut_off, DataError, "model.safetensors is no whole safetensors file"),
        (written("model.safetensors", ""), DataError, "model.safetensors is no whole safetensors file"),
        (written("model.safetensors", "x" * 99), DataError, "its header is longer than the file"),
        (index(a="model-00002-of-00002.safetensors"), DataError, "lacks model-00002-of-00002.safetensors"),
        (index(a="../elsewhere.safetensors"), DataError, "must map tensors to files of its folder"),
        (index(a=7), DataError, "must map tensors to files of its folder"),
        (removed("tokenizer.json"), UsageError, "holds no tokenizer: tokenizer.json is needed"),
        (written("tokenizer.json", "no"), DataError, "tokenizer.json cannot be read as JSON"),
    ],
)
def test_a_model_that_is_none_or_broken_is_refused(
    base: Path, copied: Copied, damage: Callable[[Path], object], kind: type, message: str
) -> None:
    folder = copied(base)
    damage(folder)
    error_kind, text = refused(files.check_model, folder)
    assert error_kind is kind
    assert message in text
    assert str(folder) in text


@pytest.mark.parametrize("make", [str, Path.touch], ids=["missing", "file"])
def test_a_path_that_is_no_folder_is_refused(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "x")
    assert refused(files.check_model, tmp_path / "x") == (
        UsageError,
        f"{tmp_path / 'x'} is no folder of a model: there is no such folder",
    )


@pytest.mark.parametrize(
    ("header", "data", "length"),
    [
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"", None),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"12345678", None),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": ["0", "4"]}}, b"1234", None),
        ({"a": {}}, b"", None),
        ({"a": None}, b"", None),
        ([], b"", None),
        (b"{", b"", None),
        (b"\xff\xfe", b"", None),
        ({}, b"", 2**63),
        (b"[" * 100_000, b"", None),
    ],
)
def test_the_frame_of_a_safetensors_file_is_checked(tmp_path: Path, header: Any, data: bytes, length: Any) -> None:
    write(tmp_path / "x.safetensors", header, data, length)
    kind, message = refused(files.check_safetensors, tmp_path / "x.safetensors")
    assert kind is DataError
    assert message.startswith(f"{tmp_path / 'x.safetensors'} is no whole safetensors file: ")


def test_a_whole_frame_is_taken(tmp_path: Path) -> None:
    tensor = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    write(tmp_path / "x.safetensors", {"__metadata__": {"format": "pt"}, "a": tensor}, b"1234")
    files.check_safetensors(tmp_path / "x.safetensors")


# Manifests


def manifest(folder: Path, **sums: str) -> None:
    hashes = {path.name: files.file_hash(path) for path in folder.iterdir() if path.name != files.MANIFEST}
    (folder / files.MANIFEST).write_text(json.dumps({"files": hashes | sums}))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"])
def test_one_byte_changed_is_seen(base: Path, copied: Copied, name: str) -> None:
    manifest(folder := copied(base))
    files.check_model(folder)
    path = folder / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + (b" " if name != "model.safetensors" else bytes([whole[-1] ^ 1])))
    kind, message = refused(files.check_manifest, folder)
    assert (kind, message) == (DataError, f"{path} is not the file its manifest tells of: it was changed or damaged")


def test_a_file_the_manifest_names_must_be_there(base: Path, copied: Copied) -> None:
    manifest(folder := copied(base), **{"more.json": "0"})
    assert refused(files.check_model, folder) == (DataError, f"{folder} lacks more.json, which its manifest names")


@pytest.mark.parametrize("text", ["{}", '{"files": []}', "{", "[]"])
def test_a_manifest_that_is_none_is_refused(base: Path, copied: Copied, text: str) -> None:
    folder = copied(base)
    (folder / files.MANIFEST).write_text(text)
    assert refused(files.check_model, folder)[0] is DataError


# Adapters


def config(**values: Any) -> Callable[[Path], object]:
    return lambda folder: changed(folder / "adapter_config.json", **values)


@pytest.mark.parametrize(
    ("damage", "kind", "message"),
    [
        (removed("adapter_config.json"), UsageError, "is no folder of an adapter: it has no adapter_config.json"),
        (
            written("training.json", "{}"),
            UsageError,
            "that is not finished: the same `tale train` continues it",
        ),
        (written("adapter_config.json", "{"), DataError, "adapter_config.json cannot be read as JSON"),
        (config(peft_type="IA3"), UsageError, "is an adapter of type IA3, but only LORA is put on"),
        (config(peft_type=None), UsageError, "is an adapter of type None"),
        (config(init_lora_weights="pissa"), UsageError, "of its base (init_lora_weights is pissa): save it"),
        (config(init_lora_weights=[1]), UsageError, "changes the matrices of its base"),
        (removed("adapter_model.safetensors"), UsageError, "holds no adapter_model.safetensors"),
        (written("adapter_model.safetensors", "short"), DataError, "is no whole safetensors file"),
        (config(base_model_name_or_path="other/model"), UsageError, "was trained on another model (other/model) than"),
        (config(base_model_name_or_path=None), UsageError, "was trained on another model (unnamed) than"),
        (written("tale_adapter.json", '{"base_sha256": "0"}'), UsageError, "was trained on another model"),
        (written("tale_adapter.json", "{"), DataError, "tale_adapter.json cannot be read as JSON"),
        (written("manifest.json", '{"files": {"adapter_model.safetensors": "0"}}'), DataError, "changed or damaged"),
    ],
)
def test_an_adapter_that_is_none_broken_or_of_another_base_is_refused(
    base: Path, adapters: list[Path], copied: Copied, damage: Callable[[Path], object], kind: type, message: str
) -> None:
    folder = copied(adapters[0])
    damage(folder)
    error_kind, text = refused(files.check_adapter, folder, str(base), base)
    assert error_kind is kind
    assert message in text
    assert str(folder) in text


def test_the_hash_of_the_base_counts_more_than_its_name(base: Path, adapters: list[Path], copied: Copied) -> None:
    folder = copied(adapters[0])
    changed(folder / "adapter_config.json", base_model_name_or_path="/gone/elsewhere")
    (folder / files.CARD).write_text(json.dumps({"base_sha256": files.weights_hash(base)}))
    files.check_adapter(folder, str(base), base)


@pytest.mark.parametrize(
    ("trained_on", "asked_for"),
    [
        ("/models/base", "base"),
        ("/models/base/", "./base"),
        ("Qwen/Qwen3-0.6B", "/models/Qwen3-0.6B"),
        ("C:\\models\\base", "base"),
        ("/cache/models--Qwen--Qwen3-0.6B/snapshots/0123", "Qwen/Qwen3-0.6B"),
    ],
)
def test_without_a_hash_the_last_part_of_the_name_must_be_that_of_the_base(
    base: Path, adapters: list[Path], copied: Copied, trained_on: str, asked_for: str
) -> None:
    folder = copied(adapters[0])
    changed(folder / "adapter_config.json", base_model_name_or_path=trained_on)
    files.check_adapter(folder, asked_for, base)
    assert "was trained on another model" in refused(files.check_adapter, folder, "Qwen/other", base)[1]


# Hashes and stamps


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"])
def test_each_file_that_decides_replies_is_in_the_hash_and_the_stamp(base: Path, copied: Copied, name: str) -> None:
    folder = copied(base)
    before = files.contents_hash(folder), files.stamp(folder)
    assert before[0] == files.contents_hash(base)
    path = folder / name
    path.write_bytes(path.read_bytes() + b" ")
    assert files.contents_hash(folder) != before[0]
    assert files.stamp(folder) != before[1]


@pytest.mark.parametrize("name", ["README.md", "tale_adapter.json", "manifest.json", "optimizer.pt"])
def test_other_files_are_in_neither(base: Path, copied: Copied, name: str) -> None:
    folder = copied(base)
    before = files.contents_hash(folder), files.stamp(folder)
    (folder / name).write_text("{}")
    assert (files.contents_hash(folder), files.stamp(folder)) == before


def test_the_hash_of_the_weights_is_that_of_the_file_or_of_all_shards(base: Path, copied: Copied) -> None:
    from hashlib import sha256

    whole = sha256((base / "model.safetensors").read_bytes()).hexdigest()
    assert files.weights_hash(base) == whole
    folder = copied(base)
    (folder / "second.safetensors").write_bytes((base / "model.safetensors").read_bytes())
    assert files.weights_hash(folder) == sha256((whole * 2).encode()).hexdigest()


def test_a_file_is_read_once_and_again_after_it_was_written(tmp_path: Path) -> None:
    (path := tmp_path / "x").write_text("one")
    first = files.file_hash(path)
    about = path.stat()
    path.write_text("two")
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))  # the same time and size: taken for the same
    assert files.file_hash(path) == first
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    assert files.file_hash(path) != first


# What a model was trained on


def test_a_card_tells_which_questions_were_seen(adapters: list[Path], copied: Copied) -> None:
    folder = copied(adapters[0])
    assert files.seen_by(folder) == {}
    (folder / files.CARD).write_text('{"seen": {"0123": "train"}}')
    assert files.seen_by(folder) == {"0123": "train"}


@pytest.mark.parametrize("text", ["{", '{"seen": ["0123"]}'])
def test_a_card_that_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / files.CARD).write_text(text)
    assert refused(files.seen_by, tmp_path)[0] is DataError
