"""The record of a run: ``metrics.jsonl``, one JSON object a line, one for each step and one for each epoch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base.files import METRICS_NAME, atomic_path, naming

if TYPE_CHECKING:
    from ..model import Model

#: Where TensorBoard's files of a run are, in its folder.
BOARD_NAME = "tensorboard"


def _encode(record: dict[str, Any]) -> str:
    return json.dumps(_finite(record), allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity; readers other than Python's refuse the words."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def magnitudes(parameters: Mapping[str, np.ndarray], velocity: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Of each layer's weights: the Euclidean norm of them, and of their last update, which is the momentum.

    Six digits of each, under ``weight`` and ``update`` of the layer's name.
    """

    def norm(array: np.ndarray) -> float:
        return float(f"{np.linalg.norm(array):.6g}")

    return {
        name.removesuffix(".weight"): {"weight": norm(parameters[name]), "update": norm(velocity[name])}
        for name in velocity
        if name.endswith(".weight")
    }


def zero_shares(model: Model, images: np.ndarray) -> dict[str, float]:
    """Of each layer with ReLU: the share of its units that are zero, of these images' centres and at test; six digits.

    Under the layer's name also where its ReLU comes after the pool.
    """
    layers = {step.index: step.name for step in model.plan.steps if step.weight_shape}
    names = {step.name: layers[step.index] for step in model.plan.steps if step.activation == "relu"}
    found = model.features(images, list(names)) if names else {}
    return {names[name]: float(f"{np.mean(units == 0):.6g}") for name, units in found.items()}


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """Give a file's records one after the other; a last line that was cut short is left out.

    Raises
    ------
    ValueError
        When a line that is not the last is no JSON object with a step and an epoch.
    """
    # Bytes that are no text make no JSON object either.
    with naming(path), open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith("\n"):
                return
            try:
                record = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{path} line {number} is not a JSON object ({error})") from error
            if not isinstance(record, dict):
                raise ValueError(f"{path} line {number} is not a JSON object")
            if any(type(record.get(key)) is not int or record[key] < 1 for key in ("step", "epoch")):
                raise ValueError(f"{path} line {number} is no record of a step or an epoch")
            yield record


def is_epoch(record: dict[str, Any]) -> bool:
    """Tell the record of an epoch from that of a step."""
    return "val_loss" in record


class MetricsWriter:
    """Appends records, each flushed to the system at once.

    Parameters
    ----------
    folder
        The run's folder, which exists.
    keep_steps, keep_epochs
        Of the records that are there, those up to this step and this epoch stay; what came after the checkpoint that
        a run goes on from will come again.
    board
        Whether TensorBoard gets them too; it needs tensorboardX.
    """

    def __init__(self, folder: Path, keep_steps: int = 0, keep_epochs: int = 0, board: bool = False) -> None:
        path = folder / METRICS_NAME
        with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
            for record in read_metrics(path) if path.exists() else ():
                if record["epoch"] <= keep_epochs if is_epoch(record) else record["step"] <= keep_steps:
                    file.write(_encode(record))
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115
        self._board: Any = None
        if board:
            from tensorboardX import SummaryWriter

            self._board = SummaryWriter(str(folder / BOARD_NAME), purge_step=keep_steps + 1)

    def write(self, **record: Any) -> None:
        """Append one record; NaN and infinity become null."""
        with naming(self._file.name):
            self._file.write(_encode(record))
            self._file.flush()
        if self._board is not None:
            for tag, value in _scalars(record):
                self._board.add_scalar(tag, value, record["step"])
            self._board.flush()  # what a killed run has not written does not come again

    def __enter__(self) -> MetricsWriter:
        return self

    def __exit__(self, *_: object) -> None:
        with naming(self._file.name):  # which may still have to write
            self._file.close()
        if self._board is not None:
            self._board.close()


def _scalars(record: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Tags and numbers of a record: ``step/loss``, ``epoch/val_loss``, ``weight/conv1``, ..."""
    for key, value in record.items():
        if isinstance(value, dict):
            yield from ((f"{kind}/{name}", number) for name, kinds in value.items() for kind, number in kinds.items())
        elif key not in ("step", "epoch") and value is not None:
            yield f"{'epoch' if is_epoch(record) else 'step'}/{key}", value
