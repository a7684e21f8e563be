"""Fully connected layers through cuBLAS: PyTorch's calls of it where PyTorch is, and CuPy's of the C function."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..harness.bench import Bench, Contender, Prepared, Unavailable
from ..harness.cases import Case
from ..ops import bench_linear

_COMPUTE = {"float32": "CUBLAS_COMPUTE_32F_PEDANTIC", "tf32": "CUBLAS_COMPUTE_32F_FAST_TF32"}
_TYPES = {"float32": "CUDA_R_32F", "float16": "CUDA_R_16F", "bfloat16": "CUDA_R_16BF"}
_ONE, _ZERO = np.ones(1, np.float32), np.zeros(1, np.float32)
_TRANSPOSE = {False: 0, True: 1}  # CUBLAS_OP_N, CUBLAS_OP_T


def contenders(case: Case) -> list[Contender]:
    """cublasGemmEx on the case's arrays."""
    if case.op != "linear" or case.direction not in ("fprop", "dgrad", "wgrad"):
        return []
    return [Contender("cuBLAS", "library", _prepare)]


def product(case: Case) -> tuple[str, str, bool, bool, int, int, int]:
    """The row-major product C [m, n] = A B: names of A and B, whether each is transposed, and m, n, k."""
    rows, features, out = bench_linear.sizes(case)
    return {
        "fprop": ("x", "weight", False, True, rows, out, features),
        "dgrad": ("dy", "weight", False, False, rows, features, out),
        "wgrad": ("dy", "x", True, False, out, features, rows),
    }[case.direction]


def gemm_arguments(case: Case) -> tuple[int, int, int, int, int, int, int, int]:
    """What cuBLAS is told, which sees the transposes of row-major matrices: it computes C^T = B^T A^T.

    transa, transb, m, n, k, lda, ldb, ldc, where its first operand is our second.
    """
    _, _, a_transposed, b_transposed, m, n, k = product(case)
    lda = k if b_transposed else n
    ldb = m if a_transposed else k
    return _TRANSPOSE[b_transposed], _TRANSPOSE[a_transposed], n, m, k, lda, ldb, n


def gemm(precision: str, sizes: tuple[int, ...], second: Any, first: Any, out: Any) -> None:
    """Enqueue cublasGemmEx on the current stream; sizes are those of `gemm_arguments`.

    Raises
    ------
    Unavailable
        There is no cuBLAS.
    """
    try:
        import cupy
        from cupy.cuda import runtime
        from cupy_backends.cuda.libs import cublas
    except ImportError as error:
        raise Unavailable(f"no cuBLAS: pip install nvidia-cublas ({error})") from error
    transa, transb, m, n, k, lda, ldb, ldc = sizes
    kinds = [getattr(runtime, _TYPES[array.dtype.name]) for array in (second, first, out)]
    cublas.gemmEx(
        cupy.cuda.device.get_cublas_handle(),
        *(transa, transb, m, n, k),
        _ONE.ctypes.data,
        *(second.data.ptr, kinds[0], lda),
        *(first.data.ptr, kinds[1], ldb),
        _ZERO.ctypes.data,
        *(out.data.ptr, kinds[2], ldc),
        *(getattr(cublas, _COMPUTE.get(precision, "CUBLAS_COMPUTE_32F")), cublas.CUBLAS_GEMM_DEFAULT),
    )


def _prepare(bench: Bench) -> Prepared:
    case, sizes = bench.case, gemm_arguments(bench.case)
    first, second, *_ = product(case)
    name = {"fprop": "y", "dgrad": "dx", "wgrad": "dweight"}[case.direction]

    def run(i: int) -> None:
        a = bench.sets[i]
        gemm(case.precision, sizes, a[second], a[first], a[name])

    def outputs() -> dict[str, Any]:
        return {name: bench.device.download(bench.sets[0][name])}

    return Prepared(run, outputs, detail={"engine": "cublasGemmEx"})
