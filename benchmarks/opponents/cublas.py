"""Fully connected layers through cuBLAS: PyTorch's calls of it where PyTorch is, and CuPy's of the C function."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..harness.bench import Bench, Contender, Prepared, Unavailable
from ..harness.cases import Case
from ..ops import bench_linear

_COMPUTE = {"float32": "CUBLAS_COMPUTE_32F_PEDANTIC", "tf32": "CUBLAS_COMPUTE_32F_FAST_TF32"}
_TYPES = {"float32": "CUDA_R_32F", "float16": "CUDA_R_16F", "bfloat16": "CUDA_R_16BF"}
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


def _prepare(bench: Bench) -> Prepared:
    try:
        import cupy
        from cupy.cuda import runtime
        from cupy_backends.cuda.libs import cublas
    except ImportError as error:
        raise Unavailable(f"no cuBLAS: pip install nvidia-cublas ({error})") from error
    case = bench.case
    first, second, *_ = product(case)
    transa, transb, m, n, k, lda, ldb, ldc = gemm_arguments(case)
    kind = getattr(runtime, _TYPES[case.dtype])
    compute = getattr(cublas, _COMPUTE.get(case.precision, "CUBLAS_COMPUTE_32F"))
    name = {"fprop": "y", "dgrad": "dx", "wgrad": "dweight"}[case.direction]
    out_kind = runtime.CUDA_R_32F if name == "dweight" else kind
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    algorithm = cublas.CUBLAS_GEMM_DEFAULT

    def run(i: int) -> None:
        a = bench.sets[i]
        cublas.gemmEx(
            cupy.cuda.device.get_cublas_handle(),
            *(transa, transb, m, n, k),
            one.ctypes.data,
            *(a[second].data.ptr, kind, lda),
            *(a[first].data.ptr, kind, ldb),
            zero.ctypes.data,
            *(a[name].data.ptr, out_kind, ldc),
            *(compute, algorithm),
        )

    def outputs() -> dict[str, Any]:
        return {name: bench.device.download(bench.sets[0][name])}

    return Prepared(run, outputs, detail={"engine": "cublasGemmEx"})
