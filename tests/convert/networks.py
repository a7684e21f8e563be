"""Small networks as other frameworks hold them, computed in float64 by NumPy alone, and written as their files."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
CLASSES, MEAN = 7, (104.0, 117.0, 123.0)


@dataclass
class Op:
    """A layer: kind, name, numbers, and weights [K, C / groups, R, S] or [out, in]."""

    kind: str
    name: str
    n: dict[str, Any] = field(default_factory=dict)
    weight: Array = field(default_factory=lambda: np.zeros(0))
    bias: Array = field(default_factory=lambda: np.zeros(0))


def network(order: str, side: int = 99, activation: str = "relu", pool: str = "max_pool") -> list[Op]:
    """Five convolutions and three products, two by two positions before fc6.

    `order` "lrn pool" is bvlc_alexnet's, "pool lrn" CaffeNet's, "pool" torchvision's.
    """
    rng = np.random.default_rng(5)
    groups = 1 if order == "pool" else 2
    ops: list[Op] = []
    channels = 3
    widths, kernels, pads = (8, 12, 16, 16, 8), (11, 5, 3, 3, 3), (2 if order == "pool" else 0, 2, 1, 1, 1)
    for i, (width, kernel, pad) in enumerate(zip(widths, kernels, pads, strict=True)):
        split = groups if i in (1, 3, 4) else 1
        shape = (width, channels // split, kernel, kernel)
        numbers = {"stride": 4 if i == 0 else 1, "pad": pad, "groups": split}
        ops.append(Op("conv", f"conv{i + 1}", numbers, *_weights(rng, shape)))
        ops.append(Op(activation, f"relu{i + 1}"))
        if i in (0, 1, 4):
            after = {"lrn": Op("lrn", f"norm{i + 1}", {"size": 5, "alpha": 3e-4, "beta": 0.75, "k": 1.5})}
            after["pool"] = Op(pool, f"pool{i + 1}", {"kernel": 3, "stride": 2})
            ops += [after[part] for part in order.split() if part == "pool" or i < 2]
        channels = width
    ops.append(Op("flatten", "flat"))
    features = channels * 4
    for name, width in (("fc6", 20), ("fc7", 18), ("fc8", CLASSES)):
        dropout = [Op("dropout", f"drop_{name}", {"rate": 0.4})] if name != "fc8" else []
        ops += dropout if order == "pool" else []
        ops.append(Op("linear", name, {}, *_weights(rng, (width, features))))
        ops += [Op(activation, f"relu_{name}")] if name != "fc8" else []
        ops += [] if order == "pool" else dropout
        features = width
    return ops


def _weights(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Array, Array]:
    deviation = np.sqrt(2 / np.prod(shape[1:]))
    return rng.normal(0, deviation, shape).astype("f4"), rng.normal(0, 0.1, shape[0]).astype("f4")


def logits(ops: list[Op], x: Array) -> Array:
    """Float64 logits of preprocessed images [N, 3, H, W], by the definitions of Caffe, ONNX and PyTorch."""
    x = x.astype(np.float64)
    for op in ops:
        if op.kind == "conv":
            x = _conv(x, op)
        elif op.kind == "linear":
            x = x @ op.weight.astype(np.float64).T + op.bias
        elif op.kind == "lrn":
            n, half = op.n, op.n["size"] // 2
            squares = np.pad(x * x, ((0, 0), (half, half), (0, 0), (0, 0)))
            total = sum(squares[:, i : i + x.shape[1]] for i in range(n["size"]))
            x = x / (n["k"] + n["alpha"] / n["size"] * total) ** n["beta"]
        elif op.kind in ("max_pool", "avg_pool"):
            up = (1 - x.shape[2] % 2) if op.n.get("ceil") else 0  # a last window of which a row lies beyond
            x = np.pad(x, ((0, 0), (0, 0), (0, up), (0, up)), constant_values=-np.inf) if up else x
            windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
            x = windows.max(axis=(4, 5)) if op.kind == "max_pool" else windows.mean(axis=(4, 5))
        else:
            x = {"relu": lambda x: np.maximum(x, 0), "tanh": np.tanh, "flatten": _flat, "dropout": lambda x: x}[
                op.kind
            ](x)
    return x


def _flat(x: Array) -> Array:
    return x.reshape(len(x), -1)


def _conv(x: Array, op: Op) -> Array:
    pad, stride, groups = op.n["pad"], op.n["stride"], op.n["groups"]
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(x, op.weight.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    parts = zip(np.split(windows, groups, axis=1), np.split(op.weight.astype(np.float64), groups), strict=True)
    y = [np.tensordot(part, weight, ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2) for part, weight in parts]
    return np.concatenate(y, axis=1) + op.bias[:, None, None]


def state_dict(ops: list[Op]) -> dict[str, Array]:
    """By torchvision's names."""
    middle = next(i for i, op in enumerate(ops) if op.kind == "flatten")
    tensors = {}
    for i, op in enumerate(ops):
        if len(op.weight):
            name = f"features.{i}" if i < middle else f"classifier.{i - middle - 1}"
            tensors |= {f"{name}.weight": op.weight, f"{name}.bias": op.bias}
    return tensors


