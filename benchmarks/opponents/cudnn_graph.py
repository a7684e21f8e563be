"""cuDNN's convolutions through its graph API (package nvidia-cudnn-frontend): every plan of every heuristic mode."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from ..harness.bench import Bench, Contender, Prepared
from ..harness.cases import DTYPES, Case
from ..harness.contest import Unavailable, Unsupported
from .convolution import OUTPUT, Call, Operands, Variant, variants
from .search import SEARCH_SECONDS, Algorithm, Search, Workspace

HOW = "no package cudnn: pip install nvidia-cudnn-frontend (it needs a libcudnn: pip install nvidia-cudnn-cu13)"
MODES = ("A", "B", "FALLBACK")
UID = {"x": 1, "weight": 2, "y": 3, "dy": 4, "dx": 5, "dweight": 6, "bias": 7}
_NAMES = {"float32": "FLOAT", "float16": "HALF", "bfloat16": "BFLOAT16"}


def contenders(case: Case) -> list[Contender]:
    """One a variant of each convolution."""
    if case.op != "conv2d" or case.direction not in OUTPUT:
        return []
    seconds = SEARCH_SECONDS if importlib.util.find_spec("cudnn") else 0.0
    names = {", ".join(filter(None, ("cuDNN", v.name))): v for v in variants(case)}
    return [Contender(name, "library", lambda bench, v=v: _prepare(bench, v), seconds) for name, v in names.items()]


def load() -> Any:
    """The package; `Unavailable` where it is not installed, or finds no libcudnn."""
    try:
        import cudnn
    except ImportError as error:
        raise Unavailable(f"{HOW} ({error})") from error
    return cudnn


def opened(cudnn: Any, cleanup: ExitStack) -> Any:
    """A handle, which `cleanup` destroys."""
    handle = cudnn.create_handle()
    cleanup.callback(cudnn.destroy_handle, handle)
    return handle


def nhwc(n: int, c: int, h: int, w: int, pitch: int) -> tuple[list[int], list[int]]:
    """Extents and strides of N, C, H, W where C varies fastest, `pitch` elements from one position to the next."""
    return [n, c, h, w], [h * w * pitch, 1, w * pitch, pitch]


class Graph:
    """One convolution as cuDNN's graph, with the plans that its heuristics propose, if any.

    "float32" keeps cuDNN from the tensor cores, "tf32" does not. The plans are for a `target`: ``handle=``, or
    ``device_property=`` where there is no GPU. Raises `Unsupported` where nothing is proposed.
    """

    def __init__(self, cudnn: Any, call: Call, direction: str, precision: str, **target: Any) -> None:
        self.cudnn, self.call, self.direction = cudnn, call, direction
        self.io = getattr(cudnn.data_type, _NAMES[DTYPES[precision]])
        single = cudnn.data_type.FLOAT
        self.graph = cudnn.pygraph(
            io_data_type=self.io, intermediate_data_type=single, compute_data_type=single, **target
        )
        self.names = self._describe()
        try:
            self.graph.validate()
            self.graph.build_operation_graph()
            self.graph.create_execution_plans([getattr(cudnn.heur_mode, mode) for mode in MODES])
        except (cudnn.cudnnGraphNotSupportedError, RuntimeError) as error:
            raise Unsupported(f"cuDNN proposes no plan: {error}"[:300]) from error
        if precision == "float32":
            notes = cudnn.numerical_note
            self.graph.deselect_numeric_notes([notes.TENSOR_CORE, notes.DOWN_CONVERT_INPUTS])

    def _describe(self) -> tuple[str, ...]:
        """Add the operation; the names of the operands it takes."""
        c, graph = self.call.conv, self.graph
        shapes = {
            "x": nhwc(c.N, c.C, c.H, c.W, self.call.x_pitch),
            "dx": nhwc(c.N, c.C, c.H, c.W, self.call.x_pitch),
            "y": nhwc(c.N, c.K, c.P, c.Q, self.call.y_pitch),
            "dy": nhwc(c.N, c.K, c.P, c.Q, self.call.y_pitch),
            "weight": nhwc(c.K, c.C // c.groups, c.R, c.R, c.C // c.groups),
            "dweight": nhwc(c.K, c.C // c.groups, c.R, c.R, c.C // c.groups),
            "bias": nhwc(1, c.K, 1, 1, c.K),
        }

        def given(name: str) -> Any:
            dims, strides = shapes[name]
            return graph.tensor(name=name, dim=dims, stride=strides, data_type=self.io, uid=UID[name])

        how = {"padding": [c.padding] * 2, "stride": [c.stride] * 2, "dilation": [1, 1]}
        if self.direction.startswith("fprop"):
            result, names = graph.conv_fprop(image=given("x"), weight=given("weight"), **how), ("x", "weight", "y")
        elif self.direction == "dgrad":
            result, names = graph.conv_dgrad(loss=given("dy"), filter=given("weight"), **how), ("dy", "weight", "dx")
        else:
            result, names = graph.conv_wgrad(image=given("x"), loss=given("dy"), **how), ("x", "dy", "dweight")
        if self.direction == "fprop_fused":
            result = graph.bias(name="bias_add", input=result, bias=given("bias"))
            result = graph.relu(name="relu", input=result)
            names = (*names, "bias")
        out = OUTPUT[self.direction]
        dims, strides = shapes[out]
        result.set_output(True).set_data_type(self.io).set_dim(dims).set_stride(strides).set_uid(UID[out])
        return names

    def plans(self) -> Iterator[tuple[int, str, int]]:
        """Index, name (engine and knobs) and workspace of every plan that can be built."""
        for index in range(self.graph.get_execution_plan_count()):
            try:
                self.graph.build_plan_at_index(index)
                name = self.graph.get_plan_name_at_index(index)
                workspace = self.graph.get_workspace_size_plan_at_index(index)
            except (self.cudnn.cudnnGraphNotSupportedError, RuntimeError, ValueError):
                continue  # not selected, or it does not compile here
            yield index, name, int(workspace)

    def run(self, index: int, pointers: dict[str, int], workspace: int, handle: Any) -> None:
        """Enqueue a plan on the handle's stream."""
        pack = {UID[name]: pointers[name] for name in self.names}
        self.graph.execute_plan_at_index(pack, workspace, index, handle)


def _prepare(bench: Bench, variant: Variant) -> Prepared:
    cudnn = load()
    handle = opened(cudnn, bench.cleanup)
    graph = Graph(cudnn, variant.calls[0], bench.case.direction, bench.case.precision, handle=handle)
    operands, workspace = Operands(bench, variant), Workspace(bench.device)
    # Worked out before, so that nothing but the call itself happens when it is timed.
    addresses = operands.addresses()

    def algorithm(plan: tuple[int, str, int]) -> Algorithm:
        def run(index: int) -> None:
            at = workspace.of(plan[2])
            cudnn.set_stream(handle=handle, stream=bench.device.stream())
            operands.before(index)
            for each in addresses[index]:
                graph.run(plan[0], each, at, handle)
            operands.after(index)

        return Algorithm(plan[1], plan[2], run)

    search = Search(bench, (algorithm(plan) for plan in graph.plans()), int(0.5 * bench.device.free_bytes()))
    search.detail |= {"modes": list(MODES), "proposed": graph.graph.get_execution_plan_count()}
    return Prepared(search.run, operands.outputs, search.detail, retry=search.retry)
