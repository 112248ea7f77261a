"""Flags that several commands share, declared once."""

from pathlib import Path
from typing import Annotated

import typer

_CONTINUES = "The same command continues what was stopped or killed."
_PROGRAMS = (
    "PROGRAM is direct, cot, dspy-cot, concise, draft, sketch, no-thinking, tale-ep, self-budgeted, budget:N, "
    "budget:0.25x, budget:best, effort:WORD, effort:best, vote:N:PROGRAM, a saved program's .json, or module:attribute."
)
_BUDGETED = "PROGRAM is tale-ep, budget:N, a saved program's .json, or module:attribute with budgeted predictors."
_DATA = (
    "--data is gsm8k, gsm8k-train, gsm8k-zero, mathbench-middle ..., math-500, aime, gpqa, embedded:test, "
    "hf:owner/name:split, or a .jsonl, .csv or .parquet file; named sets are looked up in $TALE_DATA, then on the hub. "
    "--model is any LiteLLM model string, local:PATH, or embedded, the small model that ships."
)
EPILOGS = {
    "eval": f"{_PROGRAMS} {_DATA}",
    "search": f"{_CONTINUES} The program that is saved estimates budgets without a call. What budgets of their own "
    f"gain is measured against budget:best, the best budget for all. {_BUDGETED} {_DATA}",
    "elasticity": f"{_CONTINUES} The program is asked without a budget, too. Token elasticity comes as table and "
    f"figures. PROGRAM is cot, or a budgeted program: tale-ep, a saved program's .json, module:attribute. {_DATA}",
    "train": f"{_CONTINUES} On several GPUs it is `accelerate launch -m tale_dspy.cli.main train ...`. --base is "
    "embedded, the folder of a model, or its name on the Hugging Face hub; --data is rows of the form that "
    "`tale distill` writes; --eval asks base and adapter unseen questions, as `tale gate` wants it.",
    "tune": f"{_CONTINUES} Every program of the Pareto front and the chosen one are saved; that one is measured on "
    f"questions that were kept back, against the same program without budgets. {_BUDGETED} {_DATA}",
}
"""What is too long for the first screen of a command's help, and stands at its end."""

