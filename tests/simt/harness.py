"""Compiles the executor with kernels.cu and calls them on guarded NumPy arrays."""

from __future__ import annotations

import ctypes
import os
import subprocess
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from simt import whole_executor

SOURCES = Path(__file__).parents[2] / "csrc"
KERNELS = Path(__file__).with_name("kernels.cu")
FLAGS = ["-x", "c++", "-std=c++17", "-Wall", "-Wextra", "-fPIC", "-fvisibility=hidden", "-DALEXNET_CUDA_SIMT"]
POISON = 0xFF

Size = int | tuple[int, ...]


class ExecutorError(Exception):
    """What the executor found wrong with a kernel."""


def build(folder: Path, flags: Sequence[str], more: Sequence[Path] = ()) -> Path:
    """Compile into ``folder``, with ``more`` sources; returns the shared library."""
    compiler = os.environ.get("CXX", "c++")

    def compile_one(source: Path) -> Path:
        target = folder / f"{source.name}.o"
        subprocess.run([compiler, *FLAGS, *flags, f"-I{SOURCES}", "-c", source, "-o", target], check=True)
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, [KERNELS, *more, whole_executor(folder)]))
    library = folder / "kernels.so"
    subprocess.run([compiler, "-shared", *flags, *objects, "-o", library, "-pthread", "-ldl"], check=True)
    return library


def _three(size: Size) -> ctypes.Array[ctypes.c_uint]:
    sizes = (size,) if isinstance(size, int) else size
    return (ctypes.c_uint * 3)(*sizes, *[1] * (3 - len(sizes)))


class Executor:
    """The test kernels by name."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        self._library.simt_allocate.restype = ctypes.c_void_p
        self._library.simt_allocate.argtypes = [ctypes.c_size_t, ctypes.c_int]
        self._library.simt_release.argtypes = [ctypes.c_void_p]
        self._library.simt_set_seed.argtypes = [ctypes.c_uint64]

    def seed(self, seed: int) -> None:
        self._library.simt_set_seed(seed)

    def threads(self, count: int) -> None:
        self._library.simt_set_thread_count(count)

    def mma_sums(self, name: str) -> None:
        self._library.simt_set_mma_sums(name.encode())

    def runner_log(self) -> list[str]:
        """What runner.cpp, if it is in the library, was given since the last call: a line for each launch."""
        self._library.runner_log.restype = ctypes.c_char_p
        text: bytes = self._library.runner_log()
        return text.decode().splitlines()

    def empty(self, shape: Size, dtype: DTypeLike = np.float32, at_end: bool = True) -> NDArray[Any]:
        """A poisoned array, its end (or start) at an inaccessible page."""
        shape = (shape,) if isinstance(shape, int) else shape
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        address = self._library.simt_allocate(size, at_end)
        memory: Any = (ctypes.c_char * size).from_address(address)
        weakref.finalize(memory, self._library.simt_release, address)
        array: NDArray[Any] = np.ndarray(shape, dtype, memory)
        return array

    def array(self, values: ArrayLike, at_end: bool = True) -> NDArray[Any]:
        given = np.asarray(values)
        result = self.empty(given.shape, given.dtype, at_end)
        result[...] = given
        return result

    def run(
        self,
        name: str,
        *arrays: NDArray[Any],
        scalars: Sequence[int] = (),
        grid: Size = 1,
        block: Size = 32,
        shared: int = 0,
    ) -> None:
        error = ctypes.create_string_buffer(2048)
        pointers = (ctypes.c_void_p * max(len(arrays), 1))(*[array.ctypes.data for array in arrays])
        numbers = (ctypes.c_int * max(len(scalars), 1))(*scalars)
        failed = self._library.simt_run(
            name.encode(),
            pointers,
            numbers,
            _three(grid),
            _three(block),
            ctypes.c_size_t(shared),
            error,
            ctypes.c_size_t(len(error)),
        )
        if failed:
            raise ExecutorError(error.value.decode())


def unwritten(array: NDArray[Any]) -> int:
    """How many elements still hold the poison that an output has before a launch."""
    raw = np.ascontiguousarray(array).view(np.uint8).reshape(array.size, array.itemsize)
    return int((raw == POISON).all(axis=1).sum())
