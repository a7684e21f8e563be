"""What a run shows while it works: a live bar on a terminal, plain lines elsewhere.

Nothing of it can stop a run: when standard output fails once (closed, full, nobody reads it, an object that is not a
whole file), no more is written.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from ..base.wording import counted

_LINE_SECONDS = 10.0
_FRAME_SECONDS = 0.1


class PlainReporter:
    """One line an epoch, and one every ten seconds within it."""

    def __init__(self) -> None:
        self._failed = False
        self._total = 0
        self._epochs = 0
        self._started = 0.0
        self._first = 0
        self._last_line = 0.0

    def __enter__(self) -> PlainReporter:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def start(self, step: int, total: int, epochs: int) -> None:
        """Begin a run at `step` of `total` steps and so many epochs."""
        self._total, self._epochs, self._first = total, epochs, step
        self._started = self._last_line = time.monotonic()

    def step(self, step: int, epoch: int, loss: float, accuracy: float, speed: float) -> None:
        """Show a step: its number, its epoch, the epoch's mean loss and accuracy so far, and images a second."""
        figures = f"loss {loss:.4f}, accuracy {accuracy:.1%}, {speed:.0f} images/s, "
        self._line(step, f"epoch {epoch}/{self._epochs} step", figures)

    def images(self, done: int) -> None:
        """Show how many images are done, of a pass whose steps are images and which has no epochs."""
        self._line(done, "image")

    def _line(self, done: int, what: str, figures: str = "") -> None:
        now = time.monotonic()
        if now - self._last_line < _LINE_SECONDS:
            return
        self._last_line = now
        left = (now - self._started) / (done - self._first) * (self._total - done)
        self.message(f"{what} {done}/{self._total}: {figures}{duration(left)} left")

    def epoch(self, line: str) -> None:
        """Show the end of an epoch."""
        self._last_line = time.monotonic()
        self.message(line)

    def message(self, line: str) -> None:
        """Show a line."""
        self._show(lambda: print(shown(line), flush=True))

    def _show(self, write: Callable[[], object]) -> None:
        if self._failed:
            return
        try:
            write()
        except (Exception, SystemExit):  # Rich's console exits where nobody reads it any more
            self._failed = True


class LiveReporter(PlainReporter):
    """A progress bar that stays at the bottom of the terminal."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        super().__init__()
        self._progress = Progress(
            TextColumn("{task.fields[epoch]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            expand=True,
            # Its thread would write where no failure is caught.
            auto_refresh=False,
        )
        self._task: Any = None
        self._last_frame = 0.0

    def __enter__(self) -> LiveReporter:
        self._show(self._progress.start)
        return self

    def __exit__(self, *_: object) -> None:
        # Also after a failure: it gives back sys.stdout.
        self._failed = False
        self._show(self._progress.stop)

    def start(self, step: int, total: int, epochs: int) -> None:
        """Begin a run."""
        self._epochs = epochs
        self._show(lambda: self._add_task(step, total, f"epoch 1/{epochs}" if epochs else ""))

    def _add_task(self, step: int, total: int, epoch: str) -> None:
        self._task = self._progress.add_task("", total=total, completed=step, epoch=epoch, figures="")

    def step(self, step: int, epoch: int, loss: float, accuracy: float, speed: float) -> None:
        """Show a step."""
        # Short enough for a bar beside it in 80 columns, whatever the numbers.
        figures = f"loss {loss:.4g}, {accuracy:.1%}, {speed:.0f} img/s"
        self._frame(step, f"epoch {epoch}/{self._epochs}", figures)

    def images(self, done: int) -> None:
        """Show how many images are done."""
        self._frame(done, "", counted(done, "image"))

    def _frame(self, done: int, epoch: str, figures: str) -> None:
        now = time.monotonic()
        due = now - self._last_frame >= _FRAME_SECONDS
        self._last_frame = now if due else self._last_frame
        self._show(lambda: self._progress.update(self._task, completed=done, refresh=due, epoch=epoch, figures=figures))

    def message(self, line: str) -> None:
        """Show a line above the bar."""
        console = self._progress.console
        self._show(lambda: console.print(shown(line), markup=False, emoji=False, highlight=False, soft_wrap=True))


def make_reporter() -> PlainReporter:
    """Give the reporter that suits where the output goes."""
    try:
        live = sys.stdout.isatty()
    except (AttributeError, ValueError):  # none, not a file, or closed
        live = False
    return LiveReporter() if live else PlainReporter()


def shown(text: str) -> str:
    """Give a text as standard output can take it, with escapes for characters that it has not."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def duration(seconds: float) -> str:
    """Give seconds as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
