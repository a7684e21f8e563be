"""Pictures of a study, each a PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..base.files import atomic_path
from .results import Curve, interval


def _figure(rows: int, columns: int, width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _save(figure: Any, path: Path) -> str:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
    return path.name


def curves(path: Path, found: Mapping[str, Sequence[Curve]]) -> str:
    """Training error by steps, validation error by epochs: mean over seeds, and a band of its interval."""
    figure, ((training, validation),) = _figure(1, 2, 10, 4)
    for name, runs in found.items():
        _band(training, runs[0].when, [run.error for run in runs], name)
        errors = [[1 - record["val_accuracy"] for record in run.epochs] for run in runs]
        _band(validation, [record["epoch"] for record in runs[0].epochs], errors, name)
    training.set(title="Training error, of a quarter of an epoch", xlabel="epoch", ylabel="%", ylim=(0, None))
    validation.set(title="Validation error", xlabel="epoch", ylabel="%", ylim=(0, None))
    for axes in (training, validation):
        axes.grid(alpha=0.3)
        axes.legend()
    return _save(figure, path)


def _band(axes: Any, x: Sequence[float], runs: Sequence[Sequence[float]], name: str) -> None:
    values = 100 * np.array(runs)
    (line,) = axes.plot(x, values.mean(axis=0), label=name)
    if len(values) > 1:
        limits = [interval(column) for column in values.T.tolist()]
        low, high = (np.maximum([limit[side] for limit in limits], 0) for side in ("low", "high"))
        axes.fill_between(x, low, high, color=line.get_color(), alpha=0.2, linewidth=0)


def by_layer(path: Path, panels: Mapping[str, Mapping[str, Mapping[str, float]]], log: bool = True) -> str:
    """A panel for each quantity, in it a line for each variant over the layers."""
    figure, (row,) = _figure(1, len(panels), 10, 4)
    for axes, (title, lines) in zip(row, panels.items(), strict=True):
        for name, values in lines.items():
            axes.plot(list(values), list(values.values()), marker=".", label=name)
        axes.set(title=title, **({"yscale": "log"} if log else {"ylim": (0, 1)}))
        axes.grid(alpha=0.3)
        axes.tick_params(axis="x", rotation=45)
        axes.legend()
    return _save(figure, path)


def bars(path: Path, title: str, values: Mapping[str, float]) -> str:
    """A bar for each variant."""
    figure, ((axes,),) = _figure(1, 1, 10, 0.8 + 0.4 * len(values))
    axes.bar_label(axes.barh(list(values), list(values.values())), fmt=" %.3g")
    axes.set(title=title)
    axes.invert_yaxis()
    return _save(figure, path)


def grid(path: Path, rows: Sequence[tuple[str, Sequence[np.ndarray]]], columns: Sequence[str] = ()) -> str:
    """Rows of as many images each, uint8 RGB or float grey, with the row's name to the left."""
    most = len(rows[0][1])
    height, width = rows[0][1][0].shape[:2]
    figure, axes = _figure(len(rows), most, 9, 0.3 + 7.5 / most * height / width * len(rows))
    for y, (name, images) in enumerate(rows):
        for x, image in enumerate(images):
            axes[y, x].set(xticks=[], yticks=[])
            axes[y, x].imshow(image, cmap="gray", interpolation="nearest")
            if y == 0 and columns:
                axes[y, x].set_title(columns[x], fontsize=9)
        axes[y, 0].set_ylabel(name.replace(", ", ",\n"), rotation=0, ha="right", va="center")
    return _save(figure, path)
