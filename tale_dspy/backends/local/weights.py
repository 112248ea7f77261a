"""From a folder or a hub name to a model, its tokenizer and its adapters."""

import contextlib
import copy
import importlib.util
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tale_dspy.backends.local import files
from tale_dspy.backends.local.model_path import ModelPath
from tale_dspy.errors import DataError, MissingExtraError, UsageError, first_line

if TYPE_CHECKING:
    from tale_dspy.backends.local.prompt_tokenizer import PromptTokenizer

DTYPES = ("auto", "float32", "bfloat16", "float16", "int8")
_HUB_FILES = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
_NOT_FETCHED = ["*consolidated*", "*/*"]
"""A second copy of the weights that some models have, and the subfolders, of which nothing is read."""

_quiet_lock = threading.RLock()


def resolve_folder(path: ModelPath) -> Path:
    """Return the folder of a model.

    A name is fetched from the hub or its cache.

    Raises:
        UsageError: If the hub does not give it.
    """
    if path.folder is not None:
        return path.folder
    require_packages("transformers")
    from huggingface_hub import snapshot_download

    try:
        with quiet_transformers():
            folder = snapshot_download(path.base, allow_patterns=_HUB_FILES, ignore_patterns=_NOT_FETCHED)
    except Exception as e:  # the boundary to the hub, whose errors are of many families
        raise UsageError(f"{path.base} is no folder, and the Hugging Face hub does not give it: {first_line(e)}") from e
    files.check_model(Path(folder))
    return Path(folder)


