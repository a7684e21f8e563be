"""The fused forms of convolutions and fully connected layers: what each takes, and what it gives in float64.

A form wraps the operation's own sums, which the caller has in float64 with the units of rounding in them (see
`Precision.dot`), in operations of float64 that are not fused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda.ops import dropout
from alexnet_cuda.ops.sgd import SgdParams

from .backends import Backend
from .tolerance import Precision, Sums, assert_sums

Array = npt.NDArray[Any]


@contextmanager
def pinned(pins: str) -> Iterator[None]:
    """The kernels' launch choice, "tile=64x64,splits=3" or one of both, for as long as this lasts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALEXNET_CUDA_FORCE", pins)
        yield


def _normal(seed: int, shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


@dataclass(frozen=True)
class FpropForm:
    """``dropout(activation(sums + addend + bias))``.

    Attributes
    ----------
    addend : {"", "apart", "out"}
        None, an array of its own, or the one that is written.
    dropout : {"", "blocks", "odd"}
        Whether the rows' numbers begin at multiples of 4.
    sums : bool
        Whether the result is of the dtype of sums.
    """

    bias: bool = True
    addend: str = ""
    activation: str = "none"
    dropout: str = ""
    sums: bool = False

    def check(
        self, backend: Backend, precision: Precision, sums: Sums, call: Callable[..., Any], place: str = "to_device"
    ) -> Any:
        """Have `call` do it, to an array placed by that method of `backend`, and compare; returns that array."""
        shape, columns = sums.value.shape, sums.value.shape[-1]
        result = precision.sums if self.sums else precision
        bias = precision.parameter(_normal(31, (columns,))) if self.bias else None
        addend = precision.parameter(_normal(32, shape)) if self.addend else None
        # Where columns come in whole blocks of random numbers, rows may begin at one or not.
        start, stride = (8, 2 * columns + 8) if self.dropout == "blocks" else (3, columns + 2)
        key = {"seed": 1 << 40 | 7, "purpose": 3, "step": 5, "start": start, "row_stride": stride}
        drop = dropout.parameters(0.4, **key) if self.dropout else None
        to_device = getattr(backend, place)
        out = to_device(addend if self.addend == "out" else np.full(shape, np.nan, result.dtype))
        given = call(
            bias=None if bias is None else backend.to_device(bias),
            addend=out if self.addend == "out" else None if addend is None else to_device(addend),
            activation=self.activation,
            dropout=drop,
            out=out,
        )
        assert given is out
        expected = sums.plus(addend).plus(bias)
        value, units = expected.value, expected.units
        if self.activation == "relu":
            value = np.maximum(value, 0)
        elif self.activation == "tanh":
            value, units = np.tanh(value), units + 8  # the slope is at most 1; 8 for tanh itself
        elif self.activation == "logistic":
            value = 1 / (1 + np.exp(-value))
            units = units / 4 + 6 * value  # the slope is at most 1/4; 4 for exp, a sum and a quotient
        actual = backend.to_host(out)
        if drop is not None:
            kept = dropout.apply(np.ones((value.size // columns, columns)), drop).reshape(shape)
            assert (actual[kept == 0] == 0).all()
            value, units = value * kept, units * kept + 2 * np.abs(value * kept)
        assert_sums(actual, Sums(value, units, sums.depth), result)
        return out


FPROP_FORMS = {
    "alone": FpropForm(bias=False),
    "relu": FpropForm(activation="relu"),
    "tanh": FpropForm(activation="tanh"),
    "logistic": FpropForm(activation="logistic"),
    "addend, relu": FpropForm(addend="apart", activation="relu"),
    "sums": FpropForm(bias=False, sums=True),
    "sums in place": FpropForm(bias=False, addend="out", sums=True),
    "relu, dropout": FpropForm(activation="relu", dropout="blocks"),
    "all, sums": FpropForm(addend="apart", activation="tanh", dropout="odd", sums=True),
}


@dataclass(frozen=True)
class DgradForm:
    """``mask > 0 ? mask_scale * (sums + addend) : 0``; attributes as of `FpropForm`."""

    mask: bool = False
    mask_scale: float = 1.0
    addend: str = ""
    sums: bool = False

    def check(
        self, backend: Backend, precision: Precision, sums: Sums, call: Callable[..., Any], place: str = "to_device"
    ) -> Any:
        """As of `FpropForm`."""
        shape = sums.value.shape
        result = precision.sums if self.sums else precision
        mask = precision.array(np.maximum(_normal(33, shape), 0)) if self.mask else None
        addend = precision.parameter(_normal(34, shape)) if self.addend else None
        to_device = getattr(backend, place)
        out = to_device(addend if self.addend == "out" else np.full(shape, np.nan, result.dtype))
        given = call(
            mask=None if mask is None else to_device(mask),
            mask_scale=self.mask_scale,
            addend=out if self.addend == "out" else None if addend is None else to_device(addend),
            out=out,
        )
        assert given is out
        expected = sums.plus(addend)
        value, units = expected.value, expected.units
        actual = backend.to_host(out)
        if mask is not None:
            assert (actual[mask == 0] == 0).all()
            opened = self.mask_scale * (mask > 0)
            value, units = value * opened, units * opened + 2 * np.abs(value * opened)
        assert_sums(actual, Sums(value, units, sums.depth), result)
        return out


DGRAD_FORMS = {
    "alone": DgradForm(),
    "relu": DgradForm(mask=True),
    "relu and dropout": DgradForm(mask=True, mask_scale=1 / 0.6),
    "addend, relu": DgradForm(mask=True, addend="apart"),
    "sums": DgradForm(sums=True),
    "sums in place": DgradForm(addend="out", sums=True),
    "all, sums": DgradForm(mask=True, mask_scale=1 / 0.6, addend="apart", sums=True),
}


@dataclass(frozen=True)
class WgradForm:
    """The gradients, or the update by them.

    Attributes
    ----------
    bias : bool
        Whether the bias's gradient is wanted.
    accumulate : bool
    sgd : bool
    keep : bool
        With `sgd`: whether the gradient is written too.
    copy : bool
        With `sgd`, where there are 16 bits: whether a rounded copy of the weights is written.
    """

    bias: bool = True
    accumulate: bool = False
    sgd: bool = False
    keep: bool = True
    copy: bool = False

    RATES: ClassVar[dict[str, float]] = {
        "momentum": 0.75,
        "weight_decay": 0.125,
        "rate_factor": 2.0,
        "gradient_scale": 0.25,
    }

    def check(
        self,
        backend: Backend,
        precision: Precision,
        sums: Sums,
        bias_sums: Sums,
        call: Callable[..., Any],
        place: str = "to_device",
    ) -> list[Any]:
        """As of `FpropForm`; returns all that was written."""
        kept, shape = precision.sums, sums.value.shape
        to_device = getattr(backend, place)
        before = precision.parameter(_normal(35, shape)) if self.accumulate else None
        out = to_device(np.full(shape, np.nan, kept.dtype) if before is None else before) if self.keep else None
        bias_out = to_device(np.full(shape[:1], np.nan, kept.dtype)) if self.bias else None
        weight, velocity = (precision.parameter(_normal(seed, shape)) for seed in (36, 37))
        p = None
        if self.sgd:
            narrow = self.copy and precision.dtype.itemsize == 2
            copy = to_device(np.full(shape, np.nan, precision.dtype)) if narrow else None
            p = SgdParams(to_device(weight), to_device(velocity), 0.5, copy=copy, **self.RATES)
        given = call(accumulate=self.accumulate, sgd=p, bias=self.bias, out=out, bias_out=bias_out)
        assert given[0] is out
        assert given[1] is bias_out
        gradient = sums.plus(before)
        if out is not None:
            assert_sums(backend.to_host(out), gradient, kept)
        if bias_out is not None:
            assert_sums(backend.to_host(bias_out), bias_sums, kept)
        if p is not None:
            self._check_update(backend, gradient, weight, velocity, p, kept)
        written = [out, bias_out, *([p.weight, p.velocity, p.copy] if p is not None else [])]
        return [array for array in written if array is not None]

    def _check_update(
        self, backend: Backend, gradient: Sums, weight: Array, velocity: Array, p: SgdParams, kept: Precision
    ) -> None:
        w, v = weight.astype(np.float64), velocity.astype(np.float64)
        rate = p.learning_rate * p.rate_factor
        decay, step = p.weight_decay * rate * w, rate * p.gradient_scale * gradient.value
        new = p.momentum * v - decay - step
        # Three products and two sums, each rounded, of these; the weights then with one sum more.
        sizes = np.abs(p.momentum * v) + np.abs(decay) + np.abs(step)
        units = rate * p.gradient_scale * gradient.units + 6 * sizes
        assert_sums(backend.to_host(p.velocity), Sums(new, units, gradient.depth), kept)
        assert_sums(backend.to_host(p.weight), Sums(w + new, units + np.abs(w) + sizes, gradient.depth), kept)
        if p.copy is not None:
            copy = backend.to_host(p.copy)
            assert np.array_equal(copy, backend.to_host(p.weight).astype(copy.dtype))


WGRAD_FORMS = {
    "alone": WgradForm(),
    "no bias": WgradForm(bias=False),
    "accumulate": WgradForm(accumulate=True),
    "sgd": WgradForm(sgd=True, keep=False, copy=True),
    "sgd, no copy, gradient": WgradForm(sgd=True),
}

fprop_forms = pytest.mark.parametrize("form", FPROP_FORMS.values(), ids=FPROP_FORMS)
dgrad_forms = pytest.mark.parametrize("form", DGRAD_FORMS.values(), ids=DGRAD_FORMS)
wgrad_forms = pytest.mark.parametrize("form", WGRAD_FORMS.values(), ids=WGRAD_FORMS)

# Of the small set: all that is fused, at least once, with and without splits.
SMALL_PINS = ("", "splits=3")
SMALL_FPROP = [FPROP_FORMS[name] for name in ("relu, dropout", "all, sums")]
SMALL_DGRAD = [DGRAD_FORMS["all, sums"]]
SMALL_WGRAD = [WGRAD_FORMS[name] for name in ("accumulate", "sgd")]
