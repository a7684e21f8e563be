"""Networks from other frameworks' files give the logits of float64 by their own definitions, and go back out."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save, save_file

from alexnet_cuda import Model, cli
from alexnet_cuda.config import PRESETS
from tests.convert import networks
from tests.convert.networks import network
from tests.model.tiny import tiny

CONVERTIBLE = sorted(set(PRESETS) - {"original"})  # which normalises within a map, as no other framework does
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


def assert_logits(found: Any, order: str, only: int = 2, **options: Any) -> None:
    """To 1e-5 of the largest: sums of at most 400 float32 terms, in nine layers."""
    want = networks.logits(network(order, **options), images(ORDERS[order])[:only])
    assert np.abs(found - want).max() < 1e-5 * np.abs(want).max()


FORMS = [(order, form) for order in ORDERS for form in ("V1", "V2", "gemm", "matmul")] + [("pool", "torch")]


@pytest.mark.parametrize(("order", "form"), FORMS)
def test_a_file_of_another_framework_gives_its_logits(tmp_path: Path, order: str, form: str) -> None:
    model = Model.load(written(tmp_path, order, form), devices="cpu")
    side = ORDERS[order]
    assert (model.config.image_size, model.config.dropout) == (side, 0.5 if form == "torch" else 0.4)
    assert model.config.lrn_before_pool or order != "lrn pool"
    assert model.config.dropout_before == (order == "pool")
    assert_logits(model.forward(images(side).transpose(0, 2, 3, 1)), order)


@pytest.mark.parametrize("form", ["V2", "ceil_mode", "pads"])
def test_pools_that_round_up(tmp_path: Path, form: str) -> None:
    """As those of 224 pixels without padding, which the ONNX model zoo has: 54 positions, then 27."""
    ops = network("lrn pool")
    for op in filter(lambda op: op.kind == "max_pool", ops):
        op.n["ceil"] = True
        if form == "ceil_mode" or op.name == "pool1":
            op.n["more"] = {"ceil_mode": 1} if form == "ceil_mode" else {"pads": [0, 0, 1, 1]}
    path = tmp_path / ("a.caffemodel" if form == "V2" else "a.onnx")
    content = networks.caffemodel(ops, 2, 98) if form == "V2" else networks.onnx_model(ops, 98).SerializeToString()
    path.write_bytes(content)
    model = Model.load(path, devices="cpu")
    want = networks.logits(ops, images(98))
    assert np.abs(model.forward(images(98).transpose(0, 2, 3, 1)) - want).max() < 1e-5 * np.abs(want).max()
    assert cli.main(["convert", str(path), str(tmp_path / "back.onnx")]) == 0
    assert np.abs(run(tmp_path / "back.onnx", images(98)) - want).max() < 1e-5 * np.abs(want).max()
    for towers in (("cpu", "cpu"), "simt"):
        again = Model.load(tmp_path / "back.onnx", devices=towers)
        found = again.forward(images(98)[:1].transpose(0, 2, 3, 1))
        assert np.abs(found - want[:1]).max() < 1e-4 * np.abs(want).max()


def run(model: Path | bytes, x: Any) -> Any:
    """By ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def test_onnx_runtime_says_the_same_of_the_files_that_these_tests_make(tmp_path: Path) -> None:
    path = written(tmp_path, "pool lrn", "gemm")
    assert_logits(np.concatenate([run(path, x[None]) for x in images(99)]), "pool lrn")


@pytest.mark.parametrize("preset", CONVERTIBLE)
def test_out_to_onnx_and_back(tmp_path: Path, preset: str, capfd: Any) -> None:
    """Logits by ONNX Runtime, at any batch size, and what no ONNX layer says: preprocessing, names, step."""
    model = tiny(preset=preset, devices="cpu", image_size=99, mean=(1.5, 2, 3), channel_order="BGR", resize=120)
    model.class_names, model.step = tuple("abcdefg"), 12
    model.save(tmp_path / "own")
    import onnx

    assert cli.main(["convert", str(tmp_path / "own"), str(tmp_path / "a.onnx"), "--json"]) == 0
    said = json.loads(capfd.readouterr().out)
    assert (said["to"], said["mean"]) == ("onnx", [1.5, 2, 3])
    assert said["logits_differ"] < 1e-5
    x = images(99)
    want = model.forward(x.transpose(0, 2, 3, 1))
    for n in (1, 2):
        assert np.abs(run(tmp_path / "a.onnx", x[:n]) - want[:n]).max() < 1e-4 * np.abs(want).max()
    opened = onnx.load(tmp_path / "a.onnx")
    assert opened.opset_import[0].version >= 17
    onnx.checker.check_model(opened, full_check=True)
    again = Model.load(tmp_path / "a.onnx", devices="cpu")
    assert (again.config, again.class_names, again.step) == (model.config, model.class_names, 12)
    assert all(np.array_equal(again.parameters[name], value) for name, value in model.parameters.items())
    del opened.metadata_props[:]
    onnx.save(opened, tmp_path / "bare.onnx")  # as if another package had written it
    bare = Model.load(tmp_path / "bare.onnx", devices="cpu")
    assert bare.config.lrn_window == (model.config.lrn_window if model.config.lrn else bare.config.lrn_window)
    np.testing.assert_array_equal(bare.forward(x.transpose(0, 2, 3, 1)), want)


