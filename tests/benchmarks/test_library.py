"""cuDNN's constants and signatures as ctypes has them, its graphs, and how convolutions are put to it. No library here.

The numbers are those of cuDNN 9.28's headers: cudnn_graph.h, cudnn_ops.h, cudnn_cnn.h.
"""

from __future__ import annotations

import ctypes
import math
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from benchmarks.harness import bench
from benchmarks.harness.bench import Unavailable, Unsupported
from benchmarks.harness.cases import Case, conv
from benchmarks.opponents import cublas, cudnn_calls, cudnn_graph, library, torch_tensors
from benchmarks.opponents.convolution import Operands, variants
from benchmarks.opponents.search import Algorithm, Choice, fastest

from .conftest import ROOT
from .fakes import FakeDevice


def test_constants() -> None:
    assert library.DATA_TYPES == {"float32": 0, "float16": 2, "bfloat16": 9}  # cudnn_graph.h, cudnnDataType_t
    assert library.FORMAT_NHWC == 1  # cudnn_graph.h, CUDNN_TENSOR_NHWC
    assert list(library.MATH_TYPES.values()) == [0, 1, 2, 3]  # cudnn_graph.h, cudnnMathType_t
    assert library.CROSS_CORRELATION == 1  # cudnn_graph.h, cudnnConvolutionMode_t
    assert library.NOT_PROPAGATE_NAN == 0  # cudnn_graph.h, cudnnNanPropagation_t
    assert (library.ACTIVATION_RELU, library.ACTIVATION_IDENTITY) == (1, 5)  # cudnn_graph.h, cudnnActivationMode_t
    assert (library.POOLING_MAX, library.POOLING_MAX_DETERMINISTIC) == (0, 3)  # cudnn_ops.h, cudnnPoolingMode_t
    assert library.LRN_CROSS_CHANNEL == 0  # cudnn_ops.h, CUDNN_LRN_CROSS_CHANNEL_DIM1
    # cudnn_ops.h: CUDNN_CONVOLUTION_FWD_ALGO_COUNT, ..._BWD_DATA_ALGO_COUNT, ..._BWD_FILTER_ALGO_COUNT
    assert {name: len(kinds) for name, kinds in library.ALGORITHMS.items()} == {"fprop": 8, "dgrad": 6, "wgrad": 7}
    assert library.ALGORITHMS["fprop"].index("IMPLICIT_PRECOMP_GEMM") == 1
    assert library.ALGORITHMS["fprop"].index("WINOGRAD_NONFUSED") == 7
    assert library.ALGORITHMS["dgrad"].index("WINOGRAD") == 4
    assert library.ALGORITHMS["wgrad"].index("FFT_TILING") == 6
    assert library.ALGORITHMS["wgrad"].index("3") == 3
    assert 3000 in library.REFUSED  # cudnn_graph.h, CUDNN_STATUS_NOT_SUPPORTED
    assert 5000 not in library.REFUSED  # cudnn_graph.h, CUDNN_STATUS_EXECUTION_FAILED


# Parameters of each function in the headers: how many, and at which positions sizes, ints or doubles stand.
ARITY = {
    "cudnnSetTensor4dDescriptorEx": 10,
    "cudnnSetFilter4dDescriptor": 7,
    "cudnnSetConvolution2dDescriptor": 9,
    "cudnnGetConvolutionForwardWorkspaceSize": 7,
    "cudnnConvolutionForward": 13,
    "cudnnConvolutionBiasActivationForward": 18,
    "cudnnConvolutionBackwardData": 13,
    "cudnnConvolutionBackwardFilter": 13,
    "cudnnSetActivationDescriptor": 4,
    "cudnnSetPooling2dDescriptor": 9,
    "cudnnPoolingForward": 8,
    "cudnnPoolingBackward": 12,
    "cudnnSetLRNDescriptor": 5,
    "cudnnLRNCrossChannelForward": 9,
    "cudnnLRNCrossChannelBackward": 13,
    "cudnnTransformTensor": 7,
}
# Where alpha and beta stand, which point to a float of the host.
SCALES = {
    "cudnnConvolutionForward": [1, 10],
    "cudnnConvolutionBiasActivationForward": [1, 10],
    "cudnnConvolutionBackwardData": [1, 10],
    "cudnnConvolutionBackwardFilter": [1, 10],
    "cudnnPoolingForward": [2, 5],
    "cudnnPoolingBackward": [2, 9],
    "cudnnLRNCrossChannelForward": [3, 6],
    "cudnnLRNCrossChannelBackward": [3, 10],
    "cudnnTransformTensor": [1, 4],
}


