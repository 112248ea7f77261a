"""Write the trained model in the files that other tools read.

These are safetensors, tokenizer, chat template, card, and a list of checksums.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tale_dspy.embedded.options import BuildOptions

MANIFEST = "manifest.json"
CARD = "README.md"

_CARD = """---
language: en
license: mit
library_name: transformers
pipeline_tag: text-generation
---
# The embedded reasoner of tale-dspy

A Llama of {millions:.2f} million parameters ({layers} layers of {width}), trained from nothing on arithmetic stories of
one to six steps that a program made up. It answers directly, thinks step by step at length, thinks within a budget of
tokens, estimates the budget a question needs, and states one itself before it thinks, each when asked with the prompts
of Token-Budget-Aware LLM Reasoning (arXiv 2412.18547) or, all but the last, with those of DSPy's ChatAdapter.

**What it is for:** to show and test budget-aware reasoning end to end without key, download and network, on a real
language model whose replies, tokens and mistakes are its own.

**What it is not:** evidence. It was trained to obey reasonable budgets and to miss unreasonable ones; numbers on it
say nothing about other models. It knows arithmetic stories of its own kind, small numbers (up to 250 on the way, about
500 as an answer) and nothing else. Any other question gets nonsense.

## How it came about

    python -m tale_dspy.embedded.build --out DIR

Options: `{options}`. Lessons, curriculum and the rule which reply a budget gets are in `tale_dspy/embedded/`; one
problem in twenty, chosen by the hash of its text, is kept for tests and never trained on, and so are some sentence
templates altogether.

## How to measure it

    tale eval cot --model local:DIR --data embedded:test
    tale eval direct --model local:DIR --data embedded:test
    tale eval tale-ep --model local:DIR --data embedded:test
"""


def publish(folder: Path, model: Any, tokenizer: Any, options: BuildOptions) -> None:
    """Save the model, its tokenizer, its card, and the checksums of its files."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # safetensors makes it readable for its owner alone
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    option_list = ", ".join(f"{name}={value}" for name, value in asdict(options).items())
    card = _CARD.format(millions=millions, layers=options.layers, width=options.width, options=option_list)
    (folder / CARD).write_text(card, encoding="utf-8")
    write_manifest(folder)


def write_manifest(folder: Path) -> None:
    """Write the checksums of the files of a model folder that decide its replies.

    The card and the manifest itself have none.
    """
    names = sorted(p.name for p in folder.iterdir() if p.suffix in (".json", ".safetensors", ".jinja"))
    files = {name: _sha256(folder / name) for name in names if name != MANIFEST}
    (folder / MANIFEST).write_text(json.dumps({"files": files}, indent=2) + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
