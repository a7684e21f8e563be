"""What cannot be converted is one sentence that names the layer, and nothing is written."""

from __future__ import annotations

import io
import os
import pickle
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from alexnet_cuda import Model, cli
from tests.convert.networks import Op, caffemodel, message, network, onnx_model, state_dict
from tests.model.tiny import tiny


class Evil:
    def __reduce__(self) -> Any:
        return (os.mkdir, ("evil",))


def ops(name: str = "", order: str = "lrn pool", **changes: Any) -> list[Op]:
    """The network with a layer's numbers changed."""
    found = network(order)
    for op in filter(lambda op: op.name == name, found):
        op.n |= changes
    return found


def with_nan(order: str = "lrn pool", name: str = "conv3") -> list[Op]:
    found = network(order)
    next(op for op in found if op.name == name).weight[1, 2, 0, 0] = np.nan
    return found


def without(name: str) -> list[Op]:
    return [op for op in network("lrn pool") if op.name != name]


def other(name: str, kind: str) -> list[Op]:
    return [replace(op, kind=kind, n={}) if op.name == name else op for op in network("lrn pool")]


def caffe(found: list[Op], kept: float = 1, version: int = 2) -> bytes:
    data = caffemodel(found, version, 99)
    return data[: int(kept * len(data))]


def onnx(found: list[Op], kept: float = 1, change: Callable[[Any], None] = lambda model: None) -> bytes:
    model = onnx_model(found, 99)
    change(model)
    data: bytes = model.SerializeToString()
    return data[: int(kept * len(data))]


def torch(drop: str = "", **more: Any) -> bytes:
    tensors = {name: value for name, value in state_dict(network("pool")).items() if name != drop}
    return save(tensors | more)


def zipped(name: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, pickle.dumps(Evil()))
    return stream.getvalue()


def v0() -> bytes:
    return message((1, "old"), (2, message((1, message((1, "conv1"), (2, "conv"))))))


def second_input(model: Any) -> None:
    from onnx import helper

    model.graph.input.append(helper.make_tensor_value_info("mask", 1, [1]))


def branch(model: Any) -> None:
    model.graph.node[6].input[0] = "relu1_out"  # conv2, past the normalisation and pool of conv1


def shape(value: Any, of: str = "") -> Callable[[Any], None]:
    """Has the layer before fc6 give what comes to it, or `of` in its place, this shape."""

    def change(model: Any) -> None:
        from onnx import numpy_helper

        node = next(node for node in model.graph.node if node.op_type == "Flatten")
        node.op_type = "Reshape"
        node.input[:] = [of or node.input[0], "shape"]
        model.graph.initializer.append(numpy_helper.from_array(np.array(value), "shape"))

    return change


def same_padding(model: Any) -> None:
    from onnx import helper

    node = next(node for node in model.graph.node if node.name == "conv3")
    del node.attribute[:]
    node.attribute.extend([helper.make_attribute("auto_pad", "SAME_UPPER")])


