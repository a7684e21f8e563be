"""From the metrics of runs to an answer: measures, intervals over seeds, and sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..base.files import METRICS_NAME
from ..train.metrics import is_epoch, read_metrics
from .plan import Study

_LEVEL = 0.95
Values = Sequence[float | None]


class Curve(NamedTuple):
    """What one run recorded: after each step the training error of a quarter of an epoch, and each epoch's record."""

    when: list[float]
    error: list[float]
    epochs: list[dict[str, Any]]


def read_curve(folder: Path) -> Curve:
    """Give the curve of the run in a folder; its times are left out, so that equal runs give equal curves."""
    right: list[float] = []
    epochs: list[dict[str, Any]] = []
    for record in read_metrics(folder / METRICS_NAME):
        if is_epoch(record):
            epochs.append(record)
        else:
            right.append(record["accuracy"])
    steps = epochs[-1]["step"] // epochs[-1]["epoch"] if epochs else len(right)
    window = max(1, steps // 4)
    total = np.concatenate([[0.0], np.cumsum(right)])
    error = np.round(1 - (total[window:] - total[:-window]) / window, 6)
    return Curve([round(n / steps, 6) for n in range(window, len(right) + 1)], error.tolist(), epochs)


def _reaches(level: float) -> Callable[[Curve], float | None]:
    return lambda curve: next((when for when, e in zip(curve.when, curve.error, strict=True) if e <= level), None)


def _gap(curve: Curve) -> float:
    return float(curve.epochs[-1]["val_loss"] - curve.epochs[-1]["loss"])


# Name -> (factor and unit that it is shown in, value of a run or None where that did not get there). Less is better.
MEASURES: dict[str, tuple[float, str, Callable[[Curve], float | None]]] = {
    "validation error": (100, "%", lambda curve: float(1 - curve.epochs[-1]["val_accuracy"])),
    "epochs to 25 % training error": (1, "epochs", _reaches(0.25)),
    "epochs to 10 % training error": (1, "epochs", _reaches(0.10)),
    "training loss": (1, "", lambda curve: float(curve.epochs[-1]["loss"])),
    "validation loss less training loss": (1, "", _gap),
}


def interval(values: Sequence[float], level: float = _LEVEL) -> dict[str, float]:
    """Mean of independent values and its Student t interval: ``mean``, ``low`` and ``high``.

    Raises
    ------
    ValueError
        Fewer than two values.
    """
    from scipy.special import stdtrit

    if len(values) < 2:
        raise ValueError(f"an interval needs at least two values, got {len(values)}")
    mean = float(np.mean(values))
    half = float(stdtrit(len(values) - 1, (1 + level) / 2) * np.std(values, ddof=1) / len(values) ** 0.5)
    return {"mean": mean, "low": mean - half, "high": mean + half}


def summary(values: Values) -> dict[str, Any]:
    """A measure over seeds: its values, and the interval of those that got there, where two did."""
    known = [value for value in values if value is not None]
    return {"values": list(values), **(interval(known) if len(known) > 1 else {})}


def compare(values: Values, others: Values, comparisons: int) -> dict[str, Any]:
    """The difference of a variant to the first one, seed by seed: both had the same data in the same order.

    The intervals of a study's comparisons hold together with 95 % (Bonferroni).
    """
    pairs = [(a, b) for a, b in zip(values, others, strict=True) if a is not None and b is not None]
    if len(pairs) < 2 or len(pairs) < len(values):
        return {"verdict": "not comparable"}
    found = interval([a - b for a, b in pairs], 1 - (1 - _LEVEL) / comparisons)
    noise = found["low"] <= 0 <= found["high"]
    return {**found, "verdict": "within the noise" if noise else "higher" if found["mean"] > 0 else "lower"}


def conclude(study: Study, rows: Mapping[str, Mapping[str, Values]]) -> dict[str, Any]:
    """Measures with intervals, comparisons with the first variant, and the answer in sentences."""
    names = list(rows)
    first, others = names[0], names[1:]
    measures = {name: {measure: summary(rows[name][measure]) for measure in study.measures} for name in names}
    comparisons = {
        measure: {name: compare(rows[name][measure], rows[first][measure], len(others)) for name in others}
        for measure in study.measures
    }
    sentences = []
    for measure in study.measures:
        sentences.append(f"{measure.capitalize()}: {shown(measure, measures[first][measure])} with {first}.")
        for name in others:
            what = f"{name}: {shown(measure, measures[name][measure])}"
            sentences.append(f"{what}, {_difference(measure, comparisons[measure][name], first)}.")
    return {"measures": measures, "comparisons": comparisons, "answer": sentences}


def shown(measure: str, found: Mapping[str, Any]) -> str:
    """A mean with its interval, and how many seeds did not get there."""
    factor, unit, _ = MEASURES[measure]
    values = found["values"]
    missing = sum(value is None for value in values)
    text = ""
    if "mean" in found:
        text = f"{factor * found['mean']:.3g} {_limits(found, factor, '.3g')} {unit}".strip()
    elif missing < len(values):
        text = f"{factor * next(value for value in values if value is not None):.3g} {unit}".strip()
    if missing:
        text += f"{', ' if text else ''}not reached by {missing} of {len(values)} seeds"
    return text


def _limits(found: Mapping[str, float], factor: float, form: str) -> str:
    return f"[{factor * found['low']:{form}}, {factor * found['high']:{form}}]"


def _difference(measure: str, found: Mapping[str, Any], first: str) -> str:
    if "mean" not in found:
        return f"which cannot be compared with {first} seed by seed"
    factor, unit, _ = MEASURES[measure]
    limits = (
        f"{factor * found['mean']:+.2g} {_limits(found, factor, '+.2g')} {'points' if unit == '%' else unit}".strip()
    )
    if found["verdict"] == "within the noise":
        return f"which differs from {first} by {limits}: within the noise"
    return f"{found['verdict']} than with {first} by {limits}"
