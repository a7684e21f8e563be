"""A network as other frameworks hold it: a row of layers, channels first; from it and to it.

Filters are [K, C / groups, R, S], and fc6's columns are ordered (channel, row, column).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..base.windows import count, sides
from ..base.wording import counted
from ..config import PRESETS, SPLIT, Config, config_from_preset, smallest_image_size
from ..network.plan import Step, build_plan

Array = npt.NDArray[Any]

# Of a plan's steps those that other frameworks have.
_OPS = {"conv2d", "linear", "lrn", "max_pool", "avg_pool", "dropout"}


@dataclass(frozen=True)
class Layer:
    """One layer of another framework's network.

    Attributes
    ----------
    kind : str
        ``conv2d``, ``linear``, ``lrn``, ``max_pool``, ``avg_pool``, ``relu``, ``tanh``, ``flatten`` or ``dropout``;
        any other is one that this package does not have.
    name : str
        What its file calls it.
    options : mapping
        conv2d: ``stride`` and ``dilation`` (2 ints), ``padding`` (top, left, bottom, right), ``groups``. Pools:
        ``kernel``, ``stride``, ``padding``, and ``ceil`` if sizes are rounded up. lrn: ``size``, ``alpha`` (that is
        divided by the size), ``beta``, ``k``, ``groups`` (of channels with windows of their own). dropout: ``rate``.
    weight, bias : array or None
        [K, C / groups, R, S] or [out, in], and [K].
    """

    kind: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    weight: Array | None = None
    bias: Array | None = None


def short(value: float) -> float:
    """A number as files hold it, in float32, by the shortest that is it: 1e-4 and not 9.99999974737875e-05."""
    return float(str(np.float32(value)))


def layers_of(config: Config, parameters: Mapping[str, Array] | None = None) -> list[Layer]:
    """The layers of a network of this package; dropout is among them also where its rate is 0.

    Raises
    ------
    ValueError
        The network has what no other framework's layers say.
    """
    for name, usual in (("pad_to_stride", False), ("activation_after_pool", ()), ("dropout_scaled", True)):
        if (value := getattr(config, name)) != usual:
            raise ValueError(f"a network with {name}={value} has no counterpart in other frameworks")
    layers: list[Layer] = []
    for step in build_plan(dataclasses.replace(config, dropout=config.dropout or 0.5)).steps:
        if step.op in ("linear", "dropout") and not any(layer.kind == "flatten" for layer in layers):
            layers.append(Layer("flatten", "flatten"))
        weight, bias = _foreign(step, parameters) if step.weight_shape else (None, None)
        layers.append(Layer(step.op, step.name, _options(step, config), weight, bias))
        if step.activation != "none":
            layers.append(Layer(step.activation, f"the activation of {step.name}"))
    return layers


def _options(step: Step, config: Config) -> dict[str, Any]:
    if step.op == "lrn":
        alpha = config.lrn_alpha * (1 if config.lrn_alpha_over_size else config.lrn_size)
        numbers = {"alpha": short(alpha), "beta": short(config.lrn_beta), "k": short(config.lrn_k)}
        return {"size": config.lrn_size, "groups": step.groups, **numbers}
    if step.op == "dropout":
        return {"rate": config.dropout}
    if step.op == "linear":
        return {}
    (top, bottom), (left, right) = sides(step.padding)
    window = {"stride": (step.stride,) * 2, "padding": (top, left, bottom, right)}
    if step.op == "conv2d":
        return {**window, "dilation": (1, 1), "groups": step.groups}
    if step.op in ("max_pool", "avg_pool"):
        return {**window, "kernel": (step.kernel,) * 2, "ceil": step.ceil_mode}
    raise ValueError(f"layer {step.name} ({step.op}) has no counterpart in other frameworks")


def _foreign(step: Step, parameters: Mapping[str, Array] | None) -> tuple[Array, Array]:
    """Weight and bias as other frameworks hold them; of what is only to be compared, empty memory of their shapes."""
    shape = step.weight_shape
    if parameters is None:
        weight, bias = np.broadcast_to(np.float32(0), shape), np.broadcast_to(np.float32(0), shape[:1])
    else:
        weight, bias = parameters[f"{step.name}.weight"], parameters[f"{step.name}.bias"]
    if len(step.input) == 3 and step.op == "linear":
        weight = weight.reshape(shape[0], *step.input)
    if weight.ndim == 4:
        weight = weight.transpose(0, 3, 1, 2)
    return weight.reshape(shape[0], -1) if step.op == "linear" else weight, bias


def _own(step: Step, weight: Array) -> Array:
    """The inverse of `_foreign`."""
    if step.op == "conv2d":
        return np.ascontiguousarray(weight.transpose(0, 2, 3, 1))
    if len(step.input) == 3:
        height, width, channels = step.input
        weight = weight.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(weight.reshape(len(weight), -1))


def network_of(
    file: str, layers: Sequence[Layer], fields: Mapping[str, Any], image_size: int | None = None
) -> tuple[Config, dict[str, Array]]:
    """Configuration and parameters of the network that these layers are.

    Parameters
    ----------
    file : str
        What errors call it.
    layers : sequence of Layer
    fields : mapping
        Of the configuration: what the layers do not say.
    image_size : int, optional
        As the file says. Where neither it nor `fields` do, that of the nearest preset if fc6 fits it, else the smallest
        that fc6 fits.

    Raises
    ------
    ValueError
        It is no network of this package; the first layer that differs is named.
    """
    body = _body(layers)
    for kind, number, noun in (("conv2d", 5, "convolution"), ("linear", 3, "fully connected layer")):
        found = [layer.name for layer in body if layer.kind == kind]
        if len(found) != number:
            names = f" ({', '.join(found)})" if found else ""
            raise ValueError(f"{file} is no AlexNet: it has {counted(len(found), noun)}{names}, not {number}")
    said = _fields(file, body, [layer for layer in layers if layer.kind == "dropout"], layers) | dict(fields)
    if image_size is not None:
        said.setdefault("image_size", image_size)
    try:
        preset = _nearest(said)
        if "image_size" not in said:
            fc6 = next(layer for layer in body if layer.kind == "linear")
            usual = config_from_preset(preset, **{name: said[name] for name in said if name != "resize"})
            side = math.isqrt(_weight(fc6).shape[1] // usual.conv_widths[-1])
            said["image_size"] = usual.image_size if _fits(usual, fc6) else smallest_image_size(usual, max(side, 1))
        config = config_from_preset(preset, **said)
        if "pool_ceil" not in said and _rounds_up(config, body):
            config = dataclasses.replace(config, pool_ceil=True)
    except ValueError as error:
        raise ValueError(f"{file} cannot be converted: {_blamed(body, str(error))}{error}") from error
    return config, parameters_of(file, config, layers)


def _body(layers: Sequence[Layer]) -> list[Layer]:
    """Those that compute."""
    return [layer for layer in layers if layer.kind not in ("dropout", "flatten") and not _does_nothing(layer)]


def _does_nothing(layer: Layer) -> bool:
    """Whether it is a pool of one position, as torchvision's adaptive one at 224 pixels."""
    return layer.kind in ("max_pool", "avg_pool") and layer.options["kernel"] == layer.options["stride"] == (1, 1)


