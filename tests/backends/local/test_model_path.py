"""What a model string points to, with folders that may hold a plus and names of the hub that have the form of paths."""

from pathlib import Path

import pytest

from tale_dspy.backends.local.model_path import embedded_folder, is_local, parse_model_path
from tale_dspy.errors import UsageError


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("base", "adapter", "a+b", "a", "Qwen/Qwen3", "home/m", "home/plus"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("file", "model-Q4_K_M.GGUF"):
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.mark.parametrize("model", ["embedded", "local:x", "local:"])
def test_a_local_model_is_known_by_its_string(model: str) -> None:
    assert is_local(model)


@pytest.mark.parametrize("model", ["openai/x", "embedded/x", "Local:x", "", None, 7])
def test_everything_else_is_not_local(model: object) -> None:
    assert not is_local(model)


@pytest.mark.parametrize(
    ("model", "base", "adapter"),
    [
        ("local:base", "base", None),
        ("local:base/", "base", None),
        ("local:base+adapter", "base", "adapter"),
        ("local:base+a+b", "base", "a+b"),
        ("local:a+b", "a+b", None),  # a folder of that name, and not `a` with an adapter `b`
        ("local:a+b+adapter", "a+b", "adapter"),
        ("local:a+adapter", "a", "adapter"),
        ("local:Qwen/Qwen3", "Qwen/Qwen3", None),
        ("local:Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B", None),
        ("local:gpt2", "gpt2", None),
        ("local:Qwen/Qwen3-0.6B+adapter", "Qwen/Qwen3-0.6B", "adapter"),
        ("local:embedded", str(embedded_folder()), None),
        ("embedded", str(embedded_folder()), None),
        ("local:embedded+adapter", str(embedded_folder()), "adapter"),
    ],
)
def test_a_string_is_cut_where_base_and_adapter_exist(model: str, base: str, adapter: str | None) -> None:
    place = parse_model_path(model)
    assert (Path(place.base), place.adapter) == (Path(base), adapter and Path(adapter))


def test_the_home_folder_may_be_written_as_a_tilde(folders: Path) -> None:
    place = parse_model_path("local:~/m+~/plus")
    assert (place.folder, place.adapter) == (folders / "home" / "m", folders / "home" / "plus")


def test_a_folder_is_taken_before_the_hub() -> None:
    assert parse_model_path("local:Qwen/Qwen3").folder == Path("Qwen/Qwen3")
    assert parse_model_path("local:Qwen/Other").folder is None


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("local:", r"'local:' names no model: give local:PATH, local:PATH\+ADAPTER or embedded"),
        ("local:  ", "names no model"),
        ("local:./missing", "must be a folder or a name of the Hugging Face hub, but ./missing is neither"),
        ("local:/missing", "but /missing is neither"),
        ("local:a/b/c", "but a/b/c is neither"),
        ("local:file/", "but file/ is neither"),
        ("local:base+missing", "the adapter must be a folder, but missing is none"),
        ("local:base+", "the adapter must be a folder, but an empty path is none"),
        ("local:base+file", "the adapter must be a folder, but file is none"),
        ("local:./missing+adapter", "the model must be a folder or a hub name, but ./missing is neither"),
        ("local:+adapter", "the model must be a folder or a hub name, but an empty path is neither"),
        ("local:Qwen/Other+missing", "the adapter must be a folder, but missing is none"),
        ("local:./x+./y", r"but ./x\+./y is neither"),
        (
            "local:model-Q4_K_M.GGUF",
            r"is a GGUF file, .*: take .* or serve .* -m model-Q4_K_M.GGUF\)",
        ),
    ],
)
def test_what_is_missing_is_said(model: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_model_path(model)
