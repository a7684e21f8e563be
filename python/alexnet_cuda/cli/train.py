"""``alexnet-cuda train``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ..base.wording import counted
from ..config import PRESETS
from ..train.recipe import DIGITS, SCHEDULES, Recipe
from .options import devices_option, emit, fields_option, max_broken_option, parse_fields, part, place

_DEFAULTS = Recipe()
_Function = TypeVar("_Function", bound=Callable[..., Any])


def _recipe_option(flag: str, kind: Any, text: str, metavar: str | None = None) -> Callable[[_Function], _Function]:
    """Make an option that stays None unless it is given, so that a recipe knows what was asked for."""
    name = flag.removeprefix("--").replace("-", "_")
    default = getattr(_DEFAULTS, name)
    shown = "the preset's" if default is None else f"{default:g}" if isinstance(default, float) else str(default)
    if DIGITS.get(name, default) != default:
        shown += f"; digits: {DIGITS[name]}"
    suffix = f" [default: {shown}]" if shown != "()" else ""
    return click.option(flag, type=kind, metavar=metavar, help=text + suffix)


def _layers(_context: Any, _option: Any, text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(name.strip() for name in text.split(","))


def _milestones(_context: Any, _option: Any, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"expected epochs such as 30,60,80, got {text!r}") from error


@click.command()
@click.argument("source", type=place)
@click.option("--output", type=place, metavar="FOLDER", help="Of the run. [default: runs/ and the source's name]")
@click.option(
    "--from",
    "from_",
    type=place,
    metavar="CHECKPOINT",
    help="Start from its network and weights; the last layer is new where SOURCE has other classes.",
)
@click.option("--freeze", metavar="LAYER,...", callback=_layers, help="With --from: layers not to train: conv1,conv2.")
@_recipe_option("--new-rate", float, "With --from: factor of the learning rate for the new layer.", "FACTOR")
@_recipe_option("--preset", str, f"Network: {', '.join(PRESETS)}.", "NAME")
@_recipe_option("--image-size", int, "Side of the network's input in pixels.", "PIXELS")
@_recipe_option("--epochs", int, "Passes over the training images.", "N")
@_recipe_option("--batch-size", int, "Images a step.", "N")
@_recipe_option("--learning-rate", float, "At the start; biases learn at twice the rate.", "RATE")
@_recipe_option(
    "--schedule",
    click.Choice(SCHEDULES),
    "plateau: a tenth whenever the validation error stops improving; step: a tenth at each of --milestones; "
    "cosine: to zero along a half cosine.",
)
@_recipe_option("--patience", int, "Epochs without improvement before plateau lowers the rate.", "EPOCHS")
@click.option("--milestones", metavar="EPOCH,...", callback=_milestones, help="For --schedule step, such as 30,60,80.")
@_recipe_option("--momentum", float, "Of SGD.", "M")
@_recipe_option("--weight-decay", float, "On weights, not on biases.", "W")
@click.option(
    "--dropout", type=part, metavar="P", help="Probability of dropping a unit. [default: the preset's; digits: 0.1]"
)
@_recipe_option(
    "--init",
    click.Choice(["he", "paper"]),
    "Initial weights. The published ones (paper) stay at chance for long on small data.",
)
@_recipe_option("--seed", int, "Of weights, dropout, augmentation, order and split.", "N")
@_recipe_option("--precision", str, "float32, float64 (cpu only), tf32, bfloat16 or float16 (kernels only).", "NAME")
@click.option("--validation", type=place, metavar="SOURCE", help="Images to validate on, in place of a split.")
@_recipe_option("--validation-split", part, "Part of SOURCE held out for validation; 0 for none.", "PART")
@fields_option
@devices_option
@click.option("--resume", is_flag=True, help="Go on with the run in --output.")
@click.option("--overwrite", is_flag=True, help="Start anew where --output holds a run.")
@click.option("--checkpoint-steps", type=int, metavar="N", help="Also save every N steps, not only after each epoch.")
@click.option(
    "--checkpoint-minutes", type=float, default=10.0, show_default=True, metavar="M", help="Also save every M minutes."
)
@click.option("--workers", type=int, default=2, show_default=True, metavar="N", help="Threads that decode images.")
@click.option(
    "--checksum",
    is_flag=True,
    help="Tell a source that changed by the bytes of all its files, not of a few: when the run begins, and when it is "
    "resumed. Reads all of it.",
)
@click.option("--accept-changes", is_flag=True, help="With --resume: go on although the images changed.")
@max_broken_option
def train(
    source: str,
    output: str | None,
    assignments: tuple[str, ...],
    dropout: float | None,
    **options: Any,
) -> int:
    """Train a network on SOURCE and leave checkpoint.safetensors, metrics.jsonl and a page in --output.

    SOURCE is a folder of class folders, a .tar or .tar.gz of one, or the word digits: scikit-learn's handwritten
    digits, with defaults of their own (fc_widths=512,512, dropout 0.1, no mirror images, no colour noise); a folder
    of that name is ./digits.

    A broken image is left out; one that cannot be read stops the run, which --resume then goes on with.

    Ctrl-C saves after the step under way; --resume goes on from there to the same result, bit for bit, on the same
    images: names, classes and sizes of all files are compared, and the bytes of 64 of them.
    """
    from ..train import TrainOptions
    from ..train import train as run
    from ..train.setup import default_output

    of_run = {name: options.pop(name) for name in TrainOptions.__dataclass_fields__ if name in options}
    given = {name: value for name, value in options.items() if value is not None}
    fields = parse_fields(assignments)
    if dropout is not None:
        if "dropout" in fields:
            raise ValueError("--dropout and --set dropout exclude each other")
        fields["dropout"] = dropout
    if fields:
        given["config"] = fields
    result = run(TrainOptions(source, Path(output) if output else default_output(source), given, **of_run))
    if result.signal is not None:
        return 128 + result.signal
    end = f"done: {counted(result.epochs, 'epoch')}, {counted(result.steps, 'step')}"
    if result.val_accuracy is not None:
        end += f", validation accuracy {result.val_accuracy:.2%}"
    with contextlib.suppress(OSError, ValueError):  # the run is done and kept
        emit(f"{end}; {result.checkpoint}")
    return 0
