"""Templates of the stories: situations, and several sentences for each event.

The sentences are data, `story_templates.json`. Their slots: `{n}` who it is about, `{P}`/`{p}`/`{h}`/`{s}` the pronouns
of that person in the right form, `{o}` somebody else, `{i}` the things counted, `{x}` a number, `{a}` groups of `{b}`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Self

from tale_dspy.protocols import JsonObject


@dataclass(frozen=True)
class TemplateVariants:
    """Sentences that say the same."""

    taught: tuple[str, ...]
    """Those the model is trained on."""
    unseen: tuple[str, ...]
    """Those kept for the test split: never trained on."""

    @classmethod
    def from_json(cls, variants: Mapping[str, Sequence[str]]) -> Self:
        return cls(tuple(variants["taught"]), tuple(variants["unseen"]))


@dataclass(frozen=True)
class StorySituation:
    """A world in which one number goes up and down."""

    things: tuple[str, ...]
    """What is counted."""
    opening: TemplateVariants
    """States the first number."""
    events: dict[str, TemplateVariants]
    """What can happen -> its sentences."""
    question: TemplateVariants
    """Asks for the number at the end."""
    endings: tuple[str, ...] = ()
    """How a story may end with more than the question: `compared`, `together` or `priced`."""

    @classmethod
    def from_json(cls, situation: JsonObject) -> Self:
        return cls(
            things=tuple(situation["things"]),
            opening=TemplateVariants.from_json(situation["opening"]),
            events={name: TemplateVariants.from_json(event) for name, event in situation["events"].items()},
            question=TemplateVariants.from_json(situation["question"]),
            endings=tuple(situation["endings"]),
        )


def _read_templates() -> JsonObject:
    path = files("tale_dspy.embedded") / "story_templates.json"
    templates: JsonObject = json.loads(path.read_text(encoding="utf-8"))
    return templates


# A seed draws from these by place: their order in the file decides which story it tells.
_TEMPLATES = _read_templates()

NAMES: dict[str, tuple[str, ...]] = {gender: tuple(names) for gender, names in _TEMPLATES["names"].items()}
PRONOUNS: dict[str, tuple[str, ...]] = {gender: tuple(forms) for gender, forms in _TEMPLATES["pronouns"].items()}
"""`{P}`, `{p}`, `{h}` and `{s}` of each gender in `NAMES`."""

SITUATIONS = tuple(StorySituation.from_json(situation) for situation in _TEMPLATES["situations"].values())

COMPARING = {how: TemplateVariants.from_json(variants) for how, variants in _TEMPLATES["comparing"].items()}
"""Brings in a second number, that of somebody else."""

ASK_OTHER = TemplateVariants.from_json(_TEMPLATES["ask_other"])
ASK_TOTAL = TemplateVariants.from_json(_TEMPLATES["ask_total"])
"""After a comparison: the other's number, or both together."""

PRICED = TemplateVariants.from_json(_TEMPLATES["priced"])
"""Ends a story by turning the number into a price."""
