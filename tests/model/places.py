"""Where the model runs on the kernels: the CPU executor, and the GPUs that there are."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tests.ops.backends import BACKENDS

# Name of the backend: the device of one tower, and the devices of two.
PLACES: dict[str, tuple[str, tuple[str, str]]] = {"simt": ("simt", ("simt", "simt"))}
if "cuda" in BACKENDS:
    # One GPU twice also where there are two: the same exchanges, whatever the machine.
    PLACES["cuda"] = ("cuda:0", ("cuda:0", "cuda:0"))


def apart(devices: Any) -> Any:
    """The same two towers on two GPUs, where there are two."""
    two = devices == ("cuda:0", "cuda:0") and import_module("alexnet_cuda._cuda").device_count() > 1
    return ("cuda:0", "cuda:1") if two else devices


ONE: dict[str, Any] = {name: one for name, (one, _) in PLACES.items()}
ALL: dict[str, Any] = ONE | {f"{name}, two towers": two for name, (_, two) in PLACES.items()}
