"""Every Python that has this folder on PYTHONPATH has a default device, the CPU executor, as others have a GPU."""

from __future__ import annotations

from contextlib import suppress
from functools import wraps

with suppress(ModuleNotFoundError):  # a Python without the package
    from alexnet_cuda.backends import devices
    from alexnet_cuda.base.precision import KERNEL_PRECISIONS

    @wraps(devices.default_device)
    def _default_device(precision: str) -> str:
        return "simt" if precision in KERNEL_PRECISIONS else "cpu"

    devices.default_device = _default_device
