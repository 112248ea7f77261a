"""Keys and values of the rows that are being written: a table in which all rows end at one column.

A row that is shorter than others has empty columns at its left. So each step writes one column for all rows, with one
copy a layer; rows enter and leave without the others being moved. What is read of the table decides how long a step of
many rows takes: so they are sorted from time to time, and the longer half is read apart from the shorter one.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

FIRST_COLUMNS = 128
"""Columns there is room for at first; doubled as needed."""

SOON = 8
"""Steps within which sorting the rows must pay."""

MANY = 8
"""Rows from which on halves are read apart: for fewer, two calls take longer than a few empty columns."""


@dataclass(frozen=True)
class Part:
    """Rows that are read together."""

    rows: slice
    """Which of the window's rows."""
    begin: int
    """First column that any of them uses, counted from the window's own."""


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
    parts: tuple[Part, ...] = (Part(slice(None), 0),)
    """All of the rows, by what is read together."""


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
        self._parts = Window.parts
        self._unsorted = False
        """Whether rows have come or gone since it was last looked at whether sorting pays."""
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
        window = self._window(rows, self._begin, self.end - 1, self.end, self._starts, ragged=self._ragged)
        return replace(window, parts=self._parts)

    def sort(self) -> list[int] | None:
        """Sort the rows, the longest first, where that spares the next steps more than it costs.

        Returns:
            The former number of each row, or None if they stay as they are.
        """
        if not self._unsorted or len(self) < MANY:
            return None
        self._unsorted = False
        starts: list[int] = self._starts.tolist()
        order = sorted(range(len(starts)), key=starts.__getitem__)
        spared = self._read(starts) - self._read([starts[i] for i in order])
        if spared * SOON < len(starts) * (self.end - self._begin):
            return None
        rows, columns = self._torch.tensor(order, device=self._device), slice(self._begin, self.end)
        for sides in self._layers.values():
            for side in sides:
                side[: len(order), :, columns] = side[rows, :, columns]
        self._set_starts(self._starts[rows])
        self._unsorted = False
        return order

    def _read(self, starts: list[int]) -> int:
        """Return how many columns of all rows together the next step reads, if they stand in this order."""
        half = len(starts) // 2
        return sum(len(part) * (self.end - min(part)) for part in (starts[:half], starts[half:]) if part)

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
        self._starts, self._parts, self._unsorted = starts, Window.parts, True
        if len(self):
            least, most = self._torch.aminmax(starts)
            self._begin, self._ragged = int(least), bool(least != most)
        if self._ragged and len(self) >= MANY:
            half = len(self) // 2
            both = (slice(0, half), slice(half, len(self)))
            self._parts = tuple(Part(rows, int(starts[rows].min()) - self._begin) for rows in both)

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
