"""Options that several commands share, and how their texts become values."""

from __future__ import annotations

import ast
import contextlib
import math
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from ..base.files import naming
from ..train.setup import MAX_BROKEN

if TYPE_CHECKING:
    from ..model import Model


def emit(text: str) -> None:
    """Print a command's result.

    Raises
    ------
    OSError
        Standard output does not take it.
    """
    with naming("standard output"):
        print(text)
        with contextlib.suppress(AttributeError):  # an object that stands in for a file need not have it
            sys.stdout.flush()


def complain(sentence: str) -> None:
    """Print a line on standard error, if that takes it."""
    with contextlib.suppress(OSError, ValueError):
        print(f"alexnet-cuda: {sentence}", file=sys.stderr, flush=True)


def part(text: str | float) -> float:
    """Give the part of something that an option names: a number from 0 to 1, or percent."""
    try:
        number = float(str(text).removesuffix("%")) / (100 if str(text).endswith("%") else 1)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        raise click.BadParameter(f"expected a part from 0 to 1 such as 0.02, or 2%, got {str(text)!r}")
    return number


def place(text: str) -> str:
    """Give a path, or what stands for one, as it is; an empty one would be the folder that the user is in."""
    if not text:
        raise click.BadParameter("expected a path, got an empty text, as of a variable that is not set")
    return text


devices_option = click.option(
    "--devices",
    metavar="DEVICE[,DEVICE]",
    callback=lambda _context, _option, value: parse_devices(value),
    help="cuda:0, cpu, or simt (the kernels on the CPU, slowly); two of a kind for the two towers: cuda:0,cuda:1. "
    "[default: the first GPU that can run the kernels, else cpu]",
)
views_option = click.option(
    "--views",
    type=click.Choice(["1", "10"]),
    default="1",
    show_default=True,
    callback=lambda _context, _option, value: int(value),
    help="The centre crop, or the mean over ten crops (corners and centre, mirrored).",
)
max_broken_option = click.option(
    "--max-broken",
    type=part,
    default=MAX_BROKEN,
    show_default=True,
    metavar="PART",
    help="Stop when more than this part of all images, held out or not, is broken, such as 0.02 or 2%; fewer are "
    "left out and named at the end.",
)
fields_option = click.option(
    "--set", "assignments", multiple=True, metavar="FIELD=VALUE", help="Set a field of the configuration."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def load_model(checkpoint: str, devices: str | tuple[str, ...] | None) -> Model:
    """Load a model to ask.

    Raises
    ------
    ValueError
        As `Model.load`, and for weights of NaN or infinity.
    """
    from ..model import Model

    model = Model.load(checkpoint, devices=devices)
    check_usable(checkpoint, model.parameters)
    return model


def check_usable(checkpoint: str | os.PathLike[str], parameters: Mapping[str, Any]) -> None:
    """Raise ValueError for weights of NaN or infinity."""
    from ..network.checks import not_finite

    if name := not_finite(parameters):
        raise ValueError(f"{checkpoint} is of no use: {name} holds NaN or infinity")


def parse_devices(text: str | None) -> str | tuple[str, ...] | None:
    """Give the devices that ``Model`` takes: one name, or a tuple of two."""
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(","))
    return names[0] if len(names) == 1 else names


def parse_fields(assignments: Sequence[str]) -> dict[str, Any]:
    """Give configuration fields from texts like ``fc_widths=512,512``, ``lrn=false`` and ``activation=tanh``.

    Raises
    ------
    ValueError
        For a text without ``=`` or a name that is given twice.
    """
    fields: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name = name.strip()
        if not equals or not name:
            raise ValueError(f"--set takes FIELD=VALUE, got {assignment!r}")
        if name in fields:
            raise ValueError(f"--set {name} is given twice")
        fields[name] = _parse_value(text.strip())
    return fields


def _parse_value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    # Lists, because a checkpoint's JSON gives lists back and the two are compared on resuming.
    return list(value) if isinstance(value, tuple) else value
