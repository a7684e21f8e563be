"""Softmax with cross-entropy: the float64 reference against exact sums, every backend against the reference."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda.backends.cpu.softmax_cross_entropy import softmax
from alexnet_cuda.ops import softmax_cross_entropy

from .backends import Backend, assert_repeats
from .small import small
from .tolerance import PRECISIONS, Precision, assert_close, assert_equal, assert_gradient

Array = npt.NDArray[Any]


def problem(rows: int, classes: int, scale: float = 1.0) -> tuple[Array, Array]:
    rng = np.random.default_rng(15)
    return scale * rng.standard_normal((rows, classes)), rng.integers(0, classes, rows)


def loops(logits: Array, labels: Array) -> tuple[Array, Array, Array]:
    """Loss, correctness and ``softmax - onehot``, an image at a time with exactly rounded sums."""
    loss, gradient = np.zeros(len(logits)), np.zeros(logits.shape)
    correct = np.zeros(len(logits), bool)
    for n, (row, label) in enumerate(zip(logits.tolist(), labels.tolist(), strict=True)):
        largest = max(row)
        shifted = [v - largest for v in row]
        total = math.fsum(map(math.exp, shifted))
        loss[n] = math.log(total) - shifted[label]
        gradient[n] = [math.exp(v) / total - (k == label) for k, v in enumerate(shifted)]
        correct[n] = row.index(max(row)) == label
    return loss, correct, gradient


SIZES = {
    "lopsided": (3, 7),
    "batch of 1": (1, 5),
    "one class": (4, 1),
    "past a warp": (2, 33),
    "past a block": (2, 257),
    "ImageNet": (129, 1000),
    "empty batch": (0, 7),
}
sizes = pytest.mark.parametrize(("rows", "classes"), SIZES.values(), ids=SIZES)
scales = pytest.mark.parametrize("scale", [1.0, 1e4], ids=["logits of 1", "logits of 1e4"])


@sizes
@scales
def test_reference_equals_exact_sums(rows: int, classes: int, scale: float) -> None:
    logits, labels = problem(rows, classes, scale)
    loss, correct, gradient = loops(logits, labels)
    dlogits = np.full(logits.shape, np.nan)
    actual, right = softmax_cross_entropy.fprop(logits, labels, dlogits=dlogits)
    assert_close(actual, loss, 1e-14 * (1 + np.abs(loss)), np.float64)
    assert_equal(right, correct)
    assert_close(dlogits, gradient, np.full((), 1e-14), np.float64)
    assert_close(softmax(logits).sum(axis=1), np.ones(rows), np.full((), 1e-14), np.float64)


def test_reference_gradient_equals_differences() -> None:
    logits, labels = problem(3, 7)
    dloss = np.array([0.5, -1.0, 2.0])
    dlogits = np.empty_like(logits)
    softmax_cross_entropy.fprop(logits, labels, dlogits=dlogits)
    assert_gradient(
        lambda moved: softmax_cross_entropy.fprop(moved, labels)[0], logits, dloss, dlogits * dloss[:, None]
    )


def expected_and_bounds(
    logits: Array, labels: Array, precision: Precision, scale: float
) -> tuple[tuple[Array, Array], Array, tuple[Array, Array]]:
    """Loss and its bound, correctness, and the gradient with the units of rounding in it, of rounded logits."""
    reference = logits.astype(np.float64)
    gradient = np.empty_like(reference)
    expected, right = softmax_cross_entropy.fprop(reference, labels, scale=scale, dlogits=gradient)
    # A logit less the largest, x, is off by |x| units, and its exponential by as many relative to itself. The sum of
    # the exponentials adds less than 5 sqrt(classes) relative to itself (see `dot_terms`); 8 are for the exponential,
    # the logarithm, the quotient, the difference of 1 and the scale.
    units = 5 * np.sqrt(logits.shape[1]) + 8
    away = reference.max(axis=1, keepdims=True, initial=-1e9) - reference
    label = labels[:, None] == np.arange(logits.shape[1])
    bound = precision.accumulate * (units + np.log(logits.shape[1]) + away[label] + np.abs(expected))
    terms = scale * ((gradient / scale + label) * (units + away) + label)
    return (expected, bound), right, (gradient, terms)


@small(classes=[7, 257], there=["to_device"])
@sizes
@scales
@pytest.mark.parametrize("there", ["to_device", "shifted"])
def test_fprop(backend: Backend, precision: Precision, rows: int, classes: int, scale: float, there: str) -> None:
    logits, labels = problem(rows, classes, scale)
    logits = precision.array(logits)
    dlogits = backend.poisoned(logits.shape, precision.dtype)
    outputs = {
        "loss_out": backend.poisoned((rows,), np.float32),
        "correct_out": backend.to_device(np.full(rows, 255, np.uint8).view(np.bool_)),
    }
    to_device = getattr(backend, there)
    loss, correct = softmax_cross_entropy.fprop(
        to_device(logits), backend.to_device(labels), scale=0.25, dlogits=dlogits, **outputs
    )
    assert loss is outputs["loss_out"]
    assert correct is outputs["correct_out"]
    (expected, bound), right, (gradient, terms) = expected_and_bounds(logits, labels, precision, 0.25)
    assert_equal(backend.to_host(correct).view(np.uint8), right.view(np.uint8))
    assert_close(backend.to_host(loss), expected, bound, np.float32)
    assert_close(backend.to_host(dlogits), gradient, precision.bound(gradient, terms), precision.dtype)
    again, right_again = softmax_cross_entropy.fprop(to_device(logits), backend.to_device(labels), scale=0.25)
    assert backend.bits(again) == backend.bits(loss)
    assert backend.bits(right_again) == backend.bits(correct)


@pytest.mark.parametrize(("first", "columns"), [(0, 257), (0, 128), (128, 129), (131, 7), (256, 1), (257, 0)])
@pytest.mark.parametrize("there", ["to_device", "shifted"])
def test_the_gradient_of_some_columns_in_another_dtype(
    backend: Backend, precision: Precision, first: int, columns: int, there: str
) -> None:
    """The logits are of the dtype of sums, the gradient, which goes on, of that of the network."""
    logits, labels = problem(9, 257)
    labels[:4] = 0, 127, 128, 256
    logits = logits.astype(np.float32)
    dlogits = getattr(backend, there)(np.full((9, columns), np.nan, precision.dtype))
    loss, correct = softmax_cross_entropy.fprop(
        backend.to_device(logits), backend.to_device(labels), scale=0.5, dlogits=dlogits, first_column=first
    )
    (expected, bound), right, (gradient, terms) = expected_and_bounds(logits, labels, precision, 0.5)
    assert_equal(backend.to_host(correct).astype(bool), right)
    assert_close(backend.to_host(loss), expected, bound, np.float32)
    gradient, terms = (np.ascontiguousarray(a[:, first : first + columns]) for a in (gradient, terms))
    assert_close(backend.to_host(dlogits), gradient, precision.bound(gradient, terms), precision.dtype)


def test_ties_go_to_the_first(backend: Backend, precision: Precision) -> None:
    logits = backend.to_device(precision.array([[1.0, 3.0, 3.0], [3.0, 3.0, 3.0], [-0.0, 0.0, -1.0]] * 2))
    labels = backend.to_device(np.array([1, 0, 0, 2, 1, 1]))
    _, correct = softmax_cross_entropy.fprop(logits, labels)
    assert backend.to_host(correct).astype(bool).tolist() == [True, True, True, False, False, False]


def test_nan_is_a_loss_of_nan_and_not_correct(backend: Backend, precision: Precision) -> None:
    logits = backend.to_device(precision.array([[np.nan, 1.0, 2.0], [0.0, np.nan, 2.0], [0.0, 1.0, 2.0]]))
    dlogits = backend.poisoned((3, 3), precision.dtype)
    loss, correct = softmax_cross_entropy.fprop(logits, backend.to_device(np.array([0, 2, 2])), dlogits=dlogits)
    assert np.isnan(backend.to_host(loss)).tolist() == [True, True, False]
    assert backend.to_host(correct).astype(bool).tolist() == [False, False, True]
    assert np.isnan(backend.to_host(dlogits)).all(axis=1).tolist() == [True, True, False]


def test_infinite_logits(backend: Backend, precision: Precision) -> None:
    logits = precision.array(
        [[-np.inf, 1.0, 2.0], [0.0, np.inf, 2.0], [-np.inf, -np.inf, -np.inf], [0.0, -np.inf, 0.0]]
    )
    dlogits = backend.poisoned((4, 3), precision.dtype)
    labels = backend.to_device(np.array([2, 1, 0, 1]))
    with np.errstate(invalid="ignore", divide="ignore"):
        loss, correct = softmax_cross_entropy.fprop(backend.to_device(logits), labels, dlogits=dlogits)
    loss, gradient = backend.to_host(loss), backend.to_host(dlogits).astype(np.float64)
    assert abs(loss[0] - np.log1p(np.exp(-1.0))) < 1e-6  # a class of no probability counts for nothing
    assert np.isnan(loss[1:3]).all()
    assert loss[3] == np.inf
    assert backend.to_host(correct).astype(bool).tolist() == [True, False, False, False]
    assert gradient[0, 0] == 0
    assert np.isnan(gradient[1]).any()
    assert np.isnan(gradient[2]).all()
    assert gradient[3].tolist() == [0.5, -1.0, 0.5]


def test_a_label_that_is_no_class_is_nan_and_touches_nothing_else(kernels: Backend, precision: Precision) -> None:
    logits = kernels.to_device(precision.array(np.zeros((4, 5))))
    dlogits = kernels.poisoned((4, 5), precision.dtype)
    labels = kernels.to_device(np.array([5, 4, -1, 2**40]))
    loss, correct = softmax_cross_entropy.fprop(logits, labels, dlogits=dlogits)
    assert np.isnan(kernels.to_host(loss)).tolist() == [True, False, True, True]
    assert kernels.to_host(correct).astype(bool).tolist() == [False, False, False, False]
    assert np.isnan(kernels.to_host(dlogits)).all(axis=1).tolist() == [True, False, True, True]


def test_the_gradient_may_overwrite_the_logits(backend: Backend, precision: Precision) -> None:
    given, labels = problem(5, 9)
    logits, there = backend.to_device(precision.array(given)), backend.to_device(labels)
    apart = backend.poisoned(given.shape, precision.dtype)
    loss, correct = softmax_cross_entropy.fprop(logits, there, dlogits=apart)
    again, right = softmax_cross_entropy.fprop(logits, there, dlogits=logits)
    for actual, expected in ((again, loss), (right, correct), (logits, apart)):
        assert_equal(backend.to_host(actual), backend.to_host(expected))


def test_bad_arguments_name_what_was_given_and_expected(backend: Backend, precision: Precision) -> None:
    def zeros(shape: tuple[int, ...], dtype: npt.DTypeLike = precision.dtype) -> Any:
        return backend.to_device(np.zeros(shape, dtype))

    labels = zeros((2,), np.int64)
    with pytest.raises(ValueError, match=r"logits must have shape \[any, any\], got \[7\]"):
        softmax_cross_entropy.fprop(zeros((7,)), labels)
    with pytest.raises(ValueError, match=r"at least one class, got shape \[2, 0\]"):
        softmax_cross_entropy.fprop(zeros((2, 0)), labels)
    with pytest.raises(ValueError, match=r"labels must have shape \[3\], got \[2\]"):
        softmax_cross_entropy.fprop(zeros((3, 7)), labels)
    with pytest.raises(TypeError, match="labels must be of dtype int64, got int32"):
        softmax_cross_entropy.fprop(zeros((2, 7)), zeros((2,), np.int32))
    with pytest.raises(ValueError, match=r"dlogits must have shape \[2, any\], got \[7, 2\]"):
        softmax_cross_entropy.fprop(zeros((2, 7)), labels, dlogits=zeros((7, 2)))
    with pytest.raises(ValueError, match="columns of the 7 classes, got 3 from 5 on"):
        softmax_cross_entropy.fprop(zeros((2, 7)), labels, dlogits=zeros((2, 3)), first_column=5)
    logits = zeros((2, 7))
    with pytest.raises(ValueError, match="got 7 from 1 on"):
        softmax_cross_entropy.fprop(logits, labels, dlogits=logits, first_column=1)


def test_repeats_to_the_bit(backend: Backend) -> None:
    logits, labels = problem(5, 300)
    logits = PRECISIONS["float32"].array(logits)

    def run() -> list[Any]:
        dlogits = backend.to_device(logits)
        return [*softmax_cross_entropy.fprop(dlogits, backend.to_device(labels), dlogits=dlogits), dlogits]

    assert_repeats(backend, run)
