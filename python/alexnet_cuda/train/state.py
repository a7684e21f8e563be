"""Where a run stands, apart from the model: what its checkpoints remember besides weights and momentum."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..data import ImageSource


@dataclass
class TrainState:
    """Where a run stands.

    Attributes
    ----------
    epoch
        Epochs finished, validation and all.
    batch
        Batches done of the epoch under way.
    loss_sum, correct, images
        Sums over those batches: loss times images, right answers, images.
    best_epoch, best_error
        The epoch with the least validation error, and that error; None before the first.
    skipped
        File -> reason, of the images that could not be decoded.
    """

    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    images: int = 0
    best_epoch: int | None = None
    best_error: float | None = None
    skipped: dict[str, str] = field(default_factory=dict)

    def add(self, loss: float, correct: int, images: int) -> None:
        """Add one batch, with its mean loss."""
        self.batch += 1
        self.loss_sum += loss * images
        self.correct += correct
        self.images += images

    @property
    def loss(self) -> float:
        """Mean loss of the epoch so far."""
        return self.loss_sum / self.images

    @property
    def accuracy(self) -> float:
        """Part of the epoch's images so far that were classified right."""
        return self.correct / self.images

    def end_epoch(self, error: float | None) -> None:
        """Finish the epoch, with its validation error."""
        self.epoch += 1
        self.batch = self.correct = self.images = 0
        self.loss_sum = 0.0
        if error is not None and (self.best_error is None or error < self.best_error):
            self.best_epoch, self.best_error = self.epoch, error

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-able values; `TrainState(**values)` is the inverse, to the bit."""
        return dataclasses.asdict(self)


def fingerprint(source: ImageSource) -> dict[str, Any]:
    """Give what tells a source from one with other images: their number, and a digest of their names and labels."""
    digest = hashlib.sha256()
    for name, label in zip(source.names, source.labels.tolist(), strict=True):
        digest.update(f"{source.classes[label]}\0{name}\0".encode("utf-8", "surrogateescape"))
    return {"images": len(source), "digest": digest.hexdigest()}
