"""Running a study: every variant and seed is a training run in a folder of its own, kept and resumed."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..backends import devices as available
from ..base.files import CHECKPOINT_NAME, atomic_path, naming
from ..base.folder_lock import locked_folder
from ..base.wording import counted
from ..checkpoint import load_checkpoint
from ..pages.page import check_installed, write_text
from ..train import TrainingDiverged, TrainOptions, train
from ..train.progress import PlainReporter, duration
from ..train.setup import read_run
from .plan import SEARCH_SEED, STUDIES, Study, kept_name
from .report import report, report_counts
from .results import Curve, conclude, measured, read_curve
from .timing import time_steps

if TYPE_CHECKING:
    from ..data import ImageSource

PLAN_NAME, RESULTS_NAME, DIVERGED_NAME = "plan.json", "results.json", "diverged.txt"
# Fewer say nothing, whatever the interval.
_LEAST_IMAGES = 50
_TIMED_STEPS = 5


class Stopped(RuntimeError):
    """A signal, whose number is the argument, ended the run under way, which is saved."""


@dataclass(frozen=True)
class StudyOptions:
    """What to study, on what, and where: `epochs` None is the plan's, `devices` as for `alexnet_cuda.Model`."""

    name: str
    output: Path
    source: str = "digits"
    seeds: int = 5
    epochs: int | None = None
    devices: str | tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.name not in STUDIES:
            raise ValueError(f"there is no study {self.name!r}; there are {', '.join(STUDIES)}")
        if self.seeds < 2:
            raise ValueError(f"seeds must be at least 2, got {self.seeds}: one says nothing of the noise")
        if self.epochs is not None and self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, got {self.epochs}")
        if not self.study.variants and self.source != "digits":
            raise ValueError(f"the study {self.name} looks at no images: leave {self.source!r} out")

    @property
    def study(self) -> Study:
        """The plan."""
        return STUDIES[self.name]


class Job(NamedTuple):
    """One training run of a study."""

    variant: str
    options: TrainOptions


def make_job(options: StudyOptions, variant: str, seed: int, rate: float | None = None) -> Job:
    """The run of a variant and seed, or of the search at a rate."""
    name = f"search-{rate:g}" if seed == SEARCH_SEED else f"seed-{seed}"
    folder = options.output / "runs" / variant.replace(",", "").replace(" ", "-") / name
    given = options.study.given(variant, seed, options.epochs, rate)
    return Job(variant, TrainOptions(options.source, folder, given, devices=options.devices))


def planned(options: StudyOptions) -> list[Job]:
    """All runs, the search's first; rates that it is yet to find are the plan's."""
    keys: list[tuple[int, float | None]] = [(SEARCH_SEED, rate) for rate in options.study.rates]
    keys += [(seed, None) for seed in range(options.seeds)]
    return [make_job(options, variant, *key) for key in keys for variant in options.study.variants]


def check_source(options: StudyOptions) -> ImageSource:
    """Open the images; raises as `alexnet_cuda.data.open_source`, and ValueError for too few."""
    from ..data import open_source

    source = open_source(options.source)
    if len(source) < _LEAST_IMAGES:
        raise ValueError(f"a study needs at least {_LEAST_IMAGES} images, {source.name} has {len(source)}")
    return source


def estimate(options: StudyOptions) -> dict[str, tuple[float, float]]:
    """Seconds of a step, and of a whole run, of each variant: from a few steps here and now. Nothing is written."""
    first = {name: make_job(options, name, 0).options for name in options.study.variants}
    found = {}
    for name, (step, run) in time_steps(first, _TIMED_STEPS).items():
        # Of a held-out image the forward pass alone.
        steps = (len(run.training) + len(run.validation or ()) / 3) / run.recipe.batch_size
        found[name] = step, step * steps * run.recipe.epochs
    return found


def describe(options: StudyOptions) -> list[str]:
    """The plan and its time on this machine, in lines; what ``--dry-run`` prints."""
    study = options.study
    lines = [f"study {study.name}: {study.question}", f"held equal: {study.equal}"]
    if not study.variants:
        return [*lines, "nothing is trained"]
    source, times, jobs = check_source(options), estimate(options), planned(options)
    epochs = jobs[0].options.given["epochs"]
    searched = f", at the best of the rates {', '.join(map(str, study.rates))}" if study.rates else ""
    lines += [
        f"measured: {', '.join(study.measures)}",
        f"on {source.name}: {counted(len(source), 'image')} of {counted(len(source.classes), 'class')}",
        f"seeds 0 to {options.seeds - 1}, {counted(epochs, 'epoch')} each{searched}:",
    ]
    for name, change in study.variants.items():
        fields = {**change, **change.get("config", {})}
        text = ", ".join(f"{key}={value}" for key, value in fields.items() if key != "config")
        step, run = times[name]
        lines.append(f"  {name} ({text or 'as it is'}): {1000 * step:.1f} ms a step, {duration(run)} a run")
    total = duration(sum(times[job.variant][1] for job in jobs))
    return [*lines, f"{counted(len(jobs), 'run')}, about {total} on this machine, as busy as it is now"]