CASES: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "caffe, truncated": ("a.caffemodel", lambda: caffe(ops(), 0.5), "truncated, or no file of Caffe"),
    "caffe, half the layers": (
        "a.caffemodel",
        lambda: caffe(ops()[:10]),
        "3 convolutions (conv1, conv2, conv3), not 5",
    ),
    "caffe, no LRN at conv2": ("a.caffemodel", lambda: caffe(without("norm2")), "pool2 (max_pool) stands where lrn2"),
    "caffe, NaN": ("a.caffemodel", lambda: caffe(with_nan()), "layer conv3 holds NaN or infinity (weight)"),
    "caffe, a stride": (
        "a.caffemodel",
        lambda: caffe(ops("pool2", stride=1)),
        "layer pool2 (max_pool) has stride (1, 1)",
    ),
    "caffe, groups": ("a.caffemodel", lambda: caffe(ops("conv3", groups=4)), "layer conv3 (conv2d) has groups 4"),
    "caffe, LRN within": ("a.caffemodel", lambda: caffe(ops("norm1", region=1)), "layer norm1 (LRN) normalises within"),
    "caffe, LRN of 4": (
        "a.caffemodel",
        lambda: caffe(ops("norm1", size=4)),
        "layer norm1: lrn_size must be odd, got 4",
    ),
    "caffe, sigmoid": ("a.caffemodel", lambda: caffe(other("relu3", "sigmoid")), "layer relu3 (Sigmoid) stands where"),
    "caffe, V0": ("a.caffemodel", v0, "format of 2013 (V0)"),
    "caffe, nothing": ("a.caffemodel", lambda: b"", "no layer of Caffe"),
    "onnx, truncated": ("a.onnx", lambda: onnx(ops(), 0.5), "truncated, or no ONNX file"),
    "onnx, half the layers": ("a.onnx", lambda: onnx(ops()[:10]), "3 convolutions (conv1, conv2, conv3), not 5"),
    "onnx, NaN": ("a.onnx", lambda: onnx(with_nan()), "layer conv3 holds NaN or infinity (weight)"),
    "onnx, sigmoid": ("a.onnx", lambda: onnx(other("relu3", "sigmoid")), "layer relu3 (Sigmoid) stands where"),
    "onnx, two inputs": ("a.onnx", lambda: onnx(ops(), change=second_input), "2 inputs (data_0, mask)"),
    "onnx, a branch": ("a.onnx", lambda: onnx(ops(), change=branch), "the network is no row of layers"),
    "onnx, auto_pad": (
        "a.onnx",
        lambda: onnx(ops(), change=same_padding),
        "layer conv3 (Conv) has auto_pad SAME_UPPER",
    ),
    "onnx, padded pool": (
        "a.onnx",
        lambda: onnx(ops("pool1", more={"pads": [1, 1, 0, 0]})),
        "layer pool1 (max_pool) has padding (1, 1, 0, 0), where this network has (0, 0, 0, 0)",
    ),
    "onnx, a pool padded further": (
        "a.onnx",
        lambda: onnx_model(ops("pool1", more={"pads": [0, 0, 3, 3]}), 98).SerializeToString(),
        "layer pool1 (max_pool) has (12, 12) windows in a map of (22, 22), where this network has (11, 11)",
    ),
    "onnx, rates": (
        "a.onnx",
        lambda: onnx(ops("drop_fc7", rate=0.25)),
        "layer drop_fc7 drops 0.25 of its input, drop_fc6",
    ),
    "onnx, a stride of 0": (
        "a.onnx",
        lambda: onnx(ops("pool2", stride=0)),
        "layer pool2 (max_pool) has stride (0, 0), where this network has (2, 2)",
    ),
    "onnx, a shape that is none": ("a.onnx", lambda: onnx(ops(), change=shape(4)), "layer flat (Reshape) is damaged"),
    "onnx, constants that do not fit": (
        "a.onnx",
        lambda: onnx(ops(), change=shape([5, 5], "fc6_bias")),
        "layer flat (Reshape) is damaged",
    ),
    "torch, truncated": ("a.safetensors", lambda: torch()[:-9], "truncated or damaged"),
    "torch, a layer less": ("a.safetensors", lambda: torch("features.8.bias"), "lacks features.8.bias (conv4)"),
    "torch, one more": (
        "a.safetensors",
        lambda: torch(**{"features.1.x": np.zeros(3, "f4")}),
        "holds features.1.x, which",
    ),
    "torch, another": ("a.safetensors", lambda: save({"conv1.weight": np.zeros(3, "f4")}), "no features.0.weight"),
    "torch, a shape": (
        "a.safetensors",
        lambda: torch(**{"features.6.weight": np.zeros((16, 12, 3), "f4")}),
        "features.6.weight has the shape [16, 12, 3], expected 4 numbers (conv3)",
    ),
    "torch, fc6": (
        "a.safetensors",
        lambda: torch(**{"classifier.1.weight": np.zeros((20, 33), "f4")}),
        "layer classifier.1 (linear) has a weight of [20, 33], where this network has [20, 32]",
    ),
    "torch, NaN": ("a.safetensors", lambda: save(state_dict(with_nan("pool"))), "layer features.6 holds NaN"),
    "a pickle": ("a.pth", lambda: pickle.dumps(Evil()), "Python pickle, as the code of 2012 and cuda-convnet2"),
    "an old pickle": ("model", lambda: pickle.dumps({"layers": Evil()}, 0), "Python pickle"),
    "a zip with a pickle": ("a.pt", lambda: zipped("data"), "a zip archive, but not one of PyTorch"),
    "a truncated zip": ("a.pth", lambda: zipped("archive/data.pkl")[:-30], "truncated, or no file of PyTorch"),
    "PyTorch's, no torch": ("a.pth", lambda: zipped("archive/data.pkl"), "takes the package torch, which is not here"),
    "no network": ("a.png", lambda: b"\x89PNG\r\n\x1a\n" + bytes(99), "not a safetensors file"),
}


