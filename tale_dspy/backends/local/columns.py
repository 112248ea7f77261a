"""Keys and values of the rows that are being written: a table in which all rows end at one column.

A row that is shorter than others has empty columns at its left. So each step writes one column for all rows, with one
copy a layer; rows enter and leave without the others being moved.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

FIRST_COLUMNS = 128
"""Columns there is room for at first; doubled as needed."""


@dataclass(frozen=True)
class Window:
    """The part of the table that one step reads and writes."""

    rows: slice
    begin: int
    """First column that any of these rows uses."""
    old: int
    """First column that this step writes."""
    end: int
    """Column after the last one that this step writes."""
    positions: "torch.Tensor"
    """Position in its row of each new token: (rows, new columns). Empty columns at the left count as 0."""
    used: "torch.Tensor | None"
    """Which columns from `begin` to `end` each row uses: (rows, columns). None if all of them."""


class Columns:
    """The table of one model.

    Args:
        device: Where the model is.
    """

    def __init__(self, device: "torch.device") -> None:
        import torch

        self._torch = torch
        self._device = device
        self._layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._starts = torch.zeros(0, dtype=torch.long, device=device)
        """First column of each row."""
        self._begin = 0
        """The smallest of them."""
        self._ragged = False
        """Whether they differ."""
        self.end = 0

    def __len__(self) -> int:
        return self._starts.shape[0]

    def enter(self, lengths: list[int]) -> Window:
        """Add rows for prompts of these lengths, and return the window their tokens are to be written to."""
        torch, width = self._torch, max(lengths)
        if not len(self):
            self.end = width
        elif width > self.end:
            self._move(width - self.end)
        rows = slice(len(self), len(self) + len(lengths))
        starts = torch.tensor([self.end - length for length in lengths], device=self._device)
        self._set_starts(torch.cat([self._starts, starts]))
        begin = self.end - width
        return self._window(rows, begin, begin, self.end, starts, ragged=min(lengths) < width)

    def step(self) -> Window:
        """Return the window of one further column for all rows."""
        if self._begin > FIRST_COLUMNS and self._begin > self.end // 2:
            self._move(-self._begin)
        self.end += 1
        rows = slice(0, len(self))
        return self._window(rows, self._begin, self.end - 1, self.end, self._starts, ragged=self._ragged)

    def _window(self, rows: slice, begin: int, old: int, end: int, starts: "torch.Tensor", *, ragged: bool) -> Window:
        torch = self._torch
        first = starts.unsqueeze(1)
        positions = torch.arange(old, end, device=self._device) - first
        if not ragged:
            return Window(rows, begin, old, end, positions, None)
        used = torch.arange(begin, end, device=self._device) >= first
        return Window(rows, begin, old, end, positions.clamp_(min=0), used)

    def write(
        self, layer: int, window: Window, keys: "torch.Tensor", values: "torch.Tensor"
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        """Write the new columns of a layer, and return all that the window covers.

        Args:
            layer: Number of the layer.
            window: From `enter` or `step`.
            keys: (rows, heads, new columns, width of a head).
            values: The same.
        """
        table = tuple(self._room(layer, side, window, new) for side, new in enumerate((keys, values)))
        self._layers[layer] = table  # type: ignore[assignment]
        for side, new in zip(table, (keys, values), strict=True):
            side[window.rows, :, window.old : window.end] = new
        read = [side[window.rows, :, window.begin : window.end] for side in table]
        return read[0], read[1]

    def _room(self, layer: int, side: int, window: Window, new: "torch.Tensor") -> "torch.Tensor":
        """Return the keys or values of a layer, with room for the window."""
        found = self._layers[layer][side] if layer in self._layers else None
        if found is not None and found.shape[0] >= window.rows.stop and found.shape[2] >= window.end:
            return found
        old_rows, old_columns = (found.shape[0], found.shape[2]) if found is not None else (1, FIRST_COLUMNS)
        rows, columns = _doubled(old_rows, window.rows.stop), _doubled(old_columns, window.end)
        # Zeros, and not just any memory: a NaN in an empty column would spread through the mask.
        table = new.new_zeros((rows, new.shape[1], columns, new.shape[3]))
        if found is not None:
            table[: found.shape[0], :, : found.shape[2]] = found
        return table

    def leave(self, row: int) -> None:
        """Remove a row; the last one takes its place."""
        last = len(self) - 1
        if row != last:
            for keys, values in self._layers.values():
                for side in (keys, values):
                    side[row, :, self._begin : self.end] = side[last, :, self._begin : self.end]
            self._starts[row] = self._starts[last]
        self._set_starts(self._starts[:last])

    def wipe(self) -> None:
        """Overwrite what rows that have left wrote: a NaN of theirs would spread to those who take their place."""
        for keys, values in self._layers.values():
            for side in (keys, values):
                side[len(self) :] = 0.0

    def _set_starts(self, starts: "torch.Tensor") -> None:
        self._starts = starts
        if len(self):
            least, most = self._torch.aminmax(starts)
            self._begin, self._ragged = int(least), bool(least != most)

    def _move(self, by: int) -> None:
        """Move all rows to the right, or to the left."""
        begin, end = self._begin, self.end
        for layer, (keys, values) in self._layers.items():
            sides = []
            for side in (keys, values):
                kept = side[: len(self), :, begin:end].clone()
                if end + by > side.shape[2]:
                    shape = (side.shape[0], side.shape[1], _doubled(side.shape[2], end + by), side.shape[3])
                    side = side.new_zeros(shape)
                side[: len(self), :, begin + by : end + by] = kept
                sides.append(side)
            self._layers[layer] = (sides[0], sides[1])
        self.end += by
        self._set_starts(self._starts + by)


def _doubled(have: int, need: int) -> int:
    while have < need:
        have *= 2
    return have
