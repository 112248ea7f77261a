"""The embedded reasoner's own tokenizer.

Digits are single tokens, and so is each fixed sentence of the prompts.
"""

from typing import Any

from tale_dspy.embedded.lessons import fixed_sentences
from tale_dspy.embedded.problems import problems
from tale_dspy.embedded.reasoning import long_form, reasoning_sentences

END, PAD = "<|end|>", "<|pad|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
VOCABULARY = 1024
"""Tokens in all; every byte is one of them, so that any text can be written."""
WINDOW = 1024
"""The most tokens of a prompt and its reply together."""

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def train_tokenizer(n_problems: int = 20_000) -> Any:
    """Train the tokenizer on the training split.

    Args:
        n_problems: How many problems to read.

    Returns:
        A `transformers.PreTrainedTokenizerFast` with a chat template; an assistant's turn ends with `<|end|>`.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    fixed = fixed_sentences()
    special = [PAD, END, *ROLES]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(fixed),
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator((text for p in problems("train", n_problems) for text in _training_texts(p)), trainer)
    core.add_tokens([AddedToken(sentence, normalized=False) for sentence in fixed])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=list(ROLES),
        chat_template=CHAT_TEMPLATE,
        model_max_length=WINDOW,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def _training_texts(problem: Any) -> tuple[str, ...]:
    return problem.question, reasoning_sentences(problem), long_form(problem)
