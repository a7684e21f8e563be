"""Counter-based random numbers: Philox4x32-10, the one source of randomness of the package.

Every random number is a pure function of ``(seed, purpose, step, element)``; no generator keeps state. So weights,
dropout masks, crops and data order are the same on every backend, on one device or two, after a resume, and whatever
the number of threads. The CUDA kernels compute the same function (``csrc/common/philox.cuh``).

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from .parallel import elementwise, parallel_for

UInt32Array = npt.NDArray[np.uint32]

_MULTIPLIER_0 = np.uint64(0xD2511F53)
_MULTIPLIER_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = 0x9E3779B9
_WEYL_1 = 0xBB67AE85
_ROUNDS = 10
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
# 16384 blocks are four uint64 arrays of 128 KiB: large enough that the interpreter lock is not the bottleneck.
_CHUNK_BLOCKS = 16384


class Purpose(IntEnum):
    """What a random number is for; the second word of the counter. DROPOUT and WEIGHT are bases: add the index."""

    CROP = 1
    COLOUR = 2
    ORDER = 3
    SPLIT = 4
    SAMPLE = 5
    DROPOUT = 0x100
    WEIGHT = 0x200


def _rounds(
    c0: npt.NDArray[np.uint64],
    c1: npt.NDArray[np.uint64],
    c2: npt.NDArray[np.uint64],
    c3: npt.NDArray[np.uint64],
    key: tuple[int, int],
) -> tuple[npt.NDArray[np.uint64], ...]:
    k0, k1 = key
    for _ in range(_ROUNDS):
        product0 = c0 * _MULTIPLIER_0
        product1 = c2 * _MULTIPLIER_1
        c0 = (product1 >> _SHIFT) ^ c1 ^ np.uint64(k0)
        c2 = (product0 >> _SHIFT) ^ c3 ^ np.uint64(k1)
        c1 = product1 & _LOW
        c3 = product0 & _LOW
        k0 = (k0 + _WEYL_0) & 0xFFFFFFFF
        k1 = (k1 + _WEYL_1) & 0xFFFFFFFF
    return c0, c1, c2, c3


def philox4x32(counter: npt.ArrayLike, key: tuple[int, int]) -> UInt32Array:
    """Philox4x32-10 of each counter.

    Parameters
    ----------
    counter : array_like of uint32, shape [..., 4]
        The counters.
    key : (int, int)
        The two 32-bit key words.

    Returns
    -------
    ndarray of uint32, shape [..., 4]
    """
    words = np.asarray(counter, dtype=np.uint64)
    if words.ndim == 0 or words.shape[-1] != 4:
        raise ValueError(f"counter must have shape [..., 4], got {list(words.shape)}")
    largest = max(*key, int(words.max(initial=0)))
    if largest >= 1 << 32 or min(key) < 0:
        raise ValueError(f"counter and key must hold 32-bit unsigned integers, got {largest} and key {key}")
    out = _rounds(words[..., 0], words[..., 1], words[..., 2], words[..., 3], key)
    return np.stack(out, axis=-1).astype(np.uint32)


def check_key(seed: int, purpose: int, step: int) -> None:
    """Require seed and step of 64 bits and a purpose of 32."""
    if not (0 <= seed < 1 << 64 and 0 <= step < 1 << 64):
        raise ValueError(f"seed and step must be 64-bit unsigned integers, got seed {seed} and step {step}")
    if not 0 <= purpose < 1 << 32:
        raise ValueError(f"purpose must be a 32-bit unsigned integer, got {purpose}")


def check_elements(start: int, count: int) -> None:
    """Require elements that a step has random bits for."""
    if start < 0 or count < 0 or start + count > 1 << 34:
        raise ValueError(f"elements must lie in [0, 2**34], got start {start} and count {count}")


def bits(seed: int, purpose: int, step: int, start: int, count: int, steps: int = 1) -> UInt32Array:
    """The 32 random bits of elements ``start`` to ``start + count``.

    Element ``e`` is word ``e % 4`` of the Philox block with counter ``(e // 4, purpose, step low, step high)`` and
    key ``(seed low, seed high)``.

    Parameters
    ----------
    seed, step : int
        64-bit values.
    purpose : int
        A `Purpose`, or a base plus an index.
    start, count : int
        The elements; ``start + count`` at most 2**34.
    steps : int
        Those of so many steps, from `step` on.

    Returns
    -------
    ndarray of uint32, shape [steps * count]
    """
    check_elements(start, count)
    check_key(seed, purpose, step)
    first, last = start // 4, -(-(start + count) // 4)
    blocks = last - first
    words = np.empty((steps * blocks, 4), np.uint32)
    key = (seed & 0xFFFFFFFF, seed >> 32)

    def chunk(index: int) -> None:
        rows = words[index * _CHUNK_BLOCKS : (index + 1) * _CHUNK_BLOCKS]
        number = np.arange(index * _CHUNK_BLOCKS, index * _CHUNK_BLOCKS + len(rows), dtype=np.uint64)
        ahead, block = (0, number) if steps == 1 else np.divmod(number, np.uint64(blocks))
        at = np.full(len(rows), step, np.uint64) + np.asarray(ahead, np.uint64)
        c1 = np.full(len(rows), purpose, np.uint64)
        for column, word in enumerate(_rounds(block + np.uint64(first), c1, at & _LOW, at >> _SHIFT, key)):
            rows[:, column] = word

    parallel_for(chunk, -(-len(words) // _CHUNK_BLOCKS))
    offset = start - 4 * first
    return words.reshape(steps, -1)[:, offset : offset + count].reshape(-1)


def uniform(
    seed: int,
    purpose: int,
    step: int,
    start: int,
    count: int,
    low: float = 0.0,
    high: float = 1.0,
    dtype: npt.DTypeLike = np.float64,
) -> npt.NDArray[Any]:
    """Uniform numbers in (low, high), from ``(bits + 0.5) / 2**32``; rounded to `dtype`, they may reach the ends.

    See `bits`.
    """
    return _transformed(bits(seed, purpose, step, start, count), dtype, lambda p: p * (high - low) + low)


def normal(
    seed: int,
    purpose: int,
    step: int,
    start: int,
    count: int,
    scale: float = 1.0,
    dtype: npt.DTypeLike = np.float64,
    steps: int = 1,
) -> npt.NDArray[Any]:
    """Normal numbers of standard deviation `scale`, by the inverse of the distribution function. See `bits`.

    Only additions, multiplications, divisions and square roots are used, each correctly rounded by IEEE 754, so the
    numbers are the same to the bit on every machine, whatever its mathematical library.

    Source: Wichura, "Algorithm AS 241", Applied Statistics 37 (1988), the coefficients of PPND7 (seven digits).
    """
    raw = bits(seed, purpose, step, start, count, steps)
    return _transformed(raw, dtype, lambda p: _inverse_normal(p) * scale)


def permutation(seed: int, purpose: int, step: int, n: int) -> npt.NDArray[np.int64]:
    """A permutation of ``range(n)``: the stable order of `n` 64-bit random keys. See `bits`."""
    words = bits(seed, purpose, step, 0, 2 * n).astype(np.uint64)
    return np.argsort((words[0::2] << _SHIFT) | words[1::2], kind="stable").astype(np.int64)


def _transformed(
    raw: UInt32Array, dtype: npt.DTypeLike, transform: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
) -> npt.NDArray[Any]:
    out = np.empty(len(raw), dtype)

    def block(part: slice) -> None:
        out[part] = transform((raw[part] + 0.5) * 2.0**-32)

    elementwise(block, len(raw), 65536)
    return out


def _polynomial(coefficients: tuple[float, ...], x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    value = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value *= x
        value += coefficient
    return value


def _inverse_normal(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    q = p - 0.5
    r = 0.180625 - q * q
    out = q * _polynomial((3.3871327179, 50.434271938, 159.29113202, 59.109374720), r)
    out /= _polynomial((1.0, 17.895169469, 78.757757664, 67.187563600), r)
    tail = np.flatnonzero(np.abs(q) > 0.425)
    if len(tail):
        # AS 241 has a third pair of polynomials beyond 5 here; p is at least 2^-33, so r is at most 4.79.
        r = np.sqrt(-_log(np.minimum(p[tail], 1.0 - p[tail]))) - 1.6
        z = _polynomial((1.4234372777, 2.7568153900, 1.3067284816, 0.17023821103), r)
        z /= _polynomial((1.0, 0.73700164250, 0.12021132975), r)
        out[tail] = np.copysign(z, q[tail])
    return out


def _log(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Natural logarithm to 1e-9, from exactly rounded operations alone (libm's differ between machines)."""
    mantissa, exponent = np.frexp(x)
    t = (mantissa - 0.7071067811865476) / (mantissa + 0.7071067811865476)
    # log(m / c) = 2 artanh(t), |t| <= 0.172: nine odd terms leave less than 1e-15.
    series = _polynomial(tuple(1.0 / (2 * i + 1) for i in range(9)), t * t)
    return 2.0 * t * series + (exponent - 0.5) * 0.6931471805599453
