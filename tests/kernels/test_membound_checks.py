"""What the bindings of all operations but the products refuse before anything is launched."""

from __future__ import annotations

import importlib
import importlib.util
import math
from dataclasses import replace
from typing import Any

import pytest

from alexnet_cuda.backends.runtime import Tensor
from alexnet_cuda.base.params import DropoutParams, FoldedLayout, LrnParams, PoolParams, SgdParams

# `_simt` is always built; `_cuda` not with ALEXNET_CUDA_BUILD=cpu.
MODULES = ["_simt", *(["_cuda"] if importlib.util.find_spec("alexnet_cuda._cuda") else [])]

ADDRESS = 1 << 20  # stands for an address of the module's, and is never read: each call stops before the launch
WINDOW = {"window": LrnParams(size=5, k=2.0, alpha=1e-4, beta=0.75, groups=2)}
POOL = {"pool": PoolParams(3, 2, (0, 0), (3, 2))}
IMAGES, OUTPUTS = (2, 7, 6, 12), (2, 3, 2, 12)
COLOURS = {"mean": [1.0, 2.0, 3.0], "std": [4.0, 5.0, 6.0], "reverse_channels": False, "folded": None}
DTYPES = {
    **{"argmax": "uint8", "images": "uint8", "mirrored": "bool", "correct": "bool", "copy": "bfloat16"},
    **{"top": "int64", "left": "int64", "labels": "int64", "step": "uint64"},
}
ROWS = (3, 5)
DROPOUT = DropoutParams(0.5, seed=1, purpose=2, step=0, start=0, row_stride=5, scale=2.0)
SGD = SgdParams(None, None, None)


def tensors(**shapes: tuple[int, ...]) -> dict[str, Tensor]:
    return {
        name: Tensor(name, ADDRESS * (i + 1), DTYPES.get(name, "float32"), shape)
        for i, (name, shape) in enumerate(shapes.items())
    }


CALLS: dict[str, dict[str, Any]] = {
    "lrn_fprop": {**tensors(x=IMAGES, y=IMAGES), **WINDOW},
    "lrn_bprop": {**tensors(x=IMAGES, dy=IMAGES, dx=IMAGES), **WINDOW, "relu": False},
    "map_lrn_fprop": {**tensors(x=IMAGES, y=IMAGES), **WINDOW},
    "map_lrn_bprop": {**tensors(x=IMAGES, dy=IMAGES, dx=IMAGES), **WINDOW},
    "max_pool_fprop": {**tensors(x=IMAGES, y=OUTPUTS, argmax=OUTPUTS), **POOL},
    "max_pool_bprop": {**tensors(dx=IMAGES, dy=OUTPUTS, argmax=OUTPUTS, y=OUTPUTS), **POOL},
    "avg_pool_fprop": {**tensors(x=IMAGES, y=OUTPUTS), **POOL},
    "avg_pool_bprop": {**tensors(dx=IMAGES, dy=OUTPUTS), **POOL},
    "lrn_max_pool_fprop": {**tensors(x=IMAGES, y=OUTPUTS, argmax=OUTPUTS), **WINDOW, **POOL},
    "lrn_max_pool_bprop": {**tensors(x=IMAGES, dy=OUTPUTS, argmax=OUTPUTS, dx=IMAGES), **WINDOW, **POOL, "relu": True},
    "augment": {
        **tensors(y=(2, 7, 7, 3), images=(2, 9, 8, 3), top=(2,), left=(2,), mirrored=(2,), shift=(2, 3)),
        **COLOURS,
    },
    "relu_fprop": tensors(x=ROWS, y=ROWS),
    "relu_bprop": tensors(y=ROWS, dy=ROWS, dx=ROWS),
    "bias_bprop": {**tensors(dy=ROWS, dbias=(5,)), "workspace": None},
    "copy_columns": tensors(x=ROWS, addend=ROWS, y=ROWS),
    "dropout_apply": {**tensors(x=ROWS, y=ROWS, step=(1,)), "dropout": DROPOUT},
    "softmax_cross_entropy": {
        **tensors(logits=ROWS, labels=(3,), loss=(3,), correct=(3,), dlogits=ROWS),
        **{"first_column": 0, "scale": 1.0},
    },
    "sgd": {**tensors(weights=ROWS, velocity=ROWS, gradient=ROWS, copy=ROWS, learning_rate=(1,)), "sgd": SGD},
}
BYTES = {"argmax", "mirrored", "images", "correct"}  # any address is aligned
TENSORS = [(op, name) for op, call in CALLS.items() for name, value in call.items() if isinstance(value, Tensor)]
OPTIONAL = {("max_pool_fprop", "argmax"), ("lrn_max_pool_fprop", "argmax"), ("max_pool_bprop", "y")} | {
    ("softmax_cross_entropy", "dlogits"),
    ("sgd", "copy"),
    ("copy_columns", "addend"),
}
OPTIONS = {"window", "pool", "dropout", "sgd"}
# What the shapes of an operation's other tensors are measured by.
FIRST = {op: next(iter(call)) for op, call in CALLS.items()}


