"""Every operation a few times on small shapes, against the float64 reference on the CPU.

    python benchmarks/gpu_check_parts/small_set.py --backend cuda --output small.jsonl

Small enough for compute-sanitizer, which makes a kernel up to a hundred times slower, and for the CPU executor. One
JSON line a comparison, written as soon as it is made, so that a kernel that hangs leaves what came before it. To add
a shape, add a line to a table of small_products.py or small_calls.py; to add an operation, a function and its line in
`CALLS` or `PRODUCTS`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]

from tests.ops.backends import BACKENDS, Backend  # noqa: E402
from tests.ops.tolerance import Precision, assert_close, assert_equal  # noqa: E402

Array = npt.NDArray[Any]
Record = dict[str, Any]
MESSAGE = 1000  # characters of an error that are kept


@dataclass(frozen=True)
class Expected:
    """What a call should give.

    Attributes
    ----------
    values : array
        float64; exact ones in the dtype that they should have.
    terms : units of the sums' rounding, as in `Precision.bound`
    precision : Precision, or None for exact values
    shared : float
        Units of rounding that all elements may have in common, as in `assert_close`.
    """

    values: Array
    terms: Array | float = 0.0
    precision: Precision | None = None
    shared: float = 0.0

    def error_over_bound(self, actual: Array) -> float:
        """Return the worst; raises AssertionError where it is more than one, or the error has a system."""
        if self.precision is None:
            assert_equal(actual, self.values)
            return 0.0
        bound = np.broadcast_to(self.precision.bound(self.values, self.terms), self.values.shape)
        shared = self.shared * self.precision.accumulate
        assert_close(actual, self.values, bound, self.precision.dtype, shared)
        return float(np.max(np.abs(actual.astype(np.float64) - self.values) / bound, initial=0.0))


class SmallSet:
    """The calls in one precision on one backend; what came of each goes to `emit`.

    Attributes
    ----------
    backend : Backend
    precision : Precision
    random : Generator
    """

    def __init__(self, backend: Backend, precision: Precision, emit: Callable[[Record], None]) -> None:
        self.backend, self.precision, self._emit = backend, precision, emit
        self.random = np.random.default_rng(20)
        self._note = ""

    def normal(self, *shape: int) -> Array:
        """Normal numbers in this precision, on the host."""
        return self.precision.array(self.random.standard_normal(shape))

    def parameters(self, *shape: int) -> Array:
        """Normal numbers as bias, addend, or what the optimiser keeps."""
        return self.precision.parameter(self.random.standard_normal(shape))

    def rounded(self, values: Array, terms: Array | float, shared: float = 0.0) -> Expected:
        """What is stored in this precision."""
        return Expected(values, terms, self.precision, shared)

    def sums(self, values: Array, terms: Array | float, shared: float = 0.0) -> Expected:
        """What is stored as sums are."""
        return Expected(values, terms, self.precision.sums, shared)

    @contextmanager
    def forced(self, choice: str) -> Iterator[None]:
        """Pin what the launch choice would choose; nothing for an empty text."""
        before = os.environ.get("ALEXNET_CUDA_FORCE", "")
        os.environ["ALEXNET_CUDA_FORCE"] = choice
        self._note = f", {choice}" if choice else ""
        try:
            yield
        finally:
            os.environ["ALEXNET_CUDA_FORCE"], self._note = before, ""

    def compare(
        self, name: str, case: str, call: Callable[..., Any], inputs: Sequence[Array], *expected: Expected
    ) -> None:
        """Hold what `call` makes of `inputs` against what is expected, and keep the worst error over its bound.

        Parameters
        ----------
        name : str
            Operation and direction, such as ``conv2d.fprop``.
        call : callable
            Takes the inputs on the device; returns an array or several.
        """
        op, _, direction = name.partition(".")
        record: Record = {"op": op, "direction": direction, "precision": self.precision.name, "case": case + self._note}
        start = time.perf_counter()
        try:
            results = call(*map(self.backend.to_device, inputs))
            results = results if isinstance(results, tuple) else (results,)
            actual = [self.backend.to_host(result) for result in results]
            errors = [each.error_over_bound(a) for each, a in zip(expected, actual, strict=True)]
            record |= {"status": "passed", "error_over_bound": max(errors)}
        except Exception as error:
            record |= {"status": "failed", "message": f"{type(error).__name__}: {error}"[:MESSAGE]}
        self._emit(record | {"seconds": round(time.perf_counter() - start, 4)})


def run(
    backend: Backend,
    emit: Callable[[Record], None],
    calls: dict[str, Callable[[SmallSet], None]],
    precisions: Sequence[Precision],
) -> None:
    """Make the calls in every precision."""
    for precision in precisions:
        small = SmallSet(backend, precision, emit)
        for op, make in calls.items():
            try:
                make(small)
            except Exception as error:  # of the reference, or of a function that is missing: no pass either
                message = f"{type(error).__name__}: {error}"[:MESSAGE]
                record: Record = {"op": op, "direction": "", "precision": precision.name, "case": ""}
                emit(record | {"status": "failed", "message": message})


def run_all(
    backend: Backend, emit: Callable[[Record], None], names: Sequence[str] = (), ops: Sequence[str] = ()
) -> None:
    """Make every call in every precision that the backend offers, or those of the operations and precisions named."""
    from gpu_check_parts.small_calls import CALLS
    from gpu_check_parts.small_products import PRODUCTS

    for calls, offered in ((PRODUCTS, backend.products), (CALLS, backend.precisions)):
        chosen = {op: make for op, make in calls.items() if not ops or op in ops}
        run(backend, emit, chosen, [precision for precision in offered if not names or precision.name in names])


def main() -> int:
    """Write a line a comparison; the exit status is 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backend", default="cuda", choices=sorted({"cuda", *BACKENDS}))
    parser.add_argument("--precisions", default="", help="comma-separated; by default all that the backend offers")
    parser.add_argument("--ops", default="", help="comma-separated; by default all")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.backend not in BACKENDS:
        print(f"no backend {arguments.backend!r} here: tests/ops/backends.py offers {', '.join(BACKENDS)}")
        return 1
    if arguments.backend == "cuda":
        import cupy

        # An allocation each, so that the sanitizers know where an array ends and which bytes were written.
        cupy.cuda.set_allocator(None)
    failed = 0
    with open(arguments.output, "w", encoding="utf-8") as file:

        def emit(record: Record) -> None:
            nonlocal failed
            file.write(json.dumps(record) + "\n")
            file.flush()
            if record["status"] != "passed":
                failed += 1
                print(*(record[key] for key in ("op", "direction", "precision", "case", "message")), flush=True)

        names, ops = ([name for name in text.split(",") if name] for text in (arguments.precisions, arguments.ops))
        run_all(BACKENDS[arguments.backend], emit, names, ops)
    print(f"{failed} comparisons failed")
    return 1 if failed else 0


if __name__ == "__main__":
    from gpu_check_parts import small_set  # the module that the tables know, not this one run as a script

    sys.exit(small_set.main())
