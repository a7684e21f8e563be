"""The page of a run: what it was told, what it came to, and its pictures, in one HTML file."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import __version__
from ..base.files import CURVES_NAME, FILTERS_NAME, PAGE_NAME
from ..base.wording import counted
from ..pages.page import check_installed, escaped, picture, table, write_html
from .command import train_command
from .evaluation import Evaluation
from .setup import Run

_MOST_CLASSES, _MOST_PAIRS = 12, 12
FILTERS = "Each scaled from its least value to its greatest"
MAGNITUDES = (
    "Euclidean norms of each layer's weights and of their last update in the epoch. Updates grow and shrink with the "
    "learning rate; a thousandth of the weights is a rule of thumb for a rate that works. ReLU at zero: the share of a "
    "layer's units, for the first images that are validated on."
)


def write_run_page(run: Run, record: dict[str, Any], validation: Evaluation | None) -> None:
    """Write ``index.html`` into a run's folder, where its pictures are; a call that finished no epoch keeps the last.

    Parameters
    ----------
    run
    record
        Of the last epoch, as in the metrics; empty where this call finished none, and knows less than the call before.
    validation
        Of that epoch.

    Raises
    ------
    ImportError, OSError
        What draws is missing; what the file system says.
    """
    check_installed("the page of a run")
    if not record and (run.options.output / PAGE_NAME).exists():
        return
    model, config = run.model, run.model.config
    found = [
        f"Images: {escaped(run.training.name)}. {counted(run.state.epoch, 'epoch')} of {run.recipe.epochs} done, "
        f"{counted(model.step, 'step')}, on {', '.join(model.devices)}; alexnet_cuda {__version__}, Python "
        f"{platform.python_version()}, NumPy {np.__version__}.",
        picture(CURVES_NAME, "Loss and accuracy"),
        picture(FILTERS_NAME, f"Filters of the first layer{by_tower(config.groups)}. {FILTERS}"),
    ]
    if record:
        found += ["## Weights and updates", magnitude_table(record["layers"]), MAGNITUDES]
    if validation is not None:
        found += ["## Validation", errors(validation), confusion_table(validation, run.training.classes)]
    found += ["## Recipe", fields(run.recipe.to_dict()), "## Network", fields(config.to_dict())]
    found += ["## Command", f"```\n{train_command(run.options)}\n```"]
    write_html(run.options.output, f"Run {escaped(run.options.output.resolve().name)}", found)


def by_tower(towers: int) -> str:
    """Where the second tower is, if there is one."""
    return ", the second tower's below the first's" if towers == 2 else ""


def magnitude_table(layers: dict[str, dict[str, float | None]]) -> str:
    """Weights, updates, their ratio and zeros of each layer; see `magnitudes` and `zero_shares` of `train.metrics`."""
    rows = [["layer", "weights", "last update", "update / weights", "ReLU at zero"]]
    for name, norms in layers.items():
        weight, update = norms["weight"], norms["update"]
        ratio = f"{update / weight:.2e}" if weight and update is not None else "-"
        zero = norms.get("zero")
        share = "-" if zero is None else f"{zero:.1%}"
        rows.append([name, *("-" if norm is None else f"{norm:.4g}" for norm in (weight, update)), ratio, share])
    return table(rows)


def errors(found: Evaluation) -> str:
    """Images and errors of an evaluation, as a sentence."""
    top5 = "" if found.top5_error is None else f", top-5 error {found.top5_error:.2%}"
    return f"{counted(found.images, 'image')}: top-1 error {found.top1_error:.2%}{top5}."


def confusion(found: Evaluation, classes: int) -> np.ndarray:
    """How many images of each class, a row, are predicted as each class, a column: int64 [classes, classes]."""
    pairs = classes * found.labels + found.predicted
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def confusion_table(found: Evaluation, classes: Sequence[str]) -> str:
    """The confusion matrix as a table; of many classes the most frequent mistakes instead."""
    if len(classes) > _MOST_CLASSES:
        return mistakes(found, classes)
    counts = confusion(found, len(classes)).tolist()
    names = [escaped(name) for name in classes]
    rows = [[name, *map(str, row)] for name, row in zip(names, counts, strict=True)]
    return table([["true class; predicted:", *names], *rows])


def mistakes(found: Evaluation, classes: Sequence[str]) -> str:
    """The pairs of true and predicted class that are confused most often, as a table."""
    wrong = np.array([found.labels, found.predicted])[:, found.labels != found.predicted]
    pairs, times = np.unique(wrong, axis=1, return_counts=True)
    order = np.argsort(-times, kind="stable")[:_MOST_PAIRS]
    rows = [[escaped(classes[pairs[0, i]]), escaped(classes[pairs[1, i]]), str(times[i])] for i in order]
    return table([["true class", "predicted class", "images"], *rows], texts=2)


def fields(values: dict[str, Any]) -> str:
    """Names and values as a table."""
    return table([["field", "value"], *([name, escaped(_short(value))] for name, value in values.items())], texts=2)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_short, value))
    if isinstance(value, dict):
        return ", ".join(f"{name}={_short(part)}" for name, part in value.items())
    return str(value)