@pytest.mark.parametrize("preset", CONVERTIBLE)
def test_out_to_a_state_dict_and_back(tmp_path: Path, preset: str) -> None:
    model = tiny(preset=preset, devices="cpu", image_size=99, dropout=0.0)
    model.save(tmp_path / "own")
    out = tmp_path / "out.safetensors"
    assert cli.main(["convert", str(tmp_path / "own"), str(out), "--to", "torch"]) == 0
    tensors = load_file(out)
    if not model.config.lrn:  # torchvision's own names
        assert set(tensors) == set(networks.state_dict(network("pool")))
    order = {(True, True): "lrn pool", (True, False): "pool lrn"}.get((model.config.lrn, model.config.lrn_before_pool))
    ops = network(order or "pool")
    for name, op in zip(networks.state_dict(ops), [op for op in ops if len(op.weight) for _ in "wb"], strict=True):
        setattr(op, name.rpartition(".")[2], tensors[name])
    if preset in ("caffe", "torchvision"):
        for op in filter(lambda op: op.kind == "lrn", ops):
            op.n |= {"alpha": model.config.lrn_alpha, "k": model.config.lrn_k}
        want = networks.logits(ops, images(99))
        assert np.abs(model.forward(images(99).transpose(0, 2, 3, 1)) - want).max() < 1e-5 * np.abs(want).max()
    again = Model.load(out, devices="cpu")
    assert again.config == model.config
    assert all(np.array_equal(again.parameters[name], value) for name, value in model.parameters.items())


def test_an_onnx_file_whose_logits_differ_is_not_written(tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    tiny(devices="cpu", image_size=99, precision="float64").save(tmp_path / "own")
    out = ["convert", str(tmp_path / "own"), str(tmp_path / "a.onnx")]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "onnxruntime", None)
        assert cli.main(out) == 0
        assert "not checked (onnxruntime is not installed" in capfd.readouterr().out
    (tmp_path / "a.onnx").unlink()
    # As if the layers were written wrongly: beta of LRN.
    monkeypatch.setattr("alexnet_cuda.convert.chain.short", lambda value: 2 * value)
    assert cli.main(out) == 2
    assert "the ONNX file's logits differ" in capfd.readouterr().err
    assert os.listdir(tmp_path) == ["own"]
    assert cli.main([*out, "--no-check"]) == 0
    assert "not checked (asked for)" in capfd.readouterr().out


def test_without_lrn_onnx_s_reference_checks(tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    tiny(devices="cpu", image_size=99, lrn=False).save(tmp_path / "own")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert cli.main(["convert", str(tmp_path / "own"), str(tmp_path / "a.onnx")]) == 0
    assert "its logits differ by" in capfd.readouterr().out


def test_an_export_that_computes_its_shape_and_transposes_its_weights(tmp_path: Path) -> None:
    """As PyTorch's exporters of some years wrote ``x.view(x.size(0), -1)``, and a pool that is none."""
    from onnx import helper, numpy_helper

    model = networks.onnx_model(network("pool"), 95)
    nodes = list(model.graph.node)
    at = next(i for i, node in enumerate(nodes) if node.op_type == "Flatten")
    source, target = nodes[at].input[0], nodes[at].output[0]
    make = helper.make_node
    nodes[at : at + 1] = [
        make("Constant", [], ["zero"], value=numpy_helper.from_array(np.array(0))),
        make("AveragePool", [source], ["pooled"], kernel_shape=[1, 1]),
        make("Shape", ["pooled"], ["shape"]),
        make("Gather", ["shape", "zero"], ["n"], axis=0),
        make("Unsqueeze", ["n", "axes"], ["first"]),
        make("Concat", ["first", "rest"], ["wanted"], axis=0),
        make("Reshape", ["pooled", "wanted"], [target]),
    ]
    for name, value in (("axes", [0]), ("rest", [-1]), ("turned", network("pool")[-1].weight.T.copy())):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    nodes.insert(0, make("Transpose", ["turned"], ["fc8_back"], perm=[1, 0]))
    nodes[-1].input[1] = "fc8_back"
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    assert_logits(run(tmp_path / "a.onnx", images(95)[:1]), "pool", only=1)
    assert_logits(Model.load(tmp_path / "a.onnx", devices="cpu").forward(images(95).transpose(0, 2, 3, 1)), "pool")


def test_a_safetensors_file_whose_length_looks_like_a_pickle(tmp_path: Path) -> None:
    tensors, path = networks.state_dict(network("pool")), tmp_path / "a.safetensors"
    files = (save(tensors, {"padding": " " * size}) for size in range(0, 2000, 8))
    path.write_bytes(next(data for data in files if data.startswith((b"\x80\x04", b"\x80\x05"))))
    assert Model.load(path, devices="cpu").config.preset == "torchvision"


def test_tanh_and_average_pools(tmp_path: Path) -> None:
    options = {"activation": "tanh", "pool": "avg_pool"}
    for form in ("V2", "gemm"):
        model = Model.load(written(tmp_path, "lrn pool", form, **options), devices="cpu")
        assert_logits(model.forward(images(99).transpose(0, 2, 3, 1)), "lrn pool", **options)
