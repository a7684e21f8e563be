"""Networks from other frameworks' files give the logits of float64 by their own definitions, and go back out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from alexnet_cuda import Model, cli
from alexnet_cuda.config import PRESETS
from tests.convert import networks
from tests.convert.networks import MEAN, network
from tests.model.tiny import TINY, tiny

ORDERS = {"lrn pool": 99, "pool lrn": 99, "pool": 95}  # layers, and the size of images


def images(side: int) -> Any:
    return np.random.default_rng(1).normal(0, 60, (2, 3, side, side)).astype(np.float32)


def written(folder: Path, order: str, form: str, **options: Any) -> Path:
    ops, side = network(order, **options), ORDERS[order]
    path = folder / {"V1": "a.caffemodel", "V2": "a.caffemodel", "torch": "a.safetensors"}.get(form, "a.onnx")
    if form == "torch":
        save_file(networks.state_dict(ops), path)
    elif form in ("V1", "V2"):
        path.write_bytes(networks.caffemodel(ops, int(form[1]), side))
    else:
        path.write_bytes(networks.onnx_model(ops, side, form).SerializeToString())
    return path


def assert_logits(found: Any, order: str, **options: Any) -> None:
    """To 1e-5 of the largest: sums of at most 400 float32 terms, in nine layers."""
    want = networks.logits(network(order, **options), images(ORDERS[order]))
    assert np.abs(found - want).max() < 1e-5 * np.abs(want).max()


@pytest.mark.parametrize("form", ["V1", "V2", "gemm", "matmul", "torch"])
@pytest.mark.parametrize("order", ORDERS)
def test_a_file_of_another_framework_gives_its_logits(tmp_path: Path, order: str, form: str) -> None:
    if form == "torch" and order != "pool":
        return
    model = Model.load(written(tmp_path, order, form), devices="cpu")
    side = ORDERS[order]
    assert (model.config.image_size, model.config.dropout) == (side, 0.5 if form == "torch" else 0.4)
    assert model.config.lrn_before_pool or order != "lrn pool"
    assert model.config.dropout_before == (order == "pool")
    assert_logits(model.forward(images(side).transpose(0, 2, 3, 1)), order)


def test_tanh_and_average_pools(tmp_path: Path) -> None:
    options = {"activation": "tanh", "pool": "avg_pool"}
    for form in ("V2", "gemm"):
        model = Model.load(written(tmp_path, "lrn pool", form, **options), devices="cpu")
        assert_logits(model.forward(images(99).transpose(0, 2, 3, 1)), "lrn pool", **options)