Program = Annotated[
    str,
    typer.Argument(help="cot, tale-ep, budget:50 ... (below)"),
]
Data = Annotated[
    str,
    typer.Option(help="gsm8k ... (below), or a file."),
]
Inputs = Annotated[str | None, typer.Option(help="Input columns of --data, separated by commas.")]
Gold = Annotated[str | None, typer.Option(help="Column of --data that holds the right answer.")]
Model = Annotated[str, typer.Option(help="Such as openai/gpt-4o-mini.")]
ApiBase = Annotated[str | None, typer.Option(help="Address of an OpenAI-compatible server.")]
Engine = Annotated[str, typer.Option(help="litellm, auto (DSPy's own stack where it can), or lm15.")]
Server = Annotated[
    str | None,
    typer.Option(help="What answers at --api-base: vllm, sglang or llama.cpp; decides how --mode native is sent."),
]
Rpm = Annotated[float | None, typer.Option(help="Requests a minute that are sent at most.")]
Tpm = Annotated[
    float | None, typer.Option(help="Tokens a minute at most, prompt and --max-tokens counted before a call is sent.")
]
Fallback = Annotated[
    list[str] | None,
    typer.Option(help="A model that is asked where --model fails after its retries; may be given several times."),
]
Device = Annotated[str | None, typer.Option(help="Local models: a torch device, such as cpu or cuda:0.")]
Dtype = Annotated[
    str | None,
    typer.Option(help="Local models: float32, bfloat16, float16, int8 (fast on processors), or auto: as in the files."),
]
MaxBatch = Annotated[int | None, typer.Option(help="Local models: replies written at once; unset: as memory allows.")]
Efforts = Annotated[
    str | None,
    typer.Option(
        help="Effort words, such as low,medium,low+50 (number: the phrase). Unset: all words of a reasoning model "
        "that takes words, with and without the phrase; none: token budgets."
    ),
]
Limit = Annotated[int | None, typer.Option(help="Ask only this many questions.")]
Offset = Annotated[int, typer.Option(help="Leave out this many questions at the start.")]
Concurrency = Annotated[int, typer.Option(help="Questions asked at once.")]
Temperature = Annotated[float | None, typer.Option(help="Of sampling; unset: the provider's.")]
MaxTokens = Annotated[int | None, typer.Option(help="Of one reply; unset: the provider's.")]
Timeout = Annotated[float, typer.Option(help="Seconds without an answer until a request is given up.")]
Retries = Annotated[int, typer.Option(help="Further attempts after 429, 5xx, time-outs, drops, broken replies.")]
RetryErrors = Annotated[bool, typer.Option("--retry-errors", help="Ask questions that ended in an error again.")]
MetricFlag = Annotated[str | None, typer.Option("--metric", help="module:attribute; unset compares answers.")]
MaxUsd = Annotated[float | None, typer.Option(help="Stop before more US dollars are spent.")]
MaxTotalTokens = Annotated[
    int | None, typer.Option("--max-total-output-tokens", help="Stop before more output tokens are spent.")
]
PriceIn = Annotated[float | None, typer.Option(help="US dollars per million input tokens.")]
PriceOut = Annotated[float | None, typer.Option(help="US dollars per million output tokens.")]
Repeats = Annotated[int, typer.Option(help="Fresh draws of each question.")]
Preset = Annotated[
    str | None, typer.Option(help="paper: temperature 0.1, 1024 tokens, seed 1024, the paper's counts and judge.")
]
Cache = Annotated[bool, typer.Option("--cache/--no-cache", help="Use DSPy's cache of replies.")]
Seed = Annotated[int | None, typer.Option(help="Sent to the provider, and shuffles options.")]
Adapter = Annotated[str, typer.Option(help="tale (prompts with nothing on top), chat, json or xml.")]
Form = Annotated[
    str | None,
    typer.Option(
        help="How --adapter tale asks for reasoning within a budget: paper, short-steps ... Unset: the form the model "
        "was trained on, else the default one."
    ),
]
Mode = Annotated[
    str | None,
    typer.Option(
        help="How a budget is sent: prompt (the phrase alone), native (the model's reasoning control, too), "
        "cap (max_tokens), or auto (native where the model thinks natively). Unset leaves the program's."
    ),
]
Provenance = Annotated[str | None, typer.Option(help="What the figures are evidence of, such as simulated.")]
AllowLeak = Annotated[bool, typer.Option("--allow-leak", help="Evaluate on questions the program was tuned on.")]
Recovery = Annotated[
    str | None,
    typer.Option(
        help="Where thinking used up the room of the answer: force_answer (ask for it, with the thought sent back) or "
        "retry_larger (twice the budget and max_tokens, at most twice)."
    ),
]
Vanilla = Annotated[Path | None, typer.Option(help="budget:0.25x: run folder of cot on the same questions.")]
TrainData = Annotated[str | None, typer.Option(help="budget:best: training questions (default: DATA-train).")]
TrainLimit = Annotated[int, typer.Option(help="budget:best: training questions asked for each budget tried.")]
ShardFlag = Annotated[
    str | None,
    typer.Option(
        "--shard",
        help="I/N: ask only part I of N of the questions, in a folder of its own under --out; caps are divided by N.",
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(
        help="Do all shards on a Ray cluster: local (the cores of this machine), auto (one that runs here), or its "
        "address. Caps, --rpm and --tpm hold for all together; --concurrency is that of each."
    ),
]
Shards = Annotated[
    int | None, typer.Option(help="With --ray: into how many shards; unset: one for each core of the cluster.")
]
Batch = Annotated[
    bool,
    typer.Option("--batch", help="Send all calls through the provider's batch API, in rounds, at half the price."),
]
BatchWait = Annotated[
    float,
    typer.Option(help="Hours to wait for batches; then the command exits with 4, and the same command continues."),
]
Out = Annotated[Path | None, typer.Option(help="Run folder; the same command continues it.")]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Show the calls, tokens and price to expect, from a paid sample of 10 questions."),
]
Past = Annotated[Path | None, typer.Option("--from", help="Estimate them from this past run instead, for nothing.")]
Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before calls are paid.")]
