"""Operations on tensors: derivatives, PyTorch's own checks, and its own operations beside them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import alexnet_cuda.torch as act
from alexnet_cuda import ops
from alexnet_cuda.torch import operators
from alexnet_cuda.torch.arrays import place
from tests.ops.backends import BACKENDS

LRN = ops.lrn.parameters(4, size=3, k=1.5, alpha=0.3, beta=0.75, alpha_over_size=True)
GEOMETRY: dict[str, Any] = {"stride": (2, 1), "padding": (1, 0), "groups": 2}
POOL = {"size": 3, "stride": 2, "padding": (1, 0), "ceil_mode": True}


PLACES = [("cpu", dtype) for dtype in (torch.float64, torch.float32, torch.bfloat16)]
if "cuda" in BACKENDS and torch.cuda.is_available():
    PLACES += [("cuda", dtype) for dtype in (torch.float32, torch.bfloat16, torch.float16)]


def randoms(*shapes: tuple[int, ...], dtype: Any = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    made = [torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes]
    return [tensor.to(dtype).requires_grad_() for tensor in made]


IMAGES, WEIGHT = (2, 4, 6, 5), (6, 2, 3, 2)


def theirs_product(function: Callable[..., Tensor], activation: str, **options: Any) -> Callable[..., Tensor]:
    end = {"none": lambda y: y, "relu": torch.relu, "tanh": torch.tanh}[activation]
    return lambda *arguments: end(function(*arguments, **options))


def theirs_lrn(x: Tensor) -> Tensor:
    return F.local_response_norm(x, 3, alpha=0.3, beta=0.75, k=1.5)


# Shapes of the inputs, ours, and PyTorch's.
CASES: dict[str, tuple[tuple[tuple[int, ...], ...], Callable[..., Tensor], Callable[..., Tensor]]] = {
    **{
        f"conv2d-{name}": (
            (IMAGES, WEIGHT, (6,)),
            lambda *t, name=name: act.conv2d(*t, **GEOMETRY, activation=name),
            theirs_product(F.conv2d, name, **GEOMETRY),
        )
        for name in ("none", "relu", "tanh")
    },
    "conv2d-no-bias": (
        (IMAGES, WEIGHT),
        lambda *t: act.conv2d(*t, groups=2),
        theirs_product(F.conv2d, "none", groups=2),
    ),
    "linear": (((3, 5), (4, 5), (4,)), lambda *t: act.linear(*t, activation="relu"), theirs_product(F.linear, "relu")),
    "lrn": ((IMAGES,), lambda x: act.lrn(x, LRN), theirs_lrn),
    "max_pool": ((IMAGES,), lambda x: act.max_pool(x, **POOL), lambda x: F.max_pool2d(x, 3, 2, (1, 0), ceil_mode=True)),
    "lrn_max_pool": (
        (IMAGES,),
        lambda x: act.lrn_max_pool(x, LRN, **POOL),
        lambda x: F.max_pool2d(theirs_lrn(x), 3, 2, (1, 0), ceil_mode=True),
    ),
    "dropout": (
        (IMAGES,),
        lambda x: act.dropout(x, 0.5, seed=3, step=4),
        lambda x: x * dropped(x, 0.5, seed=3, step=4),
    ),
}


def dropped(x: Tensor, rate: float, seed: int, step: int) -> Tensor:
    """The factors of dropout: images are numbered as [N, H, W, C]."""
    n, c, h, w = x.shape
    p = ops.dropout.parameters(rate, seed=seed, purpose=256, step=step, row_stride=c)
    return torch.from_numpy(ops.dropout.apply(np.ones((n * h * w, c)), p)).reshape(n, h, w, c).permute(0, 3, 1, 2)


@pytest.mark.parametrize("name", CASES)
def test_derivatives_equal_differences(name: str) -> None:
    shapes, ours, _ = CASES[name]
    assert torch.autograd.gradcheck(ours, randoms(*shapes))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["NCHW", "NHWC"])
@pytest.mark.parametrize(("device", "dtype"), PLACES, ids=lambda value: str(value))
@pytest.mark.parametrize("name", CASES)
def test_results_and_gradients_equal_pytorchs(name: str, device: str, dtype: Any, layout: Any) -> None:
    shapes, ours, theirs = CASES[name]
    given = [t.detach() for t in randoms(*shapes, dtype=dtype)]
    # PyTorch's are of the CPU, and of 16 bits in float32 of the same numbers.
    wide = [t.to(max(dtype, torch.float32, key=lambda d: d.itemsize)).requires_grad_() for t in given]
    given = [t.contiguous(memory_format=layout) if t.dim() == 4 else t for t in given]
    given = [t.to(device).requires_grad_() for t in given]
    y, expected = ours(*given), theirs(*wide)
    assert y.dtype == dtype
    assert y.dim() != 4 or y.is_contiguous(memory_format=torch.channels_last)
    (dy,) = randoms(tuple(y.shape), dtype=dtype)
    mine = torch.autograd.grad(y, given, dy.to(device))
    right = torch.autograd.grad(expected, wide, dy.to(wide[0].dtype))
    for actual, reference in zip([y, *mine], [expected, *right], strict=True):
        assert actual.dtype == dtype
        # Sums of up to 108 products; a 16-bit y, which ReLU and tanh are undone by, has one more rounding.
        error = torch.linalg.vector_norm(actual.cpu().to(reference.dtype) - reference)
        assert error <= 20 * torch.finfo(dtype).eps * torch.linalg.vector_norm(reference)


OPERATORS = torch.ops.alexnet_cuda
RAW = (3, 1.5, 0.1, 0.75, 1)
WINDOWS = (3, 2, (1, 0), True)
CHECKED: dict[str, tuple[Any, Callable[..., tuple[Any, ...]]]] = {
    "conv2d": ((IMAGES, WEIGHT, (6,)), lambda *t: (*t, [2, 1], [1, 0], 2, "relu", None)),
    "linear": (((3, 5), (4, 5), (4,)), lambda *t: (*t, "tanh", None)),
    "lrn": ((IMAGES,), lambda x: (x, *RAW)),
    "max_pool": ((IMAGES,), lambda x: (x, True, *WINDOWS)),
    "lrn_max_pool": ((IMAGES,), lambda x: (x, True, *WINDOWS, *RAW)),
    "dropout": ((IMAGES,), lambda x: (x, torch.tensor([3]), 0.5, 1, 257)),
}


@pytest.mark.parametrize("name", CHECKED)
def test_operators_pass_pytorchs_check(name: str) -> None:
    shapes, arguments = CHECKED[name]
    torch.library.opcheck(getattr(OPERATORS, name).default, arguments(*randoms(*shapes)))


def test_the_step_of_dropout_passes_pytorchs_check() -> None:
    torch.library.opcheck(OPERATORS.advance.default, (torch.tensor([3]),))


def test_a_compiled_backward_pass_drops_what_its_forward_pass_did() -> None:
    """Compiled by Inductor, which of a copy of the step would keep the step itself, and that is the next pass's."""
    x, step = torch.ones(4, 6, requires_grad=True), torch.tensor([3])
    drop = torch.compile(lambda: act.dropout(x, 0.5, seed=1, step=operators.advance(step)), fullgraph=True)
    first, second = drop(), drop()
    assert not torch.equal(first, second)
    (first + 2 * second).sum().backward()
    assert torch.equal(x.grad, first + 2 * second)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_arrays_are_the_tensors_memory(dtype: Any) -> None:
    x = torch.ones(2, 4, 3, 5, dtype=dtype).contiguous(memory_format=torch.channels_last)
    with place(x) as array:
        there = array(operators.images(x))
    assert (there.shape, there.dtype.name) == ((2, 3, 5, 4), str(dtype).partition(".")[2])
    there[1, 2, 4, 3] = 7
    assert x[1, 3, 2, 4] == 7
    assert torch.count_nonzero(x == 7) == 1


