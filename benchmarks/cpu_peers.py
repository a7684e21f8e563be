"""bvlc_alexnet in other libraries, each at its best on the CPU: what `cpu_vs_peers.py` measures against.

A peer is a function from (weights, images [N, H, W, 3], labels, threads) to its runs by kind, "inference" and maybe
"training"; an inference returns the logits. ImportError says that its library is not here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

Run = Callable[[], Any]
Weights = dict[str, Any]  # by parameter, in PyTorch's layout
CONVOLUTIONS = {  # filter, stride, padding, groups, whether LRN and whether a pool follows
    "conv1": (11, 4, 0, 1, True, True),
    "conv2": (5, 1, 2, 2, True, True),
    "conv3": (3, 1, 1, 1, False, False),
    "conv4": (3, 1, 1, 2, False, False),
    "conv5": (3, 1, 1, 2, False, True),
}


def weights_of(model: Any) -> Weights:
    """Of a model of preset "caffe": filters as [K, C, R, S], fc6's columns in (c, h, w)."""
    weights = {}
    for name, value in model.parameters.items():
        array = np.array(value)
        if array.ndim == 4:
            array = array.transpose(0, 3, 1, 2)
        elif name == "fc6.weight":
            array = array.reshape(len(array), 6, 6, -1).transpose(0, 3, 1, 2).reshape(len(array), -1)
        weights[name] = np.ascontiguousarray(array)
    return weights


def torch_network(weights: Weights) -> Any:
    """bvlc_alexnet in PyTorch."""
    import torch
    from torch import nn

    layers: list[Any] = []
    for name, (_, stride, padding, groups, lrn, pool) in CONVOLUTIONS.items():
        k, c, r, _ = weights[f"{name}.weight"].shape
        layers += [nn.Conv2d(c * groups, k, r, stride=stride, padding=padding, groups=groups), nn.ReLU(inplace=True)]
        layers += [nn.LocalResponseNorm(5)] * lrn + [nn.MaxPool2d(3, 2)] * pool
    layers += [nn.Flatten()]
    for name in ("fc6", "fc7", "fc8"):
        layers += [nn.Linear(*reversed(weights[f"{name}.weight"].shape))]
        layers += [nn.ReLU(inplace=True), nn.Dropout()] * (name != "fc8")
    network = nn.Sequential(*layers)
    names = [*CONVOLUTIONS, "fc6", "fc7", "fc8"]
    modules = [m for m in network if isinstance(m, (nn.Conv2d, nn.Linear))]
    with torch.no_grad():
        for name, module in zip(names, modules, strict=True):
            module.weight.copy_(torch.from_numpy(weights[f"{name}.weight"]))
            module.bias.copy_(torch.from_numpy(weights[f"{name}.bias"]))
    return network


def torch_peer(
    channels_last: bool, compiled: bool, bfloat16: bool, weights: Weights, images: Any, labels: Any, threads: int
) -> dict[str, Run]:
    """PyTorch as its users would run it: in-place ReLU, fused SGD."""
    import torch

    torch.set_num_threads(threads)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = torch_network(weights).to(memory_format=layout)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=layout)
    y = torch.from_numpy(labels)
    call = torch.compile(network) if compiled else network
    decayed = [p for n, p in network.named_parameters() if n.endswith("weight")]
    biases = [p for n, p in network.named_parameters() if n.endswith("bias")]
    groups = [{"params": decayed, "weight_decay": 5e-4}, {"params": biases, "lr": 2e-4}]
    optimizer = torch.optim.SGD(groups, lr=1e-4, momentum=0.9, fused=True)

    def infer() -> Any:
        network.eval()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            return call(x).float().numpy()

    def train() -> Any:
        network.train()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = torch.nn.functional.cross_entropy(call(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return {"inference": infer, "training": train}


def onnx_model(weights: Weights, batch: int) -> Any:
    """The network as ONNX, its input [N, 3, 227, 227]."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []

    def then(op: str, inputs: list[str], **attributes: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [f"t{len(nodes)}"], **attributes))
        return f"t{len(nodes) - 1}"

    x = "x"
    for name, (r, stride, padding, groups, lrn, pool) in CONVOLUTIONS.items():
        geometry = {"kernel_shape": [r, r], "strides": [stride] * 2, "pads": [padding] * 4, "group": groups}
        x = then("Relu", [then("Conv", [x, f"{name}.weight", f"{name}.bias"], **geometry)])
        x = then("LRN", [x], size=5, alpha=1e-4, beta=0.75, bias=1.0) if lrn else x
        x = then("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2]) if pool else x
    x = then("Flatten", [x])
    for name in ("fc6", "fc7", "fc8"):
        x = then("Gemm", [x, f"{name}.weight", f"{name}.bias"], transB=1)
        x = then("Relu", [x]) if name != "fc8" else x
    graph = helper.make_graph(
        nodes,
        "bvlc_alexnet",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 227, 227])],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, [batch, 1000])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def onnxruntime_peer(weights: Weights, images: Any, labels: Any, threads: int) -> dict[str, Run]:
    """ONNX Runtime with all of its graph optimisations."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Threads that wait by spinning would take the cores from whoever is next in turn.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    model = onnx_model(weights, len(images))
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    x = {"x": np.ascontiguousarray(images.transpose(0, 3, 1, 2))}
    return {"inference": lambda: session.run(None, x)[0]}


def openvino_peer(weights: Weights, images: Any, labels: Any, threads: int) -> dict[str, Run]:
    """OpenVINO, held to float32: it takes bfloat16 where the CPU has it."""
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(core.read_model(onnx_model(weights, len(images))), "CPU", settings)
    x = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return {"inference": lambda: compiled(x)[0]}


PEERS: dict[str, Callable[..., dict[str, Run]]] = {
    "PyTorch": partial(torch_peer, False, False, False),
    "PyTorch channels_last": partial(torch_peer, True, False, False),
    "PyTorch compiled": partial(torch_peer, False, True, False),
    "PyTorch channels_last compiled": partial(torch_peer, True, True, False),
    "ONNX Runtime": onnxruntime_peer,
    "OpenVINO": openvino_peer,
    "PyTorch compiled bfloat16": partial(torch_peer, True, True, True),
}
