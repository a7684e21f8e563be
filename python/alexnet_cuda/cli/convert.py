"""``alexnet-cuda convert``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..base.files import is_same_file
from .options import emit, fields_option, json_option, parse_fields, place

if TYPE_CHECKING:
    from ..convert import Foreign

_KINDS = ("checkpoint", "onnx", "torch")
_PICKLED = (".pt", ".pth", ".bin", ".pkl")


@click.command()
@click.argument("source", type=place, metavar="IN")
@click.argument("target", type=place, metavar="OUT")
@click.option(
    "--to",
    "kind",
    type=click.Choice(_KINDS),
    help="What OUT is to be; torch is a state dict as safetensors. [default: onnx if OUT ends so, else checkpoint]",
)
@click.option(
    "--mean",
    metavar="FILE|N,N,N",
    help="What is subtracted from the pixels: a .binaryproto, or three numbers in the order of the network's channels "
    "(of Caffe's networks blue, green, red), in its scale.",
)
@click.option(
    "--raw-scale", type=float, default=255.0, show_default=True, metavar="N", help="White, as the network sees it."
)
@click.option("--classes", metavar="FILE", help="A text file with the name of a class a line.")
@fields_option
@click.option("--no-check", is_flag=True, help="Write ONNX without having ONNX Runtime compute it first.")
@json_option
def convert(
    source: str,
    target: str,
    kind: str | None,
    mean: str | None,
    raw_scale: float,
    classes: str | None,
    assignments: tuple[str, ...],
    no_check: bool,
    as_json: bool,
) -> int:
    """Convert a network from or to Caffe, ONNX or PyTorch; nothing is written unless all of it can be.

    IN is a checkpoint, an .onnx, a .caffemodel, or a state dict with torchvision's names (.safetensors; .pth where
    torch is installed). What IN does not say of the preprocessing is assumed, and printed: --mean, --raw-scale and
    --set (resize, resize_mode, channel_order, mean, std; RGB, 0 to 255) give it.
    """
    from ..convert import read, write

    suffix = Path(target).suffix.lower()
    if suffix in _PICKLED:
        raise click.BadParameter(f"{target} would be a pickle, which runs code when it is read: name it .safetensors")
    if is_same_file(source, target):
        raise click.BadParameter(f"{target} is IN itself, which would be lost: give another OUT")
    kind = kind or ("onnx" if suffix == ".onnx" else "checkpoint")
    found = read(source, parse_fields(assignments))
    found = _with_classes(_with_mean(found, mean, raw_scale), classes)
    forward = None
    if kind == "onnx" and not no_check:
        from ..model import Model

        config = dataclasses.replace(found.config, precision="float32")
        forward = Model.from_config(config, "cpu", found.parameters).forward
    difference = write(target, found, kind, forward)
    result = _result(found, source, target, kind, difference)
    emit(json.dumps(result) if as_json else _as_text(result, no_check))
    return 0


def _with_mean(found: Foreign, mean: str | None, raw_scale: float) -> Foreign:
    if not 0 < raw_scale < float("inf"):
        raise click.BadParameter(f"--raw-scale must be a positive number, got {raw_scale}")
    if mean is None and raw_scale == 255:
        return found
    config, to_pixels = found.config, 255 / raw_scale
    values: tuple[float, ...] = tuple(value / to_pixels for value in config.mean)
    if mean is not None:
        values = _mean(mean)
        values = values[::-1] if config.channel_order == "BGR" else values
    fields: dict[str, Any] = {"mean": [value * to_pixels for value in values]}
    fields["std"] = [value * to_pixels for value in config.std]
    return dataclasses.replace(
        found, config=dataclasses.replace(config, **fields), preprocessing=f"{found.preprocessing}; mean or scale given"
    )


def _mean(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        from ..convert import caffe

        return caffe.mean_of(Path(text))
    if len(values) != 3:
        raise click.BadParameter(f"--mean takes three numbers or a .binaryproto, got {text!r}")
    return values


def _with_classes(found: Foreign, file: str | None) -> Foreign:
    if file is None:
        return found
    try:
        names = tuple(Path(file).read_text(encoding="utf-8-sig").splitlines())  # Windows begins it with a mark
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is no text in UTF-8 ({error})") from error
    if len(names) != found.config.num_classes or not all(names):
        raise ValueError(
            f"{file} has {len(names)} lines, expected one name for each of {found.config.num_classes} classes"
        )
    return dataclasses.replace(found, class_names=names)


def _result(found: Foreign, source: str, target: str, kind: str, difference: float | None) -> dict[str, Any]:
    config = found.config
    names = ("preset", "num_classes", "image_size", "resize", "resize_mode", "channel_order", "mean", "std")
    return {
        "in": source,
        "is": found.source,
        **{name: getattr(config, name) for name in names},
        "preprocessing": found.preprocessing,
        "class_names": found.class_names is not None,
        "out": target,
        "to": kind,
        "logits_differ": difference,
    }


def _as_text(result: dict[str, Any], no_check: bool) -> str:
    def numbers(name: str) -> str:
        return ", ".join(f"{value:.6g}" for value in result[name])

    side = result["image_size"]
    lines = [
        f"read           {result['in']}: {result['is']}, {side}x{side}, {result['num_classes']:,} classes "
        f"({'named' if result['class_names'] else 'not named'}), nearest preset {result['preset']}",
        f"preprocessing  {result['preprocessing']}: resize {result['resize']} ({result['resize_mode']}), crop {side}, "
        f"(pixel - ({numbers('mean')})) / ({numbers('std')}) by red, green, blue, then {result['channel_order']}",
    ]
    if result["to"] == "onnx":
        missing = "asked for" if no_check else "onnxruntime is not installed, and ONNX's reference is wrong for LRN"
        checked = f"not checked ({missing})"
        if result["logits_differ"] is not None:
            checked = f"its logits differ by {result['logits_differ']:.1e} of the largest"
        lines.append(f"checked        {checked}")
    lines.append(f"written        {result['out']}")
    return "\n".join(lines)
