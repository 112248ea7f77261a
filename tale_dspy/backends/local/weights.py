"""From a folder to a model that runs: loaded once per process, shared by all that use it, freed with the last one."""

import contextlib
import copy
import importlib.util
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tale_dspy.backends.local import files
from tale_dspy.backends.local.names import Place
from tale_dspy.errors import DataError, MissingExtraError, UsageError

if TYPE_CHECKING:
    from tale_dspy.backends.local.batch import Batch
    from tale_dspy.backends.local.requests import Tongue

DTYPES = ("auto", "float32", "bfloat16", "float16")
_HUB_FILES = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
_NOT_FETCHED = ["*consolidated*", "*/*"]
"""A second copy of the weights that some models have, and the subfolders, of which nothing is read."""

_quiet_lock = threading.RLock()


class Base:
    """One model of this process, and the adapters that were put on it.

    Args:
        folder: The model's.
        name: What it was asked for by: its folder or its name on the hub.
        device: A torch device, such as `cpu` or `cuda:0`.
        dtype: One of `DTYPES`.
    """

    def __init__(self, folder: Path, name: str, device: str, dtype: str) -> None:
        from tale_dspy.backends.local.worker import Worker

        self.folder = folder
        self.name = name
        self.worker = Worker()
        self._device, self._dtype = device, dtype
        self._lock = threading.Lock()
        self._model: Any = None
        self._tongue: Tongue | None = None
        self._batches: weakref.WeakValueDictionary[tuple[str, int], Batch] = weakref.WeakValueDictionary()

    def batch(self, adapter: Path | None, width: int) -> "tuple[Batch, Tongue]":
        """Return the rows of this model with an adapter, or without; loads what is not loaded yet.

        Raises:
            UsageError: If the device or the adapter cannot be used.
            DataError: If the model cannot be loaded.
        """
        from tale_dspy.backends.local.batch import Batch
        from tale_dspy.backends.local.decoders import SmallLlama, decoder_of, wants_one_thread

        key = ("" if adapter is None else f"{adapter.resolve()} {files.stamp(adapter)}", width)
        with self._lock:
            if self._model is None:
                self._model = load_model(self.folder, self._device, self._dtype)
                self.worker.threads = 1 if wants_one_thread(self._model) else None
            if self._tongue is None:
                self._tongue = load_tongue(self.folder, self._model)
            found = self._batches.get(key)
            if found is None:
                model = self._model
                if adapter is not None:
                    model = with_adapter(model, adapter, self.name)
                    model = merged(model) if SmallLlama.fits(self._model) else model.get_base_model()
                device = self._model.get_input_embeddings().weight.device
                found = self._batches[key] = Batch(decoder_of(model), self._tongue, device, width)
            return found, self._tongue


_bases: "weakref.WeakValueDictionary[tuple[str, ...], Base]" = weakref.WeakValueDictionary()
_bases_lock = threading.Lock()


def shared_base(folder: Path, name: str, device: str, dtype: str) -> Base:
    """Return the model of a folder, the one that is loaded already if there is one.

    Files that were written anew since are another model. The arguments are those of `Base`.
    """
    key = (str(folder.resolve()), files.stamp(folder), device, dtype)
    with _bases_lock:
        found = _bases.get(key)
        if found is None:
            found = _bases[key] = Base(folder, name, device, dtype)
        return found


def resolved(place: Place) -> Path:
    """Return the folder of a model, fetched from the hub or its cache if it is a name.

    Raises:
        UsageError: If the hub does not give it.
    """
    if place.folder is not None:
        return place.folder
    require("transformers")
    from huggingface_hub import snapshot_download

    try:
        with quiet():
            folder = snapshot_download(place.base, allow_patterns=_HUB_FILES, ignore_patterns=_NOT_FETCHED)
    except Exception as e:  # the boundary to the hub, whose errors are of many families
        raise UsageError(f"{place.base} is no folder, and the Hugging Face hub does not give it: {_line(e)}") from e
    files.check_model(Path(folder))
    return Path(folder)