class Runner:
    """Trains what is not yet trained, and says how long the rest takes."""

    def __init__(self, options: StudyOptions) -> None:
        jobs = planned(options)
        self._options, self._all = options, len(jobs)
        self._left = {job.options.output: job.variant for job in jobs if not is_done(job)}
        self._times = estimate(options) if self._left else {}
        self._spent = self._expected = 0.0
        self._message = PlainReporter().message

    def curve(self, job: Job) -> Curve | None:
        """The curve of a run, which is trained first where it is not; None if it diverged."""
        folder, options = job.options.output, job.options
        if not is_done(job):
            slower = self._spent / self._expected if self._expected else 1.0
            left = duration(slower * sum(self._times[variant][1] for variant in self._left.values()))
            number = self._all - len(self._left) + 1
            self._message(f"run {number} of {self._all}: {job.variant}, {folder.name}; about {left} left in all")
            before = time.monotonic()
            try:
                self._train(options)
            except TrainingDiverged as error:
                write_text(folder / DIVERGED_NAME, f"{error}\n")
            self._spent += time.monotonic() - before
            self._expected += self._times[job.variant][1]
            del self._left[folder]
        return None if (folder / DIVERGED_NAME).exists() else read_curve(folder)

    def _train(self, options: TrainOptions) -> None:
        """Do what is left of a run, and keep the checkpoints after the epochs that the plan names."""
        path, last = options.output / CHECKPOINT_NAME, options.given["epochs"]
        for end in (*(epoch for epoch in self._options.study.kept if epoch < last), last):
            if epochs_done(path) < end:
                given = {**options.given, "epochs": end}
                result = train(dataclasses.replace(options, given=given, resume=path.exists()))
                if result.signal is not None:
                    raise Stopped(result.signal)
            if end < last and not (kept := path.with_name(kept_name(end))).exists():
                with atomic_path(kept) as temporary:
                    shutil.copyfile(path, temporary)

    def best_rate(self, variant: str) -> float | None:
        """The rate of the search whose run comes out best by the study's first measure; None where none is searched."""
        study, found = self._options.study, []
        for rate in study.rates:
            curve = self.curve(make_job(self._options, variant, SEARCH_SEED, rate))
            value = measured(study.measures[0], curve)
            loss = math.inf if curve is None else curve.epochs[-1]["loss"]
            found.append((math.inf if value is None else value, loss, rate))
        return min(found)[2] if found else None


def is_done(job: Job) -> bool:
    """Whether a run has come to its end: by its checkpoint, since its metrics are written a moment before."""
    folder = job.options.output
    return (folder / DIVERGED_NAME).exists() or epochs_done(folder / CHECKPOINT_NAME) >= job.options.given["epochs"]


def epochs_done(path: Path) -> int:
    """Epochs that the run of a checkpoint has finished; 0 where there is none."""
    return read_run(load_checkpoint(path))[1].epoch if path.exists() else 0


def run_study(options: StudyOptions) -> dict[str, Any]:
    """Run what is left of a study, and write ``results.json``, pictures, ``README.md`` and ``index.html``.

    Gives what ``results.json`` holds, which has no times, so that the same seeds give the same file. Raises as `train`
    does; ValueError for too few images or an output that holds another study; `Stopped` after a signal.
    """
    from ..data.fingerprint import fingerprint

    check_installed("a study's page", "scipy")  # before hours of training
    study = options.study
    plan: dict[str, Any] = {"study": options.name}
    source = check_source(options) if study.variants else None
    if source is not None:
        devices = options.devices or available.default_device("float32")
        plan |= {"images": fingerprint(source), "devices": [devices] if isinstance(devices, str) else list(devices)}
        plan["searched_rates"] = list(study.rates)
        plan["recipes"] = {name: study.given(name, 0, options.epochs) for name in study.variants}
    with locked_folder(options.output):
        _hold(options.output, plan)
        if source is None:
            results: dict[str, Any] = {**plan, **report_counts(study, options.output)}
        else:
            runner = Runner(options)
            rates = {name: runner.best_rate(name) for name in study.variants}
            curves: dict[str, list[Curve | None]] = {name: [] for name in rates}
            runs: dict[str, list[TrainOptions]] = {name: [] for name in rates}
            # Seed by seed: a study that is stopped has all variants of some seeds.
            for seed, (name, rate) in itertools.product(range(options.seeds), rates.items()):
                job = make_job(options, name, seed, rate)
                curves[name].append(runner.curve(job))
                runs[name].append(job.options)
            about = {**plan, "source": options.source, "seeds": options.seeds, "rates": rates}
            records = {name: [curve and curve.epochs for curve in found] for name, found in curves.items()}
            rows = {
                name: {m: [measured(m, c) for c in found] for m in study.measures} for name, found in curves.items()
            }
            results = {**about, **conclude(rows), "epochs": records}
            report(study, options.output, source, results, curves, runs)
        write_text(options.output / RESULTS_NAME, _json(results))
    return results


def _hold(folder: Path, plan: dict[str, Any]) -> None:
    """Begin a study's folder, or see that it is of this very study, to which seeds may be added."""
    path, text = folder / PLAN_NAME, _json(plan)
    if not path.exists():
        return write_text(path, text)
    with naming(path):
        before = json.loads(path.read_text(encoding="utf-8"))
    if other := [key for key, value in json.loads(text).items() if before.get(key) != value]:
        raise ValueError(
            f"{folder} holds a study begun with other {other[0].replace('_', ' ')}: give the same, or another --output"
        )
    return None


def _json(value: dict[str, Any]) -> str:
    """A line for each part: short enough to keep, and to compare."""
    lines = (f"{json.dumps(key)}: {json.dumps(part, allow_nan=False)}" for key, part in value.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"
