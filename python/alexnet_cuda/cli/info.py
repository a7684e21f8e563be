"""``alexnet-cuda summary`` and ``alexnet-cuda doctor``."""

from __future__ import annotations

import json

import click

from ..config import PRESETS, Config, config_from_preset
from .options import emit, fields_option, json_option, parse_fields


@click.command("summary")
@click.option(
    "--preset", default=Config.preset, show_default=True, metavar="NAME", help=f"Network: {', '.join(PRESETS)}."
)
@click.option("--image-size", type=int, metavar="PIXELS", help="Side of the input. [default: the preset's]")
@fields_option
@json_option
def summary_command(preset: str, image_size: int | None, assignments: tuple[str, ...], as_json: bool) -> int:
    """Print each layer's shapes, parameters, multiply-adds and bytes, its tower, and what crosses between towers."""
    from .summary import render, summarize

    fields = parse_fields(assignments)
    result = summarize(config_from_preset(preset, image_size=image_size, **fields))
    emit(json.dumps(result) if as_json else render(result))
    return 0


@click.command("doctor")
@json_option
def doctor_command(as_json: bool) -> int:
    """Print versions, GPUs and what the extension was built for, and how to fix whatever is wrong."""
    from .doctor import render, report

    result = report()
    emit(json.dumps(result) if as_json else render(result))
    return 0
