"""One step of a model over the rows of a table: any Hugging Face causal LM, and a shorter way for small plain Llamas.

Of a step of a model with a million parameters, most of the time goes into Python and into the number of operations, not
into arithmetic. `SmallLlama` does the same arithmetic in a third of the operations (benchmarks/local.py).
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from tale_dspy.backends.local.columns import Columns, Part, Window

if TYPE_CHECKING:
    import torch

SMALL = 20_000_000
"""Parameters up to which weights are copied into the shape `SmallLlama` wants: beyond, arithmetic decides."""


ALONE = 4_000_000
"""Parameters up to which a step on a CPU is too short to be shared: where another process has a core, two threads that
wait for each other at each operation are 20 to 80 times slower than one (benchmarks/local.py --threads)."""


def wants_one_thread(model: Any) -> bool:
    """Whether one thread is to do all the arithmetic of a model."""
    device: str = model.get_input_embeddings().weight.device.type
    return device == "cpu" and sum(p.numel() for p in model.parameters()) <= ALONE


class Decoder(Protocol):
    """What runs a model."""

    def __call__(self, ids: "torch.Tensor", window: Window, columns: Columns) -> "torch.Tensor":
        """Return the logits behind the last token of each row, and leave keys and values in the table.

        Args:
            ids: The new tokens: (rows, new columns).
            window: Where they stand in the table.
            columns: The table.
        """
        ...


def decoder_of(model: Any) -> Decoder:
    """Return the quickest decoder that does what `model` does."""
    return SmallLlama(model) if SmallLlama.fits(model) else AnyDecoder(model)


class AnyDecoder:
    """Runs the model's own `forward`, with a cache that writes into the table."""

    def __init__(self, model: Any) -> None:
        from transformers import Cache

        count = model.config.get_text_config(decoder=True).num_hidden_layers
        self._model = model
        self._layers = [_layer_class()() for _ in range(count)]
        self._cache = Cache(layers=self._layers)
        model.get_output_embeddings().register_forward_pre_hook(_last_state)

    def __call__(self, ids: "torch.Tensor", window: Window, columns: Columns) -> "torch.Tensor":
        for number, layer in enumerate(self._layers):
            layer.point_to(columns, window, number)
        answer = self._model(
            input_ids=ids,
            attention_mask=None if window.used is None and ids.shape[0] == 1 else _mask(window, ids),
            position_ids=window.positions,
            past_key_values=self._cache,
            use_cache=True,
        )
        logits: torch.Tensor = answer.logits[:, -1]
        return logits


