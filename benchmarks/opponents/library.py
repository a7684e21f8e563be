"""Finding libcudnn, and its C functions through ctypes: signatures and constants, as cuDNN 9's headers have them.

Normalisation and pooling alone: convolutions go through the graph API. The names are those of `cudnn_graph.h` and
`cudnn_ops.h` of cuDNN 9.28.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..harness.contest import Unavailable, Unsupported

HOW = (
    "no libcudnn.so.9 found: pip install nvidia-cudnn-cu13 (PyTorch's wheels bring it along), or add the folder of an "
    "installed one to LD_LIBRARY_PATH"
)

# cudnn_graph.h: cudnnDataType_t, cudnnNanPropagation_t. cudnn_ops.h: cudnnPoolingMode_t, cudnnLRNMode_t.
DATA_TYPES = {"float32": 0, "float16": 2, "bfloat16": 9}
NOT_PROPAGATE_NAN = 0
POOLING_MAX, POOLING_MAX_DETERMINISTIC = 0, 3
LRN_CROSS_CHANNEL = 0
SUCCESS = 0
REFUSED = range(2000, 4000)  # CUDNN_STATUS_BAD_PARAM, CUDNN_STATUS_NOT_SUPPORTED and their kinds, cudnn_graph.h

_P, _I, _D, _U = ctypes.c_void_p, ctypes.c_int, ctypes.c_double, ctypes.c_uint
_OUT = ctypes.POINTER(ctypes.c_void_p)
_SCALE = ctypes.POINTER(ctypes.c_float)  # of a result and of what it is added to, in host memory

# Function to the types of its arguments; all of them return a cudnnStatus_t.
SIGNATURES: dict[str, Sequence[Any]] = {
    "cudnnCreate": (_OUT,),
    "cudnnDestroy": (_P,),
    "cudnnSetStream": (_P, _P),
    "cudnnCreateTensorDescriptor": (_OUT,),
    "cudnnDestroyTensorDescriptor": (_P,),
    "cudnnSetTensor4dDescriptorEx": (_P, _I, _I, _I, _I, _I, _I, _I, _I, _I),
    "cudnnCreatePoolingDescriptor": (_OUT,),
    "cudnnDestroyPoolingDescriptor": (_P,),
    "cudnnSetPooling2dDescriptor": (_P, _I, _I, _I, _I, _I, _I, _I, _I),
    "cudnnPoolingForward": (_P, _P, _SCALE, _P, _P, _SCALE, _P, _P),
    "cudnnPoolingBackward": (_P, _P, _SCALE, _P, _P, _P, _P, _P, _P, _SCALE, _P, _P),
    "cudnnCreateLRNDescriptor": (_OUT,),
    "cudnnDestroyLRNDescriptor": (_P,),
    "cudnnSetLRNDescriptor": (_P, _U, _D, _D, _D),
    "cudnnLRNCrossChannelForward": (_P, _P, _I, _SCALE, _P, _P, _SCALE, _P, _P),
    "cudnnLRNCrossChannelBackward": (_P, _P, _I, _SCALE, _P, _P, _P, _P, _P, _P, _SCALE, _P, _P),
    "cudnnTransformTensor": (_P, _SCALE, _P, _P, _SCALE, _P, _P),
}


def candidates() -> list[str]:
    """Where a libcudnn may be: what LD_LIBRARY_PATH leads to, where it is set; the wheel's; what the loader finds."""
    wheel: list[str] = []
    with contextlib.suppress(ModuleNotFoundError):
        if spec := importlib.util.find_spec("nvidia.cudnn"):
            folders = spec.submodule_search_locations or []
            wheel = [str(path) for folder in folders for path in Path(folder).glob("lib/libcudnn.so.9*")]
    loader = ["libcudnn.so.9"]
    return loader + wheel if os.environ.get("LD_LIBRARY_PATH") else wheel + loader


