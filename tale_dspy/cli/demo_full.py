"""`tale demo --full`: train the model that ships to be short by itself.

Each step keeps what it made in a folder of its own, so that the same command continues where it was ended, and every
row of the final table can be opened.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tale_dspy.cli.console import say
from tale_dspy.errors import MissingExtraError, UsageError
from tale_dspy.protocols import JsonObject, LanguageModel, Program, PromptAdapter

if TYPE_CHECKING:
    from rich.console import Console

    from tale_dspy.comparison.gate import GateResult
    from tale_dspy.datasets import Dataset
    from tale_dspy.reports import ReportRow
    from tale_dspy.runs.records import Run
    from tale_dspy.training.trainer import TrainedAdapter

QUESTIONS, SEARCHED, TRIED = 1000, 1500, 150
"""Asked in the end, searched and trained on, and asked for each fixed budget that is tried."""
LIMITS = {"sft": (0.70, 0.01), "dpo": (0.65, 0.02)}
"""What the gate asks of each strategy: least saving, largest drop in accuracy."""
PROMPTS = ("cot", "dspy-cot")
"""Programs that models are trained for: the paper's prompt, and that of plain dspy.ChainOfThought."""
BASELINES = ("direct", "cot", "concise", "tale-ep")
CONCURRENCY = 64


@dataclass
class Demo:
    """What the steps share."""

    screen: "Console"
    lm: LanguageModel
    folder: Path
    test: "Dataset"
    train: "Dataset"
    runs: "dict[str, Run]" = field(default_factory=dict)
    """By the name in the table, in its order."""
    verdicts: "dict[str, GateResult]" = field(default_factory=dict)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Say what is done, and how long it took."""
        self.screen.print(f"\n{title}", style="bold")
        started = time.perf_counter()
        yield
        self.screen.print(f"  {time.perf_counter() - started:.0f} s", style="dim")

    def ask(
        self,
        name: str,
        program: Program,
        spec: str,
        lm: LanguageModel | None = None,
        adapter: PromptAdapter | None = None,
    ) -> "Run":
        """Ask a program the test questions, in a folder named after it.

        Args:
            name: In the table.
            program: What is asked.
            spec: The name of the program, the same for one program on two models.
            lm: None for the plain model.
            adapter: None for the paper's prompts.
        """
        from tale_dspy.adapter import TaleAdapter
        from tale_dspy.cli.console import live_bar
        from tale_dspy.runs.engine import evaluate

        place = self.folder / name.replace(":", "-").replace(" ", "-")
        with live_bar(name) as progress:
            run = evaluate(
                program,
                self.test,
                out=place,
                lm=lm or self.lm,
                adapter=adapter or TaleAdapter(),
                name=spec,
                concurrency=CONCURRENCY,
                progress=progress,
            )
        self.runs[name] = run
        summary = run.summary
        say(f"  {name}: {100 * summary['accuracy']:.1f} % right, {summary['output_tokens_mean']:.1f} output tokens")
        return run


def run_full(screen: "Console", model: str, questions: int | None, folder: Path) -> None:
    """Search, distill, train with SFT and DPO, gate, and show the final table.

    It ends with the figure of tokens before and after.

    Args:
        screen: Where it is shown.
        model: `embedded`, or another local model.
        questions: How many are asked of each program; None for `QUESTIONS`.
        folder: What is made goes here.

    Raises:
        UsageError: If a package is missing, or the folder holds something else.
    """
    import dspy

    from tale_dspy.datasets import load_dataset

    dspy.disable_logging()  # what matters of it comes back as an outcome or an error
    _require_extras()
    with screen.status("loading the model and the questions"):
        lm = _demo_model(model)
        test = load_dataset(f"embedded:test:{questions or QUESTIONS}")
        demo = Demo(screen, lm, folder, test, load_dataset("embedded:train").take(limit=SEARCHED))
        lm.engine.load()
    started = time.perf_counter()
    _ask_baselines(demo)
    _search_budgets(demo)
    with demo.step("Distil the short replies, and train on them"):
        tuned = {(strategy, spec): _train_adapter(demo, strategy, spec) for spec in PROMPTS for strategy in LIMITS}
    _ask_tuned(demo, tuned)
    _show_table(demo, tuned, time.perf_counter() - started)


def _require_extras() -> None:
    from tale_dspy.training.plan import require

    try:
        require()
    except MissingExtraError as e:
        raise UsageError(f"the full demo trains a model in this process, but {e}") from e


def _demo_model(model: str) -> Any:
    from tale_dspy.backends.lm import LM
    from tale_dspy.backends.local.model_path import is_local

    if not is_local(model):
        raise UsageError(f"the full demo trains the model, which must run in this process (local:PATH), got {model}")
    return LM(model, cache=False)


def _ask_baselines(demo: Demo) -> None:
    """Ask with the plain prompts and with the best fixed budget.

    That budget is the best on training questions.
    """
    import dspy

    from tale_dspy.adapter import TaleAdapter
    from tale_dspy.optimizers.fixed_budget import BestFixedBudget
    from tale_dspy.programs.spec import program_from

    signature = demo.test.signature
    with demo.step(f"Ask {len(demo.test)} unseen questions, untrained"):
        for name in BASELINES:
            demo.ask(name, program_from(name, signature), name)
        demo.ask("dspy-cot", program_from("dspy-cot", signature), "dspy-cot", adapter=dspy.ChatAdapter())
    with demo.step(f"Choose the best fixed budget on {TRIED} training questions"):
        options: JsonObject = {"lm": demo.lm, "adapter": TaleAdapter(), "concurrency": CONCURRENCY}
        search = BestFixedBudget(out=demo.folder / "fixed-search", **options)
        best = search.compile(program_from("budget:best", signature), trainset=demo.train.take(limit=TRIED))
        demo.ask(f"best fixed budget ({best.token_budget})", best, "budget:best")


def _search_budgets(demo: Demo) -> None:
    """Search each training question's budget, and ask with what was learned."""
    from tale_dspy.adapter import TaleAdapter
    from tale_dspy.cli.console import live_bar
    from tale_dspy.optimizers.budget_search import BudgetSearch
    from tale_dspy.programs.tale_ep import TaleEP

    with demo.step(f"Search the budgets of {len(demo.train)} training questions"):
        with live_bar("search") as progress:
            options: JsonObject = {
                "lm": demo.lm,
                "adapter": TaleAdapter(),
                "concurrency": CONCURRENCY,
                "progress": progress,
            }
            search = BudgetSearch(out=demo.folder / "search", **options)
            program = search.compile(TaleEP(demo.test.signature), trainset=demo.train)
        summary = search.summary
        say(
            f"  {summary['found']} of {summary['n']} found: "
            f"{summary['vanilla_tokens_mean']:.1f} tokens without a budget, "
            f"{summary['best_tokens_mean']:.1f} with the best one, confirmed on fresh draws"
        )
        demo.ask("searched budgets, learned", program, "searched")


