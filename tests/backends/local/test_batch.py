"""Rows come and go while others are written; what fails reaches those concerned, and nobody else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from dspy.lm15 import Config, Message, ProviderError, Request
from tiny_models import make_model

from tale_dspy.backends.local.batch import ENTER_TOGETHER, ContinuousBatch
from tale_dspy.backends.local.decoders import RowDecoder, decoder_of
from tale_dspy.backends.local.prompt_tokenizer import GenerationJob, PromptTokenizer
from tale_dspy.backends.local.weights import load_model, load_prompt_tokenizer

QUESTIONS = [f"What is {i}{' and more' * (i % 7)}?" for i in range(24)]


class Model:
    """A model, its tokenizer, and the number of rows of each step."""

    def __init__(self, folder: Path) -> None:
        self.model = load_model(folder, "cpu", "auto")
        self.tokenizer: PromptTokenizer = load_prompt_tokenizer(folder, self.model)
        self.steps: list[tuple[int, int]] = []
        """Rows and new columns."""
        self.decoder: RowDecoder = decoder_of(self.model)

    def batch(self, width: int = 32, change: Callable[[torch.Tensor], torch.Tensor] | None = None) -> ContinuousBatch:
        def decoder(ids: torch.Tensor, *args: Any) -> torch.Tensor:
            self.steps.append((ids.shape[0], ids.shape[1]))
            logits = self.decoder(ids, *args)
            return change(logits) if change else logits

        return ContinuousBatch(decoder, self.tokenizer, torch.device("cpu"), width)

    def job(self, text: str = "Hi", **config: Any) -> GenerationJob:
        request = Request(model="m", messages=(Message.user(text),), config=Config(**{"max_tokens": 40, **config}))
        return self.tokenizer.job(request, "", 0)


@pytest.fixture(scope="module")
def loaded(base: Path) -> Model:
    return Model(base)


@pytest.fixture
def model(loaded: Model) -> Model:
    loaded.steps.clear()
    return loaded


def run(batch: ContinuousBatch, limit: int = 1000) -> None:
    with torch.inference_mode():
        while batch.busy and limit:
            batch.step()
            limit -= 1
    assert not batch.busy


def alone(model: Model, *texts: str, **config: Any) -> list[str]:
    replies = []
    for text in texts:
        (batch := model.batch()).add(job := model.job(text, **config))
        run(batch)
        replies.append(job.future.result(0).text)
    model.steps.clear()
    return replies


@pytest.mark.parametrize("width", [1, 2, 7, 32])
@pytest.mark.parametrize("every", [0, 1, 3])
def test_replies_are_those_of_each_alone_however_they_come(model: Model, width: int, every: int) -> None:
    wanted = alone(model, *QUESTIONS, temperature=1.0)
    batch, jobs = model.batch(width), [model.job(q, temperature=1.0) for q in QUESTIONS]
    with torch.inference_mode():
        for job in jobs:
            batch.add(job)
            for _ in range(every):
                batch.step()
    run(batch)
    assert [job.future.result(0).text for job in jobs] == wanted
    assert max(rows for rows, _ in model.steps) <= width


def read(model: Model) -> list[tuple[int, int]]:
    """Rows and columns of the steps that read prompts."""
    return [step for step in model.steps if step[1] > 1]


def test_what_prompts_begin_with_is_read_once_and_the_rest_together(model: Model) -> None:
    batch, texts = model.batch(), [f"Think first. {text}" for text in QUESTIONS]
    lengths = sorted(len(model.job(text).ids) for text in texts)
    for text in texts:
        batch.add(model.job(text))
    run(batch)
    common = len(model.tokenizer.encode("<|im_start|>user\nThink first. What is "))
    rest = [length - common for length in lengths[:-1]]
    assert read(model) == [
        (1, lengths[-1]),
        (1024 // rest[-1], rest[-1]),
        (23 - 1024 // rest[-1], rest[-1 - 1024 // rest[-1]]),
    ]
    model.steps.clear()
    batch.add(model.job(texts[3]))
    run(batch)
    assert read(model) == [(1, len(model.job(texts[3]).ids) - common)]


def test_a_prompt_that_is_wanted_several_times_is_read_once(model: Model) -> None:
    wanted = alone(model, *["Say it"] * 3)
    batch, jobs = model.batch(), [model.job("Say it") for _ in range(3)]
    for job in jobs:
        batch.add(job)
    run(batch)
    assert model.steps[:2] == [(1, len(jobs[0].ids)), (2, 1)]
    assert [job.future.result(0).text for job in jobs] == wanted


def test_prompts_are_read_in_groups_of_similar_length(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tale_dspy.backends.local.batch.PREFILL_TOKENS", 400)
    monkeypatch.setattr("tale_dspy.backends.local.prefixes.MIN_TOKENS", 1000)
    batch = model.batch()
    lengths = sorted((len(model.job(text).ids) for text in QUESTIONS), reverse=True)
    for text in QUESTIONS:
        batch.add(model.job(text))
    run(batch)
    groups = read(model)
    assert sum(rows for rows, _ in groups) == len(QUESTIONS)
    assert all(rows * columns <= 400 for rows, columns in groups)
    firsts = [sum(rows for rows, _ in groups[:i]) for i in range(len(groups))]
    assert [columns for _, columns in groups] == [lengths[first] for first in firsts]
    assert model.job("x" * 300).max_tokens
    model.steps.clear()
    batch.add(long := model.job("y" * 420))
    run(batch)
    assert read(model) == [(1, len(long.ids))]


def test_a_job_has_started_once_it_has_a_row(model: Model) -> None:
    batch, jobs = model.batch(1), [model.job(text) for text in QUESTIONS[:2]]
    for job in jobs:
        batch.add(job)
    with torch.inference_mode():
        batch.step()
    assert [job.started.done() for job in jobs] == [True, False]
    batch.abandon(RuntimeError("closed"))
    assert jobs[1].started.done()
    assert "closed" in str(jobs[1].future.exception(0))


def test_while_many_write_one_waits_for_company_but_not_forever(model: Model) -> None:
    batch = model.batch()
    for _ in range(2 * ENTER_TOGETHER + 1):
        batch.add(model.job(max_tokens=40, temperature=1.0))
    with torch.inference_mode():
        batch.step()
        batch.add(late := model.job("late"))
        for _ in range(ENTER_TOGETHER):
            batch.step()
        assert late.written == []
        batch.step()
        assert len(late.written) == 2
        for _ in range(ENTER_TOGETHER):
            batch.add(late := model.job("later"))
        batch.step()
        assert len(late.written) == 2


def test_a_job_that_was_cancelled_is_never_written(model: Model) -> None:
    batch, jobs = model.batch(2), [model.job(text) for text in QUESTIONS[:5]]
    for job in jobs:
        batch.add(job)
    with torch.inference_mode():
        batch.step()
    jobs[0].future.cancel()
    jobs[3].future.cancel()
    written = len(jobs[0].written)
    run(batch)
    assert (len(jobs[0].written), jobs[3].written) == (written, [])
    texts_of_others = [jobs[i].future.result(0).text for i in (1, 2, 4)]
    assert texts_of_others == alone(model, *(QUESTIONS[i] for i in (1, 2, 4)))


def test_a_failure_reaches_all_rows_and_those_that_wait_are_written(model: Model) -> None:
    broken = [True]

    def change(logits: torch.Tensor) -> torch.Tensor:
        if broken:
            raise RuntimeError("out of memory\nand a long report")
        return logits

    batch, jobs = model.batch(2, change), [model.job(text) for text in QUESTIONS[:3]]
    for job in jobs:
        batch.add(job)
    with torch.inference_mode():
        batch.step()
    for job in jobs[:2]:
        error = job.future.exception(0)
        assert isinstance(error, ProviderError)
        assert str(error).startswith("the local model failed: out of memory")
        assert "report" not in str(error)
        assert isinstance(error.__cause__, RuntimeError)
    broken.clear()
    run(batch)
    assert jobs[2].future.result(0).text == alone(model, QUESTIONS[2])[0]


def test_a_failure_without_a_message_is_told_by_its_kind(model: Model) -> None:
    def change(logits: torch.Tensor) -> torch.Tensor:
        raise MemoryError

    (batch := model.batch(change=change)).add(job := model.job())
    run(batch)
    assert "the local model failed: MemoryError" in str(job.future.exception(0))


def test_a_reply_that_cannot_be_read_reaches_all(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    batch, jobs = model.batch(), [model.job(text) for text in QUESTIONS[:3]]
    for job in jobs:
        batch.add(job)

    def broken(*args: Any) -> Any:
        raise ValueError("no such token")

    monkeypatch.setattr(model.tokenizer, "reply", broken)
    run(batch)
    assert {str(job.future.exception(0)) for job in jobs} == {str(jobs[0].future.exception(0))}
    assert "no such token" in str(jobs[0].future.exception(0))


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model that cannot read the letter q: what it makes of it is no number."""
    model = Model(make_model(tmp_path_factory.mktemp("poisoned") / "m", tie_word_embeddings=False))
    (q,) = model.tokenizer.encode("q")
    model.model.model.embed_tokens.weight.data[q] = float("nan")
    return model


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_row_that_is_no_number_fails_alone_and_leaves_nothing_behind(poisoned: Model, temperature: float) -> None:
    texts = ["a", "two words", "q", "three more words", "q", "four"]
    settings = {"temperature": temperature}
    wanted = alone(poisoned, "a", "two words", "three more words", "four", **settings)
    batch = poisoned.batch(3)
    jobs = [poisoned.job(text, **settings) for text in texts * 3]
    for job in jobs:
        batch.add(job)
    run(batch)
    bad = [job for job, text in zip(jobs, texts * 3, strict=True) if text == "q"]
    assert [job.future.result(0).text for job in jobs if job not in bad] == wanted * 3
    assert {str(job.future.exception(0)).partition(" (")[0] for job in bad} == {
        "the local model failed: its output is not finite"
    }


def test_abandoned_jobs_are_told_those_that_wait_too(model: Model) -> None:
    batch, jobs = model.batch(2), [model.job(text) for text in QUESTIONS[:4]]
    for job in jobs:
        batch.add(job)
    with torch.inference_mode():
        batch.step()
    batch.abandon(RuntimeError("the end"))
    assert not batch.busy
    assert all("the local model failed: the end" in str(job.future.exception(0)) for job in jobs)


def test_a_caller_who_has_gone_is_not_told(model: Model) -> None:
    batch = model.batch()
    batch.add(job := model.job(max_tokens=1))
    job.future.cancel()
    run(batch)
    assert job.future.cancelled()
    assert model.steps == []