@pytest.mark.parametrize("name", ARITY)
def test_signatures(name: str) -> None:
    assert len(library.SIGNATURES[name]) == ARITY[name]
    if name.startswith("cudnnConvolution"):
        assert library.SIGNATURES[name][7] is ctypes.c_int, "the algorithm"
        assert library.SIGNATURES[name][9] is ctypes.c_size_t, "the workspace's size"
    if name == "cudnnSetLRNDescriptor":
        assert library.SIGNATURES[name][1:] == (ctypes.c_uint, *[ctypes.c_double] * 3)
    if name.startswith("cudnnLRN"):
        assert library.SIGNATURES[name][2] is ctypes.c_int, "the mode"
    if name in SCALES:
        scales = [i for i, kind in enumerate(library.SIGNATURES[name]) if kind is ctypes.POINTER(ctypes.c_float)]
        assert scales == SCALES[name]


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


def test_descriptors() -> None:
    fake = FakeCudnn()
    cudnn = library.Cudnn(fake)
    cudnn.nhwc("bfloat16", 2, 5, 7, 24, pitch=48)
    assert fake.named("cudnnSetTensor4dDescriptorEx")[0][1:] == (9, 2, 24, 5, 7, 5 * 7 * 48, 1, 7 * 48, 48)
    cudnn.filter("float16", 8, 3, 5, 4)
    assert fake.named("cudnnSetFilter4dDescriptor")[0][1:] == (2, 1, 8, 4, 3, 5)
    cudnn.convolution(2, 4, 2, "FMA")
    assert fake.named("cudnnSetConvolution2dDescriptor")[0][1:] == (2, 2, 4, 4, 1, 1, 1, 0)
    assert fake.named("cudnnSetConvolutionMathType")[0][1] == 3
    assert fake.named("cudnnSetConvolutionGroupCount")[0][1] == 2
    cudnn.lrn(5, 2.0, 1e-4, 0.75)
    assert fake.named("cudnnSetLRNDescriptor")[0][1:] == (5, pytest.approx(5e-4), 0.75, 2.0), "cuDNN divides by n"
    cudnn.max_pool(3, 2)
    assert fake.named("cudnnSetPooling2dDescriptor")[0][1:] == (0, 0, 3, 3, 0, 0, 2, 2)
    cudnn.close()
    destroyed = [name for name, _ in fake.calls if name.startswith("cudnnDestroy")]
    assert destroyed[-1] == "cudnnDestroy"
    assert len(destroyed) == 6


def test_a_refusal_is_told_from_a_failure() -> None:
    for status, error in ((3002, Unsupported), (2000, Unsupported), (5000, RuntimeError), (1001, RuntimeError)):
        cudnn = library.Cudnn(FakeCudnn({"cudnnPoolingForward": status}))
        with pytest.raises(error, match=rf"cudnnPoolingForward: CUDNN_STATUS_SOMETHING \({status}\)"):
            cudnn("cudnnPoolingForward", *[None] * 8)


def test_a_missing_library_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    library.load.cache_clear()
    monkeypatch.setattr(library, "candidates", lambda: ["/nowhere/libcudnn.so.9"])
    with pytest.raises(Unavailable, match="pip install nvidia-cudnn-cu13"):
        library.load()
    with pytest.raises(Unavailable, match="cuDNN 9 is needed"):
        library.declare(SimpleNamespace())