@lru_cache(maxsize=1)
def load() -> ctypes.CDLL:
    """The library, its functions declared; `Unavailable` where it is not found, or is none of version 9."""
    reasons = []
    for path in candidates():
        try:
            library = ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
            break
        except OSError as error:
            reasons.append(str(error))
    else:
        raise Unavailable(f"{HOW} ({'; '.join(reasons)})")
    declare(library)
    return library


def declare(library: Any) -> None:
    """Give every function its types, so that ctypes checks each call; `Unavailable` where the library lacks one."""
    for name, arguments in SIGNATURES.items():
        try:
            function = getattr(library, name)
        except AttributeError as error:
            raise Unavailable(f"this libcudnn has no {name}; cuDNN 9 is needed") from error
        function.argtypes, function.restype = list(arguments), ctypes.c_int
    library.cudnnGetErrorString.argtypes, library.cudnnGetErrorString.restype = [ctypes.c_int], ctypes.c_char_p


class Cudnn:
    """A handle, descriptors that live as long as it, and calls that raise."""

    def __init__(self, library: Any | None = None) -> None:
        self.library = load() if library is None else library
        self._made: list[tuple[str, Any]] = []
        self.handle = self._create("cudnnCreate", "cudnnDestroy")
        self.one, self.zero = ctypes.c_float(1.0), ctypes.c_float(0.0)

    def __call__(self, name: str, *arguments: Any) -> None:
        """Call a function; `Unsupported` where cuDNN will not do this, RuntimeError at any other status."""
        status = getattr(self.library, name)(*arguments)
        if status != SUCCESS:
            text = self.library.cudnnGetErrorString(status)
            message = f"{name}: {text.decode() if text else ''} ({status})"
            raise Unsupported(message) if status in REFUSED else RuntimeError(message)

    def _create(self, create: str, destroy: str) -> Any:
        made = ctypes.c_void_p()
        self(create, ctypes.byref(made))
        self._made.append((destroy, made))
        return made

    def close(self) -> None:
        """Destroy everything, the handle last, whatever cuDNN says of any of it."""
        while self._made:
            name, made = self._made.pop()
            with contextlib.suppress(Unsupported, RuntimeError):
                self(name, made)

    def use_stream(self, stream: int) -> None:
        """Let the calls that follow run there."""
        self("cudnnSetStream", self.handle, stream)

    def tensor(self, dtype: str, dims: Sequence[int], strides: Sequence[int]) -> Any:
        """A descriptor of a tensor by N, C, H, W and their strides."""
        made = self._create("cudnnCreateTensorDescriptor", "cudnnDestroyTensorDescriptor")
        self("cudnnSetTensor4dDescriptorEx", made, DATA_TYPES[dtype], *dims, *strides)
        return made

    def nhwc(self, dtype: str, n: int, h: int, w: int, c: int, pitch: int | None = None) -> Any:
        """A descriptor of [N, H, W, C], `pitch` elements from one position to the next."""
        pitch = pitch or c
        return self.tensor(dtype, (n, c, h, w), (h * w * pitch, 1, w * pitch, pitch))

    def max_pool(self, size: int, stride: int, deterministic: bool = False) -> Any:
        """A descriptor of max-pooling without padding."""
        made = self._create("cudnnCreatePoolingDescriptor", "cudnnDestroyPoolingDescriptor")
        mode = POOLING_MAX_DETERMINISTIC if deterministic else POOLING_MAX
        self("cudnnSetPooling2dDescriptor", made, mode, NOT_PROPAGATE_NAN, size, size, 0, 0, stride, stride)
        return made

    def lrn(self, size: int, k: float, alpha: float, beta: float) -> Any:
        """A descriptor of the normalisation whose alpha multiplies the sum: cuDNN divides its own by `size`."""
        made = self._create("cudnnCreateLRNDescriptor", "cudnnDestroyLRNDescriptor")
        self("cudnnSetLRNDescriptor", made, size, alpha * size, beta, k)
        return made
