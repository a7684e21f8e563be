"""A model pickles as what it has learned, not as what it computes with; what it hands out cannot be written to."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from alexnet_cuda import Model

from .test_threads import PLACES, SMALL, images_and_labels
from .tiny import tiny


def held(model: Model) -> int:
    tensors = [*model.parameters.values(), *model.velocity.values()]
    return sum(array.nbytes for array in tensors)


@pytest.mark.parametrize("devices", PLACES, ids=str)
@pytest.mark.parametrize("by", ["pickle", "deepcopy"])
def test_a_used_model_goes_on_as_a_copy(devices: Any, by: str) -> None:
    model = tiny(devices=devices, **SMALL)
    images, labels = images_and_labels(model, 1)
    model.predict(np.tile(images, (8, 1, 1, 1)))
    first = model.train_step(images, labels)
    model.class_names = tuple("abcdefg")
    data = pickle.dumps(model)
    assert len(data) < held(model) + 8192
    twin = pickle.loads(data) if by == "pickle" else copy.deepcopy(model)
    assert (twin.config, twin.devices, twin.class_names, twin.step) == (
        model.config,
        model.devices,
        model.class_names,
        1,
    )
    assert pickle.loads(pickle.dumps(first)).loss == first.loss
    assert pickle.loads(pickle.dumps(first)).correct == first.correct
    for _ in range(2):
        assert twin.train_step(images, labels).loss == model.train_step(images, labels).loss
    np.testing.assert_array_equal(twin.forward(images), model.forward(images))


def test_a_new_model_pickles_without_momentum() -> None:
    model = tiny(**SMALL)
    twin = pickle.loads(pickle.dumps(model))
    assert len(twin.velocity) == 0
    with pytest.raises(RuntimeError, match="sgd_step needs gradients"):
        twin.sgd_step(0.1)


@pytest.mark.parametrize("devices", ["cpu", ("cpu", "cpu"), "simt"], ids=str)
def test_tensors_are_read_only_and_pickle_as_dictionaries(devices: Any) -> None:
    model = tiny(devices=devices, **SMALL)
    images, labels = images_and_labels(model, 1)
    model.forward(images, train=True)
    model.backward(labels)
    for kind in ("parameters", "gradients", "velocity"):
        tensors = getattr(model, kind)
        for name in ("conv1.weight", "fc8.bias"):
            with pytest.raises(ValueError, match="read-only"):
                tensors[name][...] = 0
        plain = pickle.loads(pickle.dumps(tensors))
        assert type(plain) is dict
        assert list(plain) == list(tensors)
        np.testing.assert_array_equal(plain["fc8.weight"], tensors["fc8.weight"])
