"""Models small enough to be made for the tests: random weights, a tokenizer of bytes, and LoRA adapters for them."""

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}"
    "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<pad>", "<s>", "</s>", "<|im_start|>"]
ENDS = [2, *range(60, 66)]
"""Many, so that replies of random weights end at different lengths."""


class Bomb:
    """Would end the process that unpickles it."""

    def __reduce__(self) -> Any:
        return os._exit, (7,)


def tokenizer() -> Any:
    from transformers import PreTrainedTokenizerFast

    letters = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()), len(SPECIAL))}
    vocabulary = {**{name: i for i, name in enumerate(SPECIAL)}, **letters}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([AddedToken(name, special=True) for name in SPECIAL])
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, **names)
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def config_of(kind: str, **changed: Any) -> Any:
    import transformers

    sizes = {"vocab_size": 260, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "initializer_range": 0.3}
    if kind == "gpt2":
        return transformers.GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=512, **(sizes | changed))
    width = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    llama = {**sizes, **width, "num_key_value_heads": 2, "max_position_embeddings": 512, "tie_word_embeddings": True}
    configs = {
        "llama": transformers.LlamaConfig,
        "qwen2": transformers.Qwen2Config,
        "mistral": transformers.MistralConfig,
    }
    return configs[kind](**(llama | changed))


def make_model(folder: Path, kind: str = "llama", *, seed: int = 0, ends: Any = ENDS, **changed: Any) -> Path:
    import torch
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config_of(kind, **changed))
    model.generation_config.eos_token_id = ends
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def make_adapter(folder: Path, base: Path, *, seed: int = 1, **changed: Any) -> Path:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    settings = {"r": 4, "lora_alpha": 32, "target_modules": ["q_proj", "v_proj"], "init_lora_weights": False, **changed}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        get_peft_model(model, LoraConfig(**settings)).save_pretrained(folder)
    return folder


@contextlib.contextmanager
def held(engine: Any) -> Iterator[None]:
    """Let a local model write nothing while the block lasts."""
    _, batch, _ = engine.load()
    decoder, go = batch._decoder, threading.Event()

    def waiting(*args: Any) -> Any:
        assert go.wait(60)
        return decoder(*args)

    batch._decoder = waiting
    try:
        yield
    finally:
        batch._decoder = decoder
        go.set()


def changed(path: Path, **values: Any) -> None:
    """Change keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
