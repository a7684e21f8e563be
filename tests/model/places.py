"""Where the model runs on the kernels: the CPU executor, and the GPUs that there are."""

from __future__ import annotations

from typing import Any

from tests.ops.backends import BACKENDS

# Name of the backend: the device of one tower, and the devices of two.
PLACES: dict[str, tuple[str, tuple[str, str]]] = {"simt": ("simt", ("simt", "simt"))}
if "cuda" in BACKENDS:
    # One GPU twice also where there are two: the same exchanges, whatever the machine.
    PLACES["cuda"] = ("cuda:0", ("cuda:0", "cuda:0"))
ONE: dict[str, Any] = {name: one for name, (one, _) in PLACES.items()}
ALL: dict[str, Any] = ONE | {f"{name}, two towers": two for name, (_, two) in PLACES.items()}