def test_libraries_are_looked_for_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "libcudnn.so.9").touch()
    monkeypatch.setenv("LD_LIBRARY_PATH", f"/nowhere:{tmp_path}")
    found = library.candidates()
    assert found[0] == str(tmp_path / "libcudnn.so.9")
    assert found[-1] == "libcudnn.so.9"


# -- how a convolution is put to a library


def test_variants() -> None:
    case = Case("conv2d", "fprop", "conv4", 128, "bfloat16")
    whole, split = variants(case)
    assert whole.calls[0].conv == conv(case)
    first, second = split.calls
    assert (first.conv.C, first.conv.K, first.conv.groups) == (192, 192, 1)
    assert (first.x_pitch, first.y_pitch) == (384, 384)
    assert (second.x_offset, second.y_offset, second.weight_offset) == (192, 192, 192 * 9 * 192)
    padded = variants(Case("conv2d", "wgrad", "conv1", 128, "bfloat16"))
    assert [v.padded for v in padded] == [0, 4, 8]
    assert padded[2].calls[0].conv.C == 8
    assert len(variants(Case("conv2d", "fprop", "conv3", 1, "float32"))) == 1


class FakeGraph:
    """cuDNN's graph as cudnn_graph.py uses it."""

    def __init__(self, log: dict[str, Any], **settings: Any) -> None:
        self.log, self.plans = log, ["eng1", "eng2", "eng3"]
        log["settings"] = settings

    def tensor(self, **fields: Any) -> str:
        self.log.setdefault("tensors", {})[fields["name"]] = fields
        return str(fields["name"])

    def _result(self, operation: str, /, **fields: Any) -> Any:
        self.log[operation] = fields
        out = SimpleNamespace(fields={})

        def setter(key: str) -> Any:
            def put(value: Any) -> Any:
                out.fields[key] = value
                return out

            return put

        for key in ("set_output", "set_data_type", "set_dim", "set_stride", "set_uid"):
            setattr(out, key, setter(key))
        self.log["result"] = out.fields
        return out

    def conv_fprop(self, **fields: Any) -> Any:
        return self._result("conv_fprop", **fields)

    def conv_dgrad(self, **fields: Any) -> Any:
        return self._result("conv_dgrad", **fields)

    def conv_wgrad(self, **fields: Any) -> Any:
        return self._result("conv_wgrad", **fields)

    def bias(self, **fields: Any) -> Any:
        return self._result("bias", **fields)

    def relu(self, **fields: Any) -> Any:
        return self._result("relu", **fields)

    def validate(self) -> None:
        pass

    def build_operation_graph(self) -> None:
        pass

    def create_execution_plans(self, modes: list[str]) -> None:
        self.log["modes"] = modes

    def deselect_numeric_notes(self, notes: list[str]) -> None:
        self.log["deselected"] = notes

    def get_execution_plan_count(self) -> int:
        return len(self.plans)

    def build_plan_at_index(self, index: int) -> None:
        if index == 1:
            raise RuntimeError("does not compile")

    def get_plan_name_at_index(self, index: int) -> str:
        return self.plans[index]

    def get_workspace_size_plan_at_index(self, index: int) -> int:
        return 100 * index

    def execute_plan_at_index(self, pack: Any, workspace: int, index: int, handle: Any) -> None:
        self.log["executed"] = (pack, workspace, index, handle)


def fake_cudnn(log: dict[str, Any]) -> Any:
    class NotSupported(Exception):
        pass

    return SimpleNamespace(
        data_type=SimpleNamespace(FLOAT="f32", HALF="f16", BFLOAT16="bf16"),
        heur_mode=SimpleNamespace(A="A", B="B", FALLBACK="F"),
        numerical_note=SimpleNamespace(TENSOR_CORE="tensor cores", DOWN_CONVERT_INPUTS="down"),
        cudnnGraphNotSupportedError=NotSupported,
        pygraph=lambda **settings: FakeGraph(log, **settings),
    )


