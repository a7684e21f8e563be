"""cuDNN's constants and signatures as ctypes has them, its graphs, and how convolutions are put to it. No library here.

The numbers are those of cuDNN 9.28's headers: cudnn_graph.h, cudnn_ops.h.
"""

from __future__ import annotations

import ctypes
import dataclasses
import math
import subprocess
import sys
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
from benchmarks.harness import bench
from benchmarks.harness.cases import Case
from benchmarks.harness.contest import Unavailable, Unsupported
from benchmarks.opponents import cublas, cudnn_calls, cudnn_graph, library
from benchmarks.opponents.convolution import Operands, variants
from benchmarks.opponents.search import Algorithm, Search

from .conftest import ROOT
from .fakes import AddressedDevice, FakeDevice


def test_constants():
    assert library.DATA_TYPES == {"float32": 0, "float16": 2, "bfloat16": 9}  # cudnn_graph.h, cudnnDataType_t
    assert library.NOT_PROPAGATE_NAN == 0  # cudnn_graph.h, cudnnNanPropagation_t
    assert (library.POOLING_MAX, library.POOLING_MAX_DETERMINISTIC) == (0, 3)  # cudnn_ops.h, cudnnPoolingMode_t
    assert library.LRN_CROSS_CHANNEL == 0  # cudnn_ops.h, CUDNN_LRN_CROSS_CHANNEL_DIM1
    assert 3000 in library.REFUSED  # cudnn_graph.h, CUDNN_STATUS_NOT_SUPPORTED
    assert 5000 not in library.REFUSED  # cudnn_graph.h, CUDNN_STATUS_EXECUTION_FAILED


# The functions' parameters in the headers: how many, and where alpha and beta stand, which point to floats of the host.
SIGNATURES: dict[str, tuple[int, list[int]]] = {
    "cudnnSetTensor4dDescriptorEx": (10, []),
    "cudnnSetPooling2dDescriptor": (9, []),
    "cudnnPoolingForward": (8, [2, 5]),
    "cudnnPoolingBackward": (12, [2, 9]),
    "cudnnSetLRNDescriptor": (5, []),
    "cudnnLRNCrossChannelForward": (9, [3, 6]),
    "cudnnLRNCrossChannelBackward": (13, [3, 10]),
    "cudnnTransformTensor": (7, [1, 4]),
}


def test_signatures():
    for name, (count, scales) in SIGNATURES.items():
        types = library.SIGNATURES[name]
        assert len(types) == count
        assert [i for i, kind in enumerate(types) if kind is ctypes.POINTER(ctypes.c_float)] == scales
        if name.startswith("cudnnLRN"):
            assert types[2] is ctypes.c_int, "the mode"
    assert library.SIGNATURES["cudnnSetLRNDescriptor"][1:] == (ctypes.c_uint, *[ctypes.c_double] * 3)


class FakeCudnn:
    """Remembers every call as C would receive it: each function is one of C's own, called through ctypes.

    So an argument that cannot be converted to its declared type is an error here as well.
    """

    def __init__(self, status: dict[str, int] | None = None) -> None:
        self.status, self.calls = status or {}, []
        self.cudnnGetErrorString: Any = lambda status: b"CUDNN_STATUS_SOMETHING"
        for name, types in library.SIGNATURES.items():
            setattr(self, name, ctypes.CFUNCTYPE(ctypes.c_int, *types)(self._receiver(name)))
        library.declare(self)

    def _receiver(self, name: str) -> Any:
        def receive(*arguments: Any) -> int:
            if name.startswith("cudnnCreate"):
                arguments[0][0] = len(self.calls) + 1
            pointer = ctypes.POINTER(ctypes.c_float)
            self.calls.append((name, tuple(a[0] if isinstance(a, pointer) and a else a for a in arguments)))
            return self.status.get(name, 0)

        return receive

    def named(self, name: str) -> list[Any]:
        return [arguments for n, arguments in self.calls if n == name]