def test_only_what_is_asked_for_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[str] = []
    for op in ("conv2d", "linear"):
        for direction in ("dgrad", "wgrad"):
            function = getattr(getattr(ops, op), direction)

            def call(*given: Any, name: str = direction, function: Any = function, **options: Any) -> Any:
                computed.append(name + str(options.get("bias", "")))
                return function(*given, **options)

            monkeypatch.setattr(f"alexnet_cuda.ops.{op}.{direction}", call)
    for function, shapes in ((act.conv2d, (IMAGES, (6, 4, 3, 3), (6,))), (act.linear, ((3, 5), (4, 5), (4,)))):
        for needed, expected in {
            (True, True, True): ["dgrad", "wgradTrue"],
            (False, True, True): ["wgradTrue"],
            (False, True, False): ["wgradFalse"],
            (True, False, False): ["dgrad"],
        }.items():
            computed.clear()
            given = [t.requires_grad_(need) for t, need in zip(randoms(*shapes), needed, strict=True)]
            function(*given).sum().backward()
            assert computed == expected
            assert [t.grad is not None for t in given] == list(needed)
    with torch.no_grad():
        assert operators.max_pool(randoms(IMAGES)[0], False, *WINDOWS)[1].numel() == 0


def test_second_derivatives_are_refused() -> None:
    for name, (shapes, ours, _) in CASES.items():
        if name == "dropout":
            assert torch.autograd.gradgradcheck(ours, randoms((1, 2, 2, 1)))
            continue
        given = randoms(*shapes)
        gradient = torch.autograd.grad(ours(*given).square().sum(), given[0], create_graph=True)[0]
        with pytest.raises(NotImplementedError, match=r"no second derivatives: \w+ cannot be differentiated"):
            gradient.sum().backward()


