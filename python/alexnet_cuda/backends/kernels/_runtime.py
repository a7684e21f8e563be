"""Who runs the kernels of an array."""

from __future__ import annotations

from functools import cache

from ...base.array import Array, array_kind
from ...base.locks import late_import
from ..runtime import Runtime, active_runtimes


def runtime_of(array: Array) -> Runtime:
    """Who runs the kernels of an array: the active device of its kind, else that kind's default."""
    kind = array_kind(array)
    for runtime in reversed(active_runtimes()):
        if runtime.kind == kind:
            return runtime
    return default_runtime(kind)


@cache
def default_runtime(kind: str) -> Runtime:
    """What runs kernels where no device is active: on CuPy's current stream, or at once on the CPU executor."""
    runtime: Runtime = late_import(f"alexnet_cuda.backends.{kind}.runtime").default()
    return runtime
