from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from tale_dspy.embedded import build as building
from tale_dspy.embedded.build import CHECKPOINT, build, loss_of, new_model, rate_at
from tale_dspy.embedded.course import IGNORED
from tale_dspy.embedded.options import BuildOptions
from tale_dspy.embedded.tokenizer import train_tokenizer
from tale_dspy.errors import UsageError

TINY = BuildOptions(steps=3, finish=1, layers=1, width=32, heads=2, kv_heads=1, inner=48, pool=32, warmup=2)


@pytest.fixture(autouse=True)
def small_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "train_tokenizer", tokenizer)


@cache
def tokenizer() -> Any:
    return train_tokenizer(1000)


class Killed(Exception):
    """Ends a build in its middle."""


def losses_of(out: Path, options: BuildOptions = TINY, kill_at: int | None = None) -> list[float]:
    losses: list[float] = []

    def progress(step: int, loss: float) -> None:
        losses.append(loss)
        if step == kill_at:
            raise Killed

    build(out, options, progress)
    return losses


def test_a_short_build_gives_a_model_that_loads_and_writes(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    build(tmp_path, TINY)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    messages = [{"role": "user", "content": "1+1?"}]
    prompt = loaded.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    written = AutoModelForCausalLM.from_pretrained(tmp_path).generate(**prompt, max_new_tokens=3, do_sample=False)
    assert written.shape[1] - prompt["input_ids"].shape[1] in (1, 2, 3)


def test_the_model_that_ships_is_of_the_size_documented() -> None:
    model = new_model(BuildOptions(), tokenizer())
    assert 1e6 <= sum(p.numel() for p in model.parameters()) <= 2e6


def test_a_build_learns() -> None:
    torch.manual_seed(0)
    model = new_model(TINY, tokenizer())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    tokens = torch.randint(0, 900, (4, 12))
    first = loss_of(model, tokens, tokens)
    for _ in range(15):
        optimizer.zero_grad()
        loss = loss_of(model, tokens, tokens)
        loss.backward()
        optimizer.step()
    assert loss < first - 1


def test_a_killed_build_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "CHECKPOINT_EVERY", 2)
    whole = losses_of(tmp_path / "whole")
    with pytest.raises(Killed):
        losses_of(tmp_path / "killed", kill_at=3)
    assert losses_of(tmp_path / "killed") == whole[2:]
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not (tmp_path / "killed" / CHECKPOINT).exists()


def test_a_checkpoint_of_other_options_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "CHECKPOINT_EVERY", 1)
    with pytest.raises(Killed):
        losses_of(tmp_path, kill_at=2)
    with pytest.raises(UsageError, match="of other options"):
        build(tmp_path, replace(TINY, seed=1))


def test_short_replies_weigh_more_than_their_share_of_tokens() -> None:
    model = new_model(TINY, tokenizer())
    tokens = torch.randint(5, 900, (2, 41))
    short = torch.full((2, 41), IGNORED)
    short[0, 1:] = tokens[0, 1:]
    alone = loss_of(model, tokens, short).item()
    short[1, 37:] = tokens[1, 37:]
    both = loss_of(model, tokens, short).item()
    only = torch.full((2, 41), IGNORED)
    only[1, 37:] = tokens[1, 37:]
    few = loss_of(model, tokens, only).item()
    share = 4 * 4**-0.5 / (4 * 4**-0.5 + 40 * 40**-0.5)
    assert both == pytest.approx(alone + (few - alone) * share, rel=1e-4)


def test_the_rate_rises_then_falls_to_a_twentieth() -> None:
    options = BuildOptions(steps=1000, warmup=100)
    rates = [rate_at(step, options) for step in (0, 50, 99, 500, 999)]
    assert rates[0] < rates[1] < rates[2] > rates[3] > rates[4]
    assert rates[2] == pytest.approx(options.learning_rate)
    assert rates[4] == pytest.approx(options.learning_rate / 20, rel=0.01)


def test_after_the_course_the_rate_falls_from_its_own_start_to_nothing() -> None:
    options = BuildOptions(steps=1000, finish=100)
    rates = [rate_at(step, options) for step in (1000, 1050, 1099)]
    assert rates == pytest.approx([options.finish_rate * share for share in (1, 0.5, 0.01)])


def test_the_command_shows_its_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import typer

    builds: list[BuildOptions] = []

    def short(out: Path, options: BuildOptions, progress: Any) -> None:
        builds.append(options)
        progress(2, 0.5)

    monkeypatch.setattr(building, "build", short)
    app = typer.Typer()
    app.command()(building.main)
    result = CliRunner().invoke(app, ["--out", str(tmp_path), "--steps", "2", "--finish", "1", "--seed", "5"])
    assert result.exit_code == 0 and "loss 0.500" in result.output
    assert builds == [BuildOptions(steps=2, finish=1, seed=5)]
