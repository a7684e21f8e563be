"""Curves of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..pages.pictures import figure, save
from .results import Curve, interval


def curves(path: Path, found: Mapping[str, Sequence[Curve]]) -> str:
    """Training error by steps, validation error by epochs: mean over seeds, and a band of its interval."""
    drawn, ((training, validation),) = figure(1, 2, 10, 4)
    for name, runs in found.items():
        _band(training, runs[0].when, [run.error for run in runs], name)
        errors = [[1 - record["val_accuracy"] for record in run.epochs] for run in runs]
        _band(validation, [record["epoch"] for record in runs[0].epochs], errors, name)
    training.set(title="Training error, of a quarter of an epoch", xlabel="epoch", ylabel="%", ylim=(0, None))
    validation.set(title="Validation error", xlabel="epoch", ylabel="%", ylim=(0, None))
    for axes in (training, validation):
        axes.grid(alpha=0.3)
        axes.legend()
    return save(drawn, path)


def _band(axes: Any, x: Sequence[float], runs: Sequence[Sequence[float]], name: str) -> None:
    values = 100 * np.array(runs)
    (line,) = axes.plot(x, values.mean(axis=0), label=name)
    if len(values) > 1:
        limits = [interval(column) for column in values.T.tolist()]
        low, high = (np.maximum([limit[side] for limit in limits], 0) for side in ("low", "high"))
        axes.fill_between(x, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