# Protocol buffers by the numbers of the public caffe.proto.


def varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def message(*fields: tuple[int, Any]) -> bytes:
    parts = []
    for number, value in fields:
        if isinstance(value, float):
            parts.append(varint(number << 3 | 5) + struct.pack("<f", value))
        elif isinstance(value, int):
            parts.append(varint(number << 3) + varint(value))
        else:
            data = value.encode() if isinstance(value, str) else value
            parts.append(varint(number << 3 | 2) + varint(len(data)) + data)
    return b"".join(parts)


def blob(array: Array, version: int) -> bytes:
    data = np.ascontiguousarray(array, "<f4").tobytes()
    if version == 2:
        return message((7, message((1, b"".join(map(varint, array.shape))))), (5, data))
    shape = (1,) * (4 - array.ndim) + array.shape  # as Caffe of 2014 has them: a bias is 1 x 1 x 1 x K
    return message(*zip((1, 2, 3, 4), shape, strict=True), (5, data))


_CAFFE = {
    "conv": ("Convolution", 4, 106, 10),
    "linear": ("InnerProduct", 14, 117, 17),
    "lrn": ("LRN", 15, 118, 18),
    "max_pool": ("Pooling", 17, 121, 19),
    "avg_pool": ("Pooling", 17, 121, 19),
    "dropout": ("Dropout", 6, 108, 12),
    "relu": ("ReLU", 18, 123, 30),
    "tanh": ("TanH", 23, 127, 37),
    "sigmoid": ("Sigmoid", 19, 124, 38),
}


def _caffe_numbers(op: Op) -> bytes:
    n = op.n
    if op.kind == "conv":
        return message((1, len(op.weight)), (3, n["pad"]), (4, op.weight.shape[2]), (5, n["groups"]), (6, n["stride"]))
    if op.kind == "lrn":
        return message((1, n["size"]), (2, n["alpha"]), (3, n["beta"]), (4, n.get("region", 0)), (5, n["k"]))
    if op.kind in ("max_pool", "avg_pool"):
        return message((1, int(op.kind == "avg_pool")), (2, n["kernel"]), (3, n["stride"]))
    return message((1, n["rate"])) if op.kind == "dropout" else b""