def require_packages(*packages: str) -> None:
    """Say which package is missing, and how to install it.

    Raises:
        MissingExtraError: If one is.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "local")


def load_model(folder: Path, device: str, dtype: str) -> Any:
    """Load a causal language model, all of whose weights must be in the folder.

    Args:
        folder: The model's.
        device: A torch device, such as `cpu` or `cuda:0`.
        dtype: One of `DTYPES`; `int8` rounds the linear layers of what `auto` loads.

    Raises:
        UsageError: If the device is none, the model is of a kind that cannot write continuously, or `int8` does not fit
            them.
        DataError: If the weights are not those of the configuration, or cannot be read.
    """
    require_packages("torch", "transformers")
    files.check_model(folder)
    import torch
    from transformers import AutoModelForCausalLM

    try:
        target = torch.device(device)
    except RuntimeError as e:
        raise UsageError(f"device must be one of torch's, such as cpu or cuda, got {device!r}") from e
    if dtype == "int8" and target.type != "cpu":
        raise UsageError(f"dtype int8 is for processors (device cpu), got device {device}")
    try:
        with quiet_transformers():
            load: Any = AutoModelForCausalLM.from_pretrained
            model, info = load(
                str(folder),
                dtype="auto" if dtype in ("auto", "int8") else getattr(torch, dtype),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported below, in one sentence
            )
    except Exception as e:  # the boundary to transformers: a broken folder can fail anywhere in it
        raise DataError(f"{folder} cannot be loaded as a causal language model: {first_line(e)}") from e
    for what in ("missing_keys", "mismatched_keys", "unexpected_keys"):
        if info.get(what):
            one = min(key if isinstance(key, str) else key[0] for key in info[what])
            raise DataError(f"{folder}: the weights are not those of its config.json ({what.split('_')[0]}: {one})")
    if model._is_stateful or model.config.is_encoder_decoder:
        raise UsageError(f"{folder} is a {model.config.model_type}, which keeps a state that rows cannot share")
    try:
        model = model.eval().requires_grad_(False).to(target)
    except (RuntimeError, AssertionError) as e:  # torch asserts that it was built for the device
        raise UsageError(f"device {device} cannot be used: {first_line(e)}") from e
    return _rounded(model, folder) if dtype == "int8" else model


def load_with_adapter(folder: Path, device: str, adapter: Path, base: str) -> Any:
    """Load a model in 8 bits with a LoRA adapter.

    The adapter is merged into the weights before they are rounded. The arguments are those of `load_model` and
    `attach_adapter`, which say what is raised.
    """
    return _rounded(merge_adapter(attach_adapter(load_model(folder, device, "auto"), adapter, base)), folder)


def _rounded(model: Any, folder: Path) -> Any:
    from tale_dspy.backends.local.int8 import round_linear_layers

    if not round_linear_layers(model):
        raise UsageError(f"{folder} is a {model.config.model_type}, which has no linear layers that dtype int8 rounds")
    return model


def load_prompt_tokenizer(folder: Path, model: Any) -> "PromptTokenizer":
    """Load the tokenizer of a model, its end tokens and its context window.

    Raises:
        DataError: If it cannot be read, or has tokens the model does not know.
    """
    from transformers import AutoTokenizer

    from tale_dspy.backends.local.prompt_tokenizer import DEFAULT_MAX_TOKENS, PromptTokenizer

    generation, config = model.generation_config, model.config.get_text_config(decoder=True)
    window = getattr(config, "max_position_embeddings", None)
    try:
        with quiet_transformers():
            tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
            ends = end_tokens(generation.eos_token_id, config.eos_token_id, tokenizer.eos_token_id)
            prompt_tokenizer = PromptTokenizer(tokenizer, ends, window, generation.max_new_tokens or DEFAULT_MAX_TOKENS)
    except Exception as e:  # the boundary to transformers, as above
        raise DataError(f"{folder} holds no tokenizer that can be read: {first_line(e)}") from e
    size = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > size:
        raise DataError(f"{folder}: the tokenizer has {len(tokenizer)} tokens, the model only {size}")
    return prompt_tokenizer


def end_tokens(generation: Any, config: Any, tokenizer: Any) -> frozenset[int]:
    """Collect end tokens of the generation config and the tokenizer.

    Without a generation config, those of the model's config count.
    """
    ends: set[int] = set()
    for ids in (generation if generation is not None else config, tokenizer):
        ends |= set(ids) if isinstance(ids, list | tuple) else set() if ids is None else {ids}
    return frozenset(ends)


def attach_adapter(model: Any, adapter: Path, base: str) -> Any:
    """Put a LoRA adapter on a model.

    Its modules lie over the tensors of the base, which stays as it is.

    Raises:
        DataError: If the adapter is not one of this model.
        MissingExtraError: If peft is not installed.
    """
    require_packages("peft")
    from peft import PeftModel

    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    twin = copy.deepcopy(model, shared)
    try:
        with quiet_transformers():
            with_adapter = PeftModel.from_pretrained(twin, str(adapter), local_files_only=True)
            loaded: Any = with_adapter.eval().requires_grad_(False)
            _check_adapter_weights(loaded, adapter)
    except Exception as e:  # the boundary to peft: shapes and names that do not fit fail in many ways
        raise DataError(f"{adapter} cannot be put on {base}: {first_line(e)}") from e
    return loaded


def merge_adapter(model: Any) -> Any:
    """Return the model with its adapter merged into copies of the matrices.

    The matrices of the base stay as they are.
    """
    from peft.tuners.lora import LoraLayer
    from torch.nn import Parameter

    for module in model.modules():
        if isinstance(module, LoraLayer):
            layer: Any = module.get_base_layer()
            layer.weight = Parameter(layer.weight.clone(), requires_grad=False)
    return model.merge_and_unload()


def _check_adapter_weights(loaded: Any, adapter: Path) -> None:
    """Refuse tensors without a place, and places without a tensor.

    peft ignores such tensors silently.
    """
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    with safe_open(str(adapter / "adapter_model.safetensors"), "pt") as file:
        strays = set(file.keys()) ^ set(get_peft_model_state_dict(loaded))
    if strays:
        raise ValueError(f"{min(strays)} is only in one of the two")


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hide progress bars and warnings of transformers from stderr.

    Its settings are restored afterwards.
    """
    import warnings

    from huggingface_hub import utils as hub
    from transformers.utils import logging as transformers_logging

    bars: Any = hub
    logging: Any = transformers_logging

    with _quiet_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        level, shown, hidden = (
            logging.get_verbosity(),
            transformers_logging.is_progress_bar_enabled(),
            bars.are_progress_bars_disabled(),
        )
        logging.set_verbosity(logging.CRITICAL)
        logging.disable_progress_bar()
        bars.disable_progress_bars()
        try:
            yield
        finally:
            logging.set_verbosity(level)
            if shown:
                logging.enable_progress_bar()
            if not hidden:
                bars.enable_progress_bars()
