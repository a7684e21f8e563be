"""The small set: of every operation's tests those that run each of its kernels once or twice, `pytest -m small`.

`benchmarks/gpu_check.py` runs it before all other tests, so that a broken kernel is named early, and under
compute-sanitizer, which makes a kernel up to a hundred times slower; `tools/sanitize.py` runs it on the executor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Test = TypeVar("Test", bound=Callable[..., None])


def small(**values: Sequence[Any]) -> Callable[[Test], Test]:
    """Put cases of a test into the small set: those that have one of these values of every parameter named."""

    def mark(test: Test) -> Test:
        test.small = values  # type: ignore[attr-defined]
        return test

    return mark


def is_small(item: Any) -> bool:
    """Whether a collected test is in the small set."""
    values = getattr(item.function, "small", None)
    return values is not None and all(item.callspec.params[name] in those for name, those in values.items())
