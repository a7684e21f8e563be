"""Everything that comes before the first step: all checks, the sources, the model, a new run's or a resumed one's."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

from ..base.files import is_same_file
from ..base.wording import counted
from ..checkpoint import Checkpoint
from ..config import known_fields
from ..network.checks import check_rates, not_finite
from .keeping import kept_checkpoints, newest_whole
from .recipe import Recipe, recipe_for, require_int
from .schedule import make_schedule
from .state import TrainState

if TYPE_CHECKING:
    from ..data import BrokenImages, ImageSource
    from ..model import Model

#: Part of a source's images that may be broken unless told otherwise.
MAX_BROKEN = 0.05

# Fields of the configuration that have an option of their own, or come from the source.
_NOT_BY_CONFIG = ("preset", "num_classes", "image_size", "init", "seed", "precision")


@dataclass(frozen=True)
class TrainOptions:
    """Where a run reads and writes; what it computes is its `Recipe`.

    Attributes
    ----------
    source
        Training images, as for `alexnet_cuda.data.open_source`.
    output
        Folder of the run.
    given
        Fields of `Recipe` that differ from the source's default recipe, or when resuming from the run's.
    validation
        Source of validation images; None holds out a part of `source`.
    devices
        As for `alexnet_cuda.Model`.
    resume
        Go on from the checkpoint in `output`.
    overwrite
        Start anew although `output` holds a run.
    checkpoint_epochs, checkpoint_steps, checkpoint_minutes
        A checkpoint is written at the end of each so many epochs, of the best and of the last, and within one after so
        many steps or minutes.
    keep
        How many of the newest checkpoints stay, 1 or more; the best, by validation error, stays beside them.
    workers
        Threads that decode images.
    checksum
        Tell a source that changed by the bytes of all files, not of a few; when beginning a run and when resuming.
    accept_changes
        Resume on a source that changed, as long as it has the same classes.
    max_broken
        Part of the images, of training and validation together, that may be broken.
    tensorboard
        Whether to write the metrics for TensorBoard too, into ``tensorboard`` in `output`.
    from_
        Checkpoint to start from: its network and weights, with the source's classes; None for a new network.
    """

    source: str
    output: Path
    given: Mapping[str, Any]
    validation: str | None = None
    devices: str | tuple[str, ...] | None = None
    resume: bool = False
    overwrite: bool = False
    checkpoint_epochs: int = 1
    checkpoint_steps: int | None = None
    checkpoint_minutes: float = 10.0
    keep: int = 2
    workers: int = 2
    checksum: bool = False
    accept_changes: bool = False
    max_broken: float = MAX_BROKEN
    tensorboard: bool = False
    from_: str | None = None

    def __post_init__(self) -> None:
        if self.resume and self.overwrite:
            raise ValueError("resume and overwrite exclude each other")
        if self.resume and self.from_ is not None:
            raise ValueError("resume and from exclude each other: a run that is resumed goes on from its own weights")
        if self.accept_changes and not self.resume:
            raise ValueError("accept_changes is for resuming a run")
        if self.validation is not None and self.given.get("validation_split"):
            raise ValueError("a validation source and a validation split exclude each other")
        for name in ("checkpoint_epochs", "checkpoint_steps", "keep"):
            if getattr(self, name) is not None:
                require_int(name, getattr(self, name), 1)
        if not self.checkpoint_minutes > 0:
            raise ValueError(f"checkpoint_minutes must be above 0, got {self.checkpoint_minutes}")
        if not 0 <= self.max_broken <= 1:
            raise ValueError(f"max_broken must lie in 0..1, got {self.max_broken}")


@dataclass
class Run:
    """A run that is ready to go.

    Attributes
    ----------
    options, recipe
        What was asked for.
    model
        With weights, momentum and step in place.
    training, validation
        The images; validation None for none.
    state
        Where it stands.
    schedule_state
        Memory of the learning-rate schedule, None at the start.
    identity
        What a checkpoint says of the sources, to be held against them on resuming.
    broken
        Counts the broken ones of all images.
    started_from
        The checkpoint that a resumed run goes on from, None for a new run.
    passed_over
        What is wrong with newer checkpoints than that.
    """

    options: TrainOptions
    recipe: Recipe
    model: Model
    training: ImageSource
    validation: ImageSource | None
    state: TrainState
    schedule_state: dict[str, Any] | None
    identity: dict[str, Any]
    broken: BrokenImages
    started_from: Checkpoint | None = None
    passed_over: Sequence[str] = ()


def prepare(options: TrainOptions) -> Run:
    """Check everything, open the sources and build or load the model. Nothing is written.

    Raises
    ------
    ValueError, TypeError, FileNotFoundError, FileExistsError, OSError, ImportError
        One sentence each, for whatever keeps the run from starting.
    """
    folder = options.output
    if options.tensorboard and find_spec("tensorboardX") is None:
        raise ImportError("tensorboard needs tensorboardX: pip install 'alexnet-cuda[tensorboard]'")
    if options.resume:
        return _resumed(options)
    if kept_checkpoints(folder) and not options.overwrite:
        raise FileExistsError(
            f"{folder} already holds a run: give --resume to go on with it, --overwrite to start anew, or another "
            "--output"
        )
    return _new(options)


def _new(options: TrainOptions) -> Run:
    recipe = recipe_for(options.source, options.given, network=options.from_ is None)
    if options.validation is not None:
        recipe = dataclasses.replace(recipe, validation_split=0.0)
    training, validation, identity, broken = _open(options, options.validation, recipe)
    if options.from_ is None:
        if recipe.freeze or recipe.new_rate != 1:
            raise ValueError("freeze and new_rate are for a run that starts from a checkpoint: give --from CHECKPOINT")
        model = _build(recipe, training, options, broken)
    else:
        model, identity["from"] = _started(recipe, training, options)
        recipe = dataclasses.replace(recipe, preset=model.config.preset, image_size=model.config.image_size)
    model.class_names = training.classes
    return Run(options, recipe, model, training, validation, TrainState(), None, identity, broken)


def _resumed(options: TrainOptions) -> Run:
    from ..model import Model

    checkpoint, passed_over = newest_whole(options.output)
    path = checkpoint.path
    recipe, state, sources, schedule = read_run(checkpoint)
    recipe = recipe.changed(options.given)
    named = sources["validation"] if options.validation is None else options.validation
    training, validation, identity, broken = _open(options, named, recipe)
    _compare(options, sources, identity, {"training": training.name, "validating": (validation or training).name})
    if checkpoint.network()[1] != training.classes:
        raise ValueError(f"{training.name} has other classes than the run in {path.parent}")
    model = Model.load(path, devices=options.devices)
    if sources["training"]["digest"] != identity["training"]["digest"]:
        state.begin_epoch()  # of the new images
    if momentum := checkpoint.velocity():
        model.set_velocity(momentum)
    # What a run without --checksum does not compare it does not forget either.
    identity = {**sources, **identity} if options.accept_changes else {**sources, "validation": identity["validation"]}
    parts = recipe, model, training, validation, state, schedule, identity, broken, checkpoint, passed_over
    return Run(options, *parts)


def read_run(checkpoint: Checkpoint) -> tuple[Recipe, TrainState, dict[str, Any], dict[str, Any]]:
    """Give the recipe, state, sources and schedule of the run that a checkpoint belongs to.

    Raises
    ------
    ValueError
        It belongs to none, or what it says of it is damaged.
    """
    stored = checkpoint.metadata.get("train")
    if stored is None:
        raise ValueError(f"{checkpoint.path} holds a model but no training run to resume")
    try:
        recipe, state, sources = Recipe(**stored["recipe"]), TrainState(**stored["state"]), stored["sources"]
        make_schedule(recipe, 1, stored["schedule"])
        for part in (sources["training"], sources["validating"]):
            if part is sources["validating"] is None:
                continue
            require_int("images", part["images"], 1)
            if not isinstance(part["digest"], str):
                raise TypeError(f"digest {part['digest']!r}")
        if not all(isinstance(name, str) for name in sources.get("from", {}).get("new", ())):
            raise TypeError(f"from {sources['from']!r}")
        if not isinstance(sources["validation"], (str, NoneType)):
            raise TypeError(f"validation {sources['validation']!r}")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{checkpoint.path} holds a training run that this release cannot resume ({error})") from error
    return recipe, state, sources, stored["schedule"]


def _compare(options: TrainOptions, before: dict[str, Any], now: dict[str, Any], names: dict[str, str]) -> None:
    """Refuse images that are not those of the run, unless they are accepted."""
    from ..data.fingerprint import difference

    for part in () if options.accept_changes else ("training", "validating"):
        if found := difference(before[part], now[part]):
            raise ValueError(
                f"the images of {names[part]} for {part} are not those the run in {options.output} began with "
                f"({found}): give those, start anew in another --output, or go on with these by --accept-changes"
            )
        if options.checksum and before[part] is not None and "contents" not in before[part]:
            raise ValueError(
                f"the run in {options.output} was begun without --checksum: there is nothing to compare all bytes with"
            )


def _open(
    options: TrainOptions, validation_name: str | None, recipe: Recipe
) -> tuple[ImageSource, ImageSource | None, dict[str, Any], BrokenImages]:
    from ..data import BrokenImages, align, open_source, split, verify
    from ..data.fingerprint import fingerprint

    training = open_source(options.source)
    validation: ImageSource | None = None
    if validation_name is not None:
        validation = align(open_source(validation_name, minimum_classes=1), training.classes)
    elif recipe.validation_split > 0:
        training, validation = split(training, recipe.validation_split, recipe.seed)
    elif recipe.schedule == "plateau":
        raise ValueError(
            "the plateau schedule watches the validation error: give --validation or --validation-split, or another "
            "--schedule"
        )
    # Of a store the fingerprint has what it says of itself.
    for name, source in ((options.source, training), (validation_name, validation)) if options.checksum else ():
        if name is not None and source is not None and source.checksum is not None:
            verify(Path(name))
    identity = {
        "validation": None if validation_name is None else absolute(validation_name),
        "training": fingerprint(training, options.checksum),
        "validating": None if validation is None else fingerprint(validation, options.checksum),
    }
    broken = BrokenImages(options.max_broken, training, *([] if validation is None else [validation]))
    return training, validation, identity, broken


def _check_config_fields(recipe: Recipe) -> None:
    known_fields(recipe.config)
    for name in _NOT_BY_CONFIG:
        if name in recipe.config:
            reason = "comes from the source" if name == "num_classes" else "has an option of its own"
            raise ValueError(f"the configuration field {name} {reason} and cannot be set")


def _build(recipe: Recipe, training: ImageSource, options: TrainOptions, broken: BrokenImages) -> Model:
    from ..config import config_from_preset
    from ..data import estimate_colour
    from ..model import Model

    _check_config_fields(recipe)
    fields: dict[str, Any] = {
        "image_size": recipe.image_size,
        "num_classes": len(training.classes),
        "precision": recipe.precision,
        "init": recipe.init,
        "seed": recipe.seed,
        **recipe.config,
    }
    config = config_from_preset(recipe.preset, **fields)
    side, mode = config.resize, config.resize_mode
    colour = estimate_colour(training, side, seed=recipe.seed, workers=options.workers, max_broken=broken, mode=mode)
    fields.setdefault("mean", colour.mean.tolist())
    fields.setdefault("colour_eigenvalues", colour.eigenvalues.tolist())
    fields.setdefault("colour_eigenvectors", colour.eigenvectors.tolist())
    if recipe.init == "he":
        # He's variances assume inputs of unit variance; the published weights were made for 0 to 255.
        fields.setdefault("std", colour.std.tolist())
    return Model(recipe.preset, devices=options.devices, **fields)


def _started(recipe: Recipe, training: ImageSource, options: TrainOptions) -> tuple[Model, dict[str, Any]]:
    """The model of the checkpoint that a run starts from, and what the run's own checkpoints say of that one."""
    from ..convert import read
    from ..data.base import printable
    from ..model import Model

    path = Path(str(options.from_))
    if any(is_same_file(path, kept) for kept in kept_checkpoints(options.output)):
        raise ValueError(f"{path} would be removed by the run that starts from it: give another --output")
    _check_config_fields(recipe)
    found = read(path)
    config, names = found.config, found.class_names
    for field in ("preset", "image_size"):
        own, given = getattr(config, field), options.given.get(field)
        if given not in (None, own):
            raise ValueError(f"{path} has the {field} {own}, and {given} was given")
    fields = {"init": recipe.init, "seed": recipe.seed, **recipe.config}
    model = Model.load(path, options.devices, recipe.precision, classes=training.classes, **fields)
    if name := not_finite(model.parameters):
        raise ValueError(f"{path} is of no use to start from: {name} holds NaN or infinity")
    check_rates(recipe.freeze, {}, model.plan.layers)
    new = [] if names == training.classes else [model.plan.layers[-1]]
    if not new and recipe.new_rate != 1:
        raise ValueError(f"new_rate is given and no layer is new: {path} has the classes of {training.name}")
    if set(new) & set(recipe.freeze):
        raise ValueError(f"{new[0]} is new, for the classes of {training.name}, and cannot be frozen")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return model, {"name": printable(path.name), "sha256": digest, "step": found.step, "new": new}