def _train_adapter(demo: Demo, strategy: str, spec: str) -> "TrainedAdapter":
    """Train on the search, with the replies that one program will give.

    The program is the one that is tested later.
    """
    from tale_dspy.programs.spec import program_from
    from tale_dspy.training.distill import distill
    from tale_dspy.training.options import DpoOptions, SftOptions
    from tale_dspy.training.provider import train

    program, evaluated = program_from(spec, demo.test.signature), [demo.folder / "cot"]
    distilled = distill(demo.folder / "search", strategy, program, exclude=evaluated)  # type: ignore[arg-type]
    distilled.save(demo.folder / f"{strategy}-{spec}.jsonl")
    options: Any = SftOptions() if strategy == "sft" else DpoOptions()
    name, rows = f"{strategy.upper()}, {spec}", len(distilled.dataset)
    with demo.screen.status(f"  {name}: {rows} rows") as shown:

        def tell(step: Any) -> None:
            loss = "" if step.loss is None else f", loss {step.loss:.3f}"
            shown.update(f"  {name}: step {step.step} of {step.steps}{loss}")

        place = demo.folder / f"adapter-{strategy}-{spec}"
        trained = train(demo.lm.model, distilled.dataset, place, options, progress=tell)
    results = trained.card["results"]
    say(
        f"  {name}: {rows} rows, {results['steps']} steps in {results['seconds']:.0f} s "
        f"({results['tokens_per_s']:.0f} tokens/s), loss {results['loss']:.3f}"
    )
    return trained


def _ask_tuned(demo: Demo, tuned: "dict[tuple[str, str], TrainedAdapter]") -> None:
    """Ask each tuned model plainly and let the gate decide.

    Its prompt is the one it was trained for.
    """
    import dspy

    from tale_dspy.comparison.gate import noninferiority_test
    from tale_dspy.programs.spec import program_from
    from tale_dspy.training.adapter_eval import record_verdict

    with demo.step("Ask the tuned models the same questions, without any budget"):
        for (strategy, spec), trained in tuned.items():
            name, adapter = f"{strategy.upper()}, {spec}", dspy.ChatAdapter() if spec == "dspy-cot" else None
            lm = demo.lm.copy(model=trained.model)
            run = demo.ask(name, program_from(spec, demo.test.signature), spec, lm, adapter)
            least, most = LIMITS[strategy]
            demo.verdicts[name] = noninferiority_test(demo.runs[spec], run, min_saving=least, max_drop=most)
            record_verdict(trained.path, demo.verdicts[name])


def _show_table(demo: Demo, tuned: "dict[tuple[str, str], TrainedAdapter]", seconds: float) -> None:
    from tale_dspy.reports import report_rows, rich_table
    from tale_dspy.reports.search_run import load_search_runs, searched_row
    from tale_dspy.reports.verdict import rich_verdict

    runs = _named_runs(demo)
    rows = [*report_rows(runs), *map(searched_row, load_search_runs(demo.folder / "search"))]
    demo.screen.print()
    demo.screen.print(rich_table(rows, width=demo.screen.width))
    for name, verdict in demo.verdicts.items():
        demo.screen.print(f"\nGate: {name}", style="bold")
        demo.screen.print(rich_verdict(verdict))
    _write_figures(demo, rows, {run.name: run for run in runs})
    say(f"{seconds / 60:.1f} minutes; every row of the table is a run folder in {demo.folder}")
    for (_, spec), trained in tuned.items():
        say(f"try: tale eval {spec} --data embedded:test --model {trained.model}")


def _write_figures(demo: Demo, rows: "list[ReportRow]", runs: "dict[str, Run]") -> None:
    """Write the table, and the tokens of each question before and after."""
    from tale_dspy.reports import runs_table, tokens_per_question

    report = demo.folder / "report"
    report.mkdir(exist_ok=True)
    (report / "table.md").write_text(runs_table(rows).known().markdown(), encoding="utf-8")
    try:
        for strategy in LIMITS:
            tuned = runs[f"{strategy.upper()}, cot"]
            files = tokens_per_question(runs["cot"], tuned).save(report / f"before_after_{strategy}")
            say(f"\nbefore and after {strategy}: {next(f for f in files if f.suffix == '.png')}")
    except MissingExtraError as e:
        say(f"\nno figures: {e}")


def _named_runs(demo: Demo) -> "list[Run]":
    """Return the runs under their names in the table, vanilla first.

    All others are compared with it.
    """
    order = ["cot", *(name for name in demo.runs if name != "cot")]
    return [demo.runs[n].renamed(n) for n in order]
