"""Tokens per second: our training against TRL's trainers called by hand, with the same rows, batch and grouping.

    python benchmarks/training.py [--base embedded] [--rows 96] [--rounds 3]

Both train the same LoRA on the same rows, at the same batch size, rows of like length in one batch, in the same
precision, and alternate. Measured is all a user waits for once the libraries are imported: tokenising, the reference of
DPO, the steps, and the adapter on disk. Tokens are those of prompts and replies, padding not counted.
"""

import argparse
import contextlib
import io
import json
import os
import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TQDM_DISABLE"] = "1"

import datasets
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers.utils import logging
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from tale_dspy.backends.local.model_path import EMBEDDED, embedded_folder
from tale_dspy.embedded.lessons import messages_of
from tale_dspy.embedded.problems import problems
from tale_dspy.embedded.reasoning import equation_lines, long_form
from tale_dspy.training.dpo import train_dpo
from tale_dspy.training.options import DpoOptions, SftOptions
from tale_dspy.training.plan import plan_training
from tale_dspy.training.sft import train_sft

EPOCHS, BATCH = 2, 16


def rows_of(n: int) -> list[dict[str, Any]]:
    """Stories with a short and a long reply: no model is asked."""
    rows = []
    for problem in problems("train", n):
        short, long = ([{"role": "assistant", "content": f(problem)}] for f in (equation_lines, long_form))
        prompt = messages_of("cot", problem.question)
        rows.append({"prompt": prompt, "completion": short, "chosen": short, "rejected": long})
    random.Random(0).shuffle(rows)
    return rows


def by_hand(strategy: str, base: str, rows: list[dict[str, Any]], out: Path) -> None:
    """Train as the documentation of TRL shows it."""
    gpu = torch.cuda.is_available()
    arguments: dict[str, Any] = {
        "output_dir": str(out),
        "num_train_epochs": EPOCHS,
        "per_device_train_batch_size": BATCH,
        "learning_rate": 1e-3,
        "train_sampling_strategy": "group_by_length",
        "length_column_name": "length",
        "bf16": gpu,
        "use_cpu": not gpu,
        "activation_checkpointing": False,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "logging_steps": 1,
        "dataloader_pin_memory": gpu,
        "model_init_kwargs": {"dtype": "bfloat16" if gpu else "float32"},
    }
    lora = LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules="all-linear")
    columns = ("completion",) if strategy == "sft" else ("chosen", "rejected")
    data = [{k: row[k] for k in ("prompt", *columns)} for row in rows]
    # What group_by_length sorts by: about the tokens, for the trainer tokenises only later.
    lengths = [sum(len(row[k][0]["content"]) for k in columns) for row in data]
    dataset = Dataset.from_list([{**row, "length": n} for row, n in zip(data, lengths, strict=True)])
    if strategy == "sft":
        trainer: Any = SFTTrainer(base, SFTConfig(**arguments), train_dataset=dataset, peft_config=lora)
    else:
        # Else the column of the lengths is removed before it is looked for.
        arguments |= {"remove_unused_columns": False, "precompute_ref_log_probs": True}
        default = DpoOptions()
        config = DPOConfig(**arguments, loss_type=list(default.loss), beta=default.beta_taken)
        trainer = DPOTrainer(base, args=config, train_dataset=dataset, peft_config=lora)
    trainer.train()
    trainer.save_model()


def ours(strategy: str, base: str, rows: list[dict[str, Any]], out: Path) -> None:
    """Train with this library."""
    options: dict[str, Any] = {"epochs": EPOCHS, "batch_size": BATCH, "learning_rate": 1e-3, "checkpoint_every": 0}
    if strategy == "sft":
        train_sft(base, rows, out, SftOptions(**options))
    else:
        train_dpo(base, rows, out, DpoOptions(**options))


def seconds(train: Callable[..., None], *args: Any) -> float:
    """Time one training in a folder of its own; what it prints goes nowhere."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        started = time.perf_counter()
        train(*args, Path(folder) / "a")
        return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default=EMBEDDED)
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    warnings.simplefilter("ignore")  # of TRL about names that transformers has changed
    base = str(embedded_folder()) if args.base == EMBEDDED else args.base
    rows, figures = rows_of(args.rows), {}
    for strategy, options in (("sft", SftOptions()), ("dpo", DpoOptions())):
        tokens = EPOCHS * plan_training(base, rows, Path("nowhere"), options).tokens
        rounds = []
        for number in range(args.rounds + 1):
            pair = seconds(by_hand, strategy, base, rows), seconds(ours, strategy, base, rows)
            if number:  # the first pays for imports and kernels
                rounds.append(pair)
        hand, rate = (statistics.median(tokens / r[side] for r in rounds) for side in (0, 1))
        figures[strategy] = {"by_hand": round(hand), "ours": round(rate), "ratio": round(rate / hand, 3)}
        print(f"{strategy}: {rate:.0f} tokens/s, TRL by hand {hand:.0f}: {rate / hand:.2f} times")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu, {torch.get_num_threads()} threads"
    print(json.dumps({"device": device, "rows": args.rows, "rounds": args.rounds, **figures}))


if __name__ == "__main__":
    main()
