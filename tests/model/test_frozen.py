"""Layers that do not learn, and layers that learn at a rate of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from alexnet_cuda import Model, ops

from .places import ALL
from .tiny import Array, tiny

IMAGES = np.random.default_rng(1).integers(0, 256, (3, 76, 72, 3), dtype=np.uint8)
LABELS = [0, 6, 2]
PLACES = {"cpu": "cpu", "cpu, two towers": ("cpu", "cpu"), **ALL}
CONVOLUTIONS = tuple(f"conv{i}" for i in range(1, 6))
# The lowest layer that learns: conv3 and fc6 read both towers' halves, conv4 its own; and one in the middle.
FROZEN = [("conv1", "conv2"), CONVOLUTIONS, CONVOLUTIONS[:3], ("conv2", "fc7")]


def states(model: Model) -> dict[str, Array]:
    return {
        f"{kind}.{name}": value for kind in ("parameters", "velocity") for name, value in getattr(model, kind).items()
    }


@pytest.mark.parametrize("place", PLACES)
def test_frozen_layers_keep_their_bits_and_the_others_take_the_step_they_would_have_taken(place: str) -> None:
    whole = tiny(devices=PLACES[place])
    first = whole.train_step(IMAGES, LABELS).loss
    expected = states(whole)
    initial = dict(tiny(devices="cpu").parameters)
    for frozen in FROZEN if "cpu" in place else FROZEN[:2]:
        model = tiny(devices=PLACES[place])
        assert model.train_step(IMAGES, LABELS, frozen=frozen).loss == first
        for name, value in states(model).items():
            kind, layer, _ = name.split(".")
            if layer in frozen:
                assert np.array_equal(value, initial[name[11:]]) if kind == "parameters" else not value.any(), name
            else:
                np.testing.assert_array_equal(value, expected[name], err_msg=f"{name}, {frozen}")


def test_no_gradient_is_computed_for_what_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    for op, name in [(ops.conv2d, "conv"), (ops.linear, "fc"), (ops.lrn_max_pool, "pool"), (ops.max_pool, "pool")]:
        for direction in ("dgrad", "wgrad", "bprop"):
            if call := getattr(op, direction, None):

                def noted(*arguments: Any, call: Any = call, text: str = f"{name} {direction}", **options: Any) -> Any:
                    done.append(text)
                    return call(*arguments, **options)

                monkeypatch.setattr(op, direction, noted)
    model = tiny(devices="cpu")

    def work(frozen: tuple[str, ...]) -> dict[str, int]:
        for _ in range(2):  # the first goes through it twice, to make its arrays
            done.clear()
            model.train_step(IMAGES, LABELS, frozen=frozen)
        return {text: done.count(text) for text in dict.fromkeys(done)}

    whole = {"fc dgrad": 3, "fc wgrad": 3, "pool bprop": 3, "conv dgrad": 4, "conv wgrad": 5}
    assert work(()) == whole
    assert work(CONVOLUTIONS) == {"fc dgrad": 2, "fc wgrad": 3}
    assert work((*CONVOLUTIONS, "fc6", "fc7")) == {"fc wgrad": 1}
    assert work(("conv1", "conv2")) == whole | {"conv dgrad": 2, "conv wgrad": 3, "pool bprop": 1}
    assert work(("conv2",)) == whole | {"conv wgrad": 4}


@pytest.mark.parametrize("place", [place for place in PLACES if place == "cpu" or "towers" in place])
def test_a_layers_own_rate_scales_its_step(place: str) -> None:
    model, other, apart = (tiny(devices=PLACES[place]) for _ in range(3))
    before = dict(model.parameters)
    model.train_step(IMAGES, LABELS, learning_rate=2e-4)
    given: dict[str, Any] = {"learning_rate": 1e-4, "layer_rates": {"fc8": 8, "conv3": 2.0, "fc6": 0}}
    other.train_step(IMAGES, LABELS, **given)
    apart.forward(IMAGES, train=True)
    apart.backward(LABELS)
    apart.sgd_step(**given)
    factors = {"fc8": 4, "conv3": 1, "fc6": 0}
    for name, value in other.velocity.items():
        # Powers of two: the same bits.
        factor = factors.get(name.partition(".")[0], 0.5)
        np.testing.assert_array_equal(value, factor * model.velocity[name], err_msg=name)
        np.testing.assert_array_equal(value, apart.velocity[name], err_msg=name)
        np.testing.assert_array_equal(other.parameters[name], apart.parameters[name], err_msg=name)
    np.testing.assert_array_equal(other.parameters["fc6.weight"], before["fc6.weight"])


def test_layers_that_begin_to_learn_find_memory_before_any_is_updated() -> None:
    model = tiny(devices="simt")
    device: Any = model.towers[0].device
    model.train_step(IMAGES, LABELS, frozen=CONVOLUTIONS)
    before = states(model)
    device.memory_limit = device.allocated_bytes  # what the gradients of the convolutions take is not there
    with pytest.raises(MemoryError, match="training on a batch of 3 needs"):
        model.train_step(IMAGES, LABELS)
    for name, value in states(model).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_bad_input_is_refused_before_anything_changes() -> None:
    model = tiny(devices="cpu")
    model.forward(IMAGES, train=True)
    model.backward(LABELS)
    before = dict(model.parameters)
    layers = "conv1, conv2, conv3, conv4, conv5, fc6, fc7, fc8"
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"frozen": ["conv1", "conv9"]}, ValueError, f"'conv9' .*there are {layers}"),
        ({"frozen": ["pool1"]}, ValueError, f"no parameters of 'pool1' .*there are {layers}"),
        *(({"frozen": frozen}, TypeError, "a sequence of layers") for frozen in ("conv1", None)),
        ({"frozen": layers.split(", ")}, ValueError, "every layer is frozen"),
        ({"layer_rates": {"fc9": 2}}, ValueError, "'fc9'"),
        ({"layer_rates": {"fc8": -1}}, ValueError, "rate of fc8 must be finite and not negative, got -1"),
        ({"layer_rates": {"fc8": float("nan")}}, ValueError, "rate of fc8"),
        ({"layer_rates": {"fc8": "2"}}, TypeError, "rate of fc8 must be a number, got '2'"),
        ({"layer_rates": [("fc8", 2)]}, TypeError, "a mapping"),
    ]
    for given, error, message in cases:
        with pytest.raises(error, match=message):
            model.train_step(IMAGES, LABELS, **given)
        with pytest.raises(error, match=message):
            model.sgd_step(0.01, **given)
    assert model.step == 0
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, before[name])
