"""Loss and top-1, top-5 error of a model on a source of labelled images."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

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
    """

    images: int
    loss: float
    top1_error: float
    top5_error: float | None
    skipped: dict[str, str]


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
        When no image can be decoded, or the model's outputs are not finite.
    """
    loss, images = 0.0, 0
    wrong = np.zeros(2, np.int64)
    with (
        contextlib.closing(loader.epoch(0)) as batches,  # type: ignore[type-var]
        contextlib.closing(model.prefetch(batches)) as ready,
    ):
        for batch, labels, _ in ready:
            scores = _log_probabilities(model, batch, views)
            own = scores[np.arange(len(scores)), labels]
            if not np.isfinite(scores).all():
                raise ValueError("the model's outputs are not finite: its weights hold NaN, infinity or huge values")
            loss -= float(own.sum())
            rank = _ranks(scores, labels)
            wrong += [np.count_nonzero(rank >= 1), np.count_nonzero(rank >= _TOP)]
            images += len(scores)
            progress(images)
            if stop():
                return None
    top1, top5 = (wrong / images).tolist()
    few = model.config.num_classes <= _TOP
    return Evaluation(images, loss / images, top1, None if few else top5, dict(loader.skipped))


def _log_probabilities(model: Model, images: np.ndarray, views: int) -> np.ndarray:
    """Give float64 [n, classes]."""
    if views == 1:
        logits: np.ndarray = np.asarray(model.forward(images, train=False), np.float64)
        logits = logits - logits.max(axis=1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return logits
    probabilities: np.ndarray = np.asarray(model.probabilities(images, views=views), np.float64)
    # A class that float32 gave no probability at all would make the mean loss infinite.
    logs: np.ndarray = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    return logs


def _ranks(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Give how many classes come before each image's own; of equal scores the lower class number comes first."""
    own = scores[np.arange(len(scores)), labels][:, None]
    lower = np.arange(scores.shape[1])[None, :] < labels[:, None]
    ranks: np.ndarray = np.count_nonzero((scores > own) | ((scores == own) & lower), axis=1)
    return ranks
