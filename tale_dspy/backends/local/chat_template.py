"""The text that a chat template makes of chat messages.

Local models, training and the check of a served model share it, so that all of them read the same prompt.
"""

import logging
import threading
from collections.abc import Sequence
from typing import Protocol

logger = logging.getLogger(__name__)

ChatMessages = list[dict[str, str]]
"""Messages, each with `role` and `content`."""

_warned: set[str] = set()
_lock = threading.Lock()


class ChatTokenizer(Protocol):
    """What is used of a tokenizer of transformers."""

    chat_template: str | None
    name_or_path: str

    def apply_chat_template(self, conversation: ChatMessages, **kwargs: object) -> str:
        """Return the text of a conversation."""
        ...


def render_prompt(tokenizer: ChatTokenizer, messages: Sequence[dict[str, str]]) -> str:
    """Return the text a model is given for messages.

    It ends where the reply begins.

    Args:
        tokenizer: Of transformers. Where it has no chat template, each message is a paragraph after its role, and a
            warning says so once.
        messages: Each with `role` and `content`. Where the template has no system role, or wants roles to alternate,
            they are folded by `fold_messages`.

    Raises:
        jinja2.exceptions.TemplateError: If the template refuses the messages even when they are folded.
    """
    if tokenizer.chat_template is None:
        _warn_no_template(tokenizer.name_or_path)
        lines = [f"{message['role'].capitalize()}: {message['content']}" for message in messages]
        return "\n\n".join([*lines, "Assistant:"])
    return render_conversation(tokenizer, messages, add_generation_prompt=True)


def render_conversation(
    tokenizer: ChatTokenizer, messages: Sequence[dict[str, str]], *, add_generation_prompt: bool = False
) -> str:
    """Return the text of messages by the chat template, which must exist.

    Args:
        tokenizer: Of transformers.
        messages: As in `render_prompt`.
        add_generation_prompt: Whether the text ends where the model's reply begins.

    Raises:
        jinja2.exceptions.TemplateError: If the template refuses the messages even when they are folded.
    """
    from jinja2.exceptions import TemplateError

    def apply(conversation: ChatMessages) -> str:
        return tokenizer.apply_chat_template(conversation, add_generation_prompt=add_generation_prompt, tokenize=False)

    turns, folded = list(messages), fold_messages(messages)
    if folded == turns:
        return apply(turns)
    try:
        text = apply(turns)
    except TemplateError:  # Gemma 1 and 2, Mistral 7B v0.1
        return apply(folded)
    # Some templates leave a system message out without a word.
    complete = all(message["content"].strip() in text for message in turns if message["role"] == "system")
    return text if complete else apply(folded)


def fold_messages(messages: Sequence[dict[str, str]]) -> ChatMessages:
    """Return messages without a system role, whose roles alternate.

    A system message goes before the text of the user message that follows it, and neighbours of one role become one
    message, with an empty line between their texts.
    """
    folded: ChatMessages = []
    for message in messages:
        role = "user" if message["role"] == "system" else message["role"]
        if folded and folded[-1]["role"] == role:
            folded[-1] = {**folded[-1], "content": f"{folded[-1]['content']}\n\n{message['content']}"}
        else:
            folded.append({**message, "role": role})
    return folded


def _warn_no_template(name: str) -> None:
    with _lock:
        if name in _warned:
            return
        _warned.add(name)
    logger.warning("%s has no chat template: each message is a paragraph behind its role, such as 'User: ...'", name)
