"""Loaded models: once per process, shared by all users, freed with the last."""

import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tale_dspy.backends.local import files, weights

if TYPE_CHECKING:
    from tale_dspy.backends.local.batch import ContinuousBatch
    from tale_dspy.backends.local.prompt_tokenizer import PromptTokenizer

MAX_ROWS, MIN_ROWS = 128, 32
"""Rows written at once where the caller sets no number: as many as memory holds, within these bounds."""
TOKENS_PER_ROW = 512
"""Tokens of a prompt and its reply for which memory is set aside."""
MEMORY_SHARE = 0.5
"""Share of the free memory that keys and values may take, and before them the wider weights of `upcast`."""
_DEFAULT_MEMORY = 4 << 30
"""Free bytes that are assumed where the system does not say."""


class SharedModel:
    """One model of this process, and the adapters that were put on it.

    Args:
        folder: The model's.
        name: What it was called by: its folder or its name on the hub.
        device: A torch device, such as `cpu` or `cuda:0`.
        dtype: One of `weights.DTYPES`.
    """

    def __init__(self, folder: Path, name: str, device: str, dtype: str) -> None:
        from tale_dspy.backends.local.worker import GenerationWorker

        self.folder = folder
        self.name = name
        self.worker = GenerationWorker()
        self._device, self._dtype = device, dtype
        self._lock = threading.Lock()
        self._model: Any = None
        self._tokenizer: PromptTokenizer | None = None
        self._batches: weakref.WeakValueDictionary[tuple[str, int | None], ContinuousBatch] = (
            weakref.WeakValueDictionary()
        )

    def batch(self, adapter: Path | None, width: int | None) -> "tuple[ContinuousBatch, PromptTokenizer]":
        """Return the rows of this model with an adapter, or without one.

        It loads whatever is not loaded yet.

        Args:
            adapter: Folder of a LoRA adapter.
            width: Most rows at once; None for as many as memory holds.

        Raises:
            UsageError: If the device or the adapter cannot be used.
            DataError: If the model cannot be loaded.
        """
        from tale_dspy.backends.local.threads import in_thread_of_its_own

        # An adapter that was trained anew lies at the same path: its stamp makes it another one.
        key = ("" if adapter is None else f"{adapter.resolve()} {files.stamp(adapter)}", width)
        with self._lock:
            batch = self._batches.get(key)
            if batch is None:
                batch = self._batches[key] = in_thread_of_its_own(lambda: self._load_batch(adapter, width))
            return batch, batch.tokenizer

    def _load_batch(self, adapter: Path | None, width: int | None) -> "ContinuousBatch":
        from tale_dspy.backends.local.batch import ContinuousBatch
        from tale_dspy.backends.local.decoders import decoder_of
        from tale_dspy.backends.local.upcast import upcast_where_faster

        if self._model is None:
            self._model = weights.load_model(self.folder, self._device, self._dtype)
            if self._dtype != "int8":
                upcast_where_faster(self._model, MEMORY_SHARE * _free_memory(_device_of(self._model)))
            self.worker.threads = _fixed_threads(self._model)
        if self._tokenizer is None:
            self._tokenizer = weights.load_prompt_tokenizer(self.folder, self._model)
        model = self._model if adapter is None else self._with_adapter(adapter)
        rows = width or rows_in_memory(self._model)
        device = _device_of(self._model)
        return ContinuousBatch(decoder_of(model), self._tokenizer, device, rows, self.worker.stop.is_set)

    def _with_adapter(self, adapter: Path) -> Any:
        from tale_dspy.backends.local.decoders import SmallLlama

        if self._dtype == "int8":
            return weights.load_with_adapter(self.folder, self._device, adapter, self.name)
        # The fast path multiplies plain matrices, so that the adapter is merged into copies for it; other models run
        # peft's layers over the shared tensors of the base.
        model = weights.attach_adapter(self._model, adapter, self.name)
        return weights.merge_adapter(model) if SmallLlama.fits(self._model) else model.get_base_model()


_models: "weakref.WeakValueDictionary[tuple[str, ...], SharedModel]" = weakref.WeakValueDictionary()
_models_lock = threading.Lock()


def shared_model(folder: Path, name: str, device: str, dtype: str) -> SharedModel:
    """Return the model of a folder, loaded once.

    Files that were written anew since count as another model. The arguments are those of `SharedModel`.
    """
    key = (str(folder.resolve()), files.stamp(folder), device, dtype)
    with _models_lock:
        model = _models.get(key)
        if model is None:
            model = _models[key] = SharedModel(folder, name, device, dtype)
        return model


def _device_of(model: Any) -> Any:
    return model.get_input_embeddings().weight.device


def _fixed_threads(model: Any) -> int | None:
    """Return the PyTorch threads a model is run with.

    It is None where `ThreadTuner` finds them.
    """
    import torch

    from tale_dspy.backends.local.threads import wants_one_thread

    if wants_one_thread(model):
        return 1
    return None if _device_of(model).type == "cpu" else torch.get_num_threads()


def rows_in_memory(model: Any) -> int:
    """Return how many rows' keys and values fit beside the weights.

    It counts the memory that is free now. A token takes `2 * layers * key heads * head width * bytes of a number`
    bytes.
    """
    # Grouped-query attention has fewer key heads than attention heads; older configurations name neither these nor the
    # width of a head.
    config = model.config.get_text_config(decoder=True)
    weight = model.get_input_embeddings().weight
    heads = config.num_attention_heads
    key_heads = getattr(config, "num_key_value_heads", None) or heads
    head_width = getattr(config, "head_dim", None) or config.hidden_size // heads
    per_token = 2 * config.num_hidden_layers * key_heads * head_width * weight.element_size()
    rows = int(MEMORY_SHARE * _free_memory(weight.device) / (per_token * TOKENS_PER_ROW))
    return max(MIN_ROWS, min(rows, MAX_ROWS))


def _free_memory(device: Any) -> int:
    """Return the free bytes of a device."""
    import torch

    if device.type == "cuda":
        free: int = torch.cuda.mem_get_info(device)[0]
        return free
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return _DEFAULT_MEMORY
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), _DEFAULT_MEMORY)
