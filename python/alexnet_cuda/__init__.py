"""AlexNet (Krizhevsky, Sutskever, Hinton 2012) from hand-written CUDA kernels, two towers on two devices."""

from __future__ import annotations

from ._version import __version__

TYPE_CHECKING = False  # typing's, without loading it: this comes before anything that can catch a Ctrl-C
if TYPE_CHECKING:
    from .config import Config, config_from_preset
    from .model import Model
    from .network.result import StepResult

__all__ = ["Config", "Model", "StepResult", "__version__", "config_from_preset"]

_PLACES = {"Config": "config", "Model": "model", "StepResult": "network.result", "config_from_preset": "config"}


def __getattr__(name: str) -> object:
    # NumPy and every operation come with what is asked for, not with the package.
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_PLACES[name]}", __name__), name)