def _rounds_up(config: Config, body: Sequence[Layer]) -> bool:
    """Whether a maximum of the layers has windows beyond those that lie in the map."""
    steps = [step for step in build_plan(config).steps if step.op == "max_pool"]
    pools = [layer for layer in body if layer.kind == "max_pool"]
    return any(
        (layer.options["kernel"], layer.options["stride"]) == ((step.kernel,) * 2, (step.stride,) * 2)
        and _windows(layer, step) != step.output[:2]
        for layer, step in zip(pools, steps, strict=False)
    )


def _windows(layer: Layer, step: Step) -> tuple[int, int]:
    """How many windows a pool has, down and across: for a maximum, padding after the map is what rounding up is."""
    top, left, bottom, right = layer.options["padding"]
    rows, columns = (
        count(extent, kernel, stride, pads, bool(layer.options.get("ceil")))
        for extent, kernel, stride, pads in zip(
            step.input, layer.options["kernel"], layer.options["stride"], ((top, bottom), (left, right)), strict=False
        )
    )
    return rows, columns


def _weight(layer: Layer) -> Array:
    assert layer.weight is not None
    return layer.weight


def _fits(config: Config, fc6: Layer) -> bool:
    shapes = build_plan(config).parameter_shapes()
    return _weight(fc6).shape[1] in (shape[1] for name, shape in shapes.items() if len(shape) == 2)


