"""Ceilings of a device, and the least time that work can take under them. Needs no GPU."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Ceilings:
    """What a device reaches on its two simplest tasks.

    Attributes
    ----------
    source : str
        Where the numbers come from.
    bandwidth : float
        Of a large copy, bytes read plus bytes written, a second.
    flops : dict
        Precision to floating-point operations a second of a large matrix product.
    launch : float
        Seconds from one small kernel to the next in a CUDA graph.
    """

    source: str
    bandwidth: float
    flops: dict[str, float]
    launch: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """As JSON; `from_json` is the inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Ceilings:
        """The ceilings of `to_json`'s values."""
        return cls(**values)


# For predictions where nothing was measured: an H200's, as docs/kernels/ take them. TF32 as half of bfloat16; float32
# is the FMA units' rate, which exact arithmetic through three TF32 products may exceed.
NOMINAL = Ceilings(
    "nominal, an H200's",
    4.3e12,
    {"bfloat16": 790e12, "float16": 790e12, "tf32": 395e12, "float32": 67e12},
)


@dataclass(frozen=True)
class Floor:
    """The least seconds, and whether arithmetic ("compute") or bytes ("memory") set them."""

    seconds: float
    bound: str


def floor(flops: float, nbytes: float, precision: str, ceilings: Ceilings) -> Floor:
    """The least time of so many operations and bytes.

    Where float32 is asked for, exact arithmetic may also go through the tensor cores in three TF32 products: the
    faster of the two counts.
    """
    rate = ceilings.flops[precision]
    if precision == "float32":
        rate = max(rate, ceilings.flops["tf32"] / 3)
    compute, memory = flops / rate, nbytes / ceilings.bandwidth
    return Floor(max(compute, memory), "compute" if compute > memory else "memory")
