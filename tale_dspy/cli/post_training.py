"""What `tale train --eval` does after the training.

It asks base and adapter questions neither has seen, and the gate decides.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tale_dspy.errors import UsageError
from tale_dspy.protocols import JsonObject, Program

if TYPE_CHECKING:
    from tale_dspy.cli.plan import Plan
    from tale_dspy.comparison.gate import GateResult
    from tale_dspy.training.trainer import TrainedAdapter


@dataclass(frozen=True)
class PostTrainingEval:
    """What is asked, and where. Field names are the flags' without `eval_`."""

    data: str | None = None
    limit: int | None = None
    program: str = "cot"
    api_base: str | None = None
    """Server of base and adapter; None runs both in this process."""
    model: str | None = None
    """Name the server knows the adapter by."""
    base_model: str | None = None
    """Name the server knows the base by."""
    min_saving: float = 0.3
    max_drop: float = 0.01

    def checked(self, base: str) -> "PostTrainingEval":
        """Return it with the data filled in, before anything is trained.

        Raises:
            UsageError: If there is no data, a server's models are not named, a limit cannot be, or the program is none.
            DataError: If the questions cannot be read.
        """
        from tale_dspy.comparison.gate import check_limits
        from tale_dspy.programs.spec import program_from

        check_limits(self.min_saving, self.max_drop)
        if self.api_base is not None and None in (self.model, self.base_model):
            raise UsageError("--eval-api-base needs --eval-model and --eval-base-model, the names the server knows")
        if self.data is None and base.removeprefix("local:") != "embedded":
            raise UsageError("--eval needs --eval-data, questions that the search has not seen")
        filled = self if self.data is not None else replace(self, data="embedded:test")
        program_from(self.program, filled._plan(base).load_data().signature)
        return filled

    def check_unseen(self, base: str, trained_ids: Collection[str]) -> None:
        """Refuse, before anything is trained, questions that will be trained on.

        Args:
            base: The model that is trained.
            trained_ids: Ids of the questions of the training rows.

        Raises:
            UsageError: If some of the questions of the test are among them.
        """
        from tale_dspy.runs.questions import questions_of

        known = {trained_id.partition("-")[0] for trained_id in trained_ids}
        ids = list(questions_of(self._plan(base).load_data()).ids())
        overlap = sum(question_id.partition("-")[0] in known for question_id in ids)
        if overlap:
            raise UsageError(
                f"--eval-data: {overlap} of {len(ids)} questions are among those of the training rows: a test needs "
                "questions the model has not seen"
            )

    def _plan(self, model: str) -> "Plan":
        from tale_dspy.cli.plan import Plan

        return Plan(self.program, self.data or "", model, limit=self.limit, api_base=self.api_base, cache=False)

    def run(self, trained: "TrainedAdapter") -> "GateResult":
        """Ask base and adapter and let the gate decide.

        The verdict is written into the card of the adapter.

        Raises:
            UsageError: If the adapter was trained with other prompts than it is asked with here.
            BackendError: If a server does not answer.
        """
        from tale_dspy.cli.evaluation import make_adapter
        from tale_dspy.cli.models import language_model
        from tale_dspy.programs.spec import program_from
        from tale_dspy.training.adapter_eval import evaluate_adapter, record_verdict
        from tale_dspy.training.served import check_program, check_served

        models = (f"local:{trained.base.removeprefix('local:')}", trained.model)
        if self.api_base is not None:
            models = (f"openai/{self.base_model}", f"openai/{self.model}")
        plans = [self._plan(model) for model in models]
        plan, data = plans[0], plans[0].load_data()
        program: Program = program_from(self.program, data.signature)
        adapter = make_adapter(plan, data)
        check_program(trained.card, program, dict(data.examples[0].inputs().items()), adapter)
        if self.api_base is not None:
            check_served(trained.card, trained.path, str(self.model), self.api_base)
        base, tuned = (language_model(one) for one in plans)
        out = trained.path / "eval"
        limits: JsonObject = {"min_saving": self.min_saving, "max_drop": self.max_drop}
        verdict = evaluate_adapter(program, base, tuned, data, out=out, **limits, adapter=adapter, name=self.program)
        record_verdict(trained.path, verdict)
        return verdict