def absolute(source: str) -> str:
    """Give a source's name as it is good in any folder."""
    return source if source == "digits" else os.path.abspath(source)


def describe(run: Run) -> list[str]:
    """Give the lines that a run begins with: images, classes, devices, output, what a source holds besides, and which
    weights it starts from."""
    training, validation = run.training, run.validation
    line = (
        f"{training.name}: {counted(len(training), 'image')} of {counted(len(training.classes), 'class')} to train on"
    )
    sources = {training.name: training}
    if validation is not None:
        where = "held out" if validation.name in sources else f"of {validation.name}"
        line += f", {len(validation):,} {where} to validate on"
        sources[validation.name] = validation
    lines = [f"{line}; on {', '.join(run.model.devices)}; output in {run.options.output}"]
    if start := run.identity.get("from"):
        frozen = f"frozen: {', '.join(run.recipe.freeze)}" if run.recipe.freeze else "no layer is frozen"
        lines.append(f"from the weights of {start['name']}; new: {', '.join(start['new']) or 'no layer'}; {frozen}")
    lines += [f"passed over: {damage}" for damage in run.passed_over]
    return lines + [f"ignored in {name}: {'; '.join(of.ignored)}" for name, of in sources.items() if of.ignored]


def default_output(source: str) -> Path:
    """Give the folder of a run that names none: ``runs/`` and the source's name, without an archive's endings."""
    name = os.path.basename(os.path.abspath(source))
    if not os.path.isdir(source):
        name = re.sub(r"(\.tar(\.\w+)?|\.t\w?z\d?)$", "", name, flags=re.IGNORECASE)
    return Path("runs") / (name or "run")
