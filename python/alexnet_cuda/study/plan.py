"""What a study is, as data; `plans` has them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Fields = Mapping[str, Any]

# A network that trains in minutes on two cores: the eight layers at a third of their width, on a small image.
BASE: dict[str, Any] = {
    "image_size": 67,
    "epochs": 6,
    "batch_size": 32,
    "learning_rate": 0.01,
    "schedule": "cosine",
    "validation_split": 0.2,
    "config": {"conv_widths": [32, 64, 96, 96, 64], "fc_widths": [256, 256], "dropout": 0.1},
}
#: Seed of the runs that only choose a learning rate: none that an answer is computed from.
SEARCH_SEED = 1_000_000


@dataclass(frozen=True)
class Variant:
    """One of the networks or recipes that are compared: fields of `Recipe` that differ from the study's."""

    name: str
    change: Fields = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """The plan of a study.

    Attributes
    ----------
    name, question
        What it is called, and asks.
    variants
        What is compared, the others with the first.
    equal
        What is held equal, as a sentence, beside seeds, order and split of the data.
    measures
        Names of `results.MEASURES`; less is better in all of them. The first decides where one has to.
    paper
        What the paper and later literature say.
    limits
        What the study does not show.
    base
        Fields of `Recipe` that all variants share, added to `BASE`.
    rates
        Learning rates of which the best is searched for each variant; empty: that of the recipe.
    looks
        Names of `looks.LOOKS`: what is looked at beside curves, each with a picture.
    """

    name: str
    question: str
    variants: tuple[Variant, ...]
    equal: str
    measures: tuple[str, ...]
    paper: str
    limits: str
    base: Fields = field(default_factory=dict)
    rates: tuple[float, ...] = ()
    looks: tuple[str, ...] = ()

    def given(self, variant: Variant, seed: int, epochs: int | None = None, rate: float | None = None) -> Fields:
        """The fields of `Recipe` of one run."""
        fields = merged(merged(BASE, self.base), variant.change)
        fields |= {"seed": seed, **({"epochs": epochs} if epochs else {}), **({"learning_rate": rate} if rate else {})}
        return fields


def merged(base: Fields, change: Fields) -> dict[str, Any]:
    """Recipe fields with others in their place; configuration fields are added to the base's."""
    return {**base, **change, "config": {**base.get("config", {}), **change.get("config", {})}}
