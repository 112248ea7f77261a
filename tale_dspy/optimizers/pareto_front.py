"""The Pareto front of a search with several goals.

No program of it is better than another in everything.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tale_dspy.budget import check_fraction
from tale_dspy.errors import RunFolderError, UsageError
from tale_dspy.runs.records import read_json

FRONT_FILE = "front.json"
"""What the programs of a front came to."""


@dataclass(frozen=True)
class ProgramFigures:
    """What a program came to on the questions it was measured on."""

    accuracy: float
    """Share of right answers, from 0 to 1."""
    tokens: float
    """Mean completion tokens a question, those of estimates included."""
    cost_usd: float | None
    """Mean price of a question in US dollars, as if nothing had come from a cache; None if any is unknown."""
    n: int
    """Questions."""

    def is_dominated_by(self, other: "ProgramFigures") -> bool:
        """Return whether another is no worse in anything, and better in something."""
        ours, theirs = [-self.accuracy, self.tokens], [-other.accuracy, other.tokens]
        if self.cost_usd is not None and other.cost_usd is not None:
            ours, theirs = [*ours, self.cost_usd], [*theirs, other.cost_usd]
        return theirs != ours and all(b <= a for a, b in zip(ours, theirs, strict=True))


@dataclass(frozen=True)
class FrontPoint:
    """One program of the front."""

    program: Any = field(repr=False)
    choices: Mapping[str, Any]
    """What was chosen for it: `wording`, `demos`, `scale`, `estimator` ..."""
    measured: ProgramFigures
    """On fresh draws, where `is_fresh`; else what it was selected for."""
    selected: ProgramFigures
    """What it was selected for: the best of several noisy figures, and therefore too good."""
    is_fresh: bool
    """Whether it was measured again after it was selected."""

    @property
    def changes(self) -> str:
        """What was changed of the program, in words."""
        unchanged = {"demos": 0, "demo_set": 0, "scale": 1.0}
        changed = {k: v for k, v in self.choices.items() if v not in ("own", unchanged.get(k))}
        return (
            ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in changed.items()) or "unchanged"
        )

    def __str__(self) -> str:
        cost = "" if self.measured.cost_usd is None else f", ${1000 * self.measured.cost_usd:.4f} per 1000"
        again = "" if self.is_fresh else " (not measured again)"
        figures = f"{100 * self.measured.accuracy:.1f} % right, {self.measured.tokens:.1f} tokens"
        return f"{figures}{cost}{again}: {self.changes}"


class ParetoFront(Sequence[FrontPoint]):
    """Programs from the fewest tokens to the most.

    Args:
        points: In any order; those that another is better than in everything are left out.
        data: Name of the questions they were measured on.
        tried: What every variant of the search came to, for the figure; None takes the points.
    """

    def __init__(
        self, points: Sequence[FrontPoint], data: str = "examples", tried: Sequence[ProgramFigures] | None = None
    ) -> None:
        self.tried = [p.selected for p in points] if tried is None else list(tried)
        # O(n^2) comparisons, for the few variants of a search. Of programs with equal figures the first stays.
        undominated = [p for p in points if not any(p.measured.is_dominated_by(q.measured) for q in points)]
        by_figures = {(p.measured.accuracy, p.measured.tokens, p.measured.cost_usd): p for p in reversed(undominated)}
        self._points = sorted(by_figures.values(), key=lambda p: (p.measured.tokens, -p.measured.accuracy))
        self.data = data

    def __getitem__(self, index: Any) -> Any:
        return self._points[index]

    def __len__(self) -> int:
        return len(self._points)

    def __iter__(self) -> Iterator[FrontPoint]:
        return iter(self._points)

    def __str__(self) -> str:
        n = self._points[0].measured.n if self._points else 0
        return "\n".join([f"{len(self)} programs on {n} questions of {self.data}:", *map(str, self._points)])

    def pick(self, *, max_loss: float | None = None, max_tokens: float | None = None) -> FrontPoint:
        """Choose a program by what matters to you.

        Args:
            max_loss: The one of the fewest tokens among those at most this much less accurate than the best, as a
                fraction: 0.01 is one point.
            max_tokens: The most accurate one of at most this many mean tokens.

        Raises:
            UsageError: If not exactly one of the two is given, it is out of range, or no program is that short.
        """
        if (max_loss is None) == (max_tokens is None):
            raise UsageError("pick takes either max_loss or max_tokens")
        if max_loss is not None:
            loss = check_fraction(max_loss, "max_loss")
            bar = max(p.measured.accuracy for p in self) - loss - 1e-12  # 0.9 - 0.1 is a little more than 0.8
            return min((p for p in self if p.measured.accuracy >= bar), key=lambda p: p.measured.tokens)
        short = [p for p in self if max_tokens is not None and p.measured.tokens <= max_tokens]
        if not short:
            raise UsageError(
                f"no program takes at most {max_tokens!r} tokens: the shortest takes {self[0].measured.tokens:.1f}"
            )
        return max(short, key=lambda p: (p.measured.accuracy, -p.measured.tokens))

    def save(self, folder: str | Path) -> list[Path]:
        """Write each program as `program-N.json`, and their figures as `front.json`.

        Args:
            folder: Made if it is missing; a front that is there is replaced.

        Raises:
            UsageError: If it cannot be written.
        """
        path = Path(folder)
        names = [path / f"program-{i:02d}.json" for i in range(1, len(self) + 1)]
        rows = [
            {
                "file": name.name,
                "choices": dict(p.choices),
                **vars(p.measured),
                "selected": vars(p.selected),
                "fresh": p.is_fresh,
            }
            for name, p in zip(names, self, strict=True)
        ]
        try:
            path.mkdir(parents=True, exist_ok=True)
            for old in path.glob("program-*.json"):
                old.unlink()
            for name, point in zip(names, self, strict=True):
                point.program.save(name)
            text = json.dumps({"data": self.data, "programs": rows}, indent=1, ensure_ascii=False, default=str)
            (path / FRONT_FILE).write_text(text + "\n", encoding="utf-8")
        except OSError as e:
            raise UsageError(f"the front cannot be written to {path}: {e}") from e
        return [*names, path / FRONT_FILE]


def load_front(folder: Path) -> tuple[list[FrontPoint], str]:
    """Read the front that `ParetoFront.save` wrote.

    The name of its questions comes with it.

    Returns:
        Its points, whose program is the path of the saved file, and the name; no points where nothing was saved yet.

    Raises:
        RunFolderError: If the file is broken.
    """
    path = folder / FRONT_FILE
    if not path.is_file():
        return [], ""
    saved = read_json(path)
    try:
        return [_read_point(folder, row) for row in saved["programs"]], str(saved["data"])
    except (KeyError, TypeError) as e:
        raise RunFolderError(f"{path} holds what no version writes: {e}") from e


def _read_point(folder: Path, row: Mapping[str, Any]) -> FrontPoint:
    names = ("accuracy", "tokens", "cost_usd", "n")
    measured, selected = (ProgramFigures(*(figures[name] for name in names)) for figures in (row, row["selected"]))
    return FrontPoint(folder / row["file"], row["choices"], measured, selected, row["fresh"])