class Extension:
    """An extension, and addresses that it takes for those of tensors."""

    def __init__(self, name: str) -> None:
        self.module = importlib.import_module(f"alexnet_cuda.{name}")
        # The CPU executor takes no address outside of its buffers.
        self.base = self.module.allocate(bytes=8 * ADDRESS, label="never read") + 64 if name == "_simt" else ADDRESS

    def invoke(self, op: str, **changes: Any) -> None:
        """Call with good arguments but for the changes; of a tensor or of options those are of its fields."""
        call = {**CALLS[op], "stream": 0}
        for name, value in changes.items():
            if not isinstance(value, dict):
                call[name] = value
            else:
                call[name] = (
                    call[name]._replace(**value) if isinstance(call[name], Tensor) else replace(call[name], **value)
                )
        for name, value in call.items():
            if isinstance(value, Tensor) and value.address:
                call[name] = value._replace(address=value.address + self.base - ADDRESS)
        getattr(self.module, op)(**call)


@pytest.fixture(params=MODULES, scope="module")
def extension(request):
    return Extension(request.param)


@pytest.mark.parametrize(("op", "name"), TENSORS)
def test_null_pointer_is_named(extension, op, name):
    with pytest.raises(ValueError, match=f"^{name} is a null pointer; expected the address of [0-9]+ elements"):
        extension.invoke(op, **{name: {"address": 0}})


@pytest.mark.parametrize(("op", "name"), [t for t in TENSORS if t[1] not in BYTES])
def test_misaligned_pointer_is_named(extension, op, name):
    with pytest.raises(ValueError, match=f"^{name} is at address [0-9]+; expected a multiple of"):
        extension.invoke(op, **{name: {"address": ADDRESS + 1}})


@pytest.mark.parametrize(("op", "name"), TENSORS)
def test_another_dtype_shape_or_pitch_is_named(extension, op, name):
    with pytest.raises(ValueError, match=f"^{name} is of complex64; expected"):
        extension.invoke(op, **{name: {"dtype": "complex64"}})
    if op != "copy_columns":
        with pytest.raises(ValueError, match=f"^{name} has a pitch of 99; expected"):
            extension.invoke(op, **{name: {"pitch": 99}})
    if name != FIRST[op]:
        shape = CALLS[op][name].shape
        with pytest.raises(
            ValueError, match=rf"^({name} has (the shape \[[0-9, ]+\]|[0-9] dim)|the columns of {name} ).*expected"
        ):
            extension.invoke(op, **{name: {"shape": (*shape[:-1], shape[-1] + 1)}})


@pytest.mark.parametrize(("op", "name"), TENSORS)
@pytest.mark.parametrize(
    "value", [1.5, None, "1", 4096, (4096, "float32", (5,)), ("x", 1.5, "float32", (5,), 0)], ids=str
)
def test_wrong_type_is_a_type_error(extension, op, name, value):
    if value is None and (op, name) in OPTIONAL:
        return
    with pytest.raises(TypeError, match=name):
        extension.invoke(op, **{name: value})


OBLONG = FoldedLayout(unfolded=(7, 6, 3), stride=(4, 4), padding=(0, 0), shape=(2, 2, 48))
MAP_LRN_OPS = ("map_lrn_fprop", "map_lrn_bprop")
LRN_OPS = ("lrn_fprop", "lrn_bprop", "lrn_max_pool_fprop", "lrn_max_pool_bprop", *MAP_LRN_OPS)
POOL_OPS = (*(op for op in CALLS if "pool" in op),)
AVG_OPS = ("avg_pool_fprop", "avg_pool_bprop")
IMAGE_OPS = (*(op for op in CALLS if len(CALLS[op][FIRST[op]].shape) == 4),)


