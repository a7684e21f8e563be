"""What all activations share: elementwise functions whose gradient follows from what they gave."""

from __future__ import annotations

from dataclasses import dataclass

from ._dispatch import Array, backend, check, output


@dataclass(frozen=True)
class Activation:
    """The function that the backends know by a name."""

    name: str

    def fprop(self, x: Array, *, out: Array | None = None) -> Array:
        """The function of x, of any shape; `out` may be `x`."""
        check("x", x, None)
        y = output(out, x, x.shape)
        backend(self.name, x, y, module="activation").fprop(self.name, x, y)
        return y

    def bprop(self, dy: Array, y: Array, *, out: Array | None = None) -> Array:
        """Gradient by the input, from dy and the output y of the forward pass; `out` may be `dy`."""
        check("y", y, None)
        check("dy", dy, y.shape, y.dtype)
        dx = output(out, dy, dy.shape)
        backend(self.name, dy, y, dx, module="activation").bprop(self.name, dy, y, dx)
        return dx