def _blamed(body: Sequence[Layer], sentence: str) -> str:
    """The layer that a configuration's error is about, where the error's field says so."""
    kinds = {"lrn": ("lrn",), "pool": ("max_pool", "avg_pool"), "conv": ("conv2d",), "fc": ("linear",)}
    kind = next((kinds[start] for start in kinds if sentence.startswith(start + "_")), ())
    name = next((layer.name for layer in body if layer.kind in kind), None)
    return "" if name is None else f"layer {name}: "


def _fields(file: str, body: Sequence[Layer], dropouts: Sequence[Layer], layers: Sequence[Layer]) -> dict[str, Any]:
    """The fields that the layers say, each by the first that says it; `parameters_of` finds those that differ."""
    convs = [layer for layer in body if layer.kind == "conv2d"]
    linears = [layer for layer in body if layer.kind == "linear"]
    fields: dict[str, Any] = {
        "conv_widths": tuple(len(_weight(layer)) for layer in convs),
        "conv_kernels": tuple(_weight(layer).shape[2] for layer in convs),
        "conv_strides": tuple(layer.options["stride"][0] for layer in convs),
        "conv_paddings": tuple(layer.options["padding"][0] for layer in convs),
        "groups": 2 if convs[SPLIT[0]].options["groups"] > 1 else 1,
        "fc_widths": tuple(len(_weight(layer)) for layer in linears[:2]),
        "num_classes": len(_weight(linears[2])),
        "lrn": False,
    }
    for position, layer in enumerate(body):
        if layer.kind in ("relu", "tanh"):
            fields.setdefault("activation", layer.kind)
        if layer.kind in ("max_pool", "avg_pool") and "pool" not in fields:
            fields["pool"] = "max" if layer.kind == "max_pool" else "average"
            fields["pool_size"], fields["pool_stride"] = layer.options["kernel"][0], layer.options["stride"][0]
        if layer.kind == "lrn" and not fields["lrn"]:
            fields |= {f"lrn_{name}": layer.options[name] for name in ("size", "k", "alpha", "beta")}
            fields |= {"lrn": True, "lrn_alpha_over_size": True, "lrn_before_pool": "pool" not in fields}
            fields["lrn_window"] = "across" if layer.options["groups"] == 1 else "tower"
            if position == len(body) - 1:
                raise ValueError(f"{file} cannot be converted: layer {layer.name} (lrn) is the last")
    if dropouts:
        fields["dropout"] = dropouts[0].options["rate"]
        fields["dropout_before"] = layers.index(dropouts[0]) < layers.index(linears[0])
        for layer in dropouts:
            if layer.options["rate"] != fields["dropout"]:
                raise ValueError(
                    f"{file} cannot be converted: layer {layer.name} drops {layer.options['rate']:g} of its input, "
                    f"{dropouts[0].name} {fields['dropout']:g}, and this package has one rate"
                )
    return fields


