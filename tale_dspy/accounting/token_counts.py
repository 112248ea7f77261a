"""Count tokens the provider did not, by the model's tokenizer or not at all."""

import os
import threading
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_lock = threading.Lock()


def count_tokens(model: str, text: str) -> int | None:
    """Count a text with the tokenizer of a model.

    OpenAI's models are known (through tiktoken, offline: LiteLLM ships the files); for every other model there is no
    tokenizer at hand, and a guess would be worse than none.

    Args:
        model: A LiteLLM model string such as `openai/gpt-4o-mini`.
        text: The text; special tokens in it count as text.

    Returns:
        The number of tokens, or None if the model's tokenizer is unknown.
    """
    provider, _, name = model.rpartition("/")
    if provider not in ("", "openai", "azure", "openrouter/openai"):
        return None
    encoding = _encoding_of(name)
    return None if encoding is None else len(encoding.encode(text, disallowed_special=()))


def count_cl100k(text: str) -> int:
    """Count tokens with GPT-4's encoding, as the paper does.

    It is the `token_measure` of the paper for every model.
    """
    return len(_load_encoding("cl100k_base").encode(text, disallowed_special=()))


@lru_cache(maxsize=64)
def _encoding_of(name: str) -> Any:
    from tiktoken.model import encoding_name_for_model

    try:
        return _load_encoding(encoding_name_for_model(name))
    except (KeyError, OSError):  # no model of theirs, or one whose encoding is not shipped and cannot be fetched
        return None


@lru_cache(maxsize=4)
def _load_encoding(name: str) -> Any:
    import tiktoken

    litellm = find_spec("litellm")
    shipped = Path(litellm.origin or "").parent / "litellm_core_utils" / "tokenizers" if litellm else None
    with _lock:  # tiktoken takes its folder from the environment alone: lend it ours, then put back what was there
        before = os.environ.get("TIKTOKEN_CACHE_DIR")
        if before is None and shipped is not None and shipped.is_dir():
            os.environ["TIKTOKEN_CACHE_DIR"] = str(shipped)
        try:
            return tiktoken.get_encoding(name)
        finally:
            if before is None:
                os.environ.pop("TIKTOKEN_CACHE_DIR", None)
