"""The CUDA kernels: tensors are device addresses with sizes, the stream is a cudaStream_t as an integer.

Every function checks its arguments (ValueError, TypeError), launches and returns; a refused launch is a RuntimeError.
``dtype`` is "float32", "bfloat16" or "float16".
"""

from collections.abc import Sequence
from typing import TypedDict

from .backends.cpu.dropout import DropoutParams
from .backends.cpu.sgd import SgdParams
from .backends.kernels._runtime import Tensor

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

class LrnConfig(TypedDict):
    vector: int
    block: int
    blocks_per_image: int
    grid: int
    shared_bytes: int

class PoolConfig(TypedDict):
    vector: int
    block: int
    blocks_per_image: int
    grid: int

class LrnMaxPoolConfig(TypedDict):
    vector: int
    block: int
    rows: int
    columns: int
    packs: int
    shared_bytes: int
    grid: int

class AugmentConfig(TypedDict):
    vector: int
    block: int
    blocks_per_image: int
    grid: int

class GemmConfig(TypedDict):
    m: int
    n: int
    k: int
    groups: int
    fold: bool
    vector: bool
    tile: tuple[int, int, int]
    splits: int
    blocks: int
    x_shape: tuple[int, int, int, int]
    workspace_bytes: int
    resident_blocks: int
    microseconds: float
    reason: str

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
def elementwise_config(*, count: int, dtype: str, vectors: bool, multiprocessors: int = 132) -> ElementwiseConfig: ...
def relu_fprop(*, x: Tensor, y: Tensor, stream: int) -> None: ...
def relu_bprop(*, y: Tensor, dy: Tensor, dx: Tensor, stream: int) -> None: ...
def tanh_fprop(*, x: Tensor, y: Tensor, stream: int) -> None: ...
def tanh_bprop(*, y: Tensor, dy: Tensor, dx: Tensor, stream: int) -> None: ...
def copy_columns(
    *,
    x: int,
    addend: int,
    y: int,
    rows: int,
    columns: int,
    x_pitch: int,
    addend_pitch: int,
    y_pitch: int,
    x_dtype: str,
    y_dtype: str,
    stream: int,
) -> None: ...
def copy_config(
    *,
    rows: int,
    columns: int,
    x_pitch: int,
    addend_pitch: int,
    y_pitch: int,
    x_dtype: str,
    y_dtype: str,
    aligned: bool,
) -> ElementwiseConfig: ...
def bias_bprop(*, dy: Tensor, dbias: Tensor, workspace: Tensor | None, stream: int) -> None: ...
def bias_bprop_config(*, rows: int, columns: int, dtype: str) -> ColumnSumConfig: ...
def dropout_apply(*, dropout: DropoutParams, x: Tensor, y: Tensor, step: Tensor, stream: int) -> None: ...
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
    dlogits_dtype: str = "",
    first_column: int = 0,
    columns: int = -1,
) -> None: ...
def softmax_cross_entropy_config(*, rows: int, classes: int) -> SoftmaxConfig: ...
def sgd(
    *,
    sgd: SgdParams,
    weights: Tensor,
    velocity: Tensor,
    copy: Tensor | None,
    learning_rate: Tensor,
    gradient: Tensor,
    stream: int,
) -> None: ...
def lrn_fprop(
    *,
    x: int,
    y: int,
    images: int,
    pixels: int,
    channels: int,
    groups: int,
    size: int,
    k: float,
    alpha: float,
    beta: float,
    dtype: str,
    stream: int,
) -> None: ...
def lrn_bprop(
    *,
    dy: int,
    x: int,
    dx: int,
    images: int,
    pixels: int,
    channels: int,
    groups: int,
    size: int,
    k: float,
    alpha: float,
    beta: float,
    dtype: str,
    stream: int,
    relu: bool = False,
) -> None: ...
def lrn_fprop_config(
    *,
    images: int,
    pixels: int,
    channels: int,
    groups: int,
    size: int,
    dtype: str,
    aligned: bool,
) -> LrnConfig: ...
def lrn_bprop_config(
    *,
    images: int,
    pixels: int,
    channels: int,
    groups: int,
    size: int,
    dtype: str,
    aligned: bool,
) -> LrnConfig: ...
def max_pool_fprop(
    *,
    x: int,
    y: int,
    argmax: int,
    images: int,
    height: int,
    width: int,
    channels: int,
    size: int,
    stride: int,
    dtype: str,
    stream: int,
) -> None: ...
def max_pool_bprop(
    *,
    dy: int,
    argmax: int,
    dx: int,
    images: int,
    height: int,
    width: int,
    channels: int,
    size: int,
    stride: int,
    dtype: str,
    stream: int,
    y: int = 0,
) -> None: ...
def max_pool_fprop_config(
    *,
    images: int,
    height: int,
    width: int,
    channels: int,
    size: int,
    stride: int,
    dtype: str,
    aligned: bool,
) -> PoolConfig: ...
def max_pool_bprop_config(
    *,
    images: int,
    height: int,
    width: int,
    channels: int,
    size: int,
    stride: int,
    dtype: str,
    aligned: bool,
) -> PoolConfig: ...
def avg_pool_fprop(
    *,
    x: int,
    y: int,
    images: int,
    height: int,
    width: int,
    channels: int,
    size: int,
    stride: int,
    dtype: str,
    stream: int,
) -> None: ...
def avg_pool_bprop(
    *,
    dy: int,
    dx: int,
    images: int,
    height: int,
    width: int,
    channels: int,
    size: int,
    stride: int,
    dtype: str,
    stream: int,
) -> None: ...
def lrn_max_pool_fprop(
    *,
    x: int,
    y: int,
    argmax: int,
    images: int,
    height: int,
    width: int,
    channels: int,
    groups: int,
    size: int,
    k: float,
    alpha: float,
    beta: float,
    pool_size: int,
    pool_stride: int,
    dtype: str,
    stream: int,
) -> None: ...
def lrn_max_pool_bprop(
    *,
    dy: int,
    argmax: int,
    x: int,
    dx: int,
    images: int,
    height: int,
    width: int,
    channels: int,
    groups: int,
    size: int,
    k: float,
    alpha: float,
    beta: float,
    pool_size: int,
    pool_stride: int,
    dtype: str,
    stream: int,
    relu: bool = False,
) -> None: ...
def lrn_max_pool_fprop_config(
    *,
    images: int,
    height: int,
    width: int,
    channels: int,
    groups: int,
    size: int,
    pool_size: int,
    pool_stride: int,
    dtype: str,
    aligned: bool,
    multiprocessors: int = 132,
    multiprocessor_bytes: int = 233472,
) -> LrnMaxPoolConfig: ...
def augment(
    *,
    images: int,
    top: int,
    left: int,
    mirrored: int,
    shift: int,
    y: int,
    count: int,
    height: int,
    width: int,
    size: int,
    channels: int,
    mean: Sequence[float],
    std: Sequence[float],
    reverse_channels: bool,
    dtype: str,
    stream: int,
    fold_stride: Sequence[int] = [1, 1],
    fold_padding: Sequence[int] = [0, 0],
    fold_shape: Sequence[int] = [0, 0, 0],
) -> None: ...
def augment_config(
    *,
    images: int,
    elements: int,
    dtype: str,
    aligned: bool,
) -> AugmentConfig: ...
def conv2d_fold(
    *,
    x: int,
    folded: int,
    shape: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    fold_shape: Sequence[int],
    dtype: str,
    stream: int,
) -> None: ...
def conv2d_fprop(
    *,
    x: int,
    weight: int,
    bias: int,
    addend: int,
    y: int,
    y_float: bool,
    activation: str,
    workspace: int,
    workspace_bytes: int,
    shape: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    groups: int,
    pitch: Sequence[int],
    precision: str,
    stream: int,
    dropout_rate: float = 0.0,
    dropout_seed: int = 0,
    dropout_purpose: int = 0,
    dropout_step: int = 0,
    dropout_start: int = 0,
    dropout_row_stride: int = 0,
    x_folded: bool = False,
) -> None: ...
def conv2d_dgrad(
    *,
    dy: int,
    weight: int,
    mask: int,
    addend: int,
    dx: int,
    dx_float: bool,
    workspace: int,
    workspace_bytes: int,
    shape: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    groups: int,
    pitch: Sequence[int],
    precision: str,
    stream: int,
    mask_scale: float = 1.0,
) -> None: ...
def conv2d_wgrad(
    *,
    x: int,
    dy: int,
    dweight: int,
    dbias: int,
    accumulate: bool,
    workspace: int,
    workspace_bytes: int,
    shape: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    groups: int,
    pitch: Sequence[int],
    precision: str,
    stream: int,
    sgd_weights: int = 0,
    sgd_velocity: int = 0,
    sgd_copy: int = 0,
    sgd_learning_rate: int = 0,
    sgd_rate_factor: float = 1.0,
    sgd_momentum: float = 0.0,
    sgd_weight_decay: float = 0.0,
    sgd_gradient_scale: float = 1.0,
    x_folded: bool = False,
) -> None: ...
def conv2d_workspace_bytes(
    *,
    direction: str,
    shape: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    groups: int,
    pitch: Sequence[int],
    precision: str,
    x_folded: bool = False,
) -> int: ...
def conv2d_config(
    *,
    direction: str,
    aligned: bool,
    force: str,
    shape: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    groups: int,
    pitch: Sequence[int],
    precision: str,
    x_folded: bool = False,
    multiprocessors: int = 132,
    multiprocessor_bytes: int = 233472,
) -> GemmConfig: ...
def linear_fprop(
    *,
    x: int,
    weight: int,
    bias: int,
    addend: int,
    y: int,
    y_float: bool,
    activation: str,
    workspace: int,
    workspace_bytes: int,
    shape: Sequence[int],
    pitch: Sequence[int],
    precision: str,
    stream: int,
    dropout_rate: float = 0.0,
    dropout_seed: int = 0,
    dropout_purpose: int = 0,
    dropout_step: int = 0,
    dropout_start: int = 0,
    dropout_row_stride: int = 0,
) -> None: ...
def linear_dgrad(
    *,
    dy: int,
    weight: int,
    mask: int,
    addend: int,
    dx: int,
    dx_float: bool,
    workspace: int,
    workspace_bytes: int,
    shape: Sequence[int],
    pitch: Sequence[int],
    precision: str,
    stream: int,
    mask_scale: float = 1.0,
) -> None: ...
def linear_wgrad(
    *,
    x: int,
    dy: int,
    dweight: int,
    dbias: int,
    accumulate: bool,
    workspace: int,
    workspace_bytes: int,
    shape: Sequence[int],
    pitch: Sequence[int],
    precision: str,
    stream: int,
    sgd_weights: int = 0,
    sgd_velocity: int = 0,
    sgd_copy: int = 0,
    sgd_learning_rate: int = 0,
    sgd_rate_factor: float = 1.0,
    sgd_momentum: float = 0.0,
    sgd_weight_decay: float = 0.0,
    sgd_gradient_scale: float = 1.0,
) -> None: ...
def linear_workspace_bytes(
    *,
    direction: str,
    shape: Sequence[int],
    pitch: Sequence[int],
    precision: str,
) -> int: ...
def linear_config(
    *,
    direction: str,
    aligned: bool,
    force: str,
    shape: Sequence[int],
    pitch: Sequence[int],
    precision: str,
    multiprocessors: int = 132,
    multiprocessor_bytes: int = 233472,
) -> GemmConfig: ...