@pytest.mark.parametrize(
    ("ops", "changes", "words"),
    [
        (LRN_OPS, {"window": {"size": 4}}, "size is 4; expected an odd number of channels"),
        (LRN_OPS, {"window": {"size": -1}}, "size is -1; expected 1 to"),
        (LRN_OPS, {"window": {"groups": 5}}, "groups is 5; expected a divisor of channels, 12"),
        (LRN_OPS, {"window": {"groups": 0}}, "groups is 0; expected 1 to"),
        (LRN_OPS, {"window": {"k": 0.0}}, "k is 0.0"),
        (LRN_OPS, {"window": {"k": math.nan}}, "k is nan"),
        (LRN_OPS, {"window": {"k": 1e-39}}, "k is 0.0"),
        (LRN_OPS, {"window": {"alpha": -1.0}}, "alpha is -1.0"),
        (LRN_OPS, {"window": {"beta": math.inf}}, "beta is inf"),
        (LRN_OPS, {"x": {"shape": (2, 7, 6, 4000)}, "window": {"groups": 1, "size": 2051}}, "a window of at most 2049"),
        (MAP_LRN_OPS, {"window": {"size": 11, "groups": 1}}, "size is 11; expected 1 to 9"),
        (POOL_OPS, {"pool": {"size": 16}}, "pool.size is 16; expected 1 to 15"),
        (POOL_OPS, {"pool": {"size": 0}}, "pool.size is 0; expected 1 to 15"),
        (POOL_OPS, {"pool": {"stride": 0}}, "pool.stride is 0; expected 1 to"),
        (POOL_OPS, {"pool": {"padding": (0, 3)}}, "pool.padding is 3; expected 0 to 2"),
        (POOL_OPS, {"pool": {"padding": (-1, 0)}}, "pool.padding is -1; expected 0 to 2"),
        (POOL_OPS, {"pool": {"output": (0, 2)}}, "pool.output is 0; expected 1 to 4"),
        (POOL_OPS, {"pool": {"output": (3, 5), "padding": (0, 2)}}, "pool.output is 5; expected 1 to 4"),
        (POOL_OPS, {"": {"shape": (2, 7, 0, 12)}}, "pool.output is 2; expected 1 to 0"),
        (
            POOL_OPS,
            {"": {"shape": (2, 1, 1, 2**30)}, "pool": {"stride": 1, "padding": (2, 2), "output": (3, 3)}},
            "output height [*] output width [*] channels is more than 1073741824",
        ),
        (AVG_OPS, {"pool": {"counted": ((0, 3), (0, 0))}}, "pool.counted is 3; expected 0 to 2"),
        (IMAGE_OPS, {"": {"shape": (2, 2**20, 2**20, 12)}}, "height [*] width is more than 1073741824"),
        (IMAGE_OPS, {"": {"shape": (2**30, 2**14, 6, 12)}}, "images is 1073741824, of"),
        (IMAGE_OPS, {"": {"shape": (2, 7, 6, 0)}}, "channels is 0; expected 1 to"),
        (IMAGE_OPS, {"": {"shape": (2, -7, 6, 12)}}, "height is -7; expected 0 to"),
        (IMAGE_OPS, {"": {"shape": (2, 7, 6)}}, "has 3 dimensions; expected 4"),
        (("augment",), {"y": {"shape": (2, 9, 9, 3)}}, "the views' size is 9; expected at most .* 9 x 8"),
        (("augment",), {"y": {"shape": (2, 7, 7, 5)}}, "y has views of 7 x 7 x 5; expected square ones of 3 or 4"),
        (("augment",), {"mean": [0.0, math.nan, 0.0]}, "mean is nan"),
        (("augment",), {"std": [1.0, 0.0, 1.0]}, "std is 0.0"),
        (("augment",), {"folded": OBLONG}, "folded is of views 7 x 6 x 3; expected square ones of 3 channels"),
        (
            ("augment",),
            {"folded": replace(OBLONG, unfolded=(7, 7, 3))},
            r"y has the shape .*; expected \[2, 2, 2, 48\]",
        ),
        (("relu_fprop",), {"x": {"shape": (2**40, 2**20)}}, r"x has the shape \[\d+, \d+\]; expected at most \d+ elem"),
        (("relu_fprop",), {"x": {"shape": (-1, 5)}}, r"x has the shape \[-1, 5\]; expected at most"),
        (("bias_bprop",), {"dy": {"shape": (30_000, 5)}}, r"workspace is None; expected \d+ bytes"),
        (("softmax_cross_entropy",), {"scale": math.inf}, "scale is inf"),
        (("softmax_cross_entropy",), {"logits": {"shape": (3, 0)}}, "the columns of logits is 0"),
        (("softmax_cross_entropy",), {"first_column": 6}, "first_column is 6"),
        (("softmax_cross_entropy",), {"first_column": 1}, "the columns of dlogits is 5"),
        (("softmax_cross_entropy",), {"dlogits": {"address": ADDRESS + 4}}, "dlogits overlaps logits"),
        (("softmax_cross_entropy",), {"dlogits": {"address": ADDRESS, "dtype": "bfloat16"}}, "dlogits overlaps logits"),
        (("dropout_apply",), {"dropout": {"rate": 1.0}}, "rate is 1.0"),
        (("dropout_apply",), {"dropout": {"rate": -0.1}}, "rate is -0.1"),
        (("dropout_apply",), {"dropout": {"rate": math.nan}}, "rate is nan"),
        (("dropout_apply",), {"dropout": {"scale": math.inf}}, "scale is inf"),
        (("dropout_apply",), {"dropout": {"scale": 0.0}}, "scale is 0.0"),
        (("dropout_apply",), {"dropout": {"start": -1}}, "start is -1"),
        (("dropout_apply",), {"dropout": {"row_stride": -1}}, "row_stride is -1"),
        (
            ("dropout_apply",),
            {"dropout": {"start": 2**34 - 14}},
            r"start \+ \(rows - 1\) \* row_stride \+ columns is too",
        ),
        (("dropout_apply",), {"dropout": {"row_stride": 2**33}}, r"row_stride \+ columns is too large"),
        (("dropout_apply",), {"dropout": {"start": 2**34, "row_stride": 0}}, "columns is too large"),
        (("sgd",), {"sgd": {"momentum": -0.1}}, "momentum is -0.1"),
        (("sgd",), {"sgd": {"weight_decay": math.nan}}, "weight_decay is nan"),
        (("sgd",), {"sgd": {"rate_factor": 1e39}}, "rate_factor is"),
        (("sgd",), {"sgd": {"gradient_scale": math.inf}}, "gradient_scale is inf"),
        (("sgd",), {"copy": {"dtype": "float32"}}, "copy is of float32 .*; expected bfloat16 or float16, or None"),
    ],
    ids=str,
)
def test_value_out_of_range_is_named(extension, ops, changes, words):
    for op in ops:
        with pytest.raises(ValueError, match=words):
            extension.invoke(op, **{name or FIRST[op]: value for name, value in changes.items()})


