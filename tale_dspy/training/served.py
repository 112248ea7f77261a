"""Check that a server asks a tuned model as it was trained.

System message, chat template and tokens must be the same.

An adapter is short only after the prompt it was trained on. A server that brings another chat template would make it
look bad, and nobody would see why.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from tale_dspy.errors import BackendError, UsageError
from tale_dspy.protocols import JsonObject
from tale_dspy.training.training_prompt import TrainingPrompt

_SECONDS = 60.0


def check_program(card: Mapping[str, Any], program: Any, inputs: Mapping[str, Any], adapter: Any = None) -> None:
    """Check that a program asks with the system message of the training.

    Args:
        card: The content of `tale_adapter.json`.
        program: The program that will be evaluated.
        inputs: The inputs of one question.
        adapter: Overrides the adapter the program would be run with.

    Raises:
        UsageError: If it asks with another.
    """
    messages = TrainingPrompt(program, "", adapter).prompt(inputs) or []
    system = next((m["content"] for m in messages if m["role"] == "system"), None)
    trained = card["prompt"]["system"]
    if system != trained:
        raise UsageError(
            f"the adapter was trained with the system message {trained!r}, but {type(program).__name__} asks with "
            f"{system!r}: evaluate it with the program and adapter it was distilled for"
        )


def check_served(card: Mapping[str, Any], folder: Path, model: str, api_base: str) -> None:
    """Check that a server makes the same tokens of a prompt as the training did.

    Asks vLLM's `/tokenize` for the tokens; a server without it is asked for a reply of one token, of which it tells
    how many tokens the prompt had.

    Args:
        card: The content of `tale_adapter.json`.
        folder: The adapter's, with the tokenizer it was trained with.
        model: The name the server knows the adapter by.
        api_base: Address of the server, such as `http://127.0.0.1:8000/v1`.

    Raises:
        UsageError: If the tokens differ.
        BackendError: If the server does not answer, or does not know the model.
    """
    prompt = card["prompt"]
    if isinstance(prompt["example"], str):
        raise UsageError("the adapter was trained on texts without chat template: no chat can be served to it")
    served = _served_tokens(prompt["example"], model, api_base.rstrip("/"))
    if isinstance(served, list):
        trained = _trained_tokens(folder, prompt["text"])
        if served != trained:
            at = next((i for i, (a, b) in enumerate(zip(served, trained, strict=False)) if a != b), len(trained))
            raise UsageError(_mismatch_text(model, f"token {at + 1} of {len(trained)} is another"))
    elif served != prompt["text_tokens"]:
        raise UsageError(_mismatch_text(model, f"{served} tokens instead of {prompt['text_tokens']}"))


def _mismatch_text(model: str, how: str) -> str:
    return (
        f"{model} is served with another chat template or system message than it was trained with: the same messages "
        f"make other tokens ({how}); serve it with the tokenizer in the adapter's folder"
    )


def _trained_tokens(folder: Path, text: str) -> list[int]:
    from transformers import AutoTokenizer

    load: Any = AutoTokenizer.from_pretrained
    tokenizer = load(str(folder), local_files_only=True, trust_remote_code=False)
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _served_tokens(messages: list[dict[str, str]], model: str, api_base: str) -> list[int] | int:
    """Return the tokens the server makes of messages.

    It is their number where the server does not return them.
    """
    body = {"model": model, "messages": messages}
    parts = urlsplit(api_base)
    root = urlunsplit(parts._replace(path=parts.path.removesuffix("/v1")))
    tokenized = _post_json(f"{root}/tokenize", {**body, "add_generation_prompt": True}, missing_ok=True)
    if isinstance(tokenized.get("tokens"), list):
        return [int(token) for token in tokenized["tokens"]]
    completion = _post_json(f"{api_base}/chat/completions", {**body, "max_tokens": 1, "temperature": 0})
    count = (completion.get("usage") or {}).get("prompt_tokens")
    if not isinstance(count, int):
        raise BackendError(f"{api_base} does not tell how many tokens a prompt has, so its template cannot be checked")
    return count


def _post_json(url: str, body: JsonObject, *, missing_ok: bool = False) -> JsonObject:
    import httpx

    try:
        answer = httpx.post(url, json=body, timeout=_SECONDS)
        if missing_ok and answer.status_code in (404, 405, 501):
            return {}
        answer.raise_for_status()
        document = answer.json()
    except (httpx.HTTPError, ValueError) as e:
        raise BackendError(f"{url} does not answer as an OpenAI-compatible server does: {e}") from e
    return document if isinstance(document, dict) else {}