def caffemodel(ops: list[Op], version: int, side: int, transform: bytes = b"") -> bytes:
    """A ``.caffemodel`` of a training network, in place where Caffe's are; its data layer holds the crop."""
    at = {"name": 1, "type": 2, "bottom": 3, "top": 4, "blobs": 7, "transform": 100}
    if version == 1:
        at = {"name": 4, "type": 5, "bottom": 2, "top": 3, "blobs": 6, "transform": 36}
    types = {"data": ("Data", 5), "split": ("Split", 22), "loss": ("SoftmaxWithLoss", 21)}

    def layer(name: str, kind: str, bottoms: list[str], tops: list[str], *more: tuple[int, Any]) -> tuple[int, bytes]:
        names = [(at["bottom"], value) for value in bottoms] + [(at["top"], value) for value in tops]
        body = message((at["name"], name), (at["type"], (types | _CAFFE)[kind][version == 1]), *names, *more)
        return (100 if version == 2 else 2, body)

    crop = message((3, side)) + transform
    layers = [layer("data", "data", [], ["data", "label"], (at["transform"], crop))]
    layers.append(layer("label_split", "split", ["label"], ["label_0", "label_1"]))
    blob_name = "data"
    for op in ops:
        if op.kind == "flatten":
            continue
        top = blob_name if op.kind in ("relu", "tanh", "sigmoid", "dropout") else op.name
        more = [(at["blobs"], blob(array, version)) for array in (op.weight, op.bias) if array.size]
        more.append((_CAFFE[op.kind][3 if version == 1 else 2], _caffe_numbers(op)))
        layers.append(layer(op.name, op.kind, [blob_name], [top], *more))
        blob_name = top
    layers.append(layer("loss", "loss", [blob_name, "label_0"], ["loss"]))
    return message((1, "AlexNet"), *layers)


def onnx_model(ops: list[Op], side: int, style: str = "gemm") -> Any:
    """An ONNX model: style "gemm" with initialisers and Flatten, "matmul" with Constants, Reshape and a Softmax."""
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    initialisers: list[Any] = []
    names = {"conv": "Conv", "relu": "Relu", "tanh": "Tanh", "lrn": "LRN", "max_pool": "MaxPool", "flatten": "Flatten"}
    names |= {"avg_pool": "AveragePool", "dropout": "Dropout", "sigmoid": "Sigmoid"}

    def constant(name: str, array: Array) -> str:
        tensor = numpy_helper.from_array(array if array.flags.c_contiguous else array.copy(), name)
        if style == "gemm":
            initialisers.append(tensor)
        else:
            nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        return name

    x = "data_0"
    for op in ops:
        n, inputs, kind = dict(op.n), [x], names.get(op.kind, "Gemm")
        if op.kind == "conv":
            n = {"strides": [n["stride"]] * 2, "pads": [n["pad"]] * 4, "group": n["groups"]}
            inputs += [constant(f"{op.name}_{part}", getattr(op, part)) for part in ("weight", "bias")]
        elif op.kind == "linear" and style == "gemm":
            inputs += [constant(f"{op.name}_{part}", getattr(op, part)) for part in ("weight", "bias")]
            n = {"transB": 1}
        elif op.kind == "linear":
            product = [x, constant(f"{op.name}_weight", op.weight.T)]
            nodes.append(helper.make_node("MatMul", product, [f"{op.name}_product"], op.name))
            inputs, kind = [constant(f"{op.name}_bias", op.bias), f"{op.name}_product"], "Add"
        elif op.kind == "lrn":
            n = {"size": n["size"], "alpha": n["alpha"], "beta": n["beta"], "bias": n["k"]}
        elif op.kind in ("max_pool", "avg_pool"):
            n = {"kernel_shape": [n["kernel"]] * 2, "strides": [n["stride"]] * 2, **n.get("more", {})}
        elif op.kind == "dropout":
            inputs, n = [x, constant(f"{op.name}_rate", np.array(n["rate"], "f4"))], {}
        elif op.kind == "flatten" and style != "gemm":
            inputs, kind = [x, constant("shape", np.array([0, -1]))], "Reshape"
        nodes.append(helper.make_node(kind, inputs, [f"{op.name}_out"], op.name, **n))
        x = f"{op.name}_out"
    if style != "gemm":
        nodes.append(helper.make_node("Softmax", [x], ["prob"], "prob"))
        x = "prob"
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("data_0", [1, 3, side, side]), (x, [1, CLASSES]))
    ]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], initialisers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
