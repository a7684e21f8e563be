"""``alexnet-cuda show``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .evaluate import evaluate_on
from .options import devices_option, emit, load_model, place

if TYPE_CHECKING:
    from ..data import ImageSource
    from ..show.look import Seen

_SAMPLES = 8


@click.command()
@click.argument("checkpoint", type=place)
@click.argument("images", nargs=-1, type=place, metavar="[IMAGE...]")
@click.option("--source", type=place, metavar="SOURCE", help="Images (see train) to predict and to tell confusions of.")
@click.option("--held-out", is_flag=True, help="Only the images of --source that its training run held out.")
@click.option("--output", type=place, metavar="FOLDER", help="[default: runs/show- and the name of the run's folder]")
@devices_option
def show(
    checkpoint: str,
    images: tuple[str, ...],
    source: str | None,
    held_out: bool,
    output: str | None,
    devices: str | tuple[str, ...] | None,
) -> int:
    """Draw what CHECKPOINT has learned, and its way with each IMAGE, on one page that opens in a browser.

    The filters of conv1 by tower, the predictions, and updates against weights from the run's metrics.jsonl; of the
    first four images also the ten views with the prediction of each, and the output of every step of the network. An
    image's class is known if its folder has the name of a class. With --source also what is taken for what; without
    IMAGE eight images of it are shown.

    In --output index.html holds all its pictures, which are there as PNG too.
    """
    from ..base.files import CHECKPOINT_NAME, check_output_folder
    from ..data import read_square
    from ..pages.page import check_installed
    from ..show.look import Seen, class_of
    from ..show.page import Shown, write

    check_installed("the page")
    if held_out and source is None:
        raise ValueError("--held-out is of the images of --source, and that is not given")
    path = Path(checkpoint)
    name = path.absolute().parent.name if path.name == CHECKPOINT_NAME else path.stem
    folder = check_output_folder(output or Path("runs") / f"show-{name}")
    if (folder / CHECKPOINT_NAME).exists():
        raise FileExistsError(f"{folder} holds a run, which has a page of its own: give another --output")
    model = load_model(checkpoint, devices)
    side, mode = model.config.resize, model.config.resize_mode
    seen = [Seen(file, class_of(file, model), read_square(file, side, mode=mode)) for file in images]
    evaluation = None
    if source is not None:
        evaluation, part = evaluate_on(model, checkpoint, source, held_out=held_out)
        seen = seen or _samples(part, side, mode)
    emit(f"done: {write(Shown(path, model, seen, source, evaluation), folder)}")
    return 0


def _samples(source: ImageSource, side: int, mode: str) -> list[Seen]:
    """Images spread over a source; broken ones are left out."""
    from ..data import DecodeError
    from ..show.look import Seen

    seen = []
    for index in sorted({i * len(source) // _SAMPLES for i in range(_SAMPLES)}):
        try:
            seen.append(Seen(source.names[index], int(source.labels[index]), source.read_square(index, side, mode)))
        except DecodeError:
            continue
    return seen
