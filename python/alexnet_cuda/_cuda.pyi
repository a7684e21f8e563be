"""The CUDA kernels: tensors are device addresses with sizes, the stream is a cudaStream_t as an integer.

Every function checks its arguments (ValueError, TypeError), launches and returns; a refused launch is a RuntimeError.
``dtype`` is "float32", "bfloat16" or "float16".
"""

from collections.abc import Sequence
from typing import TypedDict

class ElementwiseConfig(TypedDict):
    vector: int
    block: int
    grid: int

class ColumnSumConfig(TypedDict):
    vector: int
    block_columns: int
    block_rows: int
    grid: int
    splits: int
    rows_per_split: int
    workspace_floats: int

class SoftmaxConfig(TypedDict):
    block: int
    grid: int

class DeviceProperties(TypedDict):
    name: str
    capability: tuple[int, int]
    memory_bytes: int
    multiprocessors: int

def driver_version() -> int: ...
def runtime_version() -> int: ...
def device_count() -> int: ...
def device_properties(*, device: int) -> DeviceProperties: ...
def can_access_peer(*, device: int, peer: int) -> bool: ...
def elementwise_config(*, count: int, dtype: str, vectors: bool) -> ElementwiseConfig: ...
def relu_fprop(*, x: int, y: int, count: int, dtype: str, stream: int) -> None: ...
def relu_bprop(*, y: int, dy: int, dx: int, count: int, dtype: str, stream: int) -> None: ...
def tanh_fprop(*, x: int, y: int, count: int, dtype: str, stream: int) -> None: ...
def tanh_bprop(*, y: int, dy: int, dx: int, count: int, dtype: str, stream: int) -> None: ...
def bias_fprop(*, x: int, bias: int, y: int, rows: int, columns: int, dtype: str, stream: int) -> None: ...
def bias_bprop(*, dy: int, dbias: int, workspace: int, rows: int, columns: int, dtype: str, stream: int) -> None: ...
def bias_bprop_config(*, rows: int, columns: int, dtype: str) -> ColumnSumConfig: ...
def dropout_apply(
    *,
    x: int,
    y: int,
    rows: int,
    columns: int,
    start: int,
    row_stride: int,
    seed: int,
    purpose: int,
    step: int,
    rate: float,
    dtype: str,
    stream: int,
) -> None: ...
def dropout_threshold(*, rate: float) -> int: ...
def philox4x32(*, counter: Sequence[int], key: Sequence[int]) -> list[int]: ...
def softmax_cross_entropy(
    *,
    logits: int,
    labels: int,
    loss: int,
    correct: int,
    dlogits: int,
    rows: int,
    classes: int,
    scale: float,
    dtype: str,
    stream: int,
) -> None: ...
def softmax_cross_entropy_config(*, rows: int, classes: int) -> SoftmaxConfig: ...
def sgd(
    *,
    weights: int,
    velocity: int,
    gradient: int,
    copy: int,
    learning_rate: int,
    count: int,
    rate_factor: float,
    momentum: float,
    weight_decay: float,
    gradient_scale: float,
    dtype: str,
    copy_dtype: str,
    stream: int,
) -> None: ...
