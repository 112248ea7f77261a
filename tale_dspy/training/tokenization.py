"""From a row to the tokens the trainer gets.

The prompt is the one that the model will be given, and the reply has an end.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tale_dspy.backends.local.chat_template import render_conversation, render_prompt
from tale_dspy.errors import DataError
from tale_dspy.training.rows import TrainRow

IGNORED = -100
"""The label of a token without loss."""


@dataclass(frozen=True)
class TokenRow:
    """A row in tokens."""

    id: str | None
    prompt: list[int]
    replies: tuple[list[int], ...]
    """Each ends with an end token."""

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence made of it."""
        return len(self.prompt) + max(map(len, self.replies), default=0)

    @property
    def tokens(self) -> int:
        """Tokens of all its sequences."""
        return sum(len(self.prompt) + len(reply) for reply in self.replies) or len(self.prompt)


class RowTokenizer:
    """Writes rows as the backends write requests.

    The prompt is rendered with the chat template up to where the reply begins, and tokenised apart from the reply, as
    it will be when the model is asked; so the model is trained on the very context it will see.

    Args:
        tokenizer: Of transformers.
        ends: Ids of the tokens that end a reply; the first of the tokenizer's own is appended where none is rendered.
    """

    def __init__(self, tokenizer: Any, ends: frozenset[int]) -> None:
        self.tokenizer = tokenizer
        self.ends = ends
        self.end: int = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else min(ends)

    def row(self, row: TrainRow) -> TokenRow:
        """Return the tokens of a row.

        Raises:
            DataError: If the chat template refuses its messages, or the prompt is empty.
        """
        prompt = self.prompt(row)
        ids = self._encode_text(prompt)
        if not ids:
            raise DataError(f"{row.where}: the prompt has no tokens")
        return TokenRow(row.id, ids, tuple(self._reply_ids(row, prompt, reply) for reply in row.replies))

    def prompt(self, row: TrainRow) -> str:
        """Return the text of a prompt, up to where the reply begins.

        Raises:
            DataError: If the chat template refuses its messages.
        """
        from jinja2.exceptions import TemplateError

        if isinstance(row.prompt, str):
            return row.prompt
        try:
            return render_prompt(self.tokenizer, row.prompt)
        except TemplateError as e:
            raise DataError(f"{row.where}: the model's chat template refuses these messages: {e}") from e

    def keeps_replies(self, row: TrainRow) -> bool:
        """Return whether the chat template renders every reply of a row whole."""
        prompt = self.prompt(row)
        return all(reply.strip() in self._rendered_reply(row, prompt, reply) for reply in row.replies)

    def _reply_ids(self, row: TrainRow, prompt: str, reply: str) -> list[int]:
        """Tokenise what the template makes of the reply after the prompt.

        It is cut after its last end token.
        """
        ids = self._encode_text(self._rendered_reply(row, prompt, reply))
        last = max((at for at, token in enumerate(ids) if token in self.ends), default=None)
        if last is not None and not self.tokenizer.decode(ids[last + 1 :]).strip():
            return ids[: last + 1]
        return [*ids, self.end]

    def _rendered_reply(self, row: TrainRow, prompt: str, reply: str) -> str:
        if isinstance(row.prompt, str):
            return reply
        if self.tokenizer.chat_template is None:
            return f" {reply}"
        whole = render_conversation(self.tokenizer, [*row.prompt, {"role": "assistant", "content": reply}])
        # A template may render a finished turn in another way than one that is to be written.
        return whole[len(prompt) :] if whole.startswith(prompt) else reply

    def _encode_text(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


def load_row_tokenizer(folder: Path) -> RowTokenizer:
    """Load the tokenizer of a model's folder, without its weights.

    Raises:
        DataError: If it cannot be read.
    """
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    from tale_dspy.backends.local.weights import end_tokens, quiet_transformers

    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
            config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
            has_own = (folder / "generation_config.json").is_file()
            generation = GenerationConfig.from_pretrained(str(folder), local_files_only=True) if has_own else None
    except Exception as e:  # the boundary to transformers: a broken folder can fail anywhere in it
        raise DataError(f"{folder} holds no tokenizer that can be read: {str(e).strip().partition(chr(10))[0]}") from e
    end_token = None if generation is None else generation.eos_token_id
    ends = end_tokens(end_token, config.get_text_config(decoder=True).eos_token_id, tokenizer.eos_token_id)
    if not ends:
        raise DataError(f"{folder}: neither the model nor its tokenizer names a token that ends a reply")
    return RowTokenizer(tokenizer, ends)
