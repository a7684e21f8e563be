"""What a run's checkpoints remember besides weights and momentum: where it stands, and of which images."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..base.wording import counted
from .recipe import require_int, require_number

if TYPE_CHECKING:
    from ..data import ImageSource

# Files whose bytes tell a source from another one: enough to notice other photographs, too few to take time.
_SAMPLE = 64


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


def fingerprint(source: ImageSource, checksum: bool = False) -> dict[str, Any]:
    """Give what tells a source from one with other images.

    The digests are of names with labels, of the files' sizes, and of the bytes of `_SAMPLE` of the files spread over
    the source. Times are left out: each copy of a folder has new ones, so that they would raise false alarms, and equal
    runs would leave different bytes.

    Parameters
    ----------
    source
        The images.
    checksum
        Whether to add a digest of the bytes of every file.

    Raises
    ------
    OSError
        A file cannot be read.
    """
    names = (
        f"{source.classes[label]}\0{name}" for name, label in zip(source.names, source.labels.tolist(), strict=True)
    )
    spread = sorted({place * len(source) // _SAMPLE for place in range(_SAMPLE)})
    parts = {
        "images": len(source),
        "digest": _digest(name.encode("utf-8", "surrogateescape") for name in names),
        "sizes": _digest(str(source.size(index)).encode() for index in range(len(source))),
        "sample": _digest(source.contents(index) for index in spread),
    }
    if checksum:
        parts["contents"] = _digest(source.contents(index) for index in range(len(source)))
    return parts


def difference(before: dict[str, Any] | None, now: dict[str, Any] | None) -> str | None:
    """Say how two fingerprints differ in what both of them tell; None where they do not."""
    if before is None or now is None:
        return None if before is now else f"{_number(before)} then, {_number(now)} now"
    if before["images"] != now["images"]:
        return f"{_number(before)} then, {_number(now)} now"
    differences = {
        "digest": "as many as then, but with other names or classes",
        "sizes": "the same names as then, but files of other sizes",
        "sample": "the same names and sizes as then, but other contents",
        "contents": "the same names and sizes as then, but other contents",
    }
    for key, text in differences.items():
        if key in before and key in now and before[key] != now[key]:
            return text
    return None


def _number(part: dict[str, Any] | None) -> str:
    return "none" if part is None else counted(part["images"], "image")


def _digest(items: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for item in items:
        digest.update(item + b"\0")
    return digest.hexdigest()