def test_autocast_is_that_of_pytorchs_own_products() -> None:
    x, weight, bias = randoms((3, 5), (4, 5), (4,), dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        y, theirs = act.linear(x, weight, bias), F.linear(x, weight, bias)
        normalised = act.lrn(randoms(IMAGES, dtype=torch.float32)[0], LRN)
    assert y.dtype == theirs.dtype == torch.bfloat16
    assert normalised.dtype == torch.float32
    assert torch.linalg.vector_norm(y - theirs) <= 2**-7 * torch.linalg.vector_norm(theirs)
    y.sum().backward()
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, w: act.conv2d(x[0], w), r"x must have four dimensions, got [4, 6, 5]"),
        (lambda x, w: act.conv2d(x, w), r"weight must be [K, 4 / 1, R, S] as x has it, got [6, 2, 3, 2]"),
        (lambda x, w: act.conv2d(x, w.float(), groups=2), "weight must be of dtype torch.float64, got torch.float32"),
        (lambda x, w: act.conv2d(x, w, groups=2, stride=0), "stride must be 2 integers of at least 1, got (0, 0)"),
        (
            lambda x, w: act.conv2d(x, w, groups=2, activation="gelu"),
            "activation must be 'none', 'relu', 'tanh' or 'logistic'",
        ),
        (lambda x, w: act.conv2d(x, w, w[:, 0, 0, 0][:5], groups=2), "bias must have shape [6], got [5]"),
        (lambda x, w: act.linear(x, w), "x [N, in] and weight [out, in] must fit, got [2, 4, 6, 5] and [6, 2, 3, 2]"),
        (lambda x, w: act.max_pool(x, size=16), "size must be between 1 and the padded input's extent, 6x5"),
        (lambda x, w: act.max_pool(x.int()), "x must be floating point, got int32"),
        (lambda x, w: act.lrn(x, ops.lrn.parameters(6, groups=3)), "groups must divide 4 channels, got 3"),
        (lambda x, w: act.conv2d(x, w.to("meta"), groups=2), "weight must be on cpu as x, got one on meta"),
        (lambda x, w: act.dropout(x, 0.5, seed=0, step=torch.tensor([1]).to("meta")), "step must be on cpu as x"),
        (lambda x, w: act.dropout(x, 1.0, seed=0, step=0), "rate must be in [0, 1), got 1.0"),
        (lambda x, w: act.dropout(x, 0.5, seed=0, step=w), "step must be one int64, got torch.float64"),
    ],
)
def test_bad_input_is_named(call: Callable[..., Tensor], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        call(*(t.detach() for t in randoms(IMAGES, WEIGHT)))


def test_the_page_holds() -> None:
    page = (Path(__file__).parents[2] / "docs" / "pytorch.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(block, {})