def test_descriptors():
    fake = FakeCudnn()
    cudnn = library.Cudnn(fake)
    cudnn.nhwc("bfloat16", 2, 5, 7, 24, pitch=48)
    assert fake.named("cudnnSetTensor4dDescriptorEx")[0][1:] == (9, 2, 24, 5, 7, 5 * 7 * 48, 1, 7 * 48, 48)
    cudnn.lrn(5, 2.0, 1e-4, 0.75)
    assert fake.named("cudnnSetLRNDescriptor")[0][1:] == (5, pytest.approx(5e-4), 0.75, 2.0), "cuDNN divides by n"
    cudnn.max_pool(3, 2)
    assert fake.named("cudnnSetPooling2dDescriptor")[0][1:] == (0, 0, 3, 3, 0, 0, 2, 2)
    cudnn.close()
    destroyed = [name for name, _ in fake.calls if name.startswith("cudnnDestroy")]
    assert destroyed[-1] == "cudnnDestroy"
    assert len(destroyed) == 4


def test_a_refusal_is_told_from_a_failure():
    for status, error in ((3002, Unsupported), (2000, Unsupported), (5000, RuntimeError), (1001, RuntimeError)):
        cudnn = library.Cudnn(FakeCudnn({"cudnnPoolingForward": status}))
        with pytest.raises(error, match=rf"cudnnPoolingForward: CUDNN_STATUS_SOMETHING \({status}\)"):
            cudnn("cudnnPoolingForward", *[None] * 8)


def test_a_missing_library_says_how_to_get_it(monkeypatch):
    library.load.cache_clear()
    monkeypatch.setattr(library, "candidates", lambda: ["/nowhere/libcudnn.so.9"])
    with pytest.raises(Unavailable, match="pip install nvidia-cudnn-cu13"):
        library.load()
    with pytest.raises(Unavailable, match="cuDNN 9 is needed"):
        library.declare(SimpleNamespace())


