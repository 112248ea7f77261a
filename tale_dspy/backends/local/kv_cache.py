"""Keys and values of the rows being written, right-aligned in one table.

A row that is shorter than others has empty columns at its left. So each step writes one column for all rows, with one
copy a layer; rows enter and leave without the others being moved, and nothing is computed twice (continuous batching:
Orca, Yu et al., OSDI 2022). The first tokens that many prompts share are computed once and copied to each row
(prefix caching, as in vLLM and SGLang).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

FIRST_COLUMNS = 128
"""Columns there is room for at first; doubled as needed."""


class GenerationStoppedError(Exception):
    """The model was closed in the middle of a step."""


@dataclass(frozen=True, eq=False)
class SharedPrefix:
    """Keys and values of tokens that several prompts begin with."""

    ids: tuple[int, ...]
    layers: "tuple[tuple[torch.Tensor, torch.Tensor], ...]"
    """Keys and values of each layer: (key heads, tokens, head width)."""


@dataclass(frozen=True, eq=False)
class CacheSlice:
    """The part of the table that one step reads and writes."""

    rows: slice
    begin: int
    """First column that any of these rows uses."""
    old: int
    """First column that this step computes."""
    end: int
    """Column after the last one that this step computes."""
    positions: "torch.Tensor"
    """Position in its row of each new token: (rows, new columns). Empty columns at the left count as 0."""
    used: "torch.Tensor | None"
    """Which columns from `begin` to `end` each row uses: (rows, columns). None if all of them."""
    prefix: SharedPrefix | None = None
    """What these rows begin with: copied, also over what a shorter row computes from `old` on."""
    prefix_columns: "torch.Tensor | None" = None
    """Where the prefix goes in each row: (rows, tokens of the prefix)."""


class KVCache:
    """The keys and values of one model's rows.

    Args:
        device: Where the model is.
        stopped: Whether the step under way is to end now; asked once a layer.
    """

    def __init__(self, device: "torch.device", stopped: Callable[[], bool] = lambda: False) -> None:
        import torch

        self._torch = torch
        self._device = device
        self._stopped = stopped
        self._layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._starts = torch.zeros(0, dtype=torch.long, device=device)
        """First column of each row: (rows,)."""
        self._begin = 0
        """The smallest of them."""
        self._ragged = False
        """Whether they differ."""
        self.end = 0

    def __len__(self) -> int:
        return self._starts.shape[0]

    def enter(self, lengths: list[int], prefix: SharedPrefix | None = None) -> CacheSlice:
        """Add rows for prompts, and return the slice for their tokens.

        Args:
            lengths: Tokens of each prompt, the prefix included.
            prefix: What all of them begin with; only the tokens after it are computed.
        """
        torch, longest = self._torch, max(lengths)
        shared = 0 if prefix is None else len(prefix.ids)
        if not len(self):
            self.end = longest
        # All rows end at one column: a longer prompt moves those that are in to the right, once.
        elif longest > self.end:
            self._move_rows(longest - self.end)
        rows = slice(len(self), len(self) + len(lengths))
        starts = torch.tensor([self.end - length for length in lengths], device=self._device)
        self._set_starts(torch.cat([self._starts, starts]))
        # The slice covers all columns of the longest of them; `shared` of these are copied and not computed.
        begin = self.end - longest
        positions, used = self._slice_from(begin, begin + shared, starts, ragged=min(lengths) < longest)
        columns = None if prefix is None else starts[:, None] + torch.arange(shared, device=self._device)
        return CacheSlice(rows, begin, begin + shared, self.end, positions, used, prefix, columns)

    def step(self) -> CacheSlice:
        """Return the slice of one further column for all rows."""
        # More than half of the table is empty at the left, since long rows have left: move the rest back, O(1) a
        # token.
        if self._begin > FIRST_COLUMNS and self._begin > self.end // 2:
            self._move_rows(-self._begin)
        self.end += 1
        positions, used = self._slice_from(self._begin, self.end - 1, self._starts, ragged=self._ragged)
        return CacheSlice(slice(0, len(self)), self._begin, self.end - 1, self.end, positions, used)

    def _slice_from(
        self, begin: int, old: int, starts: "torch.Tensor", *, ragged: bool
    ) -> "tuple[torch.Tensor, torch.Tensor | None]":
        """Return the slice of new tokens from column `old` on.

        It holds their positions, and the columns each row uses from `begin` on.
        """
        torch, first = self._torch, starts[:, None]
        positions = torch.arange(old, self.end, device=self._device) - first
        if not ragged:
            return positions, None
        return positions.clamp_(min=0), torch.arange(begin, self.end, device=self._device) >= first

    def write(
        self, layer: int, where: CacheSlice, keys: "torch.Tensor", values: "torch.Tensor"
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        """Write the new columns of a layer, and return all that the slice covers.

        Args:
            layer: Number of the layer.
            where: From `enter` or `step`.
            keys: (rows, key heads, new columns, head width).
            values: The same.

        Raises:
            GenerationStoppedError: If the model was closed.
        """
        if self._stopped():
            raise GenerationStoppedError("the model was closed while it wrote")
        table = self._with_room(layer, 0, where, keys), self._with_room(layer, 1, where, values)
        self._layers[layer] = table
        slices = []
        for number, (side, new) in enumerate(zip(table, (keys, values), strict=True)):
            # (rows, key heads, columns, head width): one copy a layer and side for all rows.
            side[where.rows, :, where.old : where.end] = new
            if where.prefix is not None and where.prefix_columns is not None:
                by_column = side[where.rows].transpose(1, 2)  # (rows, columns, key heads, head width)
                each = self._torch.arange(by_column.shape[0], device=self._device)[:, None]
                by_column[each, where.prefix_columns] = where.prefix.layers[layer][number].transpose(0, 1)
            slices.append(side[where.rows, :, where.begin : where.end])
        return slices[0], slices[1]

    def _with_room(self, layer: int, side: int, where: CacheSlice, new: "torch.Tensor") -> "torch.Tensor":
        """Return the keys or values of a layer, with room for the slice."""
        table = self._layers[layer][side] if layer in self._layers else None
        if table is not None and table.shape[0] >= where.rows.stop and table.shape[2] >= where.end:
            return table
        # Doubling makes the copies O(1) a column, as a list does.
        old_rows, old_columns = (table.shape[0], table.shape[2]) if table is not None else (1, FIRST_COLUMNS)
        rows, columns = _double_until(old_rows, where.rows.stop), _double_until(old_columns, where.end)
        # Zeros, and not just any memory: a NaN in an empty column would spread through the mask.
        larger = new.new_zeros((rows, new.shape[1], columns, new.shape[3]))
        if table is not None:
            larger[: table.shape[0], :, : table.shape[2]] = table
        return larger

    def prefix(self, row: int, ids: list[int]) -> SharedPrefix:
        """Copy the first columns of a row, whose first tokens are these."""
        start = int(self._starts[row])
        columns = slice(start, start + len(ids))
        layers = [self._layers[layer] for layer in sorted(self._layers)]
        copied = tuple((keys[row, :, columns].clone(), values[row, :, columns].clone()) for keys, values in layers)
        return SharedPrefix(tuple(ids), copied)

    def leave(self, row: int) -> None:
        """Remove a row; the last one takes its place."""
        last = len(self) - 1
        # The order of rows means nothing, and copying one row is cheaper than moving all after it.
        if row != last:
            for keys, values in self._layers.values():
                for side in (keys, values):
                    side[row, :, self._begin : self.end] = side[last, :, self._begin : self.end]
            self._starts[row] = self._starts[last]
        self._set_starts(self._starts[:last])

    def wipe(self) -> None:
        """Overwrite what rows that have left wrote.

        A NaN of theirs would spread to the rows that take their place.
        """
        for keys, values in self._layers.values():
            for side in (keys, values):
                side[len(self) :] = 0.0

    def _set_starts(self, starts: "torch.Tensor") -> None:
        self._starts = starts
        if len(self):
            least, most = self._torch.aminmax(starts)
            self._begin, self._ragged = int(least), bool(least != most)

    def _move_rows(self, by: int) -> None:
        """Move all rows by `by` columns to the right, or to the left if negative."""
        begin, end = self._begin, self.end
        for layer, table in self._layers.items():
            moved = []
            for side in table:
                # Source and target may overlap in one tensor: copied before it is written.
                content = side[: len(self), :, begin:end].clone()
                if end + by > side.shape[2]:
                    shape = (side.shape[0], side.shape[1], _double_until(side.shape[2], end + by), side.shape[3])
                    side = side.new_zeros(shape)
                side[: len(self), :, begin + by : end + by] = content
                moved.append(side)
            self._layers[layer] = (moved[0], moved[1])
        self.end += by
        self._set_starts(self._starts + by)


def _double_until(size: int, needed: int) -> int:
    while size < needed:
        size *= 2
    return size
