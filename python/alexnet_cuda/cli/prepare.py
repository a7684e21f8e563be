"""``alexnet-cuda prepare``."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from ..base.wording import counted
from ..config import RESIZE_MODES
from ..train.progress import duration
from .options import emit, max_broken_option, place

_LINE_SECONDS, _FRAME_SECONDS = 10.0, 0.1


@click.command()
@click.argument("source", type=place)
@click.argument("store", type=place, required=False)
@click.option(
    "--labels",
    type=place,
    metavar="LIST",
    help="For images in no class folders: ILSVRC's development kit (folder or archive), or a text file with a line "
    "'FILE CLASS' for each image.",
)
@click.option(
    "--classes",
    type=place,
    metavar="LIST",
    help="Where --labels or shards give numbers from 0: a text file whose lines begin with the class names, in that "
    "order.",
)
@click.option("--side", type=int, default=256, show_default=True, metavar="PIXELS", help="Of the squares.")
@click.option(
    "--resize-mode",
    "mode",
    type=click.Choice(RESIZE_MODES),
    default=RESIZE_MODES[0],
    show_default=True,
    help="How an image becomes a square, as of the configuration of the network that is to see it.",
)
@click.option("--workers", type=int, metavar="N", help="Threads that decode images. [default: one for each core]")
@click.option(
    "--verify",
    "verifies",
    is_flag=True,
    help="At the end read the store again and compare its checksums; without STORE do only that, of SOURCE.",
)
@max_broken_option
def prepare(
    source: str,
    store: str | None,
    labels: str | None,
    classes: str | None,
    side: int,
    mode: str,
    workers: int | None,
    verifies: bool,
    max_broken: float,
) -> int:
    """Decode the images of SOURCE once, into the folder STORE, which is a SOURCE for every other command.

    SOURCE is what train takes: class folders or an archive of them, ILSVRC's archives as downloaded, WebDataset's
    archives, Hugging Face's Parquet files (docs/data.md); with --labels also images in no class folders. The shorter
    side of each image becomes --side pixels and the centre is kept, as train would see it.

    Interrupted or killed, the same command goes on where it was, and ends with the same bytes. Files that cannot be
    decoded are left out and listed in the store.
    """
    from ..data import open_source, verify
    from ..data import prepare as make

    if store is None:
        if not verifies:
            raise click.UsageError("expected SOURCE and STORE, or --verify and a store")
        store = source
    else:
        images = open_source(source, minimum_classes=1, labels=labels, classes=classes)
        if images.ignored:
            emit(f"ignored in {images.name}: {'; '.join(images.ignored)}")
        with _Progress("images", 1) as shown:
            made = make(images, store, side=side, mode=mode, workers=workers, max_broken=max_broken, progress=shown)
        skipped = f" ({made.ignored[0]})" if made.ignored else ""
        emit(f"done: {store} holds {counted(len(made), 'image')} of {counted(len(made.classes), 'class')}{skipped}")
    if verifies:
        with _Progress("MB", 1_000_000) as shown:
            read = verify(Path(store), shown)
        emit(f"verified: all checksums of {store} are right, of {read:,} bytes")
    return 0


class _Progress:
    """How much is done and how much time is left, on standard error: a bar on a terminal, elsewhere lines.

    Whether that can be written has no say in the work.
    """

    def __init__(self, noun: str, unit: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        console = Console(stderr=True)
        self._noun, self._unit, self._live = noun, unit, console.is_terminal
        columns = (BarColumn(), TextColumn("{task.description}"))
        # Its thread would write where no failure is caught.
        self._bar = Progress(*columns, console=console, auto_refresh=False, transient=True)
        self._task = self._bar.add_task("", total=None)
        self._begun = self._last = time.monotonic()

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:  # elsewhere it would end with an empty line
            self._try(self._bar.stop)

    def __call__(self, done: int, total: int, here: int | None = None) -> None:
        now = time.monotonic()
        if now - self._last < (_FRAME_SECONDS if self._live else _LINE_SECONDS):
            return
        self._last = now
        if not done:
            return
        speed = (done if here is None else here) / (now - self._begun)
        line = f"{done // self._unit:,} of {total // self._unit:,} {self._noun}, {speed / self._unit:,.0f} a second"
        line += f", {duration((total - done) / speed)} left"
        if self._live:
            self._try(self._bar.start)
            self._try(lambda: self._bar.update(self._task, total=total, completed=done, description=line, refresh=True))
        else:
            self._try(lambda: print(line, file=sys.stderr, flush=True))

    def _try(self, write: Callable[[], object]) -> None:
        with contextlib.suppress(Exception, SystemExit):  # Rich's console exits where nobody reads it any more
            write()
