"""Turn a plan into answers: set the program up, then call `evaluate`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tale_dspy.cli.budgets import best_budget, scaled
from tale_dspy.cli.config_file import write_config
from tale_dspy.cli.models import check_provider, language_model
from tale_dspy.cli.plan import Plan
from tale_dspy.errors import UsageError
from tale_dspy.protocols import JsonObject, LanguageModel, Program

if TYPE_CHECKING:
    from pathlib import Path

    from tale_dspy.backends.limiter import Limiter
    from tale_dspy.datasets import Dataset
    from tale_dspy.runs.options import Tally
    from tale_dspy.runs.records import Run
    from tale_dspy.runs.shared_caps import SharedCaps


def ask(
    plan: Plan,
    progress: "Callable[[Tally], None] | None" = None,
    data: "Dataset | None" = None,
    caps: "SharedCaps | None" = None,
    limiter: "Limiter | None" = None,
) -> "Run":
    """Load the data, unless it is given, build the program, and evaluate it.

    Args:
        plan: What is asked, and how.
        progress: As in `evaluate`.
        data: The questions; None loads those of the plan.
        caps: Shared with other runs; None takes the plan's.
        limiter: Requests and tokens a minute shared with other runs; None takes the plan's.
    """
    import dspy

    from tale_dspy.programs.spec import check_program_word, imported, program_from, scale_of
    from tale_dspy.runs.shards import Shard
    from tale_dspy.runs.shared_caps import SharedCaps

    dspy.disable_logging()  # what matters of it comes back as an outcome or an error
    plan = plan.checked()
    metric = None if plan.metric is None else imported(plan.metric)
    check_program_word(plan.program)  # before the data, which may be a download
    data = plan.load_data() if data is None else data
    program = program_from(plan.program, data.signature)
    options = set_up(plan, program, data)
    if limiter is not None:
        options["lm"].limiter = limiter
    limits = options.pop("max_usd"), options.pop("max_total_output_tokens")
    if plan.shard is not None:
        limits = Shard.parse(plan.shard).share_of_caps(*limits)
    caps = SharedCaps(*limits) if caps is None else caps
    if not _is_finished(plan, len(data)):
        check_provider(plan, options["lm"])
    factor = scale_of(plan.program)
    if factor is not None:
        data = scaled(plan, data, factor, options)
    if plan.program in ("budget:best", "effort:best"):
        program = best_budget(plan, program, data, metric, caps, {**options, "progress": progress})
    options |= {"progress": progress, "out": plan.folder(), "allow_partial": True}
    run = caps.evaluate(program, data, metric=metric, **options)
    if run.path is not None:
        write_config(run.path, plan)
    return run


def set_up(plan: Plan, program: Program, data: "Dataset") -> JsonObject:
    """Ask a program these questions as the flags say.

    Returns:
        The keyword arguments of `evaluate` beside program, data, metric, folder and progress.

    Raises:
        UsageError: If flags, program, data and model do not go together.
    """
    _check_inputs(plan, program, data)
    if plan.program.endswith(".json"):
        program.set_lm(None)  # --model and --api-base decide, not what the file was tuned with
    _set_truncation_policy(plan, program)
    options = _run_options(plan, data)
    set_mode(plan, program, options["lm"])
    return options


def _check_inputs(plan: Plan, program: Program, data: "Dataset") -> None:
    """Say which inputs of a saved program the data lacks."""
    from tale_dspy.programs.base import TaleModule
    from tale_dspy.task_signature import BUDGET

    columns = list(data.examples[0].inputs().keys())
    fields = list(program.predict.signature.input_fields) if isinstance(program, TaleModule) else []
    missing = [name for name in fields if name not in (*columns, BUDGET)]
    if missing:
        raise UsageError(f"{plan.program} needs the input {missing[0]!r}, but {data.name} gives {', '.join(columns)}")


def _set_truncation_policy(plan: Plan, program: Program) -> None:
    """Give the modules of a program the policy that the flag names."""
    from tale_dspy.programs.base import TaleModule
    from tale_dspy.programs.copying import modules_of
    from tale_dspy.programs.recovery import check_on_truncation

    if plan.on_truncation is None:
        return
    modules = [module for module in modules_of(program) if isinstance(module, TaleModule)]
    if not modules:
        raise UsageError(f"--on-truncation is for modules of tale_dspy, and {plan.program} has none")
    for module in modules:
        module.on_truncation = check_on_truncation(plan.on_truncation)


def set_mode(plan: Plan, program: Program, lm: LanguageModel) -> None:
    """Make the program send its budgets as --mode says.

    The paper's preset sends them in the prompt alone. For a program without budgets the mode says whether a model that
    thinks natively shows its reasoning again.

    Raises:
        UsageError: If there is no such mode, the program has none, or the model has no such reasoning control.
    """
    from tale_dspy.backends.reasoning_params import MODES
    from tale_dspy.programs.budgeted_module import budgeted_modules, check_reasoning_controls, reasoning_modules

    if plan.mode is not None and plan.mode not in MODES:
        raise UsageError(f"--mode must be one of {', '.join(MODES)}, got {plan.mode!r}")
    budgeted, unbudgeted = budgeted_modules(program), reasoning_modules(program)
    modules = budgeted if plan.mode in ("native", "cap") and budgeted else [*budgeted, *unbudgeted]
    if plan.mode is not None and not modules:
        raise UsageError(f"--mode says how a budget is sent, and {plan.program} sends none")
    mode = plan.mode or ("prompt" if plan.preset == "paper" else None)
    for module in modules:
        module.mode = mode or module.mode  # a VanillaCoT says itself that it has no reasoning control
    check_reasoning_controls(program, lm)


def _run_options(plan: Plan, data: "Dataset") -> JsonObject:
    return {
        "lm": language_model(plan),
        "adapter": make_adapter(plan, data),
        "name": plan.program,
        "concurrency": plan.concurrency,
        "repeats": plan.repeats,
        "max_usd": plan.max_usd,
        "max_total_output_tokens": plan.max_total_output_tokens,
        "price": plan.price(),
        "timeout": plan.timeout,
        "retries": plan.retries,
        "retry_errors": plan.retry_errors,
        "paper_counts": plan.preset == "paper",
        "allow_leak": plan.allow_leak,
        "provenance": plan.provenance,
        "shard": plan.shard,
        "batch": plan.batch,
        "batch_wait": plan.batch_wait,
        "config": {"preset": plan.preset},
    }


def make_adapter(plan: Plan, data: "Dataset") -> Any:
    """Build the adapter: the paper's prompts unless another is named."""
    from tale_dspy.adapter import TaleAdapter

    name = "chat" if plan.program == "dspy-cot" and plan.adapter == "tale" else plan.adapter
    if (adapter := dspy_adapter(name)) is not None:
        return adapter
    task = None if data.task in ("answer", "choice") else data.task
    return TaleAdapter(plan.form or ("paper" if plan.preset == "paper" else None), task=task)


def dspy_adapter(name: str) -> Any:
    """Return DSPy's adapter of a word of `--adapter`; None for `tale`."""
    import dspy

    kinds: JsonObject = {"chat": dspy.ChatAdapter, "json": dspy.JSONAdapter, "xml": dspy.XMLAdapter}
    return kinds[name]() if name in kinds else None


def _is_finished(plan: Plan, n: int) -> bool:
    """Return whether the folder holds all answers, so that nothing is asked."""
    try:
        return plan.shard is None and _count_lines(plan.folder() / "records.jsonl") >= n * plan.repeats
    except OSError:
        return False


def _count_lines(path: "Path") -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)
