"""ONNX, read and written by the package ``onnx``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..base.locks import import_lock
from ..config import Config
from ..network.plan import build_plan
from .chain import Array, Layer, layers_of, network_of, parameters_of, short
from .result import METADATA_KEY, Foreign, described, needed

OPSET = 17
_IR_VERSION = 8  # of the release of ONNX that brought opset 17
_KINDS = {"Relu": "relu", "Tanh": "tanh", "Flatten": "flatten", "MaxPool": "max_pool", "AveragePool": "avg_pool"}
_SHAPES = ("Shape", "Gather", "Unsqueeze", "Squeeze", "Concat", "Slice", "Cast", "Constant", "ConstantOfShape", "Mul")


def read(file: Path, fields: Mapping[str, Any]) -> Foreign:
    """The network of an ONNX file; see `alexnet_cuda.convert.read`."""
    with needed("onnx", f"reading {file}"):
        import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(file)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError) as error:
        raise ValueError(f"{file} is truncated, or no ONNX file ({error})") from error
    layers, image_size = _Reader(str(file), model.graph).layers()
    if known := described(file, {entry.key: entry.value for entry in model.metadata_props}):
        config = dataclasses.replace(known[0], **fields)
        parameters = parameters_of(str(file), config, layers)
        return Foreign(config, parameters, known[1], known[2], "an ONNX model that alexnet_cuda wrote")
    config, parameters = network_of(str(file), layers, fields, image_size)
    origin = f"assumed, as of preset {config.preset}"
    return Foreign(config, parameters, source="an ONNX model", preprocessing=origin)


class _Reader:
    """Goes through a graph, which must be one row of layers."""

    def __init__(self, file: str, graph: Any) -> None:
        from onnx import numpy_helper

        self.file, self.graph = file, graph
        self.constants: dict[str, Array] = {}
        for tensor in graph.initializer:
            self.constants[tensor.name] = np.asarray(numpy_helper.to_array(tensor))
        self.shapes: set[str] = set()  # what is computed of the shape of an activation
        self.found: list[Layer] = []
        self.current = ""

    def layers(self) -> tuple[list[Layer], int | None]:
        inputs = [value for value in self.graph.input if value.name not in self.constants]
        if len(inputs) != 1:
            raise ValueError(
                f"{self.file} cannot be converted: it has {len(inputs)} inputs ({', '.join(i.name for i in inputs)}), "
                "not one"
            )
        self.current = inputs[0].name
        for node in self.graph.node:
            try:
                self.follow(node)
            except (IndexError, TypeError) as error:  # arrays of shapes that no such layer has
                raise ValueError(f"{self.where(node)} is damaged ({error})") from error
        sizes = [dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim]
        if self.found and self.found[-1].kind == "Softmax":
            self.found.pop()
        if len(sizes) == 4 and sizes[2] != sizes[3]:
            raise ValueError(f"{self.file} cannot be converted: its images are {sizes[2]}x{sizes[3]}, expected squares")
        return self.found, (sizes[2] or None) if len(sizes) == 4 else None

    def where(self, node: Any) -> str:
        return f"{self.file} cannot be converted: layer {_name(node)} ({node.op_type})"

    def follow(self, node: Any) -> None:
        where = self.where(node)
        given = [value for value in node.input if value]
        if self.current not in given:
            if node.op_type not in _SHAPES and not self.fold(node, given):
                raise ValueError(f"{where} does not take {self.current}: the network is no row of layers")
            if node.op_type in _SHAPES and not self.fold(node, given):
                self.shapes |= set(node.output)
            return
        if node.op_type == "Shape":
            self.shapes |= set(node.output)
            return
        if unknown := [value for value in given if value not in {self.current, *self.constants, *self.shapes}]:
            raise ValueError(f"{where} takes {unknown[0]} beside {self.current}: the network is no row of layers")
        try:
            self.add(node, _name(node), {a.name: _attribute(a) for a in node.attribute})
        except ValueError as error:
            raise ValueError(f"{where} {error}") from error
        self.current = node.output[0]

    def fold(self, node: Any, given: list[str]) -> bool:
        """Evaluate what only constants go into."""
        attributes = {a.name: _attribute(a) for a in node.attribute}
        if any(value not in self.constants for value in given):
            return False
        if node.op_type == "Constant" and "value" in attributes:
            from onnx import numpy_helper

            result = np.asarray(numpy_helper.to_array(attributes["value"]))
        elif node.op_type == "Identity":
            result = self.constants[given[0]]
        elif node.op_type == "Transpose":
            result = self.constants[given[0]].transpose(attributes.get("perm"))
        elif node.op_type == "Reshape" and len(given) == 2:
            try:
                result = self.constants[given[0]].reshape(self.constants[given[1]])
            except ValueError as error:
                raise ValueError(f"{self.where(node)} is damaged ({error})") from error
        else:
            return False
        self.constants[node.output[0]] = result
        return True

    def add(self, node: Any, name: str, given: dict[str, Any]) -> None:
        kind = node.op_type
        if kind in ("Identity", "Dropout"):
            rate = given.get("ratio", self.constants.get(node.input[1], 0.5) if len(node.input) > 1 else 0.5)
            self.found += (
                [Layer("dropout", name, {"rate": short(np.asarray(rate).item())})] if kind == "Dropout" else []
            )
        elif kind == "Reshape":
            self.reshape(name, self.constants.get(node.input[1]) if len(node.input) > 1 else given.get("shape"))
        elif kind == "Conv":
            self.found.append(self.convolution(node, name, given))
        elif kind in ("Gemm", "MatMul"):
            self.found.append(self.product(node, name, given))
        elif kind == "Add":
            self.bias(node)
        elif kind == "LRN":
            numbers = (("alpha", 1e-4), ("beta", 0.75))
            options: dict[str, Any] = {option: short(given.get(option, otherwise)) for option, otherwise in numbers}
            options |= {"k": short(given.get("bias", 1.0)), "size": given["size"], "groups": 1}
            self.found.append(Layer("lrn", name, options))
        elif kind in ("MaxPool", "AveragePool"):
            options = _window(given, given["kernel_shape"], 1)
            options |= {"kernel": tuple(given["kernel_shape"]), "ceil": bool(given.get("ceil_mode", 0))}
            self.found.append(Layer(_KINDS[kind], name, options))
        else:
            if kind == "Flatten" and given.get("axis", 1) != 1:
                raise ValueError(f"flattens from axis {given['axis']}, expected 1")
            self.found.append(Layer(_KINDS.get(kind, kind), name))

    def convolution(self, node: Any, name: str, given: dict[str, Any]) -> Layer:
        weight = self.constant(node, 1)
        if weight.ndim != 4:
            raise ValueError(f"has filters of shape {list(weight.shape)}, expected four numbers")
        options = _window(given, weight.shape[2:], 0) | {"groups": given.get("group", 1)}
        return Layer("conv2d", name, options, weight, self.constant(node, 2) if len(node.input) > 2 else None)

    def product(self, node: Any, name: str, given: dict[str, Any]) -> Layer:
        """Gemm, or MatMul with the Add after it."""
        if node.input[0] != self.current or given.get("transA", 0):
            raise ValueError("does not multiply the activations by weights")
        weight = self.constant(node, 1)
        if weight.ndim != 2:
            raise ValueError(f"has weights of shape {list(weight.shape)}, expected two numbers")
        weight = weight if given.get("transB", 0) else weight.T
        bias = self.constant(node, 2).reshape(-1) if len(node.input) > 2 else None
        alpha, beta = given.get("alpha", 1.0), given.get("beta", 1.0)
        weight = weight if alpha == 1 else weight * np.float32(alpha)
        return Layer("linear", name, {}, weight, bias if bias is None or beta == 1 else bias * np.float32(beta))

    def bias(self, node: Any) -> None:
        constants = [self.constants[value] for value in node.input if value in self.constants]
        last = self.found[-1] if self.found else None
        if last is None or last.weight is None or last.bias is not None or len(constants) != 1:
            raise ValueError("adds to what is no product without a bias")
        if constants[0].size != len(last.weight):
            raise ValueError(
                f"adds numbers of shape {list(constants[0].shape)} to the {len(last.weight)} of {last.name}"
            )
        self.found[-1] = Layer(last.kind, last.name, last.options, last.weight, constants[0].reshape(-1))

    def reshape(self, name: str, shape: Any) -> None:
        """To one axis, or around an LRN to a batch whose images are groups of channels."""
        if shape is None or len(shape) == 2:
            self.found.append(Layer("flatten", name))
            return
        last = self.found[-1] if self.found else None
        if last is not None and last.kind == "lrn" and len(self.found) > 1 and self.found[-2].kind == "groups":
            inner = self.found.pop(-2).options["channels"]
            if inner <= 0 or shape[1] % inner:
                raise ValueError(f"makes {shape[1]} channels of groups of {inner}")
            self.found[-1] = Layer("lrn", last.name, {**last.options, "groups": int(shape[1] // inner)})
        elif len(shape) == 4:
            self.found.append(Layer("groups", name, {"channels": int(shape[1])}))
        else:
            raise ValueError(f"makes shapes of {len(shape)} axes, expected 2")

    def constant(self, node: Any, number: int) -> Array:
        name = node.input[number]
        if name not in self.constants:
            raise ValueError(f"takes {name}, which is no constant of the file")
        return self.constants[name]


def _name(node: Any) -> str:
    return str(node.name or (node.output[0] if node.output else ""))


def _attribute(attribute: Any) -> Any:
    from onnx import helper

    value = helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else value


def _window(given: dict[str, Any], kernel: Any, otherwise: int) -> dict[str, Any]:
    """Stride, padding and dilation; a pool's dilation must be 1."""
    if given.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise ValueError(f"has auto_pad {given['auto_pad']}, expected its padding as numbers")
    axes = len(kernel)
    options = {
        "stride": tuple(given.get("strides", [1] * axes)),
        "padding": tuple(given.get("pads", [0] * 2 * axes)),
        "dilation": tuple(given.get("dilations", [1] * axes)),
    }
    if otherwise and options["dilation"] != (1,) * axes:
        raise ValueError(f"has dilation {options['dilation']}, expected 1")
    return options


