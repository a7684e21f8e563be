"""What a training step saw, fetched from the device when it is looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def split(result: Any, accumulator: np.dtype[Any]) -> tuple[Any, Any]:
    """Each image's loss, of dtype `accumulator`, and whether it was classified right, of the bytes that hold both."""
    losses = result.size // (accumulator.itemsize + 1) * accumulator.itemsize
    return result[:losses].view(accumulator), result[losses:].view(np.bool_)


class StepResult:
    """What a training step saw before its update.

    The step may still be under way: the first look at a value waits for it.

    Parameters
    ----------
    fetch : function
        Gives the bytes that `split` takes apart.
    accumulator : dtype
    """

    def __init__(self, fetch: Callable[[], npt.NDArray[np.uint8]], accumulator: np.dtype[Any]) -> None:
        self._fetch, self._accumulator = fetch, accumulator
        self._known: tuple[float, int] | None = None

    @classmethod
    def joined(cls, parts: Sequence[StepResult]) -> StepResult:
        """What the parts of a batch saw together."""
        accumulator = parts[0]._accumulator

        def fetch() -> npt.NDArray[np.uint8]:
            losses, correct = zip(*(split(part._fetch(), accumulator) for part in parts), strict=True)
            return np.concatenate([array.view(np.uint8) for array in (*losses, *correct)])

        return cls(fetch, accumulator)

    @property
    def _values(self) -> tuple[float, int]:
        if self._known is None:
            losses, correct = split(self._fetch(), self._accumulator)
            self._known = float(losses.astype(np.float64).mean()), int(correct.sum())
        return self._known

    def __getstate__(self) -> dict[str, Any]:
        return {"_known": self._values}

    @property
    def loss(self) -> float:
        """Mean cross-entropy of the batch."""
        return self._values[0]

    @property
    def correct(self) -> int:
        """Images that were classified right."""
        return self._values[1]

    def __repr__(self) -> str:
        return f"StepResult(loss={self.loss!r}, correct={self.correct!r})"
