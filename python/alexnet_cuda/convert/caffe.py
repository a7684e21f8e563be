"""Caffe's ``.caffemodel`` and ``.binaryproto``, read by protobuf; both ways of writing layers, V1 and V2."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..config import PRESETS
from .chain import Array, Layer, network_of, short
from .result import Foreign, needed

# Of the messages of caffe.proto the fields that are read: number, type and name, a star for repeated ones, and what
# holds where the file says nothing. Packed numbers are on the wire what bytes are, and as bytes they are not unpacked
# one by one; an enumeration is an int32.
_MESSAGES = {
    "Shape": "1 int64* dim",
    "Blob": "1 int64 num, 2 int64 channels, 3 int64 height, 4 int64 width, 5 bytes* data, 7 Shape shape, "
    "8 bytes* double_data",
    "Transformation": "1 float scale=1, 3 uint32 crop_size, 4 string mean_file, 5 float* mean_value",
    "Convolution": "2 bool bias_term=true, 3 uint32* pad, 4 uint32* kernel_size, 5 uint32 group=1, 6 uint32* stride, "
    "9 uint32 pad_h, 10 uint32 pad_w, 11 uint32 kernel_h, 12 uint32 kernel_w, 13 uint32 stride_h, 14 uint32 stride_w, "
    "18 uint32* dilation",
    "Pooling": "1 int32 pool, 2 uint32 kernel_size, 3 uint32 stride=1, 4 uint32 pad, 5 uint32 kernel_h, "
    "6 uint32 kernel_w, 7 uint32 stride_h, 8 uint32 stride_w, 9 uint32 pad_h, 10 uint32 pad_w, 12 bool global_pooling, "
    "13 int32 round_mode",
    "Lrn": "1 uint32 local_size=5, 2 float alpha=1, 3 float beta=0.75, 4 int32 norm_region, 5 float k=1",
    "InnerProduct": "2 bool bias_term=true, 5 int32 axis=1, 6 bool transpose",
    "Dropout": "1 float dropout_ratio=0.5",
    "Relu": "1 float negative_slope",
    "Input": "1 Shape* shape",
    "LayerV2": "1 string name, 2 string type, 3 string* bottom, 4 string* top, 7 Blob* blobs, "
    "100 Transformation transform_param, 106 Convolution convolution_param, 108 Dropout dropout_param, "
    "117 InnerProduct inner_product_param, 118 Lrn lrn_param, 121 Pooling pooling_param, 123 Relu relu_param, "
    "143 Input input_param",
    "LayerV1": "1 bytes layer, 2 string* bottom, 3 string* top, 4 string name, 5 int32 type, 6 Blob* blobs, "
    "10 Convolution convolution_param, 12 Dropout dropout_param, 17 InnerProduct inner_product_param, "
    "18 Lrn lrn_param, 19 Pooling pooling_param, 30 Relu relu_param, 36 Transformation transform_param",
    "Net": "1 string name, 2 LayerV1* layers, 3 string* input, 4 int64* input_dim, 8 Shape* input_shape, "
    "100 LayerV2* layer",
}
# V1's numbers of kinds, as V2 names them.
_V1 = {
    1: "Accuracy",
    4: "Convolution",
    5: "Data",
    6: "Dropout",
    8: "Flatten",
    9: "HDF5Data",
    12: "ImageData",
    14: "InnerProduct",
    15: "LRN",
    17: "Pooling",
    18: "ReLU",
    20: "Softmax",
    21: "SoftmaxWithLoss",
    22: "Split",
    23: "TanH",
    24: "WindowData",
    29: "MemoryData",
    32: "DummyData",
    36: "Silence",
}
# What brings images and labels, and what is made of the logits.
_ENDS = {"Input", "Data", "HDF5Data", "ImageData", "WindowData", "MemoryData", "DummyData"}
_ENDS |= {"Accuracy", "Softmax", "SoftmaxWithLoss", "Silence"}


@lru_cache(maxsize=1)
def _classes() -> dict[str, Any]:
    with needed("protobuf", "reading Caffe's files"):
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    file = descriptor_pb2.FileDescriptorProto(name="alexnet_cuda/caffe", package="alexnet_cuda.caffe", syntax="proto2")
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, text in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for entry in text.split(", "):
            number, kind, rest = entry.split(" ")
            field_name, _, default = rest.partition("=")
            label = kinds.LABEL_REPEATED if kind.endswith("*") else kinds.LABEL_OPTIONAL
            field = message.field.add(name=field_name, number=int(number), label=label)
            if (kind := kind.rstrip("*")) in _MESSAGES:
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".alexnet_cuda.caffe.{kind}"
            else:
                field.type = getattr(kinds, f"TYPE_{kind.upper()}")
            if default:
                field.default_value = default
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"alexnet_cuda.caffe.{name}"))
        for name in ("Net", "Blob")
    }


def _parse(file: Path, kind: str) -> Any:
    message = _classes()[kind]()
    from google.protobuf.message import DecodeError

    try:
        message.ParseFromString(file.read_bytes())
    except DecodeError as error:
        raise ValueError(f"{file} is truncated, or no file of Caffe ({error})") from error
    return message


def read(file: Path, fields: dict[str, Any]) -> Foreign:
    """The network of a ``.caffemodel``; see `alexnet_cuda.convert.read`."""
    net = _parse(file, "Net")
    raw = list(net.layer) or list(net.layers)
    if not raw:
        raise ValueError(f"{file} holds no layer of Caffe")
    said = dict(PRESETS["caffe"])
    values = {name: said[name] for name in ("channel_order", "mean", "resize_mode", "colour_noise")} | {"std": (1,) * 3}
    size, from_file = _input(file, net, raw, values)
    if size is not None and "image_size" not in fields:
        values["image_size"] = size
    config, parameters = network_of(str(file), _layers(file, raw), values | fields)
    origin = "the file's, resized as Caffe's tools do" if from_file else "assumed, as of Caffe's reference models"
    for name in {layer.transform_param.mean_file for layer in raw} - {""}:
        origin += f" (the file names the mean image {name}, which --mean takes)"
    return Foreign(config, parameters, source="a Caffe model", preprocessing=origin)


def mean_of(file: Path) -> tuple[float, ...]:
    """The mean of each channel of a ``.binaryproto``, in the order of the file (blue, green, red).

    Raises
    ------
    ValueError
        It is none, or not of three channels.
    """
    blob = _parse(file, "Blob")
    image = _array(str(file), blob)
    image = image.reshape(image.shape[-3:]) if image.ndim >= 3 else image
    if image.ndim != 3 or len(image) != 3 or not np.isfinite(image).all():
        raise ValueError(f"{file} is no mean image of three channels: it holds numbers of shape {list(image.shape)}")
    return tuple(float(value) for value in image.mean(axis=(1, 2), dtype=np.float64))


def _input(file: Path, net: Any, raw: Sequence[Any], values: dict[str, Any]) -> tuple[int | None, bool]:
    """Height of the images, and whether the file says mean or scale, which are put into `values`."""
    shapes = [list(net.input_dim)[:4], *(list(shape.dim) for shape in net.input_shape)]
    sizes, from_file = set(), False
    for layer in raw:
        shapes += [list(shape.dim) for shape in layer.input_param.shape] if hasattr(layer, "input_param") else []
        transform = layer.transform_param
        if transform.crop_size:
            sizes.add((transform.crop_size, transform.crop_size))
        if transform.HasField("scale") and transform.scale > 0:
            values["std"], from_file = (1 / transform.scale,) * 3, True
        if transform.mean_value:
            blue, green, red = (list(transform.mean_value) * 3)[:3]
            values["mean"], from_file = (red, green, blue), True
    sizes |= {(shape[2], shape[3]) for shape in shapes if len(shape) == 4}
    if len(sizes) > 1 or any(height != width for height, width in sizes):
        raise ValueError(f"{file} cannot be converted: its input is of {sorted(sizes)} pixels, expected one square")
    return (int(sizes.pop()[0]) if sizes else None), from_file


def _layers(file: Path, raw: Sequence[Any]) -> list[Layer]:
    layers: list[Layer] = []
    alias: dict[str, str] = {}
    current = None
    for entry in raw:
        kind = entry.type if isinstance(entry.type, str) else _V1.get(entry.type, f"number {entry.type} of V1")
        if entry.HasField("layer") if hasattr(entry, "layer") else False:
            raise ValueError(
                f"{file} is in the format of 2013 (V0): Caffe's upgrade_net_proto_binary makes a newer one"
            )
        if kind in _ENDS:
            continue
        bottoms = [alias.get(name, name) for name in entry.bottom]
        if kind == "Split":
            alias |= dict.fromkeys(entry.top, bottoms[0] if bottoms else "")
            continue
        where = f"{file} cannot be converted: layer {entry.name} ({kind})"
        if len(bottoms) != 1 or len(entry.top) != 1 or (current is not None and bottoms[0] != current):
            raise ValueError(f"{where} takes {bottoms} where {[current]} is expected: the network is no row of layers")
        current = entry.top[0]
        alias.pop(current, None)
        try:
            layers.append(_layer(kind, entry))
        except ValueError as error:
            raise ValueError(f"{where} {error}") from error
    return layers


def _layer(kind: str, entry: Any) -> Layer:
    if kind == "Convolution":
        return _convolution(entry)
    if kind == "InnerProduct":
        weight, bias = _blobs(entry, entry.inner_product_param.bias_term)
        weight = weight.reshape(weight.shape[-2:])
        weight = weight.T if entry.inner_product_param.transpose else weight
        return Layer("linear", entry.name, {}, weight, bias)
    if kind == "Pooling":
        return _pool(entry)
    if kind == "LRN":
        given = entry.lrn_param
        if given.norm_region != 0:
            raise ValueError("normalises within channels, which this package's networks do not")
        options = {name: short(getattr(given, name)) for name in ("alpha", "beta", "k")}
        return Layer("lrn", entry.name, {"size": given.local_size, "groups": 1, **options})
    if kind == "ReLU" and entry.relu_param.negative_slope:
        raise ValueError(f"has a slope of {short(entry.relu_param.negative_slope)} below zero, expected 0")
    if kind == "Dropout":
        return Layer("dropout", entry.name, {"rate": short(entry.dropout_param.dropout_ratio)})
    return Layer({"ReLU": "relu", "TanH": "tanh", "Flatten": "flatten"}.get(kind, kind), entry.name)


def _convolution(entry: Any) -> Layer:
    given = entry.convolution_param
    weight, bias = _blobs(entry, given.bias_term)
    if weight.ndim != 4:
        raise ValueError(f"has filters of shape {list(weight.shape)}, expected four numbers")
    stride = _pair(given, "stride", 1)
    pad = _pair(given, "pad", 0)
    dilation = (tuple(given.dilation) * 2)[:2] or (1, 1)
    options = {"stride": stride, "padding": pad * 2, "dilation": dilation, "groups": given.group}
    return Layer("conv2d", entry.name, options, weight, bias)


def _pool(entry: Any) -> Layer:
    given = entry.pooling_param
    if given.pool not in (0, 1) or given.global_pooling:
        raise ValueError("pools over the whole map or at random, which this package's networks do not")
    kernel, stride, pad = (_pair(given, name, other) for name, other in (("kernel", 0), ("stride", 1), ("pad", 0)))
    options = {"kernel": kernel, "stride": stride, "padding": pad * 2, "ceil": given.round_mode == 0}
    return Layer("avg_pool" if given.pool == 1 else "max_pool", entry.name, options)


def _pair(given: Any, name: str, otherwise: int) -> tuple[int, int]:
    """Height and width of a window's number, in whichever of Caffe's ways it is given."""
    if given.HasField(f"{name}_h") or given.HasField(f"{name}_w"):
        return getattr(given, f"{name}_h"), getattr(given, f"{name}_w")
    value = getattr(given, "kernel_size" if name == "kernel" else name)
    both = (value, value) if isinstance(value, int) else (tuple(value) * 2)[:2]
    return (both[0], both[1]) if both else (otherwise, otherwise)


def _blobs(entry: Any, with_bias: bool) -> tuple[Array, Array | None]:
    if len(entry.blobs) != 1 + with_bias:
        raise ValueError(f"has {len(entry.blobs)} arrays of weights, expected {1 + with_bias}")
    bias = _array("its bias", entry.blobs[1]).reshape(-1) if with_bias else None
    return _array("its weight", entry.blobs[0]), bias


def _array(name: str, blob: Any) -> Array:
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else (blob.num, blob.channels, blob.height, blob.width)
    data, dtype = (blob.data, "<f4") if blob.data else (blob.double_data, "<f8")
    content = b"".join(data)
    if len(content) != math.prod(shape) * int(dtype[2]):
        raise ValueError(f"holds {len(content) // int(dtype[2])} numbers for {name}, whose shape is {list(shape)}")
    return np.frombuffer(content, dtype).reshape(shape)