@pytest.mark.parametrize(
    ("direction", "given", "result", "uid"),
    [("fprop", ["x", "weight"], "y", 3), ("dgrad", ["dy", "weight"], "dx", 5), ("wgrad", ["x", "dy"], "dweight", 6)],
)
def test_graphs(direction: str, given: list[str], result: str, uid: int) -> None:
    log: dict[str, Any] = {}
    case = Case("conv2d", direction, "conv2", 128, "bfloat16")
    graph = cudnn_graph.Graph(fake_cudnn(log), variants(case)[0].calls[0], direction, "bfloat16", handle="h")
    assert sorted(log["tensors"]) == sorted(given)
    assert log["settings"] == {
        "io_data_type": "bf16",
        "intermediate_data_type": "f32",
        "compute_data_type": "f32",
        "handle": "h",
    }
    operation = log[f"conv_{direction}"]
    assert (operation["padding"], operation["stride"], operation["dilation"]) == ([2, 2], [1, 1], [1, 1])
    assert log["modes"] == ["A", "B", "F"], "every heuristic mode"
    assert "deselected" not in log
    assert log["result"]["set_uid"] == uid
    shapes = {"y": [128, 256, 27, 27], "dx": [128, 96, 27, 27], "dweight": [256, 48, 5, 5]}
    assert log["result"]["set_dim"] == shapes[result]
    assert log["result"]["set_stride"][1] == 1, "channels vary fastest"
    assert list(graph.plans()) == [(0, "eng1", 0), (2, "eng3", 200)], "what does not compile is passed over"
    graph.run(2, {name: 1000 + i for i, name in enumerate([*given, result])}, 7, "h")
    pack, workspace, index, handle = log["executed"]
    assert set(pack) == {cudnn_graph.UID[name] for name in [*given, result]}
    assert (workspace, index, handle) == (7, 2, "h")


def test_fused_graphs_and_exact_arithmetic() -> None:
    log: dict[str, Any] = {}
    case = Case("conv2d", "fprop_fused", "conv4", 128, "float32")
    cudnn_graph.Graph(fake_cudnn(log), variants(case)[1].calls[1], "fprop_fused", "float32", device_property="d")
    assert log["tensors"]["bias"]["dim"] == [1, 192, 1, 1]
    assert log["tensors"]["x"]["stride"] == [13 * 13 * 384, 1, 13 * 384, 384], "half of a wider tensor"
    assert "relu" in log
    assert log["deselected"] == ["tensor cores", "down"]
    other: dict[str, Any] = {}
    cudnn_graph.Graph(fake_cudnn(other), variants(case)[1].calls[1], "fprop_fused", "tf32", handle="h")
    assert "deselected" not in other


def test_a_graph_without_plans_is_unsupported() -> None:
    log: dict[str, Any] = {}
    cudnn = fake_cudnn(log)

    class Refusing(FakeGraph):
        def create_execution_plans(self, modes: list[str]) -> None:
            raise cudnn.cudnnGraphNotSupportedError("No valid engine configs")

    cudnn.pygraph = lambda **settings: Refusing(log, **settings)
    call = variants(Case("conv2d", "fprop", "conv3", 1, "float32"))[0].calls[0]
    with pytest.raises(Unsupported, match="No valid engine configs"):
        cudnn_graph.Graph(cudnn, call, "fprop", "float32", handle="h")


