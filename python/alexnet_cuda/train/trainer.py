"""The training loop: steps, validation, metrics, checkpoints, and every way a run can end."""

from __future__ import annotations

import contextlib
import math
import time
import warnings
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..base.files import CURVES_NAME, FILTERS_NAME, METRICS_NAME, PAGE_NAME
from ..base.folder_lock import locked_folder
from ..base.wording import counted
from ..checkpoint import join_tensors
from ..network.checks import OutputsNotFinite, not_finite
from ..network.result import StepResult
from . import page, plots
from .command import resumed, train_command
from .divergence import TrainingDiverged, diverged
from .evaluation import Evaluation, batch_loss, evaluate
from .interrupt import StopRequest
from .journal import note_run
from .keeping import Keeper
from .metrics import BOARD_NAME, MetricsWriter, magnitudes, zero_shares
from .progress import PlainReporter, make_reporter
from .schedule import make_schedule, state_of
from .setup import Run, TrainOptions, describe, prepare

_PLOT_SECONDS = 60.0
_STALL_EPOCHS = 2
_STALL_MARGIN = 0.02
# Times ln(classes), the loss of a network that guesses. Pixels that are not scaled may start at some fifty times that;
# what explodes passes a thousand times within a few steps, on its way to infinity.
_EXPLODED = 1000.0
_PROBE = 32


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Attributes
    ----------
    checkpoint
        The checkpoint's path.
    epochs, steps
        Finished.
    loss, accuracy, val_loss, val_accuracy
        Of the last epoch that this call finished; None where there was none or no validation.
    signal
        Number of the signal that stopped the run before its end, None when it came to its end.
    skipped
        File -> reason, of the images that could not be decoded.
    """

    checkpoint: Path
    epochs: int
    steps: int
    loss: float | None
    accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    signal: int | None
    skipped: dict[str, str]


def train(options: TrainOptions) -> TrainResult:
    """Train a model as `options` say; see `TrainOptions` and `Recipe`.

    The folder ``options.output`` then holds ``checkpoint.safetensors``, older ones as ``checkpoint-STEP.safetensors``,
    that of the least validation error as ``best.safetensors``, ``metrics.jsonl``, ``curves.png``, ``conv1_filters.png``
    and ``index.html``, a page with these pictures inside. A run that was stopped and resumed ends
    with the very checkpoint, byte for byte, of one that was not.

    Raises
    ------
    ValueError, TypeError, OSError, ImportError
        Before anything is written, for whatever keeps the run from starting; later OSError when writing fails or an
        image cannot be read (`alexnet_cuda.data.ReadError`), ValueError when too many are broken
        (`alexnet_cuda.data.TooManyBroken`); what was done before these is saved.
    FolderInUse
        When another run writes to that folder.
    TrainingDiverged
        When loss or weights become NaN or infinite, or when a checkpoint is due and the loss has exploded; the last
        checkpoint stays.
    """
    with locked_folder(options.output):
        return Trainer(prepare(options)).run()


class _Step(NamedTuple):
    number: int
    result: StepResult
    images: int
    rate: float


class Trainer:
    """One run, from where it stands to its end.

    Parameters
    ----------
    run
        From `prepare`.
    """

    def __init__(self, run: Run) -> None:
        from ..data import Loader

        self._run = run
        self._model = run.model
        self._state = run.state
        recipe, side = run.recipe, run.model.config.resize
        common: dict[str, Any] = {"workers": run.options.workers, "max_broken": run.broken}
        common["mode"] = run.model.config.resize_mode
        self._make_loader = partial(Loader, side=side, batch_size=recipe.batch_size, seed=recipe.seed, **common)
        self._loader = self._make_loader(source=run.training, shuffle=True)
        self._val_loader = None if run.validation is None else self._make_loader(source=run.validation, shuffle=False)
        self._schedule = make_schedule(recipe, len(self._loader), run.schedule_state)
        self._folder = run.options.output
        self._keeper = Keeper(self._folder, run.options.keep, run.started_from)
        self._last_record: dict[str, Any] = {}
        self._last_validation: Evaluation | None = None
        self._last_save = self._last_plot = time.monotonic()
        self._told_stall = False
        self._probe: tuple[np.ndarray, np.ndarray] | None = None  # images and labels that weights are tried on
        self._watched_images: np.ndarray | None = None

    def run(self) -> TrainResult:
        """Train until the last epoch is done or a signal comes."""
        state, recipe = self._state, self._run.recipe
        self._begin()
        with (
            warnings.catch_warnings(),
            MetricsWriter(self._folder, self._model.step, state.epoch, self._run.options.tensorboard) as metrics,
            StopRequest() as stop,
            make_reporter() as reporter,
            self._saving_when_images_fail(reporter),
        ):
            # NumPy warns of overflow on the way to a loss or weights that are not finite, which end the run anyway.
            warnings.filterwarnings("ignore", ".* encountered in ", RuntimeWarning)
            run = self._run
            note_run(run)
            for line in describe(run):
                reporter.message(line)
            if state.epoch >= recipe.epochs:
                reporter.message(
                    f"nothing to train: the run has done {counted(state.epoch, 'epoch')}, --epochs is {recipe.epochs}; "
                    f"give --epochs {state.epoch + 1} or more to go on"
                )
            else:
                reporter.start(self._model.step, recipe.epochs * len(self._loader), recipe.epochs)
            while state.epoch < recipe.epochs and stop.signal is None:
                self._train_epoch(metrics, stop, reporter)
                validation = None if stop.signal else self._validate(stop)
                finished = stop.signal is None or validation is not None
                if finished:
                    self._end_epoch(validation, metrics)
                if not finished or self._epoch_is_kept():
                    self._save(None if validation is None else validation.loss)
                if finished:
                    self._report_epoch(reporter)
            self._draw(reporter, at_end=True)
            self._report_skipped(reporter)
            if stop.signal is not None and state.epoch < recipe.epochs:
                reporter.message(f"stopped at step {self._model.step}; to go on: {self.resume_command()}")
            else:
                stop.signal = None
        return TrainResult(
            checkpoint=self._keeper.path,
            epochs=state.epoch,
            steps=self._model.step,
            **{name: self._last_record.get(name) for name in ("loss", "accuracy", "val_loss", "val_accuracy")},
            signal=None if stop.signal is None else int(stop.signal),
            skipped=dict(state.skipped),
        )

    def resume_command(self) -> str:
        """Give the command that goes on with this run."""
        return train_command(resumed(self._run.options, {}))

    @contextlib.contextmanager
    def _saving_when_images_fail(self, reporter: PlainReporter) -> Iterator[None]:
        """Save what is done and say how to go on where images cannot be read or too many are broken."""
        from ..data import ReadError, TooManyBroken

        try:
            yield
        except (ReadError, TooManyBroken):
            if self._model.step:
                self._save()
                reporter.message(f"stopped at step {self._model.step}; to go on: {self.resume_command()}")
            raise

    def _begin(self) -> None:
        started_from = self._run.started_from
        if started_from is None:
            # What an earlier run left here must not be taken for this one's.
            self._keeper.clear()
            for name in (METRICS_NAME, CURVES_NAME, FILTERS_NAME, PAGE_NAME):
                (self._folder / name).unlink(missing_ok=True)
            for path in (self._folder / BOARD_NAME).glob("events.out.tfevents.*"):
                path.unlink()
        elif started_from.path != self._keeper.path:
            # What is named as the run's checkpoint is damaged or gone, and there may be nothing left to train.
            self._save()
        elif self._is_best():
            self._keeper.keep_as_best()  # a run may have been killed before that

    def _train_epoch(self, metrics: MetricsWriter, stop: StopRequest, reporter: PlainReporter) -> None:
        from ..data import ReadError, TooManyBroken

        state, model, recipe = self._state, self._model, self._run.recipe
        new_rates = dict.fromkeys(self._run.identity.get("from", {}).get("new", ()), recipe.new_rate)
        # A device that works by itself gets the next step before the last one's loss is waited for.
        unseen: deque[_Step] = deque()
        ahead = 0 if set(model.devices) == {"cpu"} else 1
        last = time.perf_counter()

        def look(left: int) -> None:
            nonlocal last
            while len(unseen) > left:
                step = unseen.popleft()
                step.result.loss  # noqa: B018 - waits for it
                before, last = last, time.perf_counter()
                self._note(step, step.images / (last - before), metrics, reporter)

        with (
            contextlib.closing(self._loader.epoch(state.epoch, state.batch)) as batches,
            contextlib.closing(batches if recipe.accumulate > 1 else model.prefetch(batches)) as ready,
        ):
            try:
                for images, labels, _ in ready:
                    rate = self._schedule.rate(model.step)
                    result = model.train_step(
                        images,
                        labels,
                        learning_rate=rate,
                        momentum=recipe.momentum,
                        weight_decay=recipe.weight_decay,
                        bias_rate=recipe.bias_rate,
                        frozen=recipe.freeze,
                        layer_rates=new_rates,
                        accumulate=recipe.accumulate,
                        lars=recipe.lars,
                    )
                    unseen.append(_Step(model.step, result, len(labels), rate))
                    if self._probe is None:
                        self._probe = images[:_PROBE].copy(), labels[:_PROBE]
                    stopping, saving = stop.signal is not None, self._save_is_due()
                    look(0 if stopping or saving else ahead)
                    if stopping:
                        return
                    if saving:
                        self._save()
            except (ReadError, TooManyBroken):
                look(0)  # the checkpoint that is written now holds this step
                raise
            look(0)

    def _note(self, step: _Step, speed: float, metrics: MetricsWriter, reporter: PlainReporter) -> None:
        state, loss, correct = self._state, step.result.loss, step.result.correct
        state.add(loss, correct, step.images)
        metrics.write(
            step=step.number,
            epoch=state.epoch + 1,
            loss=loss,
            accuracy=correct / step.images,
            learning_rate=step.rate,
            images_per_second=round(speed, 1),
        )
        self._refuse_exploded(loss, f"at step {step.number}")
        reporter.step(step.number, state.epoch + 1, state.loss, state.accuracy, speed)

    def _validate(self, stop: StopRequest) -> Evaluation | None:
        if self._val_loader is None:
            return None
        with self._finite_outputs():
            return evaluate(self._model, self._val_loader, self._run.recipe.views, stop=lambda: stop.signal is not None)

    def _end_epoch(self, validation: Evaluation | None, metrics: MetricsWriter) -> None:
        state = self._state
        error = None if validation is None else validation.top1_error
        record: dict[str, Any] = {
            "epoch": state.epoch + 1,
            "step": self._model.step,
            "loss": state.loss,
            "accuracy": state.accuracy,
            "val_loss": None if validation is None else validation.loss,
            "val_accuracy": None if error is None else 1 - error,
            "layers": magnitudes(self._model.parameters, self._model.velocity),
        }
        for layer, share in zero_shares(self._model, self._watched()).items():
            record["layers"][layer]["zero"] = share
        metrics.write(**record)
        self._last_record, self._last_validation = record, validation
        self._schedule.end_epoch(error)
        state.end_epoch(error)

    def _watched(self) -> np.ndarray:
        """The same images at each epoch's end, also of a run that is resumed: the first to be validated on."""
        if self._watched_images is None:
            loader = self._val_loader or self._make_loader(source=self._run.training, shuffle=False)
            with contextlib.closing(loader.epoch(0)) as batches:
                self._watched_images = next(batches).images[:_PROBE].copy()
        return self._watched_images

    def _report_epoch(self, reporter: PlainReporter) -> None:
        record, epochs = self._last_record, self._run.recipe.epochs
        line = f"epoch {record['epoch']}/{epochs}: loss {record['loss']:.4f}, accuracy {record['accuracy']:.1%}"
        if record["val_loss"] is not None:
            line += f", validation loss {record['val_loss']:.4f}, accuracy {record['val_accuracy']:.2%}"
        reporter.epoch(line)
        self._hint_at_stall(record["loss"], reporter)
        self._draw(reporter, at_end=False)

    def _is_best(self) -> bool:
        return self._state.best_epoch == self._state.epoch and not self._state.batch

    def _epoch_is_kept(self) -> bool:
        epoch = self._state.epoch
        due = epoch % self._run.options.checkpoint_epochs == 0 or epoch >= self._run.recipe.epochs
        return due or self._is_best()

    def _save_is_due(self) -> bool:
        options = self._run.options
        if options.checkpoint_steps is not None and self._model.step % options.checkpoint_steps == 0:
            return True
        return time.monotonic() - self._last_save >= 60 * options.checkpoint_minutes

    def _save(self, loss: float | None = None) -> None:
        """Write the checkpoint, if it is good; `loss` is its own on the validation images, where that is known."""
        parameters = dict(self._model.parameters)  # one copy, from the device, to look at and to write
        if name := not_finite(parameters):
            raise self._diverged(f"{name} holds NaN or infinity after step {self._model.step}")
        self._check_loss(loss)
        self._state.skipped |= self._loader.skipped
        if self._val_loader is not None:
            self._state.skipped |= self._val_loader.skipped
        self._state.skipped = dict(sorted(self._state.skipped.items()))
        model = self._model
        run = {
            "recipe": self._run.recipe.to_dict(),
            "sources": self._run.identity,
            "state": self._state.to_dict(),
            "schedule": state_of(self._schedule),
        }
        # No time and no path of the output in here: equal runs leave equal bytes.
        metadata = {
            "config": model.config.to_dict(),
            "class_names": model.class_names,
            "step": model.step,
            "train": run,
        }
        self._keeper.save(join_tensors(parameters, model.velocity), metadata)
        if self._is_best():
            self._keeper.keep_as_best()
        self._last_save = time.monotonic()

    def _check_loss(self, loss: float | None) -> None:
        """Raise where the loss has exploded; that of the last step was of the weights before it, and says nothing."""
        if loss is None and self._probe is not None:
            # Where there is no memory for it, saving what may be good is better than losing it.
            with self._finite_outputs(), contextlib.suppress(MemoryError):
                loss = batch_loss(self._model, *self._probe)
        if loss is not None:
            self._refuse_exploded(loss, f"after step {self._model.step}")

    def _refuse_exploded(self, loss: float, when: str) -> None:
        if not loss <= _EXPLODED * math.log(self._model.config.num_classes):
            raise self._diverged(f"the loss has exploded to {loss:.4g} {when}")

    @contextlib.contextmanager
    def _finite_outputs(self) -> Iterator[None]:
        try:
            yield
        except OutputsNotFinite as error:
            raise self._diverged(f"{error}, after step {self._model.step}") from error

    def _diverged(self, what: str) -> TrainingDiverged:
        state = self._state
        epoch = state.epoch if state.epoch and not state.batch else state.epoch + 1
        rate = self._schedule.rate(max(0, self._model.step - 1))
        return diverged(what, self._run.options, self._run.recipe, epoch, rate, self._keeper.path)

    def _hint_at_stall(self, loss: float, reporter: PlainReporter) -> None:
        chance = math.log(self._model.config.num_classes)
        stalled = abs(loss - chance) < _STALL_MARGIN * chance
        if self._told_stall or not stalled or self._state.epoch < _STALL_EPOCHS:
            return
        self._told_stall = True
        advice = "start anew with --init he" if self._run.recipe.init == "paper" else "try another --learning-rate"
        reporter.message(f"hint: the loss stays at ln(classes) = {chance:.3f}, the network guesses: {advice}")

    def _draw(self, reporter: PlainReporter, *, at_end: bool) -> None:
        if not at_end and time.monotonic() - self._last_plot < _PLOT_SECONDS:
            return
        self._last_plot = time.monotonic()
        config = self._model.config
        try:
            weight = self._model.parameters["conv1.weight"]
            plots.plot_filters(self._folder, weight, config.groups, config.channel_order)
            plots.plot_curves(self._folder)
            page.write_run_page(self._run, self._last_record, self._last_validation)
        except Exception as error:  # whatever it is: the run has its checkpoint
            if at_end:
                reason = " ".join(str(error).split()) or type(error).__name__
                reporter.message(f"a picture or the page of the run is missing: {reason}")

    def _report_skipped(self, reporter: PlainReporter, shown: int = 20) -> None:
        skipped = self._state.skipped
        if not skipped:
            return
        were = "was" if len(skipped) == 1 else "were"
        reporter.message(f"{counted(len(skipped), 'image file')} could not be decoded and {were} skipped:")
        for name in list(skipped)[:shown]:
            reporter.message(f"  {name}: {skipped[name]}")
        if len(skipped) > shown:
            reporter.message(f"  and {len(skipped) - shown} more, listed in the checkpoint's metadata")
