"""From a folder to a model: loaded once, checked, without pickles and foreign code; adapters share its tensors."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import Bomb, changed, make_adapter, make_model

from tale_dspy.backends.local import weights
from tale_dspy.backends.local.model_path import ModelPath
from tale_dspy.errors import TaleError

Copied = Callable[[Path], Path]


def refused(check: Callable[..., Any], *args: Any) -> str:
    with pytest.raises(TaleError) as caught:
        check(*args)
    assert "\n" not in str(caught.value)
    return f"{type(caught.value).__name__}: {caught.value}"


def load(folder: Path, device: str = "cpu", dtype: str = "auto") -> Any:
    return weights.load_model(folder, device, dtype)


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], object], name: str = "model.safetensors") -> None:
    tensors = load_file(folder / name)
    change(tensors)
    save_file(tensors, folder / name, metadata={"format": "pt"})


# Models


@pytest.mark.parametrize(("dtype", "wanted"), [("auto", torch.float32), ("bfloat16", torch.bfloat16)])
def test_the_precision_is_the_one_asked_for(base: Path, dtype: str, wanted: torch.dtype) -> None:
    model = load(base, dtype=dtype)
    assert {p.dtype for p in model.parameters()} == {wanted}
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())


def _drop(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["model.layers.1.mlp.up_proj.weight"]


def _shrink(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.norm.weight"] = torch.ones(31)


def _add(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.layers.2.stray.weight"] = torch.ones(3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_drop, "missing: model.layers.1.mlp.up_proj.weight"),
        (_shrink, "mismatched: model.norm.weight"),
        (_add, "unexpected: model.layers.2.stray.weight"),
    ],
)
def test_weights_that_are_not_those_of_the_configuration_are_refused(
    base: Path, copied: Copied, change: Callable[[dict[str, torch.Tensor]], None], message: str
) -> None:
    folder = copied(base)
    rewrite(folder, change)
    refusal = refused(load, folder)
    assert refusal == f"DataError: {folder}: the weights are not those of its config.json ({message})"


def test_a_shard_under_another_name_is_not_taken_for_the_whole(base: Path, copied: Copied) -> None:
    folder = copied(base)
    (folder / "model.safetensors").rename(folder / "part.safetensors")
    assert f"DataError: {folder} cannot be loaded as a causal language model" in refused(load, folder)


def test_a_model_in_several_files_is_loaded(base: Path, tmp_path: Path) -> None:
    model = load(base)
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(base / name, tmp_path / "shards")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    again = load(tmp_path / "shards")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_a_pickle_beside_the_weights_is_never_opened(base: Path, copied: Copied) -> None:
    import pickle

    folder = copied(base)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    assert load(folder).config.model_type == "llama"


def test_code_of_a_folder_is_never_run(base: Path, copied: Copied, tmp_path: Path) -> None:
    folder = copied(base)
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    code = {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil", "AutoTokenizer": ["evil.Evil", None]}
    changed(folder / "config.json", auto_map=code)
    changed(folder / "tokenizer_config.json", auto_map=code)
    weights.load_prompt_tokenizer(folder, load(folder))  # of a kind that transformers knows without the code
    changed(folder / "config.json", model_type="evil")
    assert refused(load, folder).startswith(f"DataError: {folder} cannot be loaded as a causal language model")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["T5", "Mamba"])
def test_a_model_that_cannot_write_row_by_row_is_refused(base: Path, tmp_path: Path, kind: str) -> None:
    import transformers

    models = {
        "T5": lambda: transformers.T5ForConditionalGeneration(
            transformers.T5Config(vocab_size=300, d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
        ),
        "Mamba": lambda: transformers.MambaForCausalLM(
            transformers.MambaConfig(vocab_size=300, hidden_size=16, num_hidden_layers=1, state_size=4)
        ),
    }
    models[kind]().save_pretrained(tmp_path / kind)
    shutil.copy(base / "tokenizer.json", tmp_path / kind)
    assert "as a causal language model" in (message := refused(load, tmp_path / kind)) or "keeps a state" in message


@pytest.mark.parametrize(("device", "message"), [("nothing", "must be one of torch's"), ("meta:x", "must be one of")])
def test_a_device_that_is_none_is_refused(base: Path, device: str, message: str) -> None:
    assert refused(load, base, device).startswith("UsageError: device")
    assert message in refused(load, base, device)


def test_a_device_that_is_not_there_is_refused(base: Path) -> None:
    assert refused(load, base, "cuda:97").startswith("UsageError: device cuda:97 cannot be used: ")


# Tokenizers


def test_the_tokenizer_comes_with_ends_window_and_limit(base: Path) -> None:
    model = load(base)
    model.generation_config.max_new_tokens = 33
    tokenizer = weights.load_prompt_tokenizer(base, model)
    assert (tokenizer.ends, tokenizer.window, tokenizer._max_tokens) == (frozenset([2, *range(60, 66)]), 512, 33)


@pytest.mark.parametrize(
    ("generation", "config", "tokenizer", "ends"),
    [(None, 5, 2, {5, 2}), (7, 5, 2, {7, 2}), ([7, 8], 5, None, {7, 8}), (None, None, None, set())],
)
def test_end_tokens_are_those_of_generation_or_else_of_the_config_and_the_tokenizers(
    generation: Any, config: Any, tokenizer: Any, ends: set[int]
) -> None:
    assert weights.end_tokens(generation, config, tokenizer) == ends


def test_a_tokenizer_that_cannot_be_read_is_refused(base: Path, copied: Copied) -> None:
    folder = copied(base)
    (folder / "tokenizer.json").write_text('{"model": {}}')
    assert refused(weights.load_prompt_tokenizer, folder, load(base)).startswith(
        f"DataError: {folder} holds no tokenizer that"
    )


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(base: Path, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m", vocab_size=100, ends=2)
    message = refused(weights.load_prompt_tokenizer, folder, load(folder))
    assert message == f"DataError: {folder}: the tokenizer has 260 tokens, the model only 100"


# Adapters


def test_adapters_share_the_tensors_of_their_base(others: dict[str, Path], tmp_path: Path) -> None:
    base = others["qwen2"]
    model = load(base)
    base_pointers = {p.data_ptr() for p in model.parameters()}
    for seed in (1, 2):
        adapter = make_adapter(tmp_path / f"a{seed}", base, seed=seed)
        put_on = weights.attach_adapter(model, adapter, "base")
        new = [name for name, p in put_on.named_parameters() if p.data_ptr() not in base_pointers]
        assert len(new) == 8  # two matrices of two modules of two layers
        assert all("lora_" in name for name in new)
    assert not any("lora_" in name for name, _ in model.named_parameters())


def test_merging_leaves_the_base_as_it_was(base: Path, adapters: list[Path]) -> None:
    model = load(base)
    before = {name: p.clone() for name, p in model.named_parameters()}
    merged = weights.merge_adapter(weights.attach_adapter(model, adapters[0], "base"))
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    other = [name for name, p in merged.named_parameters() if not torch.equal(p, before[name])]
    assert len(other) == 4
    assert all("q_proj" in name or "v_proj" in name for name in other)


def test_an_adapter_with_a_whole_module_of_its_own_leaves_the_base_as_it_was(base: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path / "a", base, modules_to_save=["norm"])
    norm = "base_model.model.model.norm.weight"
    rewrite(adapter, lambda tensors: tensors[norm].fill_(7), "adapter_model.safetensors")
    model = load(base)
    merged = weights.merge_adapter(weights.attach_adapter(model, adapter, "base"))
    assert (merged.model.norm.weight == 7).all()
    assert not (model.model.norm.weight == 7).any()


def test_an_adapter_that_does_not_fit_is_refused(base: Path, adapters: list[Path], tmp_path: Path) -> None:
    wide = load(make_model(tmp_path / "base", hidden_size=64))
    message = refused(weights.attach_adapter, wide, adapters[0], "wide")
    assert message.startswith(f"DataError: {adapters[0]} cannot be put on wide: ")


def _stray(tensors: dict[str, torch.Tensor]) -> None:
    name = next(iter(tensors))
    tensors[name.replace("layers.0", "layers.7").replace("layers.1", "layers.7")] = tensors[name].clone()


def _lacking(tensors: dict[str, torch.Tensor]) -> None:
    tensors.pop(next(iter(tensors)))


@pytest.mark.parametrize("change", [_stray, _lacking])
def test_tensors_without_a_place_and_places_without_a_tensor_are_seen(
    base: Path, adapters: list[Path], copied: Copied, change: Callable[[dict[str, torch.Tensor]], None]
) -> None:
    folder = copied(adapters[0])
    rewrite(folder, change, "adapter_model.safetensors")
    assert "is only in one of the two" in refused(weights.attach_adapter, load(base), folder, "base")


# The hub


Hub = Callable[[Path], Path]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Put a folder into a cache of the Hugging Face hub as some/model; there is no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def put(folder: Path) -> Path:
        root = tmp_path / "hub" / "models--some--model"
        (root / "refs").mkdir(parents=True)
        (root / "refs" / "main").write_text("0" * 40)
        return Path(shutil.copytree(folder, root / "snapshots" / ("0" * 40)))

    return put


def test_a_name_is_looked_up_in_the_cache_of_the_hub(base: Path, hub: Hub) -> None:
    folder = hub(base)
    assert weights.resolve_folder(ModelPath("some/model")) == folder


def test_a_name_the_hub_does_not_give_is_said_in_one_sentence(hub: Hub) -> None:
    message = refused(weights.resolve_folder, ModelPath("some/model"))
    assert message.startswith("UsageError: some/model is no folder, and the Hugging Face hub does not give it: ")


def test_a_model_of_the_hub_without_safetensors_is_refused(base: Path, hub: Hub) -> None:
    folder = hub(base)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "holds its weights as pytorch_model.bin, but only" in refused(
        weights.resolve_folder, ModelPath("some/model")
    )


# Quiet


def test_the_settings_of_transformers_are_put_back(base: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from huggingface_hub import utils
    from transformers.utils import logging

    logging.enable_progress_bar()
    before = logging.get_verbosity(), logging.is_progress_bar_enabled(), utils.are_progress_bars_disabled()
    load(base)
    with pytest.raises(ZeroDivisionError), weights.quiet_transformers():
        raise ZeroDivisionError
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled(), utils.are_progress_bars_disabled()) == before
    logging.disable_progress_bar()
    assert capfd.readouterr() == ("", "")


def test_a_missing_package_is_named() -> None:
    from tale_dspy.errors import MissingExtraError

    with pytest.raises(MissingExtraError, match=r"no_such_package is not installed: pip install 'tale-dspy\[local\]'"):
        weights.require_packages("json", "no_such_package")


def test_the_config_of_an_adapter_cannot_bring_code(base: Path, adapters: list[Path], copied: Copied) -> None:
    folder = copied(adapters[0])
    evil = {"base_model_class": "Popen", "parent_library": "subprocess"}
    changed(folder / "adapter_config.json", auto_mapping=evil)
    weights.attach_adapter(load(base), folder, "base")
    assert json.loads((folder / "adapter_config.json").read_text())["auto_mapping"] == evil
