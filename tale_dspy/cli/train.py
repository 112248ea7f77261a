"""`tale train`: a LoRA adapter that makes a model answer short by itself."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tale_dspy.cli import flags
from tale_dspy.cli.config_file import PREFERENCES
from tale_dspy.cli.console import say
from tale_dspy.cli.gate import MaxDrop, MinSaving
from tale_dspy.cli.groups import expand_dataclass
from tale_dspy.cli.post_training import PostTrainingEval
from tale_dspy.errors import UsageError
from tale_dspy.protocols import JsonObject

if TYPE_CHECKING:
    from tale_dspy.training.options import TrainOptions
    from tale_dspy.training.plan import TrainingPlan
    from tale_dspy.training.trainer import TrainingStep

NAME = "train"

MANY_SAME = 0.5
"""Share of questions without a difference between their rewards from which it is said."""


@dataclass(frozen=True)
class TrainingFlags:
    """Settings of the training.

    Unset ones take the defaults of the strategy, or of the preset.
    """

    preset: Annotated[str | None, typer.Option(help="paper: the settings of the paper.")] = None
    epochs: Annotated[float | None, typer.Option(help="Passes over the rows.")] = None
    batch_size: Annotated[int | None, typer.Option(help="Rows of one step, over all devices.")] = None
    micro_batch: Annotated[int | None, typer.Option(help="Rows of one forward pass on one device.")] = None
    learning_rate: Annotated[float | None, typer.Option(help="At its peak; unset: by the model.")] = None
    rank: Annotated[int | None, typer.Option(help="Of the LoRA matrices.")] = None
    alpha: Annotated[int | None, typer.Option(help="LoRA's scale is alpha over rank.")] = None
    targets: Annotated[str | None, typer.Option(help="Layers, by commas; all-linear for all.")] = None
    max_length: Annotated[int | None, typer.Option(help="Leave out rows with more tokens.")] = None
    quantize: Annotated[str | None, typer.Option(help="4bit: QLoRA, on a GPU.")] = None
    gradient_checkpointing: Annotated[
        bool | None, typer.Option("--gradient-checkpointing", help="Less memory, a third more time.")
    ] = None
    checkpoint_every: Annotated[int | None, typer.Option(help="Steps between checkpoints; 0 for none.")] = None
    loss: Annotated[str | None, typer.Option(help="dpo: losses that are added up, by commas.")] = None
    loss_weights: Annotated[str | None, typer.Option(help="dpo: a number for each loss, by commas.")] = None
    beta: Annotated[float | None, typer.Option(help="dpo, grpo: how much it costs to leave the base.")] = None
    ld_alpha: Annotated[float | None, typer.Option(help="dpo: weight of the longer reply's surplus tokens.")] = None
    generations: Annotated[int | None, typer.Option(help="grpo: replies drawn for a question.")] = None
    reward: Annotated[
        str | None, typer.Option(help="grpo: how length is charged for: linear, scaled, cosine or alp.")
    ] = None
    price: Annotated[float | None, typer.Option(help="grpo: reward lost for each token too many.")] = None
    budget: Annotated[int | None, typer.Option(help="grpo: free tokens of rows without a budget.")] = None
    temperature: Annotated[
        float | None, typer.Option(help="grpo: of the replies that are drawn.", rich_help_panel=PREFERENCES)
    ] = None
    max_new_tokens: Annotated[int | None, typer.Option(help="grpo: most tokens of a reply.")] = None
    seed: Annotated[int | None, typer.Option(help="First weights of the adapter, order of the rows.")] = None

    def options(self, strategy: str) -> "TrainOptions":
        """Return the options of a strategy with these settings.

        A setting that the strategy lacks is refused.
        """
        from tale_dspy.training.options import options_from

        values = vars(self) | {
            "targets": _names(self.targets),
            "loss": _names(self.loss),
            "loss_weights": _split_numbers("--loss-weights", self.loss_weights),
        }
        return options_from(strategy, values.pop("preset"), **values)


@dataclass(frozen=True)
class EvaluationFlags:
    """What `--eval` asks after the training, and where."""

    evaluate: Annotated[bool, typer.Option("--eval", help="Then compare it with the base.")] = False
    eval_data: Annotated[str | None, typer.Option(help="Questions of --eval; of embedded: embedded:test.")] = None
    eval_limit: Annotated[int | None, typer.Option(help="Ask only this many of them.")] = None
    eval_program: Annotated[str, typer.Option(help="cot, or dspy-cot: what the rows were distilled for.")] = "cot"
    eval_api_base: Annotated[str | None, typer.Option(help="Address of a server of base and adapter.")] = None
    eval_model: Annotated[str | None, typer.Option(help="Name the server knows the adapter by.")] = None
    eval_base_model: Annotated[str | None, typer.Option(help="Name the server knows the base by.")] = None
    min_saving: MinSaving = 0.3
    max_drop: MaxDrop = 0.01

    def post_training(self, base: str, context: typer.Context) -> PostTrainingEval | None:
        """Return the evaluation, checked before anything is trained.

        It is None without `--eval`.

        Raises:
            UsageError: If a flag of the evaluation stands on the command line without `--eval`, or cannot be.
        """
        if not self.evaluate:
            for field in fields(self):  # a variable or a config file may hold them for other commands
                source = context.get_parameter_source(field.name)
                if source is not None and source.name == "COMMANDLINE":
                    raise UsageError(f"--{field.name.replace('_', '-')} says how --eval compares: add --eval")
            return None
        evaluation = PostTrainingEval(
            self.eval_data,
            self.eval_limit,
            self.eval_program,
            self.eval_api_base,
            self.eval_model,
            self.eval_base_model,
            self.min_saving,
            self.max_drop,
        )
        return evaluation.checked(base)


@expand_dataclass()
def run_command(
    context: typer.Context,
    strategy: Annotated[str, typer.Argument(metavar="sft|dpo|grpo", help="What to train with.")],
    base: Annotated[str, typer.Option(help="A model: embedded, folder, hub name.")],
    data: Annotated[
        list[Path],
        typer.Option(help="Rows of `tale distill`; repeatable."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the adapter.")],
    training: TrainingFlags,
    evaluation: EvaluationFlags,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be trained.")] = False,
    merge_to: Annotated[Path | None, typer.Option(help="Folder of the merged model, too.")] = None,
    merge_strength: Annotated[
        float, typer.Option(help="Share of the adapter in the merged model: below 1 replies are longer.")
    ] = 1.0,
    json: flags.Json = False,
) -> int:
    """Train a LoRA adapter on distilled rows, also under `accelerate launch`."""
    from tale_dspy.cli.console import console, print_json
    from tale_dspy.training.plan import plan_training

    if merge_strength != 1 and merge_to is None:
        raise UsageError("--merge-strength is a share of what --merge-to merges: give --merge-to DIR")
    if merge_to is not None:
        from tale_dspy.training.merge import check_merge

        check_merge(merge_to, merge_strength, out)
    post_training = evaluation.post_training(base, context)
    plan = plan_training(base, [str(file) for file in data], out, training.options(strategy))
    if post_training is not None:
        post_training.check_unseen(base, {row.id for row in plan.source if row.id is not None})
    if dry_run:
        print_json(_plan_figures(plan)) if json else _show_plan(plan)
        return 0
    from tale_dspy.training.provider import run_plan
    from tale_dspy.training.trainer import is_first

    if not is_first():  # of the processes of `accelerate launch` one speaks
        run_plan(plan)
        return 0
    if not json:
        _show_plan(plan)
    with _training_bar(f"{strategy} {base}", plan.steps) as progress:
        trained = run_plan(plan, progress)
    merged = None
    if merge_to is not None:
        from tale_dspy.training.merge import merge_adapter

        merged = merge_adapter(trained.model, merge_to, merge_strength)
    results = trained.card["results"]
    if not json:
        _show_results(results)
        program = f"budget:{plan.budgets[-1]}" if plan.budgets else evaluation.eval_program
        for model in (trained.model, merged):
            if model is not None:
                say(f"try: tale eval {program} --model {model} --data DATA")
    verdict = None if post_training is None else post_training.run(trained)
    if json:
        results_json = {"results": results, "model": trained.model, "out": str(out)}
        print_json({**_plan_figures(plan), **results_json, "gate": None if verdict is None else verdict.to_json()})
    elif verdict is not None:
        from tale_dspy.reports.verdict import rich_verdict

        console().print(rich_verdict(verdict))
    return 0 if verdict is None or verdict.passed else 1


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(name.strip() for name in text.split(",") if name.strip())


def _split_numbers(flag: str, text: str | None) -> tuple[float, ...] | None:
    try:
        return None if text is None else tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{flag} must be numbers with commas between them, got {text}") from None


def _plan_figures(plan: "TrainingPlan") -> JsonObject:
    memory = plan.memory
    return {
        "strategy": plan.options.strategy,
        "base": plan.base,
        "rows": len(plan.rows),
        "left_out": plan.left_out,
        "tokens": plan.tokens,
        "longest": plan.longest,
        "steps": plan.steps,
        "learning_rate": plan.rate,
        "trainable": plan.shape.trainable,
        "parameters": plan.shape.parameters,
        "memory_bytes": {**vars(memory), "total": memory.total},
    }


def _show_plan(plan: "TrainingPlan") -> None:
    shape, memory = plan.shape, plan.memory
    left_out = f", {plan.left_out} longer than --max-length left out" if plan.left_out else ""
    prompts = "prompts included" if plan.options.draws == 1 else "prompts alone, replies are drawn in training"
    lines = {
        "rows": f"{len(plan.rows)}{left_out}",
        "tokens": f"{plan.tokens} an epoch, {prompts}; the longest row has {plan.longest}",
        "steps": f"{plan.steps} of {plan.batch_text}, learning rate {plan.rate:.2g}",
        "trained": f"{shape.trainable} numbers beside the {shape.parameters} of the base",
        "memory": f"about {_bytes_text(memory.total)} a device: base {_bytes_text(memory.weights)}, adapter "
        f"{_bytes_text(memory.adapter)}, activations {_bytes_text(memory.activations)}",
    }
    for name, value in lines.items():
        say(f"{name:8} {value}")


def _show_results(results: Mapping[str, Any]) -> None:
    after = f"after {results['steps']} steps, {results['seconds']:.0f} s"
    if "rewards" not in results:
        say(f"loss {results['loss']:.4f} {after}")
        return
    rewards, tokens = results["rewards"], results["reply_tokens"]
    say(
        f"mean reward {results['reward']:.3f} {after}; it was {rewards[0]:.3f} in the first step. "
        f"Tokens of a reply: {tokens[0]:.0f} in the first step, {tokens[-1]:.0f} in the last"
    )
    if results["same_reward"] >= MANY_SAME:
        say(
            f"to {100 * results['same_reward']:.0f} % of the questions all replies had the same reward, and nothing is "
            "learned from those: draw more (--generations), or more different ones (--temperature)"
        )


def _bytes_text(n: int) -> str:
    return f"{n / 1e9:.1f} GB" if n >= 1e9 else f"{n / 1e6:.0f} MB"


@contextmanager
def _training_bar(title: str, steps: int) -> "Iterator[Callable[[TrainingStep], None] | None]":
    """Show steps, loss, speed and time left on stderr."""
    import sys

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from tale_dspy.cli.console import console
    from tale_dspy.display import visible

    if not sys.stderr.isatty():
        yield None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("loss [green]{task.fields[loss]}[/] [cyan]{task.fields[speed]}[/] tok/s"),
    )
    with Progress(*columns, TimeRemainingColumn(compact=True), console=console(stderr=True)) as bar:
        task = bar.add_task(visible(title, " "), total=steps, loss="–", speed="–")

        def update(step: "TrainingStep") -> None:
            loss = "–" if step.loss is None else f"{step.loss:.3f}"
            speed = "–" if step.tokens_per_s is None else f"{step.tokens_per_s:.0f}"
            bar.update(task, completed=step.step, loss=loss, speed=speed)

        yield update