def _last_state(head: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Give the head the last hidden state of each row, contiguous: (rows, 1, width).

    Of a strided slice PyTorch makes a batched product, for which the head's weight is copied once per row.
    """
    return (args[0][:, -1:].contiguous(), *args[1:])


def _mask(window: Window, ids: "torch.Tensor") -> "torch.Tensor":
    if window.used is not None:
        return window.used.long()
    return ids.new_ones((ids.shape[0], window.end - window.begin))


@lru_cache(maxsize=1)
def _layer_class() -> Any:
    """Make the class at first use, since its base is in transformers."""
    from transformers.cache_utils import DynamicLayer

    class TableLayer(DynamicLayer):
        """One layer of a table, in the shape of a transformers cache."""

        is_initialized = True

        def point_to(self, columns: Columns, window: Window, number: int) -> None:
            self._columns, self._window, self._number = columns, window, number
            self.is_initialized = True

        def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> Any:
            return self._columns.write(self._number, self._window, key_states, value_states)

        def get_seq_length(self) -> int:
            return self._window.old - self._window.begin

    return TableLayer


Masks = list[tuple[Part, "torch.Tensor | None"]]
"""Which rows are read together, and where they may look."""


class SmallLlama:
    """A Llama written out: one matrix for query, key and value, one for both sides of the gate, no modules.

    The weights are copied. Those of an adapter must be merged before.
    """

    def __init__(self, model: Any) -> None:
        import torch

        config = model.config
        self._heads, self._groups = config.num_attention_heads, config.num_key_value_heads
        self._eps = config.rms_norm_eps
        self._embed, self._norm, self._head = (
            model.model.embed_tokens.weight,
            model.model.norm.weight,
            model.lm_head.weight,
        )
        self._width = model.model.layers[0].self_attn.head_dim
        self._layers = [self._stack(layer) for layer in model.model.layers]
        angles = torch.outer(
            torch.arange(config.max_position_embeddings, device=self._embed.device).float(),
            model.model.rotary_emb.inv_freq.float(),
        )
        both = torch.cat([angles, angles], -1)
        sine = both.sin()
        sine[:, : self._width // 2] *= -1  # the half that is rolled to the front changes its sign
        self._cos, self._sin = both.cos(), sine

    @staticmethod
    def fits(model: Any) -> bool:
        """Whether this is a Llama of the plain kind, small, and in single precision."""
        import torch
        from transformers import LlamaForCausalLM

        if type(model) is not LlamaForCausalLM:
            return False
        config, weight = model.config, model.model.embed_tokens.weight
        plain = not config.attention_bias and not config.mlp_bias and config.hidden_act == "silu"
        rope = (config.rope_parameters or {}).get("rope_type", "default") == "default"
        linear = all(type(m) is torch.nn.Linear for layer in model.model.layers for m in _matrices(layer))
        small = sum(p.numel() for p in model.parameters()) <= SMALL
        return plain and rope and linear and small and weight.dtype == torch.float32

    @staticmethod
    def _stack(layer: Any) -> "tuple[torch.Tensor, ...]":
        import torch

        query, key, value, out, gate, up, down = (matrix.weight for matrix in _matrices(layer))
        norm, norm_after = layer.input_layernorm.weight, layer.post_attention_layernorm.weight
        with torch.no_grad():
            return norm, torch.cat([query, key, value]), out, norm_after, torch.cat([gate, up]), down

    def __call__(self, ids: "torch.Tensor", window: Window, columns: Columns) -> "torch.Tensor":
        from torch.nn import functional as fn

        rows, new = ids.shape
        size = self._embed.shape[1:]
        hidden = fn.embedding(ids, self._embed)
        cos, sin = self._cos[window.positions].unsqueeze(1), self._sin[window.positions].unsqueeze(1)
        mask = self._mask(window, new)
        masks = [(part, None if mask is None else mask[part.rows, ..., part.begin :]) for part in window.parts]
        budget_request = self._heads + self._groups
        for number, (norm, into, out, norm_after, gate, down) in enumerate(self._layers):
            mixed = fn.linear(fn.rms_norm(hidden, size, norm, self._eps), into)
            mixed = mixed.view(rows, new, budget_request + self._groups, self._width).transpose(1, 2)
            asked = mixed[:, :budget_request]
            asked = asked * cos + asked.roll(self._width // 2, -1) * sin
            keys, values = columns.write(number, window, asked[:, self._heads :], mixed[:, budget_request:])
            seen = self._look(asked[:, : self._heads], keys, values, masks)
            hidden = hidden + fn.linear(seen.transpose(1, 2).reshape(rows, new, -1), out)
            open_, up = fn.linear(fn.rms_norm(hidden, size, norm_after, self._eps), gate).chunk(2, -1)
            hidden = hidden + fn.linear(fn.silu(open_) * up, down)
        return fn.linear(fn.rms_norm(hidden[:, -1], size, self._norm, self._eps), self._head)

    def _look(
        self, queries: "torch.Tensor", keys: "torch.Tensor", values: "torch.Tensor", masks: Masks
    ) -> "torch.Tensor":
        """Attention: (rows, heads, new columns, width of a head), as the queries are."""
        import torch
        from torch.nn.functional import scaled_dot_product_attention as attention

        rows, heads, new, width = queries.shape
        if new > 1:
            mask = masks[0][1]
            gqa = self._groups != heads
            return attention(queries, keys, values, attn_mask=mask, is_causal=mask is None, enable_gqa=gqa)
        # Heads that share keys stand as queries of one head: so nothing is repeated for them.
        shared = queries.view(rows, self._groups, heads // self._groups, width)
        seen = [
            attention(shared[p.rows], keys[p.rows, :, p.begin :], values[p.rows, :, p.begin :], attn_mask=mask)
            for p, mask in masks
        ]
        return (seen[0] if len(seen) == 1 else torch.cat(seen)).reshape(rows, heads, new, width)

    def _mask(self, window: Window, new: int) -> "torch.Tensor | None":
        """0 where a token may look and minus infinity elsewhere: (rows, 1, new columns, columns); None for all."""
        if window.used is None:
            return None
        seen = window.used[:, None, None, :]
        if new > 1:  # an empty column sees itself alone: a row of nothing but infinities would be NaN
            own = seen.new_ones((new, new)).tril()
            seen = (seen & own) | seen.new_ones(new).diag()
        # One tensor of numbers for all layers: attention would make one of each mask of truth values.
        numbers: torch.Tensor = self._embed.new_zeros(seen.shape).masked_fill_(~seen, float("-inf"))
        return numbers


def _matrices(layer: Any) -> tuple[Any, ...]:
    """The linear modules of a Llama's layer."""
    heads, gate = layer.self_attn, layer.mlp
    return heads.q_proj, heads.k_proj, heads.v_proj, heads.o_proj, gate.gate_proj, gate.up_proj, gate.down_proj