@pytest.mark.parametrize(
    ("op", "output", "other"),
    [
        ("lrn_fprop", "y", "x"),
        ("lrn_bprop", "dx", "x"),
        ("lrn_bprop", "dx", "dy"),
        ("max_pool_fprop", "y", "x"),
        ("max_pool_bprop", "dx", "dy"),
        ("max_pool_bprop", "dx", "y"),
        ("map_lrn_fprop", "y", "x"),
        ("map_lrn_bprop", "dx", "dy"),
        ("map_lrn_bprop", "dx", "x"),
        ("avg_pool_fprop", "y", "x"),
        ("avg_pool_bprop", "dx", "dy"),
        ("lrn_max_pool_fprop", "y", "x"),
        ("lrn_max_pool_bprop", "dx", "x"),
        ("lrn_max_pool_bprop", "dx", "dy"),
    ],
)
@pytest.mark.parametrize("distance", [0, 4, -4])
def test_overlap_is_named(extension, op, output, other, distance):
    with pytest.raises(ValueError, match=f"^{output} overlaps {other}; expected memory of its own"):
        extension.invoke(op, **{output: {"address": CALLS[op][other].address + distance}})


@pytest.mark.parametrize(
    ("op", "name"), [(op, name) for op, call in CALLS.items() for name in sorted(OPTIONS & call.keys())]
)
def test_options_of_another_type_are_a_type_error(extension, op, name):
    with pytest.raises(TypeError, match=f"{name}: {type(CALLS[op][name]).__name__}"):
        extension.invoke(op, **{name: object()})


@pytest.mark.parametrize("op", [op for op in CALLS if op != "bias_bprop"])  # whose sums are zeros then
def test_empty_batch_returns_at_once(extension, op):
    names = [name for each, name in TENSORS if each == op and name not in ("step", "learning_rate", "dbias")]
    own = {name: CALLS[op][name].shape for name in names}
    extension.invoke(op, **{name: {"address": 0, "shape": (0, *shape[1:])} for name, shape in own.items()})
