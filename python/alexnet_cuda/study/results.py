"""From the metrics of runs to an answer: measures, intervals over seeds, and sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..base.files import METRICS_NAME
from ..train.metrics import is_epoch, read_metrics

_LEVEL = 0.95
Values = Sequence[float | None]


class Curve(NamedTuple):
    """What one run recorded: after each step the training error of a quarter of an epoch, and each epoch's record."""

    when: list[float]
    error: list[float]
    epochs: list[dict[str, Any]]


def read_curve(folder: Path) -> Curve:
    """Give the curve of the run in a folder; its times are left out, so that equal runs give equal curves."""
    records = list(read_metrics(folder / METRICS_NAME))
    epochs = [record for record in records if is_epoch(record)]
    right = [record["accuracy"] for record in records if not is_epoch(record)]
    steps = epochs[-1]["step"] // epochs[-1]["epoch"]
    window = max(1, steps // 4)
    total = np.concatenate([[0.0], np.cumsum(right)])
    error = np.round(1 - (total[window:] - total[:-window]) / window, 6)
    return Curve([n / steps for n in range(window, len(right) + 1)], error.tolist(), epochs)


def _reaches(level: float) -> Callable[[Curve], float | None]:
    return lambda curve: next((when for when, e in zip(curve.when, curve.error, strict=True) if e <= level), None)


# Name -> (factor and unit that it is shown in, value of a run or None where that did not get there). Less is better.
MEASURES: dict[str, tuple[float, str, Callable[[Curve], float | None]]] = {
    "validation error": (100, "%", lambda curve: float(1 - curve.epochs[-1]["val_accuracy"])),
    "epochs to 50 % training error": (1, "epochs", _reaches(0.50)),
    "epochs to 25 % training error": (1, "epochs", _reaches(0.25)),
    "epochs to 10 % training error": (1, "epochs", _reaches(0.10)),
    "training loss": (1, "", lambda curve: float(curve.epochs[-1]["loss"])),
    "neighbours of another class": (100, "%", lambda curve: None),  # no curve says it
    "validation loss less training loss": (1, "", lambda c: float(c.epochs[-1]["val_loss"] - c.epochs[-1]["loss"])),
}


def measured(measure: str, curve: Curve | None) -> float | None:
    """A measure of a run; None where it did not get there, or diverged."""
    return None if curve is None else MEASURES[measure][2](curve)


def interval(values: Sequence[float], level: float = _LEVEL) -> dict[str, float]:
    """Mean of independent values, two or more, and its Student t interval: ``mean``, ``low`` and ``high``."""
    from scipy.special import stdtrit

    mean = float(np.mean(values))
    half = float(stdtrit(len(values) - 1, (1 + level) / 2) * np.std(values, ddof=1) / len(values) ** 0.5)
    return {"mean": mean, "low": mean - half, "high": mean + half}


def compare(values: Values, others: Values, comparisons: int) -> dict[str, Any]:
    """The difference of a variant to the first one, seed by seed: both had the same data in the same order.

    The intervals of a study's comparisons by one measure hold together with 95 % (Bonferroni).
    """
    pairs = [(a, b) for a, b in zip(values, others, strict=True) if a is not None and b is not None]
    if len(pairs) < len(values):
        return {"verdict": "not comparable"}
    found = interval([a - b for a, b in pairs], 1 - (1 - _LEVEL) / comparisons)
    noise = found["low"] <= 0 <= found["high"]
    return {**found, "verdict": "within the noise" if noise else "higher" if found["mean"] > 0 else "lower"}


def conclude(rows: Mapping[str, Mapping[str, Values]]) -> dict[str, Any]:
    """Measures with intervals, comparisons with the first variant, and the answer in sentences.

    `rows` holds for each variant, and of that for each measure, a value a seed.
    """
    first, *others = rows
    measures: dict[str, dict[str, Any]] = {name: {} for name in rows}
    comparisons: dict[str, dict[str, Any]] = {}
    answer = []
    for measure in rows[first]:
        for name, row in rows.items():
            known = [value for value in row[measure] if value is not None]
            measures[name][measure] = {"values": list(row[measure]), **(interval(known) if len(known) > 1 else {})}
        own = {name: measures[name][measure] for name in rows}
        answer.append(f"{measure.capitalize()}: {shown(measure, own[first])} with {first}.")
        comparisons[measure] = {n: compare(own[n]["values"], own[first]["values"], len(others)) for n in others}
        for name, found in comparisons[measure].items():
            answer.append(f"{name}: {shown(measure, own[name])}, {_difference(measure, found, first)}.")
    return {"measures": measures, "comparisons": comparisons, "answer": answer}


def shown(measure: str, found: Mapping[str, Any]) -> str:
    """A mean with its interval, and how many seeds did not get there."""
    factor, unit, _ = MEASURES[measure]
    values = found["values"]
    known = [f"{factor * value:.3g}" for value in values if value is not None]
    text = _limits(found, factor, ".3g") if "mean" in found else " ".join(known)
    parts = [f"{text} {unit}".rstrip()] if known else []
    if missing := len(values) - len(known):
        parts.append(f"{missing} of {len(values)} seeds did not get there")
    return ", ".join(parts)


def _limits(found: Mapping[str, float], factor: float, form: str) -> str:
    """An interval in a unit, as text."""
    mean, low, high = (f"{round(factor * found[name], 9) + 0.0:{form}}" for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def _difference(measure: str, found: Mapping[str, Any], first: str) -> str:
    if "mean" not in found:
        return f"which cannot be compared with {first} seed by seed"
    factor, unit, _ = MEASURES[measure]
    text = f"{_limits(found, factor, '+.3g')} {'points' if unit == '%' else unit}".rstrip()
    if found["verdict"] == "within the noise":
        return f"which differs from {first} by {text}: within the noise"
    return f"{found['verdict']} than with {first} by {text}"
