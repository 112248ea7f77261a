"""Each decoder writes what the model's own `generate` writes, while rows of other lengths enter and leave."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import make_adapter, make_model
from transformers import AutoModelForCausalLM

from tale_dspy.backends.local.decoders import RowDecoder, SmallLlama, TransformersDecoder, decoder_of
from tale_dspy.backends.local.kv_cache import KVCache, SharedPrefix
from tale_dspy.backends.local.weights import attach_adapter, load_model, merge_adapter

PROMPTS = [[5 + (7 * i + j * j) % 250 for j in range(length)] for i, length in enumerate([9, 3, 30, 1, 14, 3, 22])]
STEPS = 12
KINDS = ["llama", "gpt2", "qwen2", "mistral"]


@pytest.fixture(scope="module")
def folders(base: Path, others: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    short = make_model(tmp_path_factory.mktemp("short") / "m", "mistral", sliding_window=8)
    return {"llama": base, **others, "sliding": short}


def generated(model: Any, prompt: list[int], steps: int = STEPS) -> list[int]:
    """What transformers writes, one prompt at a time."""
    ids = torch.tensor([prompt])
    written: list[int] = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=steps,
        min_new_tokens=steps,
        eos_token_id=None,
        pad_token_id=0,
    )[0, len(prompt) :].tolist()
    return written


class Writer:
    """Writes the likeliest tokens with a decoder, and takes rows in and out."""

    def __init__(self, decoder: RowDecoder) -> None:
        self._decoder, self.cache = decoder, KVCache(torch.device("cpu"))
        self.rows: list[list[int]] = []

    @torch.inference_mode()
    def enter(self, *prompts: list[int], prefix: SharedPrefix | None = None) -> None:
        where = self.cache.enter([len(p) for p in prompts], prefix)
        known, width = where.old - where.begin, where.end - where.old
        self.rows += [[] for _ in prompts]
        self._write([[0] * (width - len(p[known:])) + p[known:] for p in prompts], where)

    @torch.inference_mode()
    def step(self, count: int = 1) -> None:
        for _ in range(count):
            self._write([[row[-1]] for row in self.rows], self.cache.step())

    @torch.inference_mode()
    def leave(self, number: int) -> list[int]:
        self.cache.leave(number)
        gone, self.rows[number] = self.rows[number], self.rows[-1]
        self.rows.pop()
        return gone

    def _write(self, ids: list[list[int]], window: Any) -> None:
        logits = self._decoder(torch.tensor(ids), window, self.cache)
        for row, token in zip(self.rows[window.rows], logits.argmax(-1).tolist(), strict=True):
            row.append(token)


@pytest.fixture(params=[*KINDS, "sliding", "llama as any"])
def both(request: pytest.FixtureRequest, folders: dict[str, Path]) -> tuple[Any, RowDecoder]:
    """A model and its decoder."""
    kind, _, slow = request.param.partition(" ")
    model = load_model(folders[kind], "cpu", "auto")
    return model, TransformersDecoder(model) if slow else decoder_of(model)


def test_prompts_of_other_lengths_read_together_get_what_each_gets_alone(both: tuple[Any, RowDecoder]) -> None:
    model, decoder = both
    writer = Writer(decoder)
    writer.enter(*PROMPTS)
    writer.step(STEPS - 1)
    assert writer.rows == [generated(model, p) for p in PROMPTS]


def test_rows_that_enter_and_leave_do_not_disturb_the_others(both: tuple[Any, RowDecoder]) -> None:
    model, decoder = both
    writer, wanted = Writer(decoder), [generated(model, p, 40) for p in PROMPTS]
    a, b, c, d, e, f, g = range(7)
    writer.enter(PROMPTS[a])
    writer.step(3)
    writer.enter(PROMPTS[b], PROMPTS[c])  # the second is longer than all that is there
    writer.step(5)
    assert writer.leave(0) == wanted[a][:9]
    writer.enter(PROMPTS[d])
    writer.step(2)
    assert writer.rows == [wanted[c][:8], wanted[b][:8], wanted[d][:3]]
    writer.leave(1)
    writer.enter(PROMPTS[e], PROMPTS[f], PROMPTS[g])
    writer.step(20)
    lengths = [(c, 28), (d, 23), (e, 21), (f, 21), (g, 21)]
    assert writer.rows == [wanted[number][:length] for number, length in lengths]


def test_what_prompts_begin_with_is_computed_once_and_they_get_the_same(both: tuple[Any, RowDecoder]) -> None:
    model, decoder = both
    writer, form = Writer(decoder), PROMPTS[2]
    prompts = [[*form, *p] for p in PROMPTS]
    wanted = [generated(model, p) for p in prompts]
    writer.enter(prompts[0])
    prefix = writer.cache.prefix(0, form)
    writer.enter(*prompts[1:], prefix=prefix)
    writer.leave(0)
    writer.enter(prompts[4], prefix=prefix)
    writer.step(STEPS - 1)
    assert sorted(row[:STEPS] for row in writer.rows) == sorted([*wanted[1:], wanted[4]])


def test_many_rows_that_come_and_go_get_the_same(both: tuple[Any, RowDecoder]) -> None:
    model, decoder = both
    wanted = [generated(model, p, 60) for p in PROMPTS]
    writer = Writer(decoder)
    writer.enter(*PROMPTS)
    writer.step(30)
    writer.enter(*PROMPTS)
    writer.leave(0)
    writer.step(25)
    assert sorted(writer.rows) == sorted([w[:56] for w in wanted[1:]] + [w[:26] for w in wanted])


def test_llamas_of_other_shapes_are_written_the_same(tmp_path: Path) -> None:
    shapes: list[dict[str, Any]] = [
        {"num_key_value_heads": 4, "tie_word_embeddings": False},
        {"num_key_value_heads": 1, "head_dim": 16, "rms_norm_eps": 1e-2},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}},
    ]
    for number, shape in enumerate(shapes):
        model = load_model(make_model(tmp_path / f"m{number}", **shape), "cpu", "auto")
        writer = Writer(SmallLlama(model))
        writer.enter(*PROMPTS)
        writer.step(STEPS - 1)
        assert writer.rows == [generated(model, p) for p in PROMPTS], shape


def test_an_adapter_is_written_the_same_merged_and_beside_its_base(base: Path, adapters: list[Path]) -> None:
    put_on = attach_adapter(load_model(base, "cpu", "auto"), adapters[0], "base")
    wanted = [generated(put_on, p) for p in PROMPTS]
    for decoder in (TransformersDecoder(put_on.get_base_model()), SmallLlama(merge_adapter(put_on))):
        writer = Writer(decoder)
        writer.enter(*PROMPTS)
        writer.step(STEPS - 1)
        assert writer.rows == wanted
    plain = AutoModelForCausalLM.from_pretrained(base)
    assert [generated(plain, p) for p in PROMPTS] != wanted


# Which decoder


@pytest.mark.parametrize(
    ("kind", "shape", "small"),
    [
        ("llama", {}, True),
        ("llama", {"attention_bias": True}, False),
        ("llama", {"mlp_bias": True}, False),
        ("llama", {"hidden_act": "gelu"}, False),
        ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}, False),
        ("llama", {"dtype": torch.bfloat16}, False),
        ("llama", {"vocab_size": 700_000}, False),
        ("qwen2", {}, False),
        ("mistral", {}, False),
        ("gpt2", {}, False),
    ],
)
def test_only_small_plain_llamas_are_written_out(kind: str, shape: dict[str, Any], small: bool) -> None:
    from tiny_models import config_of

    shape = dict(shape)
    dtype = shape.pop("dtype", torch.float32)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config_of(kind, **shape), dtype=dtype)
    assert SmallLlama.fits(model) is small


def test_a_llama_with_an_adapter_beside_its_matrices_is_not_written_out(base: Path, adapters: list[Path]) -> None:
    model = attach_adapter(load_model(base, "cpu", "auto"), adapters[0], "base").get_base_model()
    assert not SmallLlama.fits(model)
    assert isinstance(decoder_of(model), TransformersDecoder)


def test_an_adapter_of_all_parts_is_written_the_same(base: Path, tmp_path: Path) -> None:
    parts = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    adapter = make_adapter(tmp_path / "all", base, target_modules=parts, use_rslora=True)
    put_on = attach_adapter(load_model(base, "cpu", "auto"), adapter, "base")
    wanted = [generated(put_on, p) for p in PROMPTS]
    writer = Writer(decoder_of(merge_adapter(put_on)))
    writer.enter(*PROMPTS)
    writer.step(STEPS - 1)
    assert writer.rows == wanted
