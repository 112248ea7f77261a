"""What is said and refused before any weight is loaded."""

import json
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tale_dspy.errors import DataError, MissingExtraError, RunFolderError, UsageError
from tale_dspy.training import plan as planning
from tale_dspy.training.options import DpoOptions, SftOptions
from tale_dspy.training.plan import plan_training


@pytest.fixture(autouse=True)
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading any weight fails the test."""
    import safetensors.torch

    def refused(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a weight was loaded")

    monkeypatch.setattr(safetensors.torch, "load_file", refused)
    monkeypatch.setattr("tale_dspy.backends.local.weights.load_model", refused)


def test_a_plan_counts(base: Path, rows: Any, tmp_path: Path) -> None:
    plan = plan_training(str(base), rows, tmp_path / "a", SftOptions(batch_size=5, epochs=2, rank=4))
    assert (len(plan.rows), plan.left_out, plan.steps) == (12, 0, 5)
    assert plan.longest == max(row.longest for row in plan.rows)
    assert plan.tokens == sum(len(row.prompt) + len(row.replies[0]) for row in plan.rows)
    # q, k, v, o of 2 layers, then gate, up, down: rank times the sum of both sides
    assert plan.shape.trainable == 2 * 4 * (64 + 48 + 48 + 64 + 96 + 96 + 96)
    assert plan.memory.adapter == 16 * plan.shape.trainable and plan.memory.total > plan.memory.weights > 0
    assert not (tmp_path / "a").exists()


def test_pairs_take_twice_the_memory_and_checkpointing_takes_less(base: Path, rows: Any, tmp_path: Path) -> None:
    options = [DpoOptions(), DpoOptions(micro_batch=8), DpoOptions(gradient_checkpointing=True)]
    most, half, less = (plan_training(str(base), rows, tmp_path / "a", o).memory.activations for o in options)
    assert most == 2 * half > less


def test_an_output_layer_that_is_the_embedding_counts_once(base: Path, rows: Any, tmp_path: Path) -> None:
    counts = []
    for tied in (True, False):
        folder = tmp_path / f"tied-{tied}"
        shutil.copytree(base, folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": tied}))
        counts.append(plan_training(str(folder), rows, tmp_path / "a", SftOptions()).shape)
    tied, apart = counts
    assert apart.parameters - tied.parameters == tied.vocabulary * tied.width
    assert (tied.width, tied.feed_forward, tied.layers) == (config["hidden_size"], config["intermediate_size"], 2)


def test_a_larger_vocabulary_takes_more_activations(base: Path, rows: Any, tmp_path: Path) -> None:
    plan = plan_training(str(base), rows, tmp_path / "a", SftOptions(micro_batch=2))
    larger = replace(plan, shape=replace(plan.shape, vocabulary=plan.shape.vocabulary + 1000))
    assert larger.memory.activations - plan.memory.activations == 2 * plan.longest * 4 * 1000 * 4


def test_rows_over_max_length_are_left_out_and_counted(base: Path, rows: Any, tmp_path: Path) -> None:
    longest = plan_training(str(base), rows, tmp_path / "a", SftOptions()).longest
    plan = plan_training(str(base), rows, tmp_path / "a", SftOptions(max_length=longest - 1))
    assert plan.left_out > 0 and len(plan.rows) == 12 - plan.left_out and plan.longest < longest
    with pytest.raises(DataError, match=r"all 12 rows have more than max_length \(1\) tokens"):
        plan_training(str(base), rows, tmp_path / "a", SftOptions(max_length=1))


def test_a_prompt_longer_than_the_window_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"row 1 has 60\d tokens \(60\d of them the prompt\), but the model can look at 512"
    ):
        plan_training(str(base), [{"prompt": "x" * 600, "completion": "y"}], tmp_path / "a", SftOptions())


@pytest.mark.parametrize("model", ["no/such/folder", "", "local:"])
def test_an_unknown_base_is_refused(model: str, rows: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        plan_training(model, rows, tmp_path / "a", SftOptions())


@pytest.mark.parametrize("base", ["embedded", "local:embedded"])
def test_the_card_names_the_model_that_ships_as_commands_do(base: str, rows: Any, tmp_path: Path) -> None:
    assert plan_training(base, rows, tmp_path / "a", SftOptions()).folder.config["base"] == "embedded"


def test_a_base_with_an_adapter_is_refused(base: Path, rows: Any, tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    with pytest.raises(UsageError, match="merge it first"):
        plan_training(f"{base}+{tmp_path / 'adapter'}", rows, tmp_path / "a", SftOptions())


def test_layers_that_are_not_there_are_refused(base: Path, rows: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="targets: base has no layer named nothing"):
        plan_training(str(base), rows, tmp_path / "a", SftOptions(targets=("q_proj", "nothing")))


def test_a_full_disk_is_refused_before_the_training(
    base: Path, rows: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 1_000_000))
    with pytest.raises(UsageError, match="has 1 MB free, but the training needs"):
        plan_training(str(base), rows, tmp_path / "a" / "b", SftOptions())


def test_a_folder_of_another_training_is_refused(base: Path, rows: Any, tmp_path: Path) -> None:
    first = plan_training(str(base), rows, tmp_path / "a", SftOptions())
    with first.folder.opened():
        pass
    for data, options in ((rows[1:], SftOptions()), (rows, SftOptions(seed=1)), (rows, DpoOptions())):
        with pytest.raises(RunFolderError, match="another configuration"):
            plan_training(str(base), data, tmp_path / "a", options)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "PACKAGES", ("torch", "no_such_package"))
    with pytest.raises(MissingExtraError, match=r"no_such_package is not installed: pip install 'tale-dspy\[train\]'"):
        planning.require()


def test_a_configuration_that_is_no_language_models_is_refused(base: Path, rows: Any, tmp_path: Path) -> None:
    broken = shutil.copytree(base, tmp_path / "broken")
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps({**config, "model_type": "t5"}))
    with pytest.raises(DataError, match="cannot be built as a causal language model"):
        plan_training(str(broken), rows, tmp_path / "a", SftOptions())


@pytest.mark.parametrize("layer", ["lm_head", "embed_tokens"])
def test_embeddings_are_not_adapted(layer: str, base: Path, rows: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"targets: {layer} is an embedding of base"):
        plan_training(str(base), rows, tmp_path / "a", SftOptions(targets=("q_proj", layer)))


@pytest.fixture
def thinker(base: Path, tmp_path: Path) -> Path:
    """A model whose chat template removes finished thoughts, as those of thinking models do."""
    folder = shutil.copytree(base, tmp_path / "thinker")
    template = (
        "{% for m in messages %}<s>{{ m.role }}\n{{ m.content.split('</think>')[-1] }}{% endfor %}"
        "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
    )
    (folder / "chat_template.jinja").write_text(template)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def test_pairs_that_differ_only_in_a_thought_the_template_removes_are_refused(thinker: Path, tmp_path: Path) -> None:
    pair = {
        "prompt": [{"role": "user", "content": "2 + 2"}],
        "chosen": "<think>a</think>4",
        "rejected": "<think>b</think>4",
    }
    with pytest.raises(
        DataError, match="row 1: chosen and rejected are the same tokens once the model's chat template"
    ):
        plan_training(str(thinker), [pair], tmp_path / "a", DpoOptions())


def test_thoughts_that_the_template_removes_are_said(
    thinker: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prompt = [{"role": "user", "content": "2 + 2"}]
    rows = [{"prompt": prompt, "completion": "<think>a</think>4"}, {"prompt": prompt, "completion": "4"}]
    plan_training(str(thinker), rows, tmp_path / "a", SftOptions(batch_size=2))
    assert "leaves out a part of the replies of 1 of 2 rows" in caplog.text
