"""What a training run does, apart from where its files go: every number that decides the bits of the result."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SCHEDULES = ("plateau", "step", "cosine", "constant")

# What may change when a run is resumed; the rest decides the network or which image comes when.
CHANGEABLE = ("epochs", "learning_rate", "schedule", "patience", "milestones", "momentum", "weight_decay")


@dataclass(frozen=True)
class Recipe:
    """The recipe of a run. The defaults are the paper's (section 5), but for `init`.

    Attributes
    ----------
    preset
        Network preset.
    image_size
        Side of the network's input in pixels; None is the preset's own.
    epochs
        Passes over the training images.
    batch_size
        Images a step.
    learning_rate
        At the start; biases learn at twice the rate.
    schedule
        ``plateau`` divides the rate by 10 when the validation error has not improved for `patience` epochs (the
        paper), ``step`` divides it by 10 at the `milestones`, ``cosine`` takes it to zero along a half cosine,
        ``constant`` leaves it.
    patience
        Epochs, for ``plateau``.
    milestones
        Numbers of finished epochs, rising, for ``step``.
    momentum, weight_decay
        Of SGD; biases do not decay.
    init
        ``he`` or ``paper``. The published N(0, 0.01) weights with biases of 1 stay at chance for long on small data.
    seed
        Of weights, dropout, augmentation, data order and the validation split.
    precision
        Precision of the network.
    validation_split
        Part of the source held out for validation where no validation source is given; 0 holds out nothing.
    config
        Any other field of the network's configuration.
    freeze
        Layers, conv1 to fc8, that keep the weights of the checkpoint that the run starts from.
    new_rate
        Factor of the learning rate for the layers that are new, where it starts from a checkpoint of other classes.
    """

    preset: str = "paper"
    image_size: int | None = None
    epochs: int = 90
    batch_size: int = 128
    learning_rate: float = 0.01
    schedule: str = "plateau"
    patience: int = 5
    milestones: tuple[int, ...] = ()
    momentum: float = 0.9
    weight_decay: float = 5e-4
    init: str = "he"
    seed: int = 0
    precision: str = "float32"
    validation_split: float = 0.1
    config: Mapping[str, Any] = field(default_factory=dict)
    freeze: tuple[str, ...] = ()
    new_rate: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "milestones", tuple(self.milestones))
        object.__setattr__(self, "config", dict(self.config))
        object.__setattr__(self, "freeze", tuple(self.freeze))
        for name in ("epochs", "batch_size", "patience"):
            require_int(name, getattr(self, name), 1)
        require_int("seed", self.seed, 0)
        require_number("learning_rate", self.learning_rate, above=0)
        require_number("new_rate", self.new_rate, above=0)
        require_number("weight_decay", self.weight_decay, least=0)
        require_number("momentum", self.momentum, least=0, below=1)
        require_number("validation_split", self.validation_split, least=0, below=1)
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, not {self.schedule!r}")
        for milestone in self.milestones:
            require_int("milestones", milestone, 1)
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones must rise, got {list(self.milestones)}")
        if (self.schedule == "step") != bool(self.milestones):
            raise ValueError(
                f"the schedule 'step' and milestones go together, got {self.schedule!r} and {list(self.milestones)}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Give the recipe as JSON-able values; `Recipe(**values)` is the inverse."""
        lists = {"milestones": list(self.milestones), "freeze": list(self.freeze)}
        return dataclasses.asdict(self) | lists | {"config": dict(self.config)}

    def changed(self, given: Mapping[str, Any]) -> Recipe:
        """Give the recipe of a resumed run: this one, with what may change replaced by what is given.

        Raises
        ------
        ValueError
            When something is given that may not change and differs from this recipe.
        """
        checked = from_given(self, given)
        old, new = self.to_dict(), checked.to_dict()
        for name in given:
            if name not in CHANGEABLE and old[name] != new[name]:
                raise ValueError(
                    f"{name} is {old[name]} in the run to resume and was given as {new[name]}: only "
                    f"{', '.join(CHANGEABLE)} may change on the way"
                )
        return checked


# The whole network at full width on the 1,797 digits that come with scikit-learn, in about a minute on two CPU cores:
# a small image, narrow FC layers with little dropout; digits do not survive a mirror, and grey
# images have no colour to vary.
DIGITS: dict[str, Any] = {
    "image_size": 67,
    "epochs": 6,
    "batch_size": 32,
    "learning_rate": 0.01,
    "schedule": "cosine",
    "validation_split": 0.2,
    "config": {"fc_widths": [512, 512], "dropout": 0.1, "mirror": False, "colour_noise": 0.0},
}


def recipe_for(source: str, given: Mapping[str, Any], network: bool = True) -> Recipe:
    """Give the recipe for a source: its own defaults, replaced by what is given.

    Parameters
    ----------
    source
        As given to `alexnet_cuda.data.open_source`.
    given
        Fields of `Recipe`.
    network
        Whether the network is the source's own too, and not a checkpoint's.

    Raises
    ------
    TypeError, ValueError
        For a field that does not exist, or a value that it cannot have.
    """
    own: dict[str, Any] = DIGITS if source == "digits" else {}
    kept = {name: value for name, value in own.items() if network or name not in ("image_size", "config")}
    return from_given(Recipe(**kept), given)


def from_given(base: Recipe, given: Mapping[str, Any]) -> Recipe:
    """Give `base` with the fields of `given`; configuration fields are added to the base's, not put in their place."""
    known = {entry.name for entry in dataclasses.fields(Recipe)}
    for name in given:
        if name not in known:
            raise TypeError(f"unknown training option {name!r}, expected one of {', '.join(sorted(known))}")
    values = dict(given)
    if "config" in values:
        values["config"] = {**base.config, **values["config"]}
    # A schedule that is asked for anew brings its own milestones or none.
    if values.get("schedule", "step") != "step":
        values.setdefault("milestones", ())
    return dataclasses.replace(base, **values)


def require_int(name: str, value: object, least: int) -> None:
    """Raise a TypeError or ValueError for what is no whole number from `least` on."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    if value >= 1 << 64:
        raise ValueError(f"{name} must be below 2**64, got {value}")


def require_number(
    name: str, value: object, *, above: float = -math.inf, least: float = -math.inf, below: float = math.inf
) -> None:
    """Raise a TypeError or ValueError for what is no finite number within the bounds."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    # No math.isfinite, which cannot take every whole number.
    if not (abs(value) <= sys.float_info.max and value > above and value >= least and value < below):
        bounds = [f"above {above}" * (above > -math.inf), f"at least {least}" * (least > -math.inf)]
        bounds.append(f"below {below}" * (below < math.inf))
        raise ValueError(f"{name} must be {' and '.join(filter(None, bounds))}, got {value}")
