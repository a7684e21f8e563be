"""AlexNet (Krizhevsky, Sutskever, Hinton 2012) from hand-written CUDA kernels, two towers on two devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._version import __version__
from .config import Config, config_from_preset

if TYPE_CHECKING:
    from .model import Model
    from .result import StepResult

__all__ = ["Config", "Model", "StepResult", "__version__", "config_from_preset"]


def __getattr__(name: str) -> Any:
    # The model brings NumPy and every operation; `alexnet-cuda --help` needs neither.
    if name == "Model":
        from .model import Model

        return Model
    if name == "StepResult":
        from .result import StepResult

        return StepResult
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
