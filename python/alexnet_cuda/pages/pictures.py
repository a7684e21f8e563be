"""Pictures that several pages have, each a PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..base.files import atomic_path


def figure(rows: int, columns: int, width: float, height: float) -> tuple[Any, Any]:
    """A figure of so many axes, of a width and height in inches; raises ImportError where matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'alexnet-cuda[demo]'") from error
    drawn = Figure(figsize=(width, height), layout="constrained")
    return drawn, drawn.subplots(rows, columns, squeeze=False)


def save(drawn: Any, path: Path) -> str:
    """Write a figure as PNG and give the file's name."""
    with atomic_path(path) as temporary:
        drawn.savefig(temporary, format="png")
    return path.name


def by_layer(path: Path, panels: Mapping[str, Mapping[str, Mapping[str, float]]], log: bool = True) -> str:
    """A panel for each quantity, in it a line for each variant over the layers."""
    drawn, (row,) = figure(1, len(panels), 10, 4)
    for axes, (title, lines) in zip(row, panels.items(), strict=True):
        for name, values in lines.items():
            axes.plot(list(values), list(values.values()), marker=".", label=name)
        axes.set(title=title, **({"yscale": "log"} if log else {"ylim": (0, 1)}))
        axes.grid(alpha=0.3)
        axes.tick_params(axis="x", rotation=45)
        axes.legend()
    return save(drawn, path)


def bars(path: Path, title: str, values: Mapping[str, float]) -> str:
    """A bar for each variant."""
    drawn, ((axes,),) = figure(1, 1, 10, 0.8 + 0.4 * len(values))
    axes.bar_label(axes.barh(list(values), list(values.values())), fmt=" %.3g")
    axes.set(title=title)
    axes.invert_yaxis()
    return save(drawn, path)


def grid(path: Path, rows: Sequence[tuple[str, Sequence[np.ndarray]]], columns: Sequence[str] = ()) -> str:
    """Rows of as many images each, uint8 RGB or float grey, with the row's name to the left."""
    most = len(rows[0][1])
    height, width = rows[0][1][0].shape[:2]
    drawn, axes = figure(len(rows), most, 9, 0.3 + 7.5 / most * height / width * len(rows))
    for y, (name, images) in enumerate(rows):
        for x, image in enumerate(images):
            axes[y, x].set(xticks=[], yticks=[])
            axes[y, x].imshow(image, cmap="gray", interpolation="nearest")
            if y == 0 and columns:
                axes[y, x].set_title(columns[x], fontsize=9)
        axes[y, 0].set_ylabel(name.replace(", ", ",\n"), rotation=0, ha="right", va="center", fontsize=9)
    return save(drawn, path)