def require(*packages: str) -> None:
    """Say which package is missing, and how to install it.

    Raises:
        MissingExtraError: If one is.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "local")


def load_model(folder: Path, device: str, dtype: str) -> Any:
    """Load a causal language model, all of whose weights must be in the folder.

    Raises:
        UsageError: If the device is none, or the model is of a kind that cannot write continuously.
        DataError: If the weights are not those of the configuration, or cannot be read.
    """
    require("torch", "transformers")
    files.check_model(folder)
    import torch
    from transformers import AutoModelForCausalLM

    try:
        place = torch.device(device)
    except RuntimeError as e:
        raise UsageError(f"device must be one of torch's, such as cpu or cuda, got {device!r}") from e
    try:
        with quiet():
            load: Any = AutoModelForCausalLM.from_pretrained
            model, info = load(
                str(folder),
                dtype=dtype if dtype == "auto" else getattr(torch, dtype),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported below, in one sentence
            )
    except Exception as e:  # the boundary to transformers: a broken folder can fail anywhere in it
        raise DataError(f"{folder} cannot be loaded as a causal language model: {_line(e)}") from e
    for what in ("missing_keys", "mismatched_keys", "unexpected_keys"):
        if info.get(what):
            one = min(key if isinstance(key, str) else key[0] for key in info[what])
            raise DataError(f"{folder}: the weights are not those of its config.json ({what.split('_')[0]}: {one})")
    if model._is_stateful or model.config.is_encoder_decoder:
        raise UsageError(f"{folder} is a {model.config.model_type}, which keeps a state that rows cannot share")
    try:
        return model.eval().requires_grad_(False).to(place)
    except (RuntimeError, AssertionError) as e:  # torch asserts that it was built for the device
        raise UsageError(f"device {device} cannot be used: {_line(e)}") from e


def load_tongue(folder: Path, model: Any) -> "Tongue":
    """Load the tokenizer of a model, its end tokens and its context window.

    Raises:
        DataError: If it cannot be read, or has tokens the model does not know.
    """
    from transformers import AutoTokenizer

    from tale_dspy.backends.local.requests import DEFAULT_TOKENS, Tongue

    generation, config = model.generation_config, model.config.get_text_config(decoder=True)
    window = getattr(config, "max_position_embeddings", None)
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
            ends = end_tokens(generation.eos_token_id, config.eos_token_id, tokenizer.eos_token_id)
            tongue = Tongue(tokenizer, ends, window, generation.max_new_tokens or DEFAULT_TOKENS)
    except Exception as e:  # the boundary to transformers, as above
        raise DataError(f"{folder} holds no tokenizer that can be read: {_line(e)}") from e
    size = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > size:
        raise DataError(f"{folder}: the tokenizer has {len(tokenizer)} tokens, the model only {size}")
    return tongue


def end_tokens(generation: Any, config: Any, tokenizer: Any) -> frozenset[int]:
    """Collect end tokens: those of the generation_config or else of the config, and the tokenizer's own."""
    found: set[int] = set()
    for told in (generation if generation is not None else config, tokenizer):
        found |= set(told) if isinstance(told, list | tuple) else set() if told is None else {told}
    return frozenset(found)


def with_adapter(model: Any, adapter: Path, base: str) -> Any:
    """Put a LoRA adapter on a model: modules of its own over the tensors of the base, which stays as it is.

    Raises:
        DataError: If the adapter is not one of this model.
        MissingExtraError: If peft is not installed.
    """
    require("peft")
    from peft import PeftModel

    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    twin = copy.deepcopy(model, shared)
    try:
        with quiet():
            put_on = PeftModel.from_pretrained(twin, str(adapter), local_files_only=True)
            loaded: Any = put_on.eval().requires_grad_(False)
            _check_adapter_weights(loaded, adapter)
    except Exception as e:  # the boundary to peft: shapes and names that do not fit fail in many ways
        raise DataError(f"{adapter} cannot be put on {base}: {_line(e)}") from e
    return loaded


def merged(put_on: Any) -> Any:
    """Return the model with its adapter merged into matrices of its own; those of the base stay as they are."""
    from peft.tuners.lora import LoraLayer
    from torch.nn import Parameter

    for module in put_on.modules():
        if isinstance(module, LoraLayer):
            layer: Any = module.get_base_layer()
            layer.weight = Parameter(layer.weight.clone(), requires_grad=False)
    return put_on.merge_and_unload()


def _check_adapter_weights(loaded: Any, adapter: Path) -> None:
    """Refuse tensors that found no place, which peft leaves out, and places that found no tensor."""
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    with safe_open(str(adapter / "adapter_model.safetensors"), "pt") as given:
        strays = set(given.keys()) ^ set(get_peft_model_state_dict(loaded))
    if strays:
        raise ValueError(f"{min(strays)} is only in one of the two")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep progress bars, reports and warnings of transformers off stderr, and put its settings back after."""
    import warnings

    from huggingface_hub import utils as hub
    from transformers.utils import logging as told

    bars: Any = hub
    logging: Any = told

    with _quiet_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        level, shown, hidden = (
            logging.get_verbosity(),
            told.is_progress_bar_enabled(),
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


def _line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
