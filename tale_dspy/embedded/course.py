"""The embedded reasoner's course: lessons as batches of tokens.

The seed decides their order.
"""

import random
from collections.abc import Iterator
from functools import cache
from typing import Any

import torch

from tale_dspy.embedded.lessons import Lesson, lessons, messages_of
from tale_dspy.embedded.options import BuildOptions
from tale_dspy.embedded.tokenizer import END

Batch = tuple[torch.Tensor, torch.Tensor]
"""Tokens and labels, both (rows, length); a label of -100 is no part of the loss."""
Encoded = tuple[list[int], int]
"""The tokens of a lesson, and how many of them are its prompt."""

IGNORED = -100


class Course:
    """The batches of a course.

    Args:
        options: The seed, the size of a batch, the length of the course.
        tokenizer: Turns lessons into tokens, and measures the replies that a budget has room for.

    Attributes:
        position: Pool of lessons, batch within it, and how far the course was when the pool was drawn: all that is
            needed to go on from here.
    """

    def __init__(self, options: BuildOptions, tokenizer: Any) -> None:
        self.options = options
        self.tokenizer = tokenizer
        self.position: tuple[int, int, float] = (0, 0, 0.0)
        # Tokens of a reply with its end token; many lessons of a pool share replies.
        self.count = cache(lambda reply: len(tokenizer.encode(reply, add_special_tokens=False)) + 1)

    def batches(self, step: int) -> Iterator[Batch]:
        """Yield the batches from `position` on, without end.

        Args:
            step: How many came before.
        """
        while True:
            pool, first, progress = self.position
            self.count.cache_clear()
            for n, batch in enumerate(self._draw_pool(pool, progress)):
                # Batches before `first` were trained on before the course was interrupted: drawn again, since the
                # pool is one function of its seed, but not yielded.
                if n >= first:
                    self.position = (pool, n + 1, progress)
                    step += 1
                    yield batch
            self.position = (pool + 1, 0, step / self.options.steps)

    def encode(self, lesson: Lesson) -> Encoded:
        """Return the tokens of a lesson, and how many are its prompt.

        The end token is included.
        """
        prompt = "<|assistant|>" if lesson.kind == "drill" else self._prompt_ids(lesson)
        start = self.tokenizer.encode(prompt, add_special_tokens=False)
        return [*start, *self.tokenizer.encode(f"{lesson.reply}{END}", add_special_tokens=False)], len(start)

    def _prompt_ids(self, lesson: Lesson) -> str:
        messages = messages_of(lesson.kind, lesson.question, lesson.budget)
        rendered: str = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return rendered

    def _draw_pool(self, pool: int, progress: float) -> list[Batch]:
        """Draw a pool of lessons and batch those of like length.

        Batches then have little padding.
        """
        options, seed = self.options, self.options.seed * 1_000_003 + pool
        drawn = map(self.encode, lessons(seed, progress, self.count, options.pool))
        batches: list[list[Encoded]] = [[]]
        for row in sorted(drawn, key=lambda row: len(row[0])):
            # Rows ascend in length, so that this row is the longest of the batch: rows times its length is what the
            # batch takes with padding.
            if (len(batches[-1]) + 1) * len(row[0]) > options.batch_tokens:
                batches.append([])
            batches[-1].append(row)
        random.Random(seed).shuffle(batches)
        return [self._to_tensors(batch) for batch in batches if batch]

    def _to_tensors(self, rows: list[Encoded]) -> Batch:
        longest = max(len(tokens) for tokens, _ in rows)
        pad = self.tokenizer.pad_token_id
        tokens = [row + [pad] * (longest - len(row)) for row, _ in rows]
        # The loss is on the reply alone: prompt and padding are ignored. (rows, longest).
        labels = [[IGNORED] * n + row[n:] + [IGNORED] * (longest - len(row)) for row, n in rows]
        return torch.tensor(tokens), torch.tensor(labels)
