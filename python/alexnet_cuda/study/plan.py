"""What a study is, as data: ``plans.json`` has them all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Fields = Mapping[str, Any]

#: Seed of the runs that only choose a learning rate: none that an answer is computed from.
SEARCH_SEED = 1_000_000


@dataclass(frozen=True)
class Study:
    """The plan of a study."""

    name: str
    question: str
    equal: str  # what is held equal, beside seeds, order and split of the data
    paper: str  # what the paper and later literature say
    limits: str = ""  # what it does not show
    # What is compared, the others with the first: name -> fields of `Recipe` that differ from the study's.
    variants: Mapping[str, Fields] = field(default_factory=dict)
    measures: Sequence[str] = ()  # of `results.MEASURES`; less is better; a search goes by the first
    base: Fields = field(default_factory=dict)  # fields of `Recipe` of all variants, added to `BASE`
    rates: Sequence[float] = ()  # of which the best is searched for each variant; empty: the recipe's
    # After how many epochs a run's checkpoint is kept beside the last, in order; the schedule must be the same whatever
    # the epochs, since it trains so far as if that were all.
    kept: Sequence[int] = ()
    looks: Sequence[str] = ()  # of `looks.LOOKS`: what is looked at beside curves, each with a picture

    def given(self, variant: str, seed: int, epochs: int | None, rate: float | None = None) -> dict[str, Any]:
        """The fields of `Recipe` of one run; `epochs` and `rate` None: those of the plan."""
        fields = merged(merged(BASE, self.base), self.variants[variant])
        chosen = {"seed": seed, "epochs": epochs, "learning_rate": rate}
        return fields | {name: value for name, value in chosen.items() if value is not None}


def kept_name(epochs: int) -> str:
    """Of the checkpoint that is kept after so many epochs."""
    return f"epoch-{epochs}.safetensors"


def merged(base: Fields, change: Fields) -> dict[str, Any]:
    """Recipe fields with others in their place; configuration fields are added to the base's."""
    return {**base, **change, "config": {**base.get("config", {}), **change.get("config", {})}}


_PLANS = json.loads(Path(__file__).with_name("plans.json").read_text(encoding="utf-8"))
#: A recipe that trains in minutes on two cores: the eight layers at a third of their width, on a small image.
BASE: dict[str, Any] = _PLANS["base"]
STUDIES = {entry["name"]: Study(**entry) for entry in _PLANS["studies"]}
