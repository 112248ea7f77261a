"""The cards of an adapter: `README.md` and `tale_adapter.json`.

The first is for people, the second for programs.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import cast

from tale_dspy.backends.local.chat_template import render_prompt
from tale_dspy.backends.local.files import CARD, MANIFEST, file_hash
from tale_dspy.protocols import JsonObject
from tale_dspy.training.folder import FORMAT, write_json
from tale_dspy.training.plan import TrainingPlan

WEIGHTS = ("adapter_model.safetensors", "adapter_config.json")

_METHODS = {
    "sft": "fine-tuned on its own replies under the best budget found for each question (TALE-PT-SFT, "
    "arXiv 2412.18547)",
    "dpo": "trained to prefer its own reply under the best budget found for each question over the one without a "
    "budget (TALE-PT-DPO, arXiv 2412.18547)",
    "grpo": "trained by rewards for right answers, less a charge for length (GRPO, arXiv 2402.03300)",
}

_README = """---
base_model: {base}
library_name: peft
pipeline_tag: text-generation
tags: [tale, token-budget, lora, {strategy}]
---
# A LoRA adapter that makes {name} answer shorter

The base was {method}. {prompts}

| | |
|---|---|
| base | {base} |
| base weights (sha256) | {base_sha256} |
| training rows | {rows} ({tokens} tokens{of_prompts}), hash {data_hash} |
| steps | {steps} of {batch}, {epochs:g} epochs |
| {reached} |
| time | {time} |

Options: `{options}`.

Whether it is shorter and not worse is measured by `tale gate BASE_RUN TUNED_RUN` on questions it has not seen. The ids
of the questions it was trained on are in `{card}` under `seen`.

## How to use it

    tale eval {program} --model local:{base}+{folder} --data DATA
    vllm serve {base} --enable-lora --max-lora-rank {rank} --lora-modules tuned={folder}
    transformers serve MERGED --device auto  # which takes no adapters: `tale train ... --merge-to MERGED` merges it
"""


def write_cards(plan: TrainingPlan, results: Mapping[str, object]) -> JsonObject:
    """Write both cards and the checksums of the adapter.

    The card for programs is written last; it shows that everything is there.

    Args:
        plan: The training.
        results: Results of the training: `steps`, `loss`, `seconds`, `tokens_per_s` ...

    Returns:
        The content of `tale_adapter.json`.
    """
    folder, config = plan.folder.path, plan.folder.config
    about = {
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "role": "train",
        "strategy": plan.options.strategy,
        "base": config["base"],
        "base_sha256": config["base_sha256"],
        "data": {**config["data"], "tokens": plan.tokens, "longest": plan.longest, "left_out": plan.left_out},
        "options": {k: v for k, v in config.items() if k not in ("strategy", "base", "base_sha256", "data")},
        "results": dict(results),
        "prompt": _prompt_card(plan),
        "seen": {row.id: "train" for row in plan.source if row.id is not None},
        "versions": {name: version(name) for name in ("tale-dspy", "torch", "transformers", "peft", "trl")},
        "gate": None,
    }
    (folder / "README.md").write_text(_readme_text(plan, results), encoding="utf-8")
    write_json(folder / MANIFEST, {"files": {name: file_hash(folder / name) for name in WEIGHTS}})
    write_json(folder / CARD, about)
    return about


def _prompt_card(plan: TrainingPlan) -> JsonObject:
    """Describe how prompts looked in training.

    A served adapter can be compared with it.
    """
    template = plan.row_tokenizer.tokenizer.chat_template
    first = plan.source[0].prompt
    messages = [] if isinstance(first, str) else first
    return {
        "budgets": plan.budgets,
        "system": next((m["content"] for m in messages if m["role"] == "system"), None),
        "chat_template_sha256": None if template is None else hashlib.sha256(str(template).encode()).hexdigest(),
        "example": first,
        "text": first if isinstance(first, str) else render_prompt(plan.row_tokenizer.tokenizer, messages),
        "text_tokens": len(plan.rows[0].prompt),
    }


def _prompts_sentence(plan: TrainingPlan) -> str:
    if not plan.budgets:
        return "No budget has to stand in the prompt."
    return f"The prompt states a budget: that of its rows was {', '.join(map(str, plan.budgets))} tokens."


def _reached_text(results: Mapping[str, object]) -> str:
    if "rewards" not in results:
        return f"loss at the end | {results['loss']:.4f}"
    rewards, tokens = cast(list[float], results["rewards"]), cast(list[float], results["reply_tokens"])
    return (
        f"mean reward | {rewards[0]:.3f} in the first step, {results['reward']:.3f} at the end |\n"
        f"| tokens of a reply | {tokens[0]:.0f} in the first step, {tokens[-1]:.0f} in the last"
    )


def _readme_text(plan: TrainingPlan, results: Mapping[str, object]) -> str:
    config, options = plan.folder.config, plan.options
    speed = results["tokens_per_s"]
    base = config["base"] if plan.place.folder is None else str(plan.model)
    return _README.format(
        base=base,
        name=Path(config["base"]).name,
        strategy=options.strategy,
        method=_METHODS[options.strategy],
        prompts=_prompts_sentence(plan),
        program=f"budget:{plan.budgets[-1]}" if plan.budgets else "cot",
        base_sha256=config["base_sha256"],
        rows=len(plan.rows),
        tokens=plan.tokens,
        data_hash=config["data"]["hash"],
        steps=results["steps"],
        of_prompts=" of prompts" if options.draws > 1 else "",
        batch=plan.batch_text,
        epochs=options.epochs,
        reached=_reached_text(results),
        time=f"{results['seconds']:.0f} s" + ("" if speed is None else f", {speed:.0f} tokens/s"),
        options=", ".join(f"{k}={v}" for k, v in options.to_json().items()),
        card=CARD,
        folder=plan.folder.path,
        rank=max(8, options.rank),
    )