@pytest.mark.parametrize("direction", ["fprop", "dgrad", "wgrad", "fprop_fused"])
def test_calls(direction: str) -> None:
    fake = FakeCudnn()
    cudnn = library.Cudnn(fake)
    case = Case("conv2d", direction, "conv2", 128, "bfloat16")
    calls = cudnn_calls.Calls(cudnn, variants(case)[0].calls[0], direction, "bfloat16")
    known = list(calls.algorithms())
    plain = direction.partition("_")[0]
    assert len(known) == 3 * len(library.ALGORITHMS[plain]), "every algorithm with every kind of arithmetic"
    calls.run(known[0][1], 1, {n: i for i, n in enumerate(("x", "weight", "y", "dy", "dx", "dweight", "bias"))}, 99, 8)
    name, arguments = fake.calls[-1]
    assert (
        name
        == {
            "fprop": "cudnnConvolutionForward",
            "dgrad": "cudnnConvolutionBackwardData",
            "wgrad": "cudnnConvolutionBackwardFilter",
            "fprop_fused": "cudnnConvolutionBiasActivationForward",
        }[direction]
    )
    assert arguments[7:10] == (1, 99, 8), "algorithm, workspace, its size"
    assert (arguments[1], arguments[10]) == (1.0, 0.0), "what scales the result, and what it is added to"
    assert cudnn_calls.math_types("float32") == ("FMA",)
    assert "FMA" not in cudnn_calls.math_types("tf32")


class Addressed(np.ndarray):
    """A host array that says where it is as CuPy's do."""

    data = property(lambda self: SimpleNamespace(ptr=self.ctypes.data))  # type: ignore[assignment]


class AddressedDevice(FakeDevice):
    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        return super().empty(shape, dtype).view(Addressed)

    def upload(self, host: np.ndarray) -> Any:
        return super().upload(host).view(Addressed)


FAILING = {
    "lrn": "cudnnLRNCrossChannelForward",
    "lrn_max_pool": "cudnnPoolingForward",
    "max_pool": "cudnnPoolingForward",
    "conv2d": "cudnnTransformTensor",  # of conv1 padded, where PyTorch is not there to copy
}


