"""The wrappers of `backends.cuda` against a made-up CuPy and extension: what they pass on, what they refuse."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
import types
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import alexnet_cuda
from alexnet_cuda.backends.cpu.dropout import DropoutParams

STUB = ast.parse((Path(alexnet_cuda.__file__).parent / "_cuda.pyi").read_text(encoding="utf-8"))
PARAMETERS = {
    node.name: {argument.arg for argument in node.args.kwonlyargs}
    for node in STUB.body
    if isinstance(node, ast.FunctionDef)
}
STREAM = 77


class FakeArray:
    """As much of cupy.ndarray as the wrappers touch; every array has an address of its own."""

    next_address = 4096

    def __init__(
        self, shape: tuple[int, ...] | int, dtype: Any = "float32", device: int = 0, value: Any = None
    ) -> None:
        self.shape = (shape,) if isinstance(shape, int) else shape
        self.dtype, self.size = np.dtype(dtype), int(np.prod(self.shape, dtype=np.int64))
        self.device, self.value = types.SimpleNamespace(id=device), value
        self.data = types.SimpleNamespace(ptr=FakeArray.next_address)
        FakeArray.next_address += 4096


class FakeExtension:
    """Records each call, which must have exactly the parameters that the stub declares."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        if name not in PARAMETERS:
            raise AttributeError(name)

        def call(**arguments: Any) -> Any:
            assert set(arguments) == PARAMETERS[name]
            if name == "bias_bprop_config":
                return {"workspace_floats": 6}
            self.calls.append((name, arguments))
            return None

        return call


@pytest.fixture
def extension(monkeypatch: pytest.MonkeyPatch) -> FakeExtension:
    cupy: Any = types.ModuleType("cupy")
    cupy.ndarray = FakeArray
    cupy.empty = FakeArray
    cupy.full = lambda shape, value, dtype: FakeArray(shape, dtype, value=value)
    cupy.cuda = types.SimpleNamespace(
        runtime=types.SimpleNamespace(getDevice=lambda: 0),
        get_current_stream=lambda: types.SimpleNamespace(ptr=STREAM),
    )
    fake = FakeExtension()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "alexnet_cuda._cuda", fake)  # type: ignore[arg-type]
    return fake


def backend(op: str) -> Any:
    return importlib.import_module(f"alexnet_cuda.backends.cuda.{op}")


@pytest.mark.parametrize("op", ["relu", "tanh", "dropout", "softmax_cross_entropy", "sgd"])
def test_same_functions_as_the_cpu_backend(op: str) -> None:
    cpu, cuda = importlib.import_module(f"alexnet_cuda.backends.cpu.{op}"), backend(op)
    names = [name for name in ("fprop", "bprop", "apply", "update") if hasattr(cpu, name)]
    assert names
    for name in names:
        expected = list(inspect.signature(getattr(cpu, name)).parameters)
        given = inspect.signature(getattr(cuda, name)).parameters.values()
        assert [p.name for p in given if p.kind is not inspect.Parameter.KEYWORD_ONLY] == expected


@pytest.mark.parametrize("op", ["relu", "tanh"])
def test_activations(extension: FakeExtension, op: str) -> None:
    x, y = FakeArray((2, 3), ml_dtypes.bfloat16), FakeArray((2, 3), ml_dtypes.bfloat16)
    backend(op).fprop(x, y)
    backend(op).bprop(x, y, x)
    common = {"count": 6, "dtype": "bfloat16", "stream": STREAM}
    assert extension.calls == [
        (f"{op}_fprop", {"x": x.data.ptr, "y": y.data.ptr, **common}),
        (f"{op}_bprop", {"y": y.data.ptr, "dy": x.data.ptr, "dx": x.data.ptr, **common}),
    ]


def test_bias(extension: FakeExtension) -> None:
    x, bias = FakeArray((2, 5, 4, 3), "float16"), FakeArray(3)
    backend("bias").fprop(x, bias, x)
    backend("bias").bprop(x, bias)
    (_, forward), (_, backward) = extension.calls
    assert (forward["x"], forward["bias"], forward["y"]) == (x.data.ptr, bias.data.ptr, x.data.ptr)
    assert (backward["dy"], backward["dbias"]) == (x.data.ptr, bias.data.ptr)
    assert backward["workspace"] not in (0, x.data.ptr, bias.data.ptr)
    for call in (forward, backward):
        assert (call["rows"], call["columns"], call["dtype"]) == (40, 3, "float16")


def test_dropout_takes_the_step_as_number_or_from_device_memory(extension: FakeExtension) -> None:
    x, step = FakeArray((4, 6)), FakeArray(1, "uint64")
    backend("dropout").apply(x, DropoutParams(0.5, 7, 3, 11, 6, 12), x)
    backend("dropout").apply(x, DropoutParams(0.5, 7, 3, step, 6, 12), x)  # type: ignore[arg-type]
    (_, first), (_, second) = extension.calls
    assert second["step"] == step.data.ptr
    assert first["step"] not in (0, step.data.ptr)
    expected = {"rows": 4, "columns": 6, "start": 6, "row_stride": 12, "seed": 7, "purpose": 3, "rate": 0.5}
    assert expected.items() <= first.items()
    with pytest.raises(ValueError, match=r"expected one uint64 in device memory, got float32 of shape \[4, 6\]"):
        backend("dropout").apply(x, DropoutParams(0.5, 7, 3, x, 6, 12), x)  # type: ignore[arg-type]


def test_softmax_cross_entropy(extension: FakeExtension) -> None:
    logits, labels = FakeArray((4, 10)), FakeArray(4, "int64")
    loss, correct = backend("softmax_cross_entropy").fprop(logits, labels, 0.25, None)
    ((_, call),) = extension.calls
    assert (loss.shape, loss.dtype, correct.shape, correct.dtype) == ((4,), np.float32, (4,), np.bool_)
    assert (call["dlogits"], call["loss"], call["correct"]) == (0, loss.data.ptr, correct.data.ptr)
    assert (call["rows"], call["classes"], call["scale"]) == (4, 10, 0.25)


def test_sgd_with_and_without_a_copy(extension: FakeExtension) -> None:
    w, v, g, copy = FakeArray(9), FakeArray(9), FakeArray(9, "float16"), FakeArray(9, "float16")
    backend("sgd").update(w, v, g, 0.1, 0.9, 5e-4)
    backend("sgd").update(w, v, g, FakeArray(1), 0.9, 5e-4, rate_factor=2.0, copy=copy)
    (_, first), (_, second) = extension.calls
    assert (first["copy"], first["dtype"], first["rate_factor"]) == (0, "float16", 1.0)
    assert (second["copy"], second["copy_dtype"], second["rate_factor"]) == (copy.data.ptr, "float16", 2.0)


def test_empty_arrays_have_no_address(extension: FakeExtension) -> None:
    x = FakeArray((0, 3))
    backend("relu").fprop(x, x)
    assert extension.calls[0][1]["x"] == 0


def test_array_of_another_device_is_named(extension: FakeExtension) -> None:
    with pytest.raises(ValueError, match="y is on cuda:1; expected cuda:0, the current device"):
        backend("relu").fprop(FakeArray(3), FakeArray(3, device=1))
    assert extension.calls == []


def test_missing_extension_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "alexnet_cuda._cuda", None)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="has no CUDA kernels; see `alexnet-cuda doctor`"):
        backend("_runtime").extension()