class _Writer:
    """Puts the nodes of a graph behind each other."""

    def __init__(self, config: Config) -> None:
        self.maps = {step.name: step.input for step in build_plan(config).steps}
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.current = "images"

    def then(self, op: str, name: str, *constants: str, **attributes: Any) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node(op, [self.current, *constants], [name], name, **attributes))
        self.current = name

    def constant(self, name: str, array: Any, dtype: Any = np.float32) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array, dtype), name))
        return name

    def add(self, layer: Layer) -> None:
        given, name = layer.options, layer.name.replace("the activation of ", "activation.")
        weights: list[str] = []
        if layer.weight is not None:
            weights = [self.constant(f"{name}.{kind}", getattr(layer, kind)) for kind in ("weight", "bias")]
        if layer.kind == "conv2d":
            pads, strides = given["padding"], given["stride"]
            self.then("Conv", name, *weights, group=given["groups"], pads=pads, strides=strides)
        elif layer.kind == "linear":
            self.then("Gemm", name, *weights, transB=1)
        elif layer.kind == "lrn":
            self.lrn(name, given)
        elif layer.kind in ("max_pool", "avg_pool"):
            op = "MaxPool" if layer.kind == "max_pool" else "AveragePool"
            window = {"kernel_shape": given["kernel"], "strides": given["stride"], "pads": given["padding"]}
            self.then(op, name, ceil_mode=int(given["ceil"]), **window)
        elif layer.kind != "dropout":
            self.then({"relu": "Relu", "tanh": "Tanh", "flatten": "Flatten"}[layer.kind], name)

    def lrn(self, name: str, given: Mapping[str, Any]) -> None:
        """Where windows stop between the towers each tower's channels become an image of their own, and come back."""
        height, width, channels = self.maps[name]
        groups = given["groups"]
        if groups > 1:
            shape = [-1, channels // groups, height, width]
            self.then("Reshape", f"{name}.towers", self.constant(f"{name}.apart", shape, np.int64))
        self.then("LRN", name, alpha=given["alpha"], beta=given["beta"], bias=given["k"], size=given["size"])
        if groups > 1:
            shape = [-1, channels, height, width]
            self.then("Reshape", f"{name}.channels", self.constant(f"{name}.together", shape, np.int64))


def encode(network: Foreign) -> bytes:
    """An ONNX model: input ``images`` [N, 3, H, W], preprocessed, any N; output ``logits`` [N, classes].

    Configuration and class names stand in its metadata.

    Raises
    ------
    ValueError
        The network has what ONNX lacks.
    """
    with needed("onnx", "writing ONNX"):
        from onnx import TensorProto, helper

    config, side = network.config, network.config.image_size
    writer = _Writer(config)
    for layer in layers_of(config, network.parameters):
        writer.add(layer)
    writer.nodes[-1].output[0] = "logits"
    graph = helper.make_graph(
        writer.nodes,
        "alexnet_cuda",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, side, side])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", config.num_classes])],
        writer.constants,
    )
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, producer_name="alexnet_cuda", opset_imports=opset, ir_version=_IR_VERSION)
    helper.set_model_props(model, {METADATA_KEY: network.metadata_text()})
    data: bytes = model.SerializeToString()
    return data


