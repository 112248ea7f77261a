"""DSPy trains on this machine: `lm.finetune` and `dspy.BootstrapFinetune` give back an LM that has learnt the rows."""

from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.clients.utils_finetune import TrainDataFormat, TrainingStatus

from tale_dspy.adapter import TaleAdapter
from tale_dspy.backends.lm import LM
from tale_dspy.errors import DataError, UsageError
from tale_dspy.programs.cot import VanillaCoT
from tale_dspy.training.provider import CancelledTrainingError, LocalTrainingJob, TrlProvider
from tale_dspy.training.trainer import TrainingStep

QUICK = {"epochs": 40, "batch_size": 4, "learning_rate": 1e-2, "checkpoint_every": 0}
QUESTION = "What is 3 plus 4?"
ASKED = [{"role": "user", "content": QUESTION}]
SHORT, LONG = "It is [[7]]", "Three and four, that makes 7. [[7]]"
ROWS: dict[Any, dict[str, Any]] = {
    TrainDataFormat.CHAT: {"messages": [*ASKED, {"role": "assistant", "content": SHORT}]},
    "completion": {"prompt": ASKED, "completion": SHORT},
    "preference": {"prompt": ASKED, "chosen": SHORT, "rejected": LONG},
}


@pytest.fixture
def lm(base: Path) -> LM:
    return LM(f"local:{base}", max_tokens=48, cache=False)


@pytest.mark.parametrize("train_format", list(ROWS))
def test_a_tuned_model_says_what_it_was_taught(train_format: Any, lm: LM, tmp_path: Path) -> None:
    job = lm.finetune([ROWS[train_format]] * 4, train_format, {**QUICK, "out": str(tmp_path / "a")})
    tuned = job.result()
    assert (tuned(QUESTION), job.status()) == ([SHORT], TrainingStatus.succeeded)
    assert tuned.model == f"{lm.model}+{tmp_path / 'a'}" and tuned.kwargs["max_tokens"] == 48
    assert isinstance(tuned.provider, TrlProvider) and tuned.identity != lm.identity


class Teacher(dspy.LM):  # type: ignore[misc]
    """Answers every question alike."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("only __call__ is used")

    def __call__(self, *args: Any, **kwargs: Any) -> list[str]:
        return ["So [[7]]"]


def test_bootstrap_finetune_gives_a_program_that_answers_like_its_teacher(
    lm: LM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSPY_FINETUNEDIR", str(tmp_path))
    student, teacher = VanillaCoT("question -> answer"), VanillaCoT("question -> answer")
    student.set_lm(lm)
    teacher.set_lm(Teacher("openai/teacher"))
    train = [dspy.Example(question=QUESTION, answer="7").with_inputs("question")] * 4

    def right(example: Any, prediction: Any, trace: Any = None) -> bool:
        return bool(prediction.answer == example.answer)

    tuning = dspy.BootstrapFinetune(metric=right, train_kwargs=QUICK, adapter=TaleAdapter(), num_threads=1)
    tuned = tuning.compile(student, trainset=train, teacher=teacher)
    pred = tuned(question=QUESTION)
    assert (pred.answer, pred.reasoning) == ("7", "So")
    (predictor,) = tuned.predictors()
    assert predictor.lm is not None and predictor.lm.model.startswith(f"{lm.model}+{tmp_path}/tale-sft-")


def test_the_same_call_again_trains_nothing(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSPY_FINETUNEDIR", str(tmp_path))
    arguments = ("local:" + str(base), [ROWS["completion"]], "completion", {**QUICK, "epochs": 1})
    first, again = LocalTrainingJob(), LocalTrainingJob()
    assert TrlProvider.finetune(first, *arguments) == TrlProvider.finetune(again, *arguments)
    assert first.step is not None and again.step is None
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("model", "rows", "train_format", "options", "error", "said"),
    [
        ("openai/gpt-4o-mini", [ROWS["completion"]], "chat", {}, UsageError, "does not run in this process"),
        (
            None,
            [ROWS["completion"]],
            TrainDataFormat.GRPO_CHAT,
            {},
            UsageError,
            "must be chat, completion or preferenc",
        ),
        (
            None,
            [ROWS["completion"]],
            "completion",
            {"beta": 1},
            UsageError,
            "train_kwargs has beta, but sft takes out,",
        ),
        (None, [ROWS["completion"]], "preference", {}, DataError, "row 1 has no chosen"),
        (None, [ROWS["preference"]], "preference", {"loss": ["none"]}, UsageError, "loss must be of sigmoid"),
        (None, [], None, {}, DataError, "there is no row to train on"),
    ],
)
def test_what_cannot_be_trained_is_said_before_any_weight_is_loaded(
    model: str | None,
    rows: list[Any],
    train_format: Any,
    options: dict[str, Any],
    error: type[Exception],
    said: str,
    base: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(error, match=said):
        TrlProvider.finetune(
            LocalTrainingJob(), model or f"local:{base}", rows, train_format, {"out": tmp_path / "a", **options}
        )
    assert not (tmp_path / "a").exists()


def test_an_error_is_the_result_of_the_job(lm: LM, tmp_path: Path) -> None:
    job = lm.finetune([], TrainDataFormat.CHAT, {"out": str(tmp_path / "a")})
    assert isinstance(job.result(), DataError)
    assert (job.status(), job.cancel()) == (TrainingStatus.failed, False)


def test_a_cancelled_job_ends_at_its_next_step() -> None:
    job = LocalTrainingJob()
    assert job.status() == TrainingStatus.pending
    job.watch(TrainingStep(1, 9, None, None))
    assert (job.status(), job.cancel()) == (TrainingStatus.running, True)
    with pytest.raises(CancelledTrainingError, match="cancelled at step 2 of 9") as error:
        job.watch(TrainingStep(2, 9, 1.0, None))
    job.set_result(error.value)
    assert job.status() == TrainingStatus.cancelled


@pytest.mark.parametrize(("model", "own"), [("embedded", True), ("local:x", True), ("openai/gpt-4o", False)])
def test_models_of_this_process_are_its_own(model: str, own: bool) -> None:
    assert TrlProvider.is_provider_model(model) is own
