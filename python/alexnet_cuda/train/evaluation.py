"""Loss and top-1, top-5 error of a model on a source of labelled images."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..network.checks import check_outputs

if TYPE_CHECKING:
    from ..data import Loader
    from ..model import Model

_TOP = 5


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes
    ----------
    images
        Images evaluated, without those that cannot be decoded.
    loss
        Mean cross-entropy.
    top1_error
        Part of the images whose class is not the most probable one.
    top5_error
        Part of the images whose class is not among the five most probable; None with five classes or fewer, where it
        would be zero whatever the model does.
    skipped
        File -> reason, of the images that cannot be decoded.
    labels, predicted
        int64 [images]: each image's class and the most probable one.
    """

    images: int
    loss: float
    top1_error: float
    top5_error: float | None
    skipped: dict[str, str]
    labels: np.ndarray = field(repr=False, compare=False)
    predicted: np.ndarray = field(repr=False, compare=False)


def evaluate(
    model: Model,
    loader: Loader,
    views: int = 1,
    *,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int], None] = lambda images: None,
) -> Evaluation | None:
    """Evaluate a model on every image of a loader once.

    Parameters
    ----------
    model
        Whose class numbers are the loader's labels.
    loader
        In order, not shuffled.
    views
        1 for the centre crop, 10 for the mean over four corners and the centre, and their mirror images
        (paper section 4.1).
    stop
        Asked after each batch; when it says True the result is None.
    progress
        Called after each batch with the number of images done.

    Raises
    ------
    ValueError
        When no image can be decoded.
    OutputsNotFinite
        When the model's outputs are not finite.
    """
    loss, images = 0.0, 0
    wrong = np.zeros(2, np.int64)
    pairs: list[np.ndarray] = []
    with (
        contextlib.closing(loader.epoch(0)) as batches,
        contextlib.closing(model.prefetch(batches)) as ready,
    ):
        for batch, labels, _ in ready:
            scores = _log_probabilities(model, batch, views)
            loss -= float(scores[np.arange(len(scores)), labels].sum())
            rank = _ranks(scores, labels)
            wrong += [np.count_nonzero(rank >= 1), np.count_nonzero(rank >= _TOP)]
            pairs.append(np.array([labels, scores.argmax(axis=1)]))
            images += len(scores)
            progress(images)
            if stop():
                return None
    top1, top5 = (wrong / images).tolist()
    few = model.config.num_classes <= _TOP
    skipped, answers = dict(loader.skipped), np.concatenate(pairs, axis=1)
    return Evaluation(images, loss / images, top1, None if few else top5, skipped, *answers)


def batch_loss(model: Model, images: np.ndarray, labels: np.ndarray) -> float:
    """Give the mean cross-entropy of a batch's centre crops; raises `OutputsNotFinite`."""
    scores = _log_probabilities(model, images, 1)
    return -float(scores[np.arange(len(scores)), labels].mean())


def _log_probabilities(model: Model, images: np.ndarray, views: int) -> np.ndarray:
    """Give float64 [n, classes]."""
    outputs = model.forward(images, train=False) if views == 1 else model.probabilities(images, views=views)
    scores: np.ndarray = np.asarray(outputs, np.float64)
    if views == 1:
        check_outputs(scores, model.parameters)
        scores = scores - scores.max(axis=1, keepdims=True)
        scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
        return scores
    # A class that float32 gave no probability at all would make the mean loss infinite.
    logs: np.ndarray = np.log(np.maximum(scores, np.finfo(np.float32).tiny))
    return logs


def _ranks(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Give how many classes come before each image's own; of equal scores the lower class number comes first."""
    own = scores[np.arange(len(scores)), labels][:, None]
    lower = np.arange(scores.shape[1])[None, :] < labels[:, None]
    ranks: np.ndarray = np.count_nonzero((scores > own) | ((scores == own) & lower), axis=1)
    return ranks
