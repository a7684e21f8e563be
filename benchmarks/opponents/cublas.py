"""Fully connected layers through cuBLAS: PyTorch's calls of it where PyTorch is, and CuPy's of the C function."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..harness.bench import Bench, Contender, Prepared
from ..harness.cases import Case
from ..harness.contest import Unavailable
from .convolution import OUTPUT

_COMPUTE = {"float32": "CUBLAS_COMPUTE_32F_PEDANTIC", "tf32": "CUBLAS_COMPUTE_32F_FAST_TF32"}
_TYPES = {"float32": "CUDA_R_32F", "float16": "CUDA_R_16F", "bfloat16": "CUDA_R_16BF"}
_ONE, _ZERO = np.ones(1, np.float32), np.zeros(1, np.float32)


def contenders(case: Case) -> list[Contender]:
    """cublasGemmEx on the case's arrays."""
    if case.op != "linear" or case.direction not in ("fprop", "dgrad", "wgrad"):
        return []
    return [Contender("cuBLAS", "library", _prepare)]


def product(case: Case) -> tuple[str, str, tuple[int, ...]]:
    """The names of A and B in our row-major product C [m, n] = A B, and what cuBLAS is told of it.

    That sees the transposes of row-major matrices, and computes C^T = B^T A^T: transa, transb, m, n, k, lda, ldb, ldc,
    where its first operand is our second. CUBLAS_OP_N is 0, CUBLAS_OP_T is 1.
    """
    rows, (out, features) = case.batch, case.step.weight_shape
    return {
        "fprop": ("x", "weight", (1, 0, out, rows, features, features, features, out)),
        "dgrad": ("dy", "weight", (0, 0, features, rows, out, features, out, features)),
        "wgrad": ("dy", "x", (0, 1, features, out, rows, features, out, features)),
    }[case.direction]


def gemm(precision: str, sizes: tuple[int, ...], second: Any, first: Any, out: Any) -> None:
    """Enqueue cublasGemmEx on the current stream; sizes are those of `product`. Raises `Unavailable`."""
    try:
        import cupy
        from cupy.cuda import runtime
        from cupy_backends.cuda.libs import cublas
    except ImportError as error:
        raise Unavailable(f"no cuBLAS: pip install nvidia-cublas ({error})") from error
    *shape, lda, ldb, ldc = sizes
    kinds = [getattr(runtime, _TYPES[array.dtype.name]) for array in (second, first, out)]
    cublas.gemmEx(
        cupy.cuda.device.get_cublas_handle(),
        *shape,
        _ONE.ctypes.data,
        *(second.data.ptr, kinds[0], lda),
        *(first.data.ptr, kinds[1], ldb),
        _ZERO.ctypes.data,
        *(out.data.ptr, kinds[2], ldc),
        *(getattr(cublas, _COMPUTE.get(precision, "CUBLAS_COMPUTE_32F")), cublas.CUBLAS_GEMM_DEFAULT),
    )


def _prepare(bench: Bench) -> Prepared:
    first, second, sizes = product(bench.case)
    name = OUTPUT[bench.case.direction]

    def run(i: int) -> None:
        a = bench.sets[i]
        gemm(bench.case.precision, sizes, a[second], a[first], a[name])

    return Prepared(run, bench.download, {"engine": "cublasGemmEx"})