@pytest.mark.parametrize(
    ("op", "direction", "layer"),
    [
        *((op, d, "lrn2") for op in ("lrn", "lrn_max_pool") for d in ("fprop", "bprop")),
        ("max_pool", "fprop", "pool5"),
        ("max_pool", "bprop", "pool5"),
        ("conv2d", "fprop", "conv1"),
    ],
)
def test_every_call_is_one_that_c_takes_and_every_handle_is_given_back(
    op: str, direction: str, layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library does nothing, so all results are wrong; but no call is refused, and a failing one leaves nothing."""

    def absent(device: Any = None) -> Any:
        raise Unavailable("no PyTorch")

    monkeypatch.setattr(torch_tensors, "load", absent)
    monkeypatch.setattr(cudnn_graph, "installed", lambda: False)
    case = Case(op, direction, layer, 1, "float32")
    for status, expected in ((0, "wrong"), (5000, "failed")):
        fake = FakeCudnn({FAILING[op]: status})
        monkeypatch.setattr(library, "load", lambda fake=fake: fake)
        contenders = cudnn_calls.contenders(case)
        contenders = [c for c in contenders if op != "conv2d" or "padded to 4" in c.name]
        record = bench.measure(bench.Bench(case, AddressedDevice()), contenders, 0.0)
        found = {name: c["status"] for name, c in record["contenders"].items()}
        if op == "conv2d" and status:
            expected = "unsupported"  # each of its algorithms fails, so none is left
        assert set(found.values()) == {expected}, record["contenders"]
        made = [name for name, _ in fake.calls if name.startswith("cudnnCreate")]
        given_back = [name for name, _ in fake.calls if name.startswith("cudnnDestroy")]
        assert len(given_back) == len(made) > 0


# -- choosing


class SearchBench:
    def __init__(self, device: FakeDevice) -> None:
        self.device, self.sets, self.plan_seconds, self.end = device, [0, 1], 100.0, math.inf


def algorithm(device: FakeDevice, name: str, seconds: float, workspace: int = 0, error: Any = None) -> Algorithm:
    def run(index: int) -> None:
        if error is not None:
            raise error
        device.spend(seconds)

    return Algorithm(name, workspace, run)


def test_the_fastest_algorithm_is_kept() -> None:
    device = FakeDevice()
    found = fastest(
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
    choice = Choice(found)
    detail = found.detail
    assert [a.name for a in found.algorithms] == ["fast", "slow"]
    assert (detail["engine"], detail["workspace"]) == ("fast", 10)
    assert [detail[n] for n in ("built", "refused", "failed", "too_large", "out_of_time")] == [5, 1, 1, 1, False]
    assert detail["failure"] == "broken: bug"
    assert choice.retry()
    assert detail["engine"] == "slow"
    assert not choice.retry()


def test_a_search_ends_in_time() -> None:
    device = FakeDevice()
    bench = SearchBench(device)
    bench.plan_seconds = 1.0
    built: list[int] = []

    def build() -> Any:
        for i in range(50):
            built.append(i)
            yield algorithm(device, str(i), 0.1)

    found = fastest(bench, build(), 0)
    assert found.detail["out_of_time"]
    assert len(built) == found.detail["built"] < 10, "those whose turn never came were not built"
    bench.plan_seconds, bench.end = 100.0, device.now() + 1.0
    assert fastest(bench, build(), 0).detail["out_of_time"], "nor does it outlast the run"


def test_nothing_that_runs_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="none of 1 algorithms ran"):
        fastest(SearchBench(FakeDevice()), [algorithm(FakeDevice(), "x", 0, error=Unsupported("no"))], 0)


# -- cuBLAS


@pytest.mark.parametrize("direction", ["fprop", "dgrad", "wgrad"])
def test_gemm_arguments_multiply_row_major_matrices(direction: str) -> None:
    """cuBLAS emulated as its documentation has it, column by column, must give our product."""
    case = Case("linear", direction, "fc8", 3, "float32")
    a_name, b_name, a_transposed, b_transposed, m, n, k = cublas.product(case)
    rng = np.random.default_rng(0)
    small = {4096: 5, 1000: 4}
    m, n, k = (small.get(size, size) for size in (m, n, k))
    a = rng.standard_normal((k, m) if a_transposed else (m, k))
    b = rng.standard_normal((n, k) if b_transposed else (k, n))
    transa, transb, gm, gn, gk, lda, ldb, ldc = (small.get(v, v) for v in cublas.gemm_arguments(case))

    def columns(array: np.ndarray, transposed: int, rows: int, cols: int, pitch: int) -> np.ndarray:
        stored = np.lib.stride_tricks.as_strided(
            array.reshape(-1), (cols, rows)[:: 1 if transposed else -1], (8, 8 * pitch)
        )
        return stored.T if transposed else stored

    first = columns(b, transa, gm, gk, lda)
    second = columns(a, transb, gk, gn, ldb)
    c = np.empty((m, n))
    target = np.lib.stride_tricks.as_strided(c, (gm, gn), (8, 8 * ldc))
    target[...] = first @ second
    np.testing.assert_allclose(c, (a.T if a_transposed else a) @ (b.T if b_transposed else b))
    assert {a_name, b_name} <= {"x", "weight", "dy"}


def test_operands_of_a_padded_variant() -> None:
    of_case = bench.Bench(Case("conv2d", "wgrad", "conv1", 1, "float32"), FakeDevice())
    operands = Operands.__new__(Operands)
    operands.bench, operands.variant, operands.direction = of_case, variants(of_case.case)[2], "wgrad"
    held = operands._of(0)
    assert held["x"].shape == (1, 227, 227, 8)
    assert not held["x"].any(), "zeros beside the three channels"
    assert held["dweight"].shape == (96, 11, 11, 8)
    assert held["narrow"].shape == (96, 11, 11, 3)


# -- nothing heavy is imported before it is asked for


def test_everything_imports_without_cupy_pytorch_or_cudnn() -> None:
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
