"""What a network is: `Config`, its published presets, and the checks on every field."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .base.params import ACTIVATIONS
from .base.precision import PRECISIONS

Vector = tuple[float, float, float]
Matrix = tuple[Vector, Vector, Vector]

IMAGENET_MEAN: Vector = (123.675, 116.28, 103.53)
IMAGENET_STD: Vector = (58.395, 57.12, 57.375)
INITS = ("paper", "he")
RESIZE_MODES = ("square", "shorter", "stretch")
# Of conv1 to conv5, counted from 0: which the paper splits, and begins with biases of one; which it normalises; which
# it pools. And which the code of 2012 normalises within each map too.
SPLIT, NORMALISED, POOLED, NORMALISED_WITHIN = (1, 3, 4), (0, 1), (0, 1, 4), (1,)


@dataclass(frozen=True)
class Config:
    """A network, complete: two equal configurations with equal seeds are the same network to the bit.

    Attributes
    ----------
    preset : str
        The preset it started from.
    num_classes : int
        Outputs of fc8.
    image_size : int
        Height and width of the images that the network sees, pixels.
    pad_to_stride : bool
        Whether zeros at their bottom and right let the windows of conv1 cover every pixel: three rows and columns for
        224 pixels.
    resize : int
        Side of the square images that crops come from, pixels.
    resize_mode : "square", "shorter" or "stretch"
        What of a photograph is that square: its central square, resized in one; the centre, in whole pixels, of what
        its shorter side being resized leaves (torchvision's transforms); all of it, stretched (Caffe's tools).
    conv_widths, conv_kernels, conv_strides, conv_paddings : 5 ints
        Output channels, filter size, stride and zero padding of conv1 to conv5.
    fc_widths : 2 ints
        Outputs of fc6 and fc7.
    groups : 1 or 2
        Groups of conv2, conv4 and conv5; 2 is the two-tower network of the paper.
    links : bool
        Whether conv3, fc6 and fc7 read both towers (the paper); False: the towers meet at fc8 only.
    activation : "relu", "tanh" or "logistic"
    activation_after_pool : some of 1, 2 and 5
        The convolutions whose activation comes after their pool, and after a normalisation before that.
    lrn : bool
        Whether response normalisation follows conv1 and conv2 (paper section 3.3):
        ``y = x (k + alpha' * sum of x^2 over lrn_size channels) ** -beta``.
    lrn_size, lrn_k, lrn_alpha, lrn_beta : int, float, float, float
    lrn_alpha_over_size : bool
        True: ``alpha' = alpha / size`` (Caffe, cuDNN, PyTorch); False: ``alpha' = alpha`` (the paper, TensorFlow).
    lrn_window : "tower" or "across"
        Whether the window stops at the border between the towers or not.
    lrn_before_pool : bool
        Order of normalisation and pooling.
    map_lrn_size, map_lrn_alpha : int, float
        Of the normalisation within each map that follows conv2's other one; size 0: there is none.
        ``y = x (1 + alpha / size^2 * sum of x^2 over size x size positions of the map) ** -lrn_beta``.
    pool : "max" or "average"
    pool_size, pool_stride : int
    pool_ceil : bool
        Whether a last window may reach beyond the map, so that sizes are rounded up; maxima only.
    dropout : float
        Probability that an element is dropped.
    dropout_scaled : bool
        True: the kept ones are multiplied by ``1 / (1 - dropout)``. False: all are by ``1 - dropout``, in tests alone.
    dropout_before : bool
        True: before fc6 and fc7 (torchvision); False: after them (the paper).
    init : "paper" or "he"
        "paper": as published with the preset. "he": normal of variance 2 / fan-in, biases zero (He et al. 2015).
    conv_init_std, fc_init_std : 5 and 3 floats
        Standard deviations of the published initial weights; 0 means PyTorch's default,
        uniform within ``1 / sqrt(fan-in)`` for weights and biases.
    bias_init : float
        Initial bias of conv2, conv4, conv5, fc6 and fc7; the others start at zero.
    channel_order : "RGB" or "BGR"
        Order of the channels that conv1 sees. Images are always given as RGB.
    mean, std : 3 floats
        Subtracted from and divided into the pixels, RGB, 0 to 255.
    mirror : bool
        Whether training mirrors half of the images.
    colour_noise : float
        Standard deviation of the PCA colour noise (paper section 4.1); 0 for none.
    colour_noise_scaled : bool
        Whether what has this noise, with the mean subtracted, is divided by ``1 + colour_noise``.
    colour_eigenvalues, colour_eigenvectors : 3 floats, 3 x 3 floats
        Of the covariance of RGB values scaled to 0..1; column i of the matrix belongs to eigenvalue i.
    precision : "float32", "float64", "tf32", "bfloat16" or "float16"
        Of activations and products; see `alexnet_cuda.base.precision`. The CPU has the first two, the kernels all but
        float64.
    seed : int
        Keys weights, dropout, crops and order.
    """

    preset: str = "paper"
    num_classes: int = 1000
    image_size: int = 227
    pad_to_stride: bool = False
    resize: int = 256
    resize_mode: str = "square"
    conv_widths: tuple[int, ...] = (96, 256, 384, 384, 256)
    conv_kernels: tuple[int, ...] = (11, 5, 3, 3, 3)
    conv_strides: tuple[int, ...] = (4, 1, 1, 1, 1)
    conv_paddings: tuple[int, ...] = (0, 2, 1, 1, 1)
    fc_widths: tuple[int, ...] = (4096, 4096)
    groups: int = 2
    links: bool = True
    activation: str = "relu"
    activation_after_pool: tuple[int, ...] = ()
    lrn: bool = True
    lrn_size: int = 5
    lrn_k: float = 2.0
    lrn_alpha: float = 1e-4
    lrn_beta: float = 0.75
    lrn_alpha_over_size: bool = False
    lrn_window: str = "tower"
    lrn_before_pool: bool = True
    map_lrn_size: int = 0
    map_lrn_alpha: float = 1e-3
    pool: str = "max"
    pool_size: int = 3
    pool_stride: int = 2
    pool_ceil: bool = False
    dropout: float = 0.5
    dropout_scaled: bool = True
    dropout_before: bool = False
    init: str = "paper"
    conv_init_std: tuple[float, ...] = (0.01,) * 5
    fc_init_std: tuple[float, ...] = (0.01,) * 3
    bias_init: float = 1.0
    channel_order: str = "RGB"
    mean: Vector = IMAGENET_MEAN
    std: Vector = (1.0, 1.0, 1.0)
    mirror: bool = True
    colour_noise: float = 0.1
    colour_noise_scaled: bool = False
    colour_eigenvalues: Vector = (0.2175, 0.0188, 0.0045)
    colour_eigenvectors: Matrix = (
        (-0.5675, 0.7192, 0.4009),
        (-0.5808, -0.0045, -0.8140),
        (-0.5836, -0.6948, 0.4203),
    )
    precision: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _coerced(field.name, str(field.type), getattr(self, field.name)))
        _check(self)

    @property
    def padded_size(self) -> int:
        """Height and width of conv1's input, pixels: the image and, with `pad_to_stride`, the zeros beside it."""
        if not self.pad_to_stride:
            return self.image_size
        rest = self.image_size + 2 * self.conv_paddings[0] - self.conv_kernels[0]
        return self.image_size + -rest % self.conv_strides[0]

    def to_dict(self) -> dict[str, Any]:
        """The configuration as JSON-able values; `from_dict` is its inverse."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Config:
        """The configuration of `to_dict`'s values.

        Raises
        ------
        ValueError
            A field that does not exist, or a value it cannot have.
        """
        known_fields(values)
        return cls(**values)


# Only what differs from `Config`'s defaults, which are the paper's. Sources: FAIR's torchvision for "torchvision"
# (Krizhevsky, "One weird trick", arXiv 1404.5997), the BVLC model zoo's prototxt files for "caffe" and "caffenet", and
# layers-145.cfg, layer-params-145.cfg, layer.py and convdata_jpeg.py of the code of 2012, which the Computer History
# Museum has released, for "original".
_CAFFE = {
    "lrn_k": 1.0,
    "lrn_alpha_over_size": True,
    "lrn_window": "across",
    "fc_init_std": (0.005, 0.005, 0.01),
    "bias_init": 0.1,
    "resize_mode": "stretch",
    "channel_order": "BGR",
    "mean": (122.68, 116.67, 104.01),
    "colour_noise": 0.0,
}
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "caffe": _CAFFE,
    "caffenet": {**_CAFFE, "lrn_before_pool": False, "bias_init": 1.0},
    "original": {
        "image_size": 224,
        "pad_to_stride": True,
        "activation_after_pool": (1, 5),
        "lrn_alpha_over_size": True,
        "map_lrn_size": 5,
        "dropout_scaled": False,
        "conv_init_std": (0.01, 0.01, 0.03, 0.03, 0.03),
        "colour_noise_scaled": True,
    },
    "torchvision": {
        "image_size": 224,
        "resize_mode": "shorter",
        "conv_widths": (64, 192, 384, 256, 256),
        "conv_paddings": (2, 2, 1, 1, 1),
        "groups": 1,
        "lrn": False,
        "dropout_before": True,
        "conv_init_std": (0.0,) * 5,
        "fc_init_std": (0.0,) * 3,
        "bias_init": 0.0,
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
        "colour_noise": 0.0,
    },
}


def config_from_preset(preset: str = "paper", image_size: int | None = None, **overrides: Any) -> Config:
    """The configuration of a preset, with any field replaced.

    Parameters
    ----------
    preset : str
        One of `PRESETS`.
    image_size : int, optional
        The preset's own (227; original and torchvision 224) by default. `resize` follows in proportion unless it is
        given.
    **overrides
        Any field of `Config`.

    Raises
    ------
    ValueError
        An unknown preset or field, a value out of range, an image too small for the network.
    TypeError
        A value of a wrong type.
    """
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}; there are {', '.join(sorted(PRESETS))}")
    known_fields(overrides)
    values = {"preset": preset, **PRESETS[preset], **overrides}
    if image_size is not None:
        own = PRESETS[preset].get("image_size", Config.image_size)
        if not isinstance(image_size, bool) and isinstance(image_size, int) and image_size > 0:
            values.setdefault("resize", round(image_size * 256 / own))
        values["image_size"] = image_size
    return Config(**values)


def known_fields(values: Mapping[str, Any]) -> None:
    """Require that all of these are fields of `Config`; raises ValueError."""
    known = {field.name for field in dataclasses.fields(Config)}
    if unknown := sorted(set(values) - known):
        raise ValueError(f"unknown configuration field {unknown[0]!r}; there are {', '.join(sorted(known))}")


def _coerced(name: str, kind: str, value: Any) -> Any:
    """The value as the field's type: integers become floats, lists tuples; anything else must fit already."""
    if kind in ("Vector", "Matrix") or kind.startswith("tuple"):
        if isinstance(value, str) or not hasattr(value, "__iter__"):
            raise TypeError(f"{name} must be a sequence of numbers, got {value!r}")
        inner = "Vector" if kind == "Matrix" else "int" if "int" in kind else "float"
        return tuple(_coerced(name, inner, item) for item in value)
    if kind == "float" and isinstance(value, (int, float)) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ValueError(f"{name} must be finite, got {value!r}")
        return float(value)
    if kind == "int" and not isinstance(value, bool) and hasattr(value, "__index__"):
        return int(value)
    if (kind == "bool" and isinstance(value, bool)) or (kind == "str" and isinstance(value, str)):
        return value
    raise TypeError(f"{name} must be of type {kind}, got {value!r}")


def _check(c: Config) -> None:
    def need(ok: bool, name: str, expected: str) -> None:
        if not ok:
            raise ValueError(f"{name} must be {expected}, got {getattr(c, name)!r}")

    for name in ("conv_widths", "conv_kernels", "conv_strides"):
        need(len(getattr(c, name)) == 5 and min(getattr(c, name)) > 0, name, "five positive integers")
    need(len(c.conv_paddings) == 5 and min(c.conv_paddings) >= 0, "conv_paddings", "five integers, none negative")
    need(len(c.fc_widths) == 2 and min(c.fc_widths) > 0, "fc_widths", "two positive integers")
    need(len(c.conv_init_std) == 5 and min(c.conv_init_std) >= 0, "conv_init_std", "five numbers, none negative")
    need(len(c.fc_init_std) == 3 and min(c.fc_init_std) >= 0, "fc_init_std", "three numbers, none negative")
    for name in ("num_classes", "image_size", "resize", "pool_size", "pool_stride", "lrn_size"):
        need(getattr(c, name) > 0, name, "positive")
    need(c.pool_size <= 15, "pool_size", "at most 15, so that the argmax fits in a byte")
    need(not c.pool_ceil or c.pool == "max", "pool_ceil", "false with average pools")
    need(c.resize >= c.image_size, "resize", f"at least the image size, {c.image_size}")
    need(c.resize < 1 << 15, "resize", "below 32768")
    need(c.groups in (1, 2), "groups", "1 or 2")
    need(all(w % 2 == 0 for w in c.conv_widths) or c.groups == 1, "conv_widths", "even with two groups")
    need(c.links or c.groups == 2, "links", "True with one group")
    need(c.links or all(w % 2 == 0 for w in c.fc_widths), "fc_widths", "even without links")
    need(set(c.activation_after_pool) <= {i + 1 for i in POOLED}, "activation_after_pool", "some of 1, 2 and 5")
    need(c.lrn_size % 2 == 1, "lrn_size", "odd")
    need(c.map_lrn_size in (0, 1, 3, 5, 7, 9), "map_lrn_size", "0 for none, or odd and at most 9")
    need(c.map_lrn_alpha >= 0, "map_lrn_alpha", "not negative")
    need(c.lrn_k > 0 and c.lrn_alpha >= 0, "lrn_k" if c.lrn_k <= 0 else "lrn_alpha", "positive (alpha: not negative)")
    need(0 <= c.dropout < 1, "dropout", "in [0, 1)")
    need(c.colour_noise >= 0, "colour_noise", "not negative")
    for name in ("mean", "std", "colour_eigenvalues"):
        need(len(getattr(c, name)) == 3, name, "three numbers")
    need(min(c.std) > 0, "std", "three positive numbers")
    need([len(row) for row in c.colour_eigenvectors] == [3, 3, 3], "colour_eigenvectors", "three rows of three numbers")
    need(min(c.colour_eigenvalues) >= 0, "colour_eigenvalues", "three numbers, none negative")
    need(0 <= c.seed < 1 << 64, "seed", "a 64-bit unsigned integer")
    choices = {
        "preset": tuple(sorted(PRESETS)),
        "activation": ACTIVATIONS,
        "lrn_window": ("tower", "across"),
        "resize_mode": RESIZE_MODES,
        "pool": ("max", "average"),
        "channel_order": ("RGB", "BGR"),
        "init": INITS,
        "precision": PRECISIONS,
    }
    for name, allowed in choices.items():
        need(getattr(c, name) in allowed, name, "one of " + ", ".join(map(repr, allowed)))

    smallest = smallest_image_size(c)
    need(c.image_size >= smallest, "image_size", f"at least {smallest} for this network")


def smallest_image_size(config: Config, size: int = 1) -> int:
    """The smallest image, pixels a side, that leaves at least `size` positions a side after pool5."""
    for i in reversed(range(len(config.conv_kernels))):
        if i in POOLED:
            size = (size - 1) * config.pool_stride + config.pool_size
        size = (size - 1) * config.conv_strides[i] + config.conv_kernels[i] - 2 * config.conv_paddings[i]
        size = max(size - (config.conv_strides[0] - 1 if i == 0 and config.pad_to_stride else 0), 1)
    return size
