"""One step of a model over the rows of a cache, fast for small plain Llamas."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from tale_dspy.backends.local.kv_cache import CacheSlice, KVCache

if TYPE_CHECKING:
    import torch

SMALL_MODEL = 20_000_000
"""Parameters up to which weights are copied into the shape `SmallLlama` wants: beyond, arithmetic decides."""


class RowDecoder(Protocol):
    """What runs a model."""

    def __call__(self, ids: "torch.Tensor", where: CacheSlice, cache: KVCache, /) -> "torch.Tensor":
        """Return the logits after the last token of each row.

        Keys and values are left in the cache.

        Args:
            ids: The new tokens: (rows, new columns).
            where: Their place in the cache.
            cache: The cache.

        Returns:
            (rows, vocabulary).
        """
        ...


def decoder_of(model: Any) -> RowDecoder:
    """Return the quickest decoder that does what `model` does."""
    return SmallLlama(model) if SmallLlama.fits(model) else TransformersDecoder(model)


class TransformersDecoder:
    """Run the model's own `forward` over a KVCache.

    A transformers cache object writes into it.
    """

    def __init__(self, model: Any) -> None:
        from transformers import Cache

        count = model.config.get_text_config(decoder=True).num_hidden_layers
        self._model = model
        self._layers = [_cache_layer_class()() for _ in range(count)]
        self._cache = Cache(layers=self._layers)
        model.get_output_embeddings().register_forward_pre_hook(_last_state)

    def __call__(self, ids: "torch.Tensor", where: CacheSlice, cache: KVCache) -> "torch.Tensor":
        for number, layer in enumerate(self._layers):
            layer.point_to(cache, where, number)
        output = self._model(
            input_ids=ids,
            attention_mask=None if where.used is None and ids.shape[0] == 1 else _attention_mask(where, ids),
            position_ids=where.positions,
            past_key_values=self._cache,
            use_cache=True,
        )
        logits: torch.Tensor = output.logits[:, -1]
        return logits


def _last_state(head: Any, args: "tuple[torch.Tensor, ...]") -> "tuple[torch.Tensor, ...]":
    """Pass the head the last hidden state of each row: (rows, 1, width).

    The state is made contiguous. PyTorch turns a strided slice into a batched product, for which it copies the head's
    weight once per row: 29 GB for 63 rows and a vocabulary of 152,000.
    """
    return (args[0][:, -1:].contiguous(), *args[1:])


def _attention_mask(where: CacheSlice, ids: "torch.Tensor") -> "torch.Tensor":
    if where.used is not None:
        return where.used.long()
    return ids.new_ones((ids.shape[0], where.end - where.begin))


@lru_cache(maxsize=1)
def _cache_layer_class() -> Any:
    """Make the class at first use, since its base is in transformers."""
    from transformers.cache_utils import DynamicLayer

    class CacheLayer(DynamicLayer):
        """One layer of a KVCache, as transformers sees it."""

        is_initialized = True

        def point_to(self, cache: KVCache, where: CacheSlice, number: int) -> None:
            self._cache, self._where, self._number = cache, where, number
            self.is_initialized = True

        def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> Any:
            return self._cache.write(self._number, self._where, key_states, value_states)

        def get_seq_length(self) -> int:
            return self._where.old - self._where.begin

    return CacheLayer


class SmallLlama:
    """A Llama written out as matrix products, without modules.

    One matrix serves query, key and value; one serves both sides of the gate. The weights are copied. Those of an
    adapter must be merged before.
    """

    def __init__(self, model: Any) -> None:
        import torch

        config = model.config
        self._heads, self._key_heads = config.num_attention_heads, config.num_key_value_heads
        self._eps = config.rms_norm_eps
        self._embed, self._norm, self._head = (
            model.model.embed_tokens.weight,
            model.model.norm.weight,
            model.lm_head.weight,
        )
        self._width = model.model.layers[0].self_attn.head_dim
        self._layers = [self._stack_matrices(layer) for layer in model.model.layers]
        # Rotary embedding (arXiv 2104.09864): angle of position p and pair i is p * theta^(-2i / width).
        angles = torch.outer(
            torch.arange(config.max_position_embeddings, device=self._embed.device).float(),
            model.model.rotary_emb.inv_freq.float(),
        )
        both_halves = torch.cat([angles, angles], -1)
        sine = both_halves.sin()
        sine[:, : self._width // 2] *= -1  # the half that is rolled to the front changes its sign
        self._cos, self._sin = both_halves.cos(), sine

    @staticmethod
    def fits(model: Any) -> bool:
        """Return whether this is a small plain Llama in single precision."""
        import torch
        from transformers import LlamaForCausalLM

        if type(model) is not LlamaForCausalLM:
            return False
        config, weight = model.config, model.model.embed_tokens.weight
        plain = not config.attention_bias and not config.mlp_bias and config.hidden_act == "silu"
        rope = (config.rope_parameters or {}).get("rope_type", "default") == "default"
        linear = all(type(m) is torch.nn.Linear for layer in model.model.layers for m in _linear_modules(layer))
        small = sum(p.numel() for p in model.parameters()) <= SMALL_MODEL
        return plain and rope and linear and small and weight.dtype == torch.float32

    @staticmethod
    def _stack_matrices(layer: Any) -> "tuple[torch.Tensor, ...]":
        import torch

        query, key, value, out, gate, up, down = (matrix.weight for matrix in _linear_modules(layer))
        norm, norm_after = layer.input_layernorm.weight, layer.post_attention_layernorm.weight
        with torch.no_grad():
            # Stacked along the outputs, (sum of outputs, model width): one product instead of three, and of two.
            return norm, torch.cat([query, key, value]), out, norm_after, torch.cat([gate, up]), down

    def __call__(self, ids: "torch.Tensor", where: CacheSlice, cache: KVCache) -> "torch.Tensor":
        from torch.nn import functional as fn

        rows, new = ids.shape
        size = self._embed.shape[1:]
        hidden = fn.embedding(ids, self._embed)  # (rows, new columns, model width)
        cos, sin = self._cos[where.positions].unsqueeze(1), self._sin[where.positions].unsqueeze(1)
        mask = self._attention_mask(where, new)
        rotated = self._heads + self._key_heads
        for number, (norm, into, out, norm_after, gate, down) in enumerate(self._layers):
            # One product for query, key and value: (rows, new, heads + 2 key heads, head width).
            mixed = fn.linear(fn.rms_norm(hidden, size, norm, self._eps), into)
            mixed = mixed.view(rows, new, rotated + self._key_heads, self._width).transpose(1, 2)
            turned = mixed[:, :rotated]  # queries and keys: x * cos(angle) + rotate_half(x) * sin(angle)
            turned = turned * cos + turned.roll(self._width // 2, -1) * sin
            keys, values = cache.write(number, where, turned[:, self._heads :], mixed[:, rotated:])
            attended = self._attend_to(turned[:, : self._heads], keys, values, mask)
            hidden = hidden + fn.linear(attended.transpose(1, 2).reshape(rows, new, -1), out)
            # SwiGLU (arXiv 2002.05202): down(silu(gate x) * up x), gate and up in one product.
            open_, up = fn.linear(fn.rms_norm(hidden, size, norm_after, self._eps), gate).chunk(2, -1)
            hidden = hidden + fn.linear(fn.silu(open_) * up, down)
        # Only the last column is needed to choose a token: (rows, vocabulary).
        return fn.linear(fn.rms_norm(hidden[:, -1], size, self._norm, self._eps), self._head)

    def _attend_to(
        self, queries: "torch.Tensor", keys: "torch.Tensor", values: "torch.Tensor", mask: "torch.Tensor | None"
    ) -> "torch.Tensor":
        """Return (rows, heads, new columns, head width), as the queries are."""
        from torch.nn.functional import scaled_dot_product_attention as attention

        rows, heads, new, width = queries.shape
        if new > 1:
            return attention(queries, keys, values, attn_mask=mask, is_causal=mask is None, enable_gqa=True)
        # Grouped-query attention (arXiv 2305.13245): heads that share keys are laid out as several queries of one head,
        # (rows, key heads, heads / key heads, head width), so that keys and values are not repeated for them.
        grouped = queries.view(rows, self._key_heads, heads // self._key_heads, width)
        return attention(grouped, keys, values, attn_mask=mask).reshape(rows, heads, new, width)

    def _attention_mask(self, where: CacheSlice, new: int) -> "torch.Tensor | None":
        """Return 0 where a token may look and minus infinity elsewhere.

        The shape is (rows or 1, 1, new columns, columns). It is None where every token may look at all columns up to
        its own, and all of them are new.
        """
        # A row looks at its own used columns (`used`), and within the new ones at itself and those before (causal).
        columns = where.end - where.begin
        if where.used is None and (new == 1 or new == columns):
            return None
        visible = self._embed.new_ones((1, 1, 1, columns)).bool() if where.used is None else where.used[:, None, None]
        if new > 1:  # an empty column sees itself alone: a row of nothing but infinities would be NaN
            causal = visible.new_ones((new, columns)).tril(columns - new)
            visible = (visible & causal) | (causal & ~causal.tril(columns - new - 1))
        # One tensor of numbers for all layers: attention would make one of each mask of truth values.
        mask: torch.Tensor = self._embed.new_zeros(visible.shape).masked_fill_(~visible, float("-inf"))
        return mask


def _linear_modules(layer: Any) -> tuple[Any, ...]:
    heads, gate = layer.self_attn, layer.mlp
    return heads.q_proj, heads.k_proj, heads.v_proj, heads.o_proj, gate.gate_proj, gate.up_proj, gate.down_proj
