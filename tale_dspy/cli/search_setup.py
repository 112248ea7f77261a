"""The flags of a search, and the data, program and model that they name."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tale_dspy.cli import flags
from tale_dspy.cli.plan import Plan
from tale_dspy.errors import UsageError

if TYPE_CHECKING:
    from tale_dspy.datasets import Dataset
    from tale_dspy.optimizers.budget_search import BudgetSearch


@dataclass(frozen=True)
class SearchOptions:
    """The flags of a search that `tale eval` does not have."""

    sampler: Annotated[
        str, typer.Option(help="elastic, halving (the paper's), tpe, or grid (every budget: the truth).")
    ] = "elastic"
    efforts: flags.Efforts = None
    calls: Annotated[int | None, typer.Option(help="Budgets tried for a question; unset: the sampler decides.")] = None
    draws: Annotated[
        int,
        typer.Option(
            "--repeats", help="Confirm a budget on fresh draws until right ones lead by this many; 0: no test."
        ),
    ] = 2
    estimator: Annotated[
        str, typer.Option(help="regression (makes no call) or few-shot (searched budgets as demos).")
    ] = "regression"

    def __post_init__(self) -> None:
        for flag, least, number in (("--calls", 1, self.calls), ("--repeats", 0, self.draws)):
            if number is not None and number < least:
                raise UsageError(f"{flag} must be at least {least}, got {number}")


@dataclass(frozen=True)
class PreparedSearch:
    """A search that is about to begin."""

    search: "BudgetSearch"
    student: Any
    data: "Dataset"
    options: dict[str, Any]
    """Of the run engine."""


def prepare_search(plan: Plan, settings: SearchOptions, data: "Dataset | None" = None) -> PreparedSearch:
    """Load data, program and model of a search.

    An error is raised if they do not fit together.
    """
    import dspy

    from tale_dspy.cli.evaluation import set_up
    from tale_dspy.cli.models import check_provider
    from tale_dspy.optimizers.budget_search import AGREES, BudgetSearch
    from tale_dspy.programs.spec import imported, program_from
    from tale_dspy.runs.shards import Shard

    dspy.disable_logging()  # what matters of it comes back as an outcome or an error
    data = plan.load_data() if data is None else data
    student = program_from(plan.program, data.signature)
    run_options = set_up(plan, student, data)
    if plan.shard is not None:
        require_one_predictor(student, "--shard")
        caps = Shard.parse(plan.shard).share_of_caps(plan.max_usd, plan.max_total_output_tokens)
        run_options |= {"max_usd": caps[0], "max_total_output_tokens": caps[1]}
    options = {k: v for k, v in run_options.items() if k not in ("repeats", "allow_leak", "max_usd")}
    metric: Any = plan.metric if plan.metric in (None, AGREES) else imported(plan.metric)
    budget_search = BudgetSearch(
        metric,
        sampler=settings.sampler,
        efforts=parse_efforts(settings.efforts),
        calls_per_question=settings.calls,
        repeats=settings.draws,
        estimator=settings.estimator,  # type: ignore[arg-type]  # checked there
        max_usd=run_options["max_usd"],
        out=plan.folder(),
        seed=plan.seed or 0,
        **options,
    )
    check_provider(plan, options["lm"])
    return PreparedSearch(budget_search, student, data, options)


def require_one_predictor(student: Any, flag: str) -> None:
    """Refuse to split the search of a program with several predictors.

    Raises:
        UsageError: If each would wait for the one before it, which is searched in all shards.
    """
    from tale_dspy.optimizers.search.budget_override import searchable_predictors

    names = searchable_predictors(student)
    if len(names) > 1:
        raise UsageError(
            f"{flag} searches one predictor, since each waits for the one before it; got {', '.join(names)}"
        )


def parse_efforts(text: str | None) -> "tuple[str, ...] | Literal['auto'] | None":
    """Read `--efforts`: words separated by commas.

    `none` stands for token budgets; a flag that is not given stands for `auto`.
    """
    if text is None:
        return "auto"
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    return None if words == ("none",) else words