def difference(data: bytes, config: Config, forward: Callable[[Array], Array]) -> float | None:
    """By how much an ONNX model's logits differ from those of `forward`, of the largest; None: nothing here can tell.

    ONNX Runtime computes them, and where it is not installed ONNX's reference, which is wrong for LRN in all channels
    but the first (onnx/onnx issue 7805): a network with LRN is not checked then.
    """
    run: Callable[[Array], Array]
    try:
        with import_lock:
            import onnxruntime
    except ImportError:
        if config.lrn:
            return None
        from onnx import load_from_string
        from onnx.reference import ReferenceEvaluator

        reference: Any = ReferenceEvaluator(load_from_string(data))
        run = lambda images: np.asarray(reference.run(None, {"images": images})[0])  # noqa: E731
    else:
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        run = lambda images: np.asarray(session.run(None, {"images": images})[0])  # noqa: E731
    worst = 0.0
    rng = np.random.default_rng(0)
    for count in (1, 2):
        pixels = rng.integers(0, 256, (count, config.image_size, config.image_size, 3))
        order = slice(None) if config.channel_order == "RGB" else slice(None, None, -1)
        images = (((pixels - config.mean) / config.std)[..., order]).astype(np.float32)
        ours, theirs = forward(images), run(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        worst = max(worst, float(np.abs(ours - theirs).max() / np.abs(ours).max()))
    return worst