def test_the_wheels_library_comes_before_the_systems_unless_the_loader_is_told_another(monkeypatch, tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libcudnn.so.9").touch()
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    assert library.candidates() == [str(tmp_path / "lib" / "libcudnn.so.9"), "libcudnn.so.9"]
    monkeypatch.setenv("LD_LIBRARY_PATH", "/somewhere")
    assert library.candidates()[0] == "libcudnn.so.9"


def test_variants():
    whole, split = variants(Case("conv2d", "fprop", "conv4", 128, "bfloat16"))
    assert dataclasses.astuple(whole.calls[0].conv) == (128, 13, 13, 384, 384, 3, 13, 13, 1, 1, 2)
    first, second = split.calls
    assert (first.conv.C, first.conv.K, first.conv.groups) == (192, 192, 1)
    assert (first.x_pitch, first.y_pitch) == (384, 384)
    beginnings = dict.fromkeys(("x", "dy", "bias", "dweight"), 1000)
    assert first.addresses(beginnings, 2) == beginnings
    assert second.addresses(beginnings, 2) == {**dict.fromkeys(("x", "dy", "bias"), 1384), "dweight": 1000 + 663552}
    padded = variants(Case("conv2d", "wgrad", "conv1", 128, "bfloat16"))
    assert [v.padded for v in padded] == [0, 4, 8]
    assert padded[2].calls[0].conv.C == 8
    assert len(variants(Case("conv2d", "fprop", "conv3", 1, "float32"))) == 1


@pytest.mark.parametrize("direction", ["fprop", "wgrad"])
def test_a_padded_variant_copies_into_zeros_and_out_of_them(direction):
    of_case = bench.Bench(Case("conv2d", direction, "conv1", 1, "float32"), AddressedDevice())
    operands = Operands(of_case, variants(of_case.case)[2])
    held = operands.arrays[0]
    operands.before(0)
    assert held["x"].shape == (1, 227, 227, 8)
    np.testing.assert_array_equal(held["x"][..., :3], of_case.sets[0]["x"])
    assert not held["x"][..., 3:].any()
    if direction == "wgrad":
        held["dweight"][...] = np.arange(8)
        operands.after(0)
        assert operands.outputs()["dweight"].shape == (96, 11, 11, 3)
        assert np.unique(operands.outputs()["dweight"]).tolist() == [0, 1, 2]
    else:
        assert held["weight"].shape == (96, 11, 11, 8)
    assert operands.addresses()[0][0]["x"] == held["x"].data.ptr


@pytest.fixture
def fake_cudnn():
    """cuDNN's package as cudnn_graph.py uses it, with three plans of which the second does not compile."""
    fake = mock.Mock(cudnnGraphNotSupportedError=type("NotSupported", (Exception,), {}))
    fake.data_type = SimpleNamespace(FLOAT="f32", HALF="f16", BFLOAT16="bf16")
    fake.heur_mode = SimpleNamespace(A="A", B="B", FALLBACK="F")
    fake.numerical_note = SimpleNamespace(TENSOR_CORE="tensor cores", DOWN_CONVERT_INPUTS="down")
    graph = fake.pygraph.return_value
    graph.tensor.side_effect = lambda **fields: fields["name"]
    graph.get_execution_plan_count.return_value = 3
    graph.build_plan_at_index.side_effect = [None, RuntimeError("does not compile"), None]
    graph.get_plan_name_at_index.side_effect = lambda index: f"eng{index}"
    graph.get_workspace_size_plan_at_index.side_effect = lambda index: 100 * index
    for operation in (graph.conv_fprop, graph.conv_dgrad, graph.conv_wgrad, graph.relu):
        result = operation.return_value
        for name in ("output", "data_type", "dim", "stride", "uid"):
            getattr(result, f"set_{name}").return_value = result
    return fake


def tensors(graph: Any) -> dict[str, Any]:
    return {call.kwargs["name"]: call.kwargs for call in graph.tensor.call_args_list}


@pytest.mark.parametrize(
    ("direction", "given", "result", "dim"),
    [
        ("fprop", ["x", "weight"], "y", [128, 256, 27, 27]),
        ("dgrad", ["dy", "weight"], "dx", [128, 96, 27, 27]),
        ("wgrad", ["x", "dy"], "dweight", [256, 48, 5, 5]),
    ],
)
def test_graphs(fake_cudnn, direction, given, result, dim):
    call = variants(Case("conv2d", direction, "conv2", 128, "bfloat16"))[0].calls[0]
    graph = cudnn_graph.Graph(fake_cudnn, call, direction, "bfloat16", handle="h")
    inner = fake_cudnn.pygraph.return_value
    types = {"io_data_type": "bf16", "intermediate_data_type": "f32", "compute_data_type": "f32"}
    fake_cudnn.pygraph.assert_called_once_with(**types, handle="h")
    assert sorted(tensors(inner)) == sorted(given)
    operation = getattr(inner, f"conv_{direction}")
    how = operation.call_args.kwargs
    assert (how["padding"], how["stride"], how["dilation"]) == ([2, 2], [1, 1], [1, 1])
    inner.create_execution_plans.assert_called_once_with(["A", "B", "F"])
    assert not inner.deselect_numeric_notes.called
    made = operation.return_value
    made.set_uid.assert_called_once_with(cudnn_graph.UID[result])
    made.set_dim.assert_called_once_with(dim)
    assert made.set_stride.call_args.args[0][1] == 1, "channels vary fastest"
    assert list(graph.plans()) == [(0, "eng0", 0), (2, "eng2", 200)], "what does not compile is passed over"
    graph.run(2, {name: 1000 + i for i, name in enumerate([*given, result])}, 7, "h")
    pack, *rest = inner.execute_plan_at_index.call_args.args
    assert set(pack) == {cudnn_graph.UID[name] for name in [*given, result]}
    assert rest == [7, 2, "h"]


def test_fused_graphs_and_exact_arithmetic(fake_cudnn):
    inner, call = (
        fake_cudnn.pygraph.return_value,
        variants(Case("conv2d", "fprop", "conv4", 128, "float32"))[1].calls[1],
    )
    cudnn_graph.Graph(fake_cudnn, call, "fprop_fused", "float32", device_property="d")
    assert tensors(inner)["bias"]["dim"] == [1, 192, 1, 1]
    assert tensors(inner)["x"]["stride"] == [13 * 13 * 384, 1, 13 * 384, 384], "half of a wider tensor"
    inner.relu.return_value.set_uid.assert_called_once_with(cudnn_graph.UID["y"])
    inner.deselect_numeric_notes.assert_called_once_with(["tensor cores", "down"])
    cudnn_graph.Graph(fake_cudnn, call, "fprop_fused", "tf32", handle="h")
    inner.deselect_numeric_notes.assert_called_once()
    inner.create_execution_plans.side_effect = fake_cudnn.cudnnGraphNotSupportedError("No valid engine configs")
    with pytest.raises(Unsupported, match="No valid engine configs"):
        cudnn_graph.Graph(fake_cudnn, call, "fprop", "float32", handle="h")


PASSES = [(op, d, layer) for op, layer in (("lrn", "lrn2"), ("max_pool", "pool5")) for d in ("fprop", "bprop")]
PASSES += [("lrn_max_pool", "fprop", "lrn2"), ("lrn_max_pool", "bprop", "lrn2")]


@pytest.mark.parametrize(("op", "direction", "layer"), PASSES)
def test_every_call_is_one_that_c_takes_and_every_handle_is_given_back(op, direction, layer, monkeypatch):
    """The library does nothing, so all results are wrong; but no call is refused, and a failing one leaves nothing."""
    case = Case(op, direction, layer, 1, "float32")
    failing = "cudnnLRNCrossChannelForward" if op == "lrn" else "cudnnPoolingForward"
    for status, expected in ((0, "wrong"), (5000, "failed")):
        fake = FakeCudnn({failing: status})
        monkeypatch.setattr(library, "load", lambda fake=fake: fake)
        record = bench.measure(bench.Bench(case, AddressedDevice()), cudnn_calls.contenders(case), 0.0)
        assert {c["status"] for c in record["contenders"].values()} == {expected}, record["contenders"]
        assert len(record["contenders"]) == (2 if op == "max_pool" else 3)
        made = [name for name, _ in fake.calls if name.startswith("cudnnCreate")]
        given_back = [name for name, _ in fake.calls if name.startswith("cudnnDestroy")]
        assert len(given_back) == len(made) > 0


def test_passes_hand_on_what_they_gave(monkeypatch):
    """Backward through pool and transposed normalisation: each gets the other's array, and its own of before."""
    fake = FakeCudnn()
    monkeypatch.setattr(library, "load", lambda: fake)
    case = Case("lrn_max_pool", "bprop", "lrn2", 1, "float32")
    of_case = bench.Bench(case, AddressedDevice())
    of_case.sets = of_case.sets[:1]
    contender = next(c for c in cudnn_calls.contenders(case) if c.name == "cuDNN, transposed")
    contender.prepare(of_case).run(0)
    a = {name: array.data.ptr for name, array in of_case.sets[0].items()}
    moved = [(x[3], x[6]) for x in fake.named("cudnnTransformTensor")]
    (normalise,), (pool,) = fake.named("cudnnLRNCrossChannelForward"), fake.named("cudnnPoolingForward")
    assert moved[0] == (a["x"], normalise[5])
    assert moved[1] == (normalise[8], pool[4]), "the normalised maps, transposed back"
    (unpool,), (back,) = fake.named("cudnnPoolingBackward"), fake.named("cudnnLRNCrossChannelBackward")
    assert (unpool[4], unpool[6], unpool[8]) == (pool[7], a["dy"], pool[4])
    assert moved[2:] == [(pool[4], back[5]), (unpool[11], back[7]), (a["x"], back[9]), (back[12], a["dx"])]


class SearchBench:
    def __init__(self, device: FakeDevice) -> None:
        self.device, self.sets, self.plan_seconds, self.end = device, [0, 1], 100.0, math.inf


def algorithm(device: FakeDevice, name: str, seconds: float, workspace: int = 0, error: Any = None) -> Algorithm:
    def run(index: int) -> None:
        if error is not None:
            raise error
        device.spend(seconds)

    return Algorithm(name, workspace, run)


def test_the_fastest_algorithm_is_kept():
    device = FakeDevice()
    search = Search(
        SearchBench(device),
        [
            algorithm(device, "slow", 3e-3),
            algorithm(device, "huge", 1e-6, workspace=1000),
            algorithm(device, "refused", 0, error=Unsupported("no")),
            algorithm(device, "broken", 0, error=RuntimeError("bug")),
            algorithm(device, "fast", 1e-3, workspace=10),
        ],
        most_workspace=100,
    )
    detail = search.detail
    assert [a.name for a in search.algorithms] == ["fast", "slow"]
    assert (detail["engine"], detail["workspace"]) == ("fast", 10)
    assert [detail[n] for n in ("built", "refused", "failed", "too_large", "out_of_time")] == [5, 1, 1, 1, False]
    assert detail["failure"] == "broken: bug"
    assert search.retry()
    assert detail["engine"] == "slow"
    assert not search.retry()
    with pytest.raises(Unsupported, match="none of 1 algorithms ran"):
        Search(SearchBench(device), [algorithm(device, "x", 0, error=Unsupported("no"))], 0)


def test_a_search_ends_in_time():
    device = FakeDevice()
    bench = SearchBench(device)
    bench.plan_seconds = 1.0
    built: list[int] = []

    def build() -> Any:
        for i in range(50):
            built.append(i)
            yield algorithm(device, str(i), 0.1)

    search = Search(bench, build(), 0)
    assert search.detail["out_of_time"]
    assert len(built) == search.detail["built"] < 10, "what there was no time for was not built"
    bench.plan_seconds, bench.end = 100.0, device.now() + 1.0
    assert Search(bench, build(), 0).detail["out_of_time"], "nor does it outlast the run"


@pytest.mark.parametrize("direction", ["fprop", "dgrad", "wgrad"])
def test_gemm_arguments_multiply_row_major_matrices(direction):
    """cuBLAS emulated as its documentation has it, column by column, must give our product."""
    case = Case("linear", direction, "fc8", 3, "float32")
    a_name, b_name, sizes = cublas.product(case)
    shapes, small = {"x": (3, 5), "weight": (4, 5), "dy": (3, 4)}, {4096: 5, 1000: 4}
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shapes[name]) for name in (a_name, b_name))
    transa, transb, gm, gn, gk, lda, ldb, ldc = (small.get(v, v) for v in sizes)

    def columns(array: np.ndarray, transposed: int, rows: int, cols: int, pitch: int) -> np.ndarray:
        stored = np.lib.stride_tricks.as_strided(
            array.reshape(-1), (cols, rows)[:: 1 if transposed else -1], (8, 8 * pitch)
        )
        return stored.T if transposed else stored

    first = columns(b, transa, gm, gk, lda)
    second = columns(a, transb, gk, gn, ldb)
    c = np.empty({"fprop": (3, 4), "dgrad": (3, 5), "wgrad": (4, 5)}[direction])
    target = np.lib.stride_tricks.as_strided(c, (gm, gn), (8, 8 * ldc))
    target[...] = first @ second
    np.testing.assert_allclose(c, (a.T if transb else a) @ (b.T if transa else b))


def test_everything_imports_without_cupy_pytorch_or_cudnn():
    code = """
import sys, importlib, pkgutil
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("cupy", "torch", "cudnn", "pynvml", "matplotlib", "triton"):
            raise ImportError(f"{name} is not here")
sys.meta_path.insert(0, Blocked())
import benchmarks
# Which say themselves what they need.
scripts = ("benchmarks.cpu_vs_peers", "benchmarks.cpu_layers", "benchmarks.host_time")
names = [m.name for m in pkgutil.walk_packages(benchmarks.__path__, "benchmarks.") if m.name not in scripts]
for name in names:
    importlib.import_module(name)
print(len(names))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 30