@pytest.mark.parametrize("name", CASES)
def test_refused(tmp_path: Path, name: str, monkeypatch: Any, capfd: Any) -> None:
    file, content, words = CASES[name]
    monkeypatch.chdir(tmp_path)  # where Evil would leave its mark
    monkeypatch.setitem(sys.modules, "torch", None)
    Path(file).write_bytes(content())
    assert cli.main(["convert", file, "out.safetensors"]) == 2
    output, error = capfd.readouterr()
    assert (output, error.count("\n")) == ("", 1)
    assert words in error
    assert file in error
    assert os.listdir() == [file]
    with pytest.raises((ValueError, ImportError)):
        Model.load(file, devices="cpu")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["own", "out.pth"], "would be a pickle"),
        (["own", "no/out.onnx"], "folder no does not exist"),
        (["own", "out", "--mean", "1,2"], "--mean takes three numbers or a .binaryproto"),
        (["own", "out", "--mean", "absent.binaryproto"], "No such file"),
        (["own", "out", "--mean", "bad.binaryproto"], "truncated, or no file of Caffe"),
        (["own", "out", "--raw-scale", "0"], "must be a positive number"),
        (["own", "out", "--classes", "names.txt"], "has 2 lines, expected one name for each of 7 classes"),
        (["own", "out", "--set", "resize=3"], "resize must be at least"),
        (["own", "out", "--set", "groups=1"], "this network needs"),
        (["own", "out", "--set", "resiz=76"], "unknown configuration field 'resiz'"),
        (["own", "out", "--classes", "latin.txt"], "latin.txt is no text in UTF-8"),
        (["own", "own", "--to", "onnx"], "own is IN itself, which would be lost"),
        (["absent", "out"], "absent does not exist"),
        (["nan", "out.onnx"], "fc7.bias holds NaN or infinity: out.onnx is not written"),
    ],
)
def test_wrong_arguments(tmp_path: Path, arguments: list[str], words: str, monkeypatch: Any, capfd: Any) -> None:
    monkeypatch.chdir(tmp_path)
    model = tiny(devices="cpu")
    model.save("own")
    found = dict(model.parameters) | {"fc7.bias": np.full(18, np.nan)}
    model.set_parameters(found)
    monkeypatch.setattr("alexnet_cuda.model.checks.not_finite", lambda parameters: None)
    model.save("nan")
    Path("names.txt").write_text("a\nb\n")
    Path("latin.txt").write_bytes(b"\xe9t\xe9\n" * 7)
    Path("bad.binaryproto").write_bytes(b"\x0a\xff\xff")
    before = sorted(os.listdir())
    assert cli.main(["convert", *arguments]) == 2
    assert words in capfd.readouterr().err
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(("package", "file"), [("onnx", "a.onnx"), ("google.protobuf", "a.caffemodel")])
def test_a_package_that_is_not_installed_is_named(tmp_path: Path, package: str, file: str, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr("alexnet_cuda.convert.caffe._classes", caffe_classes())
    (tmp_path / file).write_bytes(b"x")
    with pytest.raises(ImportError, match=r"which is not here: pip install 'alexnet-cuda\[convert\]'"):
        Model.load(tmp_path / file)


def caffe_classes() -> Any:
    from alexnet_cuda.convert import caffe

    return caffe._classes.__wrapped__  # nothing kept of an earlier import
