"""What a run's checkpoints remember besides weights and momentum: where it stands."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from .recipe import require_int, require_number


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

    def __post_init__(self) -> None:
        for name in ("epoch", "batch", "correct", "images"):
            require_int(name, getattr(self, name), 0)
        require_number("loss_sum", self.loss_sum)
        if self.batch and not self.images:
            raise ValueError(f"{self.batch} batches hold no images")
        if self.best_epoch is not None:
            require_int("best_epoch", self.best_epoch, 1)
            require_number("best_error", self.best_error)
        if not (isinstance(self.skipped, dict) and all(isinstance(reason, str) for reason in self.skipped.values())):
            raise TypeError(f"skipped must be a table of files and reasons, got {self.skipped!r}")

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
        self.begin_epoch()
        if error is not None and (self.best_error is None or error < self.best_error):
            self.best_epoch, self.best_error = self.epoch, error

    def begin_epoch(self) -> None:
        """Start the epoch under way from its first batch."""
        self.batch = self.correct = self.images = 0
        self.loss_sum = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-able values; `TrainState(**values)` is the inverse, to the bit."""
        return dataclasses.asdict(self)
