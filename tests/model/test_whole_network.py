"""The published network at 227 x 227 on the kernels: every stage of a training step against NumPy in float64.

Each stage is held against float64 on the very numbers that the kernels gave it, forward and backward: so every bound
is that of one operation, and no ReLU or maximum that a rounding decided otherwise spreads. Then the step as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda import Model, ops
from alexnet_cuda.backends.cpu.fold import unfold
from alexnet_cuda.network import layers
from alexnet_cuda.network.layers.dropout import mask_of
from alexnet_cuda.network.layers.product import input_layout
from alexnet_cuda.network.stages import Stage
from alexnet_cuda.network.tower import Kept, Pass, Tower
from tests.model.places import ONE, PLACES
from tests.ops.backends import mma_sums
from tests.ops.tolerance import PRECISIONS, TENSOR_CORES, Precision, Sums, assert_close, assert_sums

Array = npt.NDArray[Any]
IMAGES = np.random.default_rng(1).integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
LABELS = [3, 777]
OPTIONS: dict[str, Any] = {"init": "he", "std": (58.0, 58.0, 58.0)}
# float32 takes three products for one, so its batch is one image and its FC layers are narrow, fc6 as deep as
# published; 16 bits run the network in full.
SIZES: dict[str, tuple[int, dict[str, Any]]] = {"bfloat16": (2, {}), "float32": (1, {"fc_widths": (512, 384)})}


@dataclass
class Seen:
    """What a stage was given and gave, as float64 (an argmax as it is)."""

    kept: Kept
    y: Array
    dy: Array | None = None
    dx: Array | None = None


class Recorder:
    """Follows a model's only tower through a training step."""

    def __init__(self, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: dict[str, Seen] = {}
        (self.tower,) = model.towers
        forward, backward = layers.forward, layers.backward

        def follow_forward(tower: Tower, number: int, stage: Stage, x: Any, arrival: None, run: Pass) -> Any:
            y = forward(tower, number, stage, x, arrival, run)
            kept = tower.kept[stage.name]
            own = kept.own
            own = tuple(map(self.down, own)) if isinstance(own, tuple) else self.down(own)
            taken, layout = self.down(x), None if number else input_layout(tower)
            taken = taken if layout is None else unfold(taken, layout)
            self.seen[stage.name] = Seen(Kept(taken, None, own), self.down(y))
            return y

        def follow_backward(tower: Tower, number: int, stage: Stage, dy: Any, arrival: None, run: Pass) -> Any:
            self.seen[stage.name].dy = self.down(dy)
            dx = backward(tower, number, stage, dy, arrival, run)
            self.seen[stage.name].dx = self.down(dx)
            return dx

        monkeypatch.setattr(layers, "forward", follow_forward)
        monkeypatch.setattr(layers, "backward", follow_backward)

    def down(self, array: Any) -> Any:
        if array is None:
            return None
        host = self.tower.device.download(array)
        return host if host.dtype == np.uint8 else host.astype(np.float64)


@dataclass
class Reference:
    """NumPy in float64: what it says of the step, and its tower, whose stages are run by hand."""

    loss: float
    gradients: dict[str, Array]
    tower: Tower


def model_of(name: str, devices: Any, precision: str) -> Model:
    return Model(devices=devices, precision=precision, **OPTIONS, **SIZES[name][1])


def step(model: Model, name: str) -> float:
    """The loss of a training step of the size for a precision."""
    images = SIZES[name][0]
    model.forward(IMAGES[:images], train=True)
    return model.backward(LABELS[:images])


@lru_cache(maxsize=1)
def reference_of(name: str) -> Reference:
    model = model_of(name, "cpu", "float64")
    return Reference(step(model, name), dict(model.gradients), model.towers[0])


def product_options(stage: Stage) -> dict[str, Any]:
    step = stage.step
    if stage.op == "linear":
        return {}
    return {"stride": step.stride, "padding": step.padding, "groups": step.groups}


def check_product(
    tower: Tower, plain: Tower, stage: Stage, seen: Seen, recorder: Recorder, precision: Precision
) -> None:
    """A convolution or FC layer: output, and the gradients of input, weight and bias."""
    op, options = getattr(ops, stage.op), product_options(stage)
    x = seen.kept.x if stage.op == "conv2d" else seen.kept.x.reshape(len(seen.kept.x), -1)
    weight, bias = recorder.down(tower.weight(stage.name)), recorder.down(tower.parameters[f"{stage.name}.bias"])
    dropout = mask_of(plain, stage.dropout) if stage.dropout else None
    scale = 1 / (1 - plain.config.dropout)
    depth = weight[0].size
    wide = precision.sums

    expected = op.fprop(x, weight, bias, activation=stage.step.activation, dropout=dropout, **options)
    terms = precision.dot(depth + 1, op.fprop(x**2, weight**2, bias**2, **options)) * (scale if dropout else 1)
    own = wide if stage.name == "fc8" else precision
    assert_sums(seen.y, Sums(expected, terms, depth), own, np.float64)

    if seen.dx is not None:
        mask = x if stage.undoes_relu else None
        factor = scale if stage.undoes_dropout else 1.0
        shape = () if stage.op == "linear" else (x.shape,)
        expected = op.dgrad(seen.dy, weight, *shape, mask=mask, mask_scale=factor, **options)
        depth = weight[..., 0].size // options.get("groups", 1)
        terms = factor * precision.dot(depth, op.dgrad(seen.dy**2, weight**2, *shape, **options))
        assert_sums(seen.dx.reshape(x.shape), Sums(expected, terms, depth), precision, np.float64)

    kernel = () if stage.op == "linear" else (weight.shape[1:3],)
    gradients = op.wgrad(x, seen.dy, *kernel, **options)
    squares = op.wgrad(x**2, seen.dy**2, *kernel, **options)
    positions = seen.dy[..., 0].size
    # The bias's gradient is added up without tensor cores.
    for kind, how, expected, square in zip(
        ("weight", "bias"), (precision, PRECISIONS[precision.name]), gradients, squares, strict=True
    ):
        actual = recorder.down(tower.gradients[f"{stage.name}.{kind}"])
        assert_sums(actual, Sums(expected, how.dot(positions, square), positions), how.sums, np.float64)


def check_other(plain: Tower, number: int, stage: Stage, seen: Seen, precision: Precision) -> None:
    """LRN and pools: a few roundings of each number, and of the largest in a window."""
    y, dx = np.empty_like(seen.y), np.empty_like(seen.kept.x)
    layers.MODULES[stage.op].forward(plain, stage, seen.kept.x, None, y, Pass(train=True))
    assert_close(seen.y, y, precision.bound(y, 64 * np.abs(y)), np.float64)
    kept = Kept(seen.kept.x, None, seen.kept.own)
    layers.MODULES[stage.op].backward(plain, stage, kept, seen.dy, dx, None, Pass(train=True))
    assert_close(seen.dx, dx, precision.bound(dx, np.full(dx.shape, 64 * np.abs(dx).max())), np.float64)


def check_whole(model: Model, loss: float, reference: Reference, there: float, back: float) -> None:
    """The loss, and every gradient as a vector, within these relative errors."""
    assert loss == pytest.approx(reference.loss, rel=there)
    for key, expected in reference.gradients.items():
        assert np.linalg.norm(model.gradients[key] - expected) < back * np.linalg.norm(expected), key


# In float32: eight products to the loss, as many back, none of more terms than fc6's input.
THERE, BACK = (TENSOR_CORES["float32"].through(sums, 9216) for sums in (8, 16))


@pytest.mark.parametrize("device", ONE.values(), ids=ONE)
@pytest.mark.parametrize("name", SIZES)
def test_every_stage_of_a_training_step(monkeypatch: pytest.MonkeyPatch, name: str, device: str) -> None:
    precision, reference, model = TENSOR_CORES[name], reference_of(name), model_of(name, device, name)
    with monkeypatch.context() as patch:
        recorder = Recorder(model, patch)
        loss = step(model, name)
    (tower,), plain = model.towers, reference.tower
    stages = model._network.stages
    assert [stage.name for stage in stages] == [*recorder.seen]
    for number, stage in enumerate(stages):
        seen = recorder.seen[stage.name]
        if stage.op in ("conv2d", "linear"):
            check_product(tower, plain, stage, seen, recorder, precision)
        else:
            check_other(plain, number, stage, seen, precision)
        # What one stage gives is what the next one takes.
        if number:
            before = recorder.seen[stages[number - 1].name]
            np.testing.assert_array_equal(seen.kept.x, before.y)
            np.testing.assert_array_equal(seen.dx, before.dy)

    # In 16 bits also the ReLUs and maxima that roundings decide otherwise.
    check_whole(model, loss, reference, *{"float32": (THERE, BACK), "bfloat16": (0.025, 0.5)}[name])


@pytest.mark.parametrize("places", PLACES.values(), ids=PLACES)
def test_two_towers(places: tuple[str, tuple[str, str]]) -> None:
    model = model_of("float32", places[1], "float32")
    with mma_sums("exact"):
        check_whole(model, step(model, "float32"), reference_of("float32"), THERE, BACK)
    assert model.link is not None
    images = SIZES["float32"][0]
    moved = {e.before: images * e.floats for e in model.plan.exchanges}
    assert moved.items() <= model.link.moved.items()
