"""Pictures of a study, each a PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..base.files import atomic_path
from .results import MEASURES, Curve, interval

_COLOURS = ("C0", "C1", "C2", "C3", "C4", "C5")


def figure(rows: int = 1, columns: int = 1, width: float = 10, height: float = 4) -> tuple[Any, Any]:
    """Give an empty figure and the array [rows, columns] of its axes.

    Raises
    ------
    ImportError
        When matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("a study's pictures need matplotlib: pip install 'alexnet-cuda[demo]'") from error
    drawn = Figure(figsize=(width, height), layout="constrained")
    return drawn, drawn.subplots(rows, columns, squeeze=False)


def save(drawn: Any, path: Path) -> str:
    """Write a figure and give its name."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with atomic_path(path) as temporary:
        FigureCanvasAgg(drawn).print_png(temporary)  # type: ignore[no-untyped-call]
    return path.name


def curves(path: Path, found: Mapping[str, Sequence[Curve]]) -> str:
    """Training error by steps, validation error by epochs: mean over seeds, and a band of its interval."""
    drawn, ((training, validation),) = figure(1, 2)
    for colour, (name, runs) in zip(_COLOURS, found.items(), strict=False):
        whole = [run for run in runs if len(run.epochs) == max(len(other.epochs) for other in runs)]
        _band(training, whole[0].when, [run.error for run in whole], name, colour)
        errors = [[1 - record["val_accuracy"] for record in run.epochs] for run in whole]
        _band(validation, [record["epoch"] for record in whole[0].epochs], errors, name, colour)
    training.set(title="Training error, of a quarter of an epoch", xlabel="epoch", ylabel="%", ylim=(0, None))
    validation.set(title="Validation error", xlabel="epoch", ylim=(0, None))
    for axes in (training, validation):
        axes.grid(alpha=0.3)
        axes.legend()
    return save(drawn, path)


def _band(axes: Any, x: Sequence[float], runs: Sequence[Sequence[float]], name: str, colour: str) -> None:
    values = 100 * np.array(runs)
    axes.plot(x, values.mean(axis=0), label=name, color=colour)
    if len(values) > 1:
        limits = [interval(column) for column in values.T.tolist()]
        low, high = ([limit[side] for limit in limits] for side in ("low", "high"))
        axes.fill_between(x, np.maximum(low, 0), high, color=colour, alpha=0.2, linewidth=0)


def intervals(path: Path, found: Mapping[str, Mapping[str, Any]]) -> str:
    """Each measure of each variant: a dot for a seed, mean and interval."""
    measures = list(next(iter(found.values())))
    drawn, (row,) = figure(1, len(measures), height=1.4 + 0.45 * len(found))
    for axes, measure in zip(row, measures, strict=True):
        factor, unit, _ = MEASURES[measure]
        for place, (colour, values) in enumerate(zip(_COLOURS, found.values(), strict=False)):
            one = values[measure]
            seeds = [factor * value for value in one["values"] if value is not None]
            axes.plot(seeds, [place + 0.15] * len(seeds), ".", color=colour, alpha=0.5)
            if "mean" in one:
                span = [[factor * (one["mean"] - one["low"])], [factor * (one["high"] - one["mean"])]]
                axes.errorbar([factor * one["mean"]], [place], xerr=span, fmt="o", color=colour, capsize=4)
        axes.set(title=measure.capitalize(), xlabel=unit, ylim=(len(found) - 0.5, -0.5))
        axes.set_yticks(range(len(found)), list(found))
        axes.grid(alpha=0.3)
    return save(drawn, path)


def by_layer(path: Path, panels: Mapping[str, Mapping[str, Mapping[str, float]]], log: bool = True) -> str:
    """A panel for each quantity, in it a line for each variant over the layers."""
    drawn, (row,) = figure(1, len(panels))
    for axes, (title, lines) in zip(row, panels.items(), strict=True):
        for name, values in lines.items():
            axes.plot(list(values), list(values.values()), marker=".", label=name)
        axes.set(title=title, **({"yscale": "log"} if log else {"ylim": (0, 1)}))
        axes.grid(alpha=0.3)
        axes.tick_params(axis="x", rotation=45)
        axes.legend()
    return save(drawn, path)


def grid(path: Path, rows: Sequence[tuple[str, Sequence[np.ndarray]]], columns: Sequence[str] = ()) -> str:
    """Rows of images, uint8 RGB or float grey, each with its name to the left."""
    most = max(len(images) for _, images in rows)
    drawn, axes = figure(len(rows), most, width=1.3 + 1.25 * most, height=0.3 + 1.3 * len(rows))
    for y, (name, images) in enumerate(rows):
        for x in range(most):
            place = axes[y, x]
            place.set(xticks=[], yticks=[])
            place.set_frame_on(False)
            if x < len(images):
                place.imshow(images[x], cmap="gray", interpolation="nearest")
            if x == 0:
                place.set_ylabel(name, rotation=0, ha="right", va="center")
            if y == 0 and x < len(columns):
                place.set_title(columns[x], fontsize=9)
    return save(drawn, path)
