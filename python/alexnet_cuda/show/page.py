"""The page of a checkpoint, and its pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import __version__
from ..base.files import METRICS_NAME, PAGE_NAME
from ..base.files import SHOWN_PREFIX as PREFIX
from ..base.wording import counted
from ..model import Model
from ..network.views import PLACES
from ..pages import pictures
from ..pages.page import escaped, picture, table, write_html
from ..train.evaluation import Evaluation
from ..train.metrics import is_epoch, read_metrics
from ..train.page import FILTERS, MAGNITUDES, by_tower, confusion, errors, magnitude_table, mistakes
from ..train.plots import colour_shares, plot_filters, write_png
from . import drawings, look
from .look import Seen

#: So many images are shown with all views and steps; of the others the predictions.
DETAILED = 4
_MOST_CLASSES = 2000  # of which a matrix can be seen


@dataclass(frozen=True)
class Shown:
    """What is shown: a model of a checkpoint, images, and what a source's images were taken for."""

    checkpoint: Path
    model: Model
    images: Sequence[Seen]
    source: str | None = None
    evaluation: Evaluation | None = None


def write(shown: Shown, folder: Path) -> Path:
    """Draw into `folder`, which is made where it is missing, and give the path of ``index.html``.

    Raises
    ------
    OSError
        What the file system says.
    OutputsNotFinite
        The network's outputs are NaN or infinite.
    """
    # All that can fail for what was given comes before anything is written.
    model = shown.model
    updates = _read_updates(shown.checkpoint.with_name(METRICS_NAME))
    squares = [image.square for image in shown.images]
    predicted = model.predict(np.stack(squares), views=10) if squares else None
    folder.mkdir(parents=True, exist_ok=True)
    config = model.config
    intro = (
        f"Preset {escaped(config.preset)}, {config.image_size}x{config.image_size} pixels, "
        f"{counted(config.num_classes, 'class')}, {sum(step.parameters for step in model.plan.steps):,} parameters, "
        f"after {counted(model.step, 'step')} of training; on {', '.join(model.devices)}; alexnet_cuda {__version__}."
    )
    found = [intro, *_filters(model, folder)]
    if predicted is not None:
        found += _predictions(shown, folder, *predicted)
    if shown.evaluation is not None:
        found += _confusion(shown, shown.evaluation, folder)
    found += _updates(updates, folder)
    for number, image in enumerate(shown.images[:DETAILED], 1):
        found += [f"## {escaped(image.name)}", *_views(model, image, folder, number)]
        found += _way(model, image, folder, number)
    write_html(folder, escaped(str(shown.checkpoint)), found)
    return folder / PAGE_NAME


def _filters(model: Model, folder: Path) -> list[str]:
    config, first = model.config, model.plan.steps[0].name
    weight = model.parameters[f"{first}.weight"]
    path = plot_filters(folder, weight, config.groups, config.channel_order)
    shares = " and ".join(f"{share:.0%}" for share in colour_shares(weight, config.groups))
    whose = "the first and of the second tower's" if config.groups == 2 else "the"
    sentence = (
        f"Of the squares of {whose} weights {shares} are colour, the rest is grey. In the paper's figure 3 one tower's "
        "filters are grey, the other's coloured."
    )
    return [f"## Filters of {first}", picture(path.name, f"{FILTERS}{by_tower(config.groups)}"), sentence]


def _predictions(shown: Shown, folder: Path, classes: np.ndarray, probabilities: np.ndarray) -> list[str]:
    names = look.class_names(shown.model)
    name = drawings.predictions(folder / f"{PREFIX}predictions.png", shown.images, names, classes, probabilities)
    rows = [["image", "class", *(f"{i + 1}." for i in range(classes.shape[1]))]]
    for image, labels, parts in zip(shown.images, classes, probabilities, strict=True):
        right = "" if image.label is None else escaped(names[image.label])
        best = [f"{escaped(names[label])} {part:.1%}" for label, part in zip(labels, parts, strict=True)]
        rows.append([escaped(image.name), right, *best])
    caption = "The most probable classes, by the mean of ten views; red where it is the image's own"
    if (count := len(shown.images)) > drawings.PICTURED:
        caption += f"; the first {drawings.PICTURED} of {counted(count, 'image')}"
    more = [f"Views and activations of the first {DETAILED} are below."] if count > DETAILED else []
    return ["## Predictions", picture(name, caption), table(rows, texts=len(rows[0])), *more]


def _confusion(shown: Shown, found: Evaluation, folder: Path) -> list[str]:
    names = look.class_names(shown.model)
    paragraphs = ["## Confusion matrix", errors(found)]
    if len(names) <= _MOST_CLASSES:
        name = drawings.confusion_matrix(folder / f"{PREFIX}confusion.png", confusion(found, len(names)), names)
        caption = f"Rows: true class, columns: predicted class; centres of the images of {escaped(shown.source or '')}"
        paragraphs.append(picture(name, caption))
    return paragraphs + (["The most frequent confusions:", mistakes(found, names)] if found.top1_error else [])


def _read_updates(path: Path) -> list[tuple[int, dict[str, dict[str, float | None]]]]:
    records = read_metrics(path) if path.exists() else ()
    return [(record["epoch"], record["layers"]) for record in records if is_epoch(record) and "layers" in record]


def _updates(epochs: list[tuple[int, dict[str, dict[str, float | None]]]], folder: Path) -> list[str]:
    title = "## Weights and updates"
    if not epochs:
        return [title, f"There is no {METRICS_NAME} with them beside the checkpoint."]
    ratios: dict[str, list[float]] = {name: [] for name in epochs[-1][1]}
    for _, layers in epochs:
        for name, values in ratios.items():
            weight, update = (layers.get(name, {}).get(kind) for kind in ("weight", "update"))
            values.append(update / weight if weight and update else math.nan)
    name = drawings.updates(folder / f"{PREFIX}updates.png", [epoch for epoch, _ in epochs], ratios)
    caption = "The last update of each epoch over the weights, layer by layer; below, after the last epoch"
    return [title, picture(name, caption), magnitude_table(epochs[-1][1]), MAGNITUDES]


def _views(model: Model, image: Seen, folder: Path, number: int) -> list[str]:
    names, cut = look.crops(model, image.square)
    probabilities = model.probabilities(cut)
    mean = probabilities.mean(axis=0)
    best = np.argsort(-mean, kind="stable")[:5]
    mirrors = len(cut) // len(PLACES)
    rows = [("mirrored" if i else "as it is", list(cut[i::mirrors])) for i in range(mirrors)]
    drawn = pictures.grid(folder / f"{PREFIX}{number}-views.png", rows, PLACES)
    classes = [escaped(look.class_names(model)[label]) for label in best]
    lines = [["view", *classes]]
    for name, parts in [*zip(names, probabilities, strict=True), ("**mean**", mean)]:
        lines.append([name, *(f"{part:.1%}" for part in parts[best])])
    return [
        "### Views",
        picture(drawn, "What is looked at, each for a prediction of its own"),
        table(lines),
    ]


def _way(model: Model, image: Seen, folder: Path, number: int) -> list[str]:
    found = [
        "### Activations",
        f"Of the image's centre, step by step{by_tower(model.config.groups)}. All maps of a step have one scale of "
        "grey; the brightest half percent of what is not zero is white.",
    ]
    for step, pixels, caption in look.way(model, image.square):
        name = write_png(folder / f"{PREFIX}{number}-{step}.png", pixels).name
        found += [f"**{step}**", picture(name, caption)]
    return found