def _nearest(fields: Mapping[str, Any]) -> str:
    """The preset that has most of these fields, of those whose layers other frameworks have."""
    standard = Config().to_dict()
    plans = {preset: build_plan(config_from_preset(preset)) for preset in PRESETS}
    candidates = [preset for preset, plan in plans.items() if {step.op for step in plan.steps} <= _OPS]

    def agreement(preset: str) -> int:
        values = standard | PRESETS[preset]
        return sum(values[name] == value for name, value in fields.items())

    return max(candidates, key=agreement)


def parameters_of(file: str, config: Config, layers: Sequence[Layer]) -> dict[str, Array]:
    """The parameters of these layers, each of which is held against the network's.

    Raises
    ------
    ValueError
        The first layer that differs, or holds NaN or infinity, is named.
    """
    body, expected = _body(layers), _body(layers_of(config))
    steps = {step.name: step for step in build_plan(config).steps}
    parameters = {}
    for number, want in enumerate(expected):
        if number >= len(body):
            raise ValueError(f"{file} cannot be converted: it ends where {_called(want)} is expected")
        layer = body[number]
        _compare(file, layer, want, steps.get(want.name))
        if want.weight is not None:
            weight, bias = _weight(layer), layer.bias
            bias = np.zeros(len(weight), np.float32) if bias is None else bias
            for kind, array in (("weight", _own(steps[want.name], weight)), ("bias", np.ascontiguousarray(bias))):
                value = array.astype(np.float32, copy=False)
                if not np.isfinite(value).all():
                    raise ValueError(f"{file} cannot be converted: layer {layer.name} holds NaN or infinity ({kind})")
                parameters[f"{want.name}.{kind}"] = value
    if len(body) > len(expected):
        raise ValueError(
            f"{file} cannot be converted: layer {body[len(expected)].name} ({body[len(expected)].kind}) comes after "
            "the last that this network has"
        )
    return parameters


def _called(layer: Layer) -> str:
    return layer.name if layer.kind in layer.name or layer.name.startswith("the ") else f"{layer.name} ({layer.kind})"


def _compare(file: str, layer: Layer, want: Layer, step: Step | None) -> None:
    if layer.kind != want.kind:
        raise ValueError(
            f"{file} cannot be converted: layer {layer.name} ({layer.kind}) stands where {_called(want)} is expected"
        )
    differs = f"{file} cannot be converted: layer {layer.name} ({layer.kind}) has"
    pool = want.kind in ("max_pool", "avg_pool")
    after = layer.options.get("padding", ())[2:] if want.kind == "max_pool" else ()
    for name, value in want.options.items():
        found = layer.options[name]
        found = (*found[:2], *value[2:]) if name == "padding" and after else found  # counted below
        if found != value and not (pool and name == "ceil"):
            raise ValueError(f"{differs} {name} {layer.options[name]}, where this network has {value}")
    if pool and step is not None and _windows(layer, step) != step.output[:2]:
        raise ValueError(
            f"{differs} {_windows(layer, step)} windows in a map of {step.input[:2]}, where this network has "
            f"{step.output[:2]}"
        )
    if want.weight is not None and want.bias is not None:
        for kind, found, shape in (("weight", layer.weight, want.weight.shape), ("bias", layer.bias, want.bias.shape)):
            if found is not None and found.shape != shape:
                size = f" for images of {step.input[0]} rows" if step is not None and step.op == "conv2d" else ""
                raise ValueError(
                    f"{differs} a {kind} of {list(found.shape)}, where this network has {list(shape)}{size}"
                )


def positions(layers: Sequence[Layer]) -> dict[str, Layer]:
    """The layers by the names that PyTorch gives them: ``features.0``, ..., ``classifier.6``."""
    middle = next(number for number, layer in enumerate(layers) if layer.kind == "flatten")
    return {f"features.{number}": layer for number, layer in enumerate(layers[:middle])} | {
        f"classifier.{number}": layer for number, layer in enumerate(layers[middle + 1 :])
    }
