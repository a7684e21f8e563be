"""Running a study: every variant and seed is a training run in a folder of its own, kept and resumed."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..backends import devices as available
from ..base.files import CHECKPOINT_NAME, atomic_path, naming
from ..base.wording import counted
from ..train import TrainingDiverged, TrainOptions, recipe_for, train
from ..train.lock import locked_folder
from ..train.progress import PlainReporter, duration
from ..train.setup import absolute, prepare, read_run
from ..train.state import fingerprint
from . import plans
from .plan import SEARCH_SEED, Study, Variant
from .results import MEASURES, Curve, conclude, read_curve

if TYPE_CHECKING:
    from ..data import ImageSource

PLAN_NAME, RESULTS_NAME, DIVERGED_NAME = "plan.json", "results.json", "diverged.txt"
# Fewer images say nothing, whatever the interval.
_LEAST_IMAGES = 50
_TIMED_STEPS = 5


class Stopped(RuntimeError):
    """A signal ended the run under way, which is saved: `signal` is its number."""

    def __init__(self, number: int) -> None:
        super().__init__("the study was stopped; the same command goes on with it")
        self.signal = number


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
        if self.name not in plans.STUDIES:
            raise ValueError(f"there is no study {self.name!r}; there are {', '.join(plans.STUDIES)}")
        if self.seeds < 2:
            raise ValueError(f"seeds must be at least 2, got {self.seeds}: one says nothing of the noise")
        if self.epochs is not None and self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, got {self.epochs}")
        if self.name == "counts" and self.source != "digits":
            raise ValueError(f"the study counts looks at no images: leave {self.source!r} out")

    @property
    def study(self) -> Study:
        """The plan."""
        return plans.STUDIES[self.name]


@dataclass(frozen=True)
class Job:
    """One training run of a study."""

    variant: Variant
    seed: int
    rate: float | None
    options: TrainOptions

    @property
    def title(self) -> str:
        """What it is called while it runs."""
        if self.seed == SEARCH_SEED:
            return f"{self.variant.name}, search at rate {self.rate:g}"
        return f"{self.variant.name}, seed {self.seed}"

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.options.output


def make_job(options: StudyOptions, variant: Variant, seed: int, rate: float | None = None) -> Job:
    """The run of a variant and seed; at the seed of the search its folder is named by the rate."""
    folder = options.output / "runs" / variant.name.replace(", ", " ").replace(" ", "-")
    name = f"search-{rate:g}" if seed == SEARCH_SEED else f"seed-{seed}"
    given = options.study.given(variant, seed, options.epochs, rate)
    return Job(variant, seed, rate, TrainOptions(options.source, folder / name, given, devices=options.devices))


def planned(options: StudyOptions) -> list[Job]:
    """All runs, the search's first; a rate that is yet to be found is None."""
    study = options.study
    searching = [make_job(options, variant, SEARCH_SEED, rate) for variant in study.variants for rate in study.rates]
    return searching + [make_job(options, variant, seed) for variant in study.variants for seed in range(options.seeds)]


def check_source(options: StudyOptions) -> ImageSource:
    """Open the images.

    Raises
    ------
    ValueError, OSError, ImportError
        As `alexnet_cuda.data.open_source`; and for too few images.
    """
    from ..data import open_source

    source = open_source(options.source)
    if len(source) < _LEAST_IMAGES:
        raise ValueError(f"a study needs at least {_LEAST_IMAGES} images, {source.name} has {len(source)}")
    return source


def estimate(options: StudyOptions) -> dict[str, tuple[float, float]]:
    """Seconds of a step, and of a whole run, of each variant: from a few steps here and now. Nothing is written."""
    from ..data import Loader

    found = {}
    for variant in options.study.variants:
        run = prepare(make_job(options, variant, 0).options)
        batch, side = run.recipe.batch_size, run.model.config.resize
        loader = Loader(run.training, side, batch, run.recipe.seed, shuffle=True)
        with contextlib.closing(loader.epoch(0)) as batches:
            images, labels, _ = next(iter(batches))
        times = []
        for _ in range(_TIMED_STEPS + 1):  # of which the first makes buffers
            before = time.perf_counter()
            run.model.train_step(images, labels, learning_rate=run.recipe.learning_rate).loss  # noqa: B018 - waits
            times.append(time.perf_counter() - before)
        step = min(times[1:])
        # Of a held-out image the forward pass alone.
        held_out = 0 if run.validation is None else math.ceil(len(run.validation) / batch)
        found[variant.name] = step, step * (len(loader) + held_out / 3) * run.recipe.epochs
    return found


def describe(options: StudyOptions) -> list[str]:
    """The plan and its time on this machine, in lines; what `--dry-run` prints."""
    study = options.study
    lines = [f"study {study.name}: {study.question}"]
    if not study.variants:
        return [*lines, "nothing is trained; done in a second"]
    source, times, jobs = check_source(options), estimate(options), planned(options)
    recipe = recipe_for(options.source, jobs[0].options.given)
    searched = f", at the best of the rates {', '.join(map(str, study.rates))}" if study.rates else ""
    lines += [
        f"on {source.name}: {counted(len(source), 'image')} of {counted(len(source.classes), 'class')}",
        f"held equal: {study.equal}",
        f"measured: {', '.join(study.measures)}",
        f"seeds 0 to {options.seeds - 1}, {counted(recipe.epochs, 'epoch')} each{searched}:",
    ]
    for variant in study.variants:
        step, run = times[variant.name]
        change = ", ".join(f"{key}={value}" for key, value in _flat(variant.change)) or "the study's own"
        lines.append(f"  {variant.name} ({change}): {1000 * step:.1f} ms a step, {duration(run)} a run")
    total = sum(times[job.variant.name][1] for job in jobs)
    return [*lines, f"{counted(len(jobs), 'run')}, about {duration(total)} on this machine as busy as it is now"]


def _flat(change: Any) -> Iterator[tuple[str, Any]]:
    for key, value in change.items():
        yield from value.items() if key == "config" else [(key, value)]


class Runner:
    """Trains what is not yet trained and says how long the rest takes.

    Parameters
    ----------
    options : StudyOptions
    """

    def __init__(self, options: StudyOptions) -> None:
        self._options, self._reporter = options, PlainReporter()
        self._left = [job for job in planned(options) if not is_done(job)]
        self._all = len(planned(options))
        self._times = estimate(options) if self._left else {}
        self._spent = self._expected = 0.0

    def curve(self, job: Job) -> Curve | None:
        """The curve of a run, which is trained first where it is not; None if it diverged."""
        if not is_done(job):
            self._say(job)
            before = time.monotonic()
            try:
                result = train(_resuming(job))
            except TrainingDiverged as error:
                _write(job.folder / DIVERGED_NAME, f"{error}\n")
            else:
                if result.signal is not None:
                    raise Stopped(result.signal)
            self._spent += time.monotonic() - before
            self._expected += self._times[job.variant.name][1]
            self._left = [other for other in self._left if other.folder != job.folder]
        return None if (job.folder / DIVERGED_NAME).exists() else read_curve(job.folder)

    def _say(self, job: Job) -> None:
        left = sum(self._times[other.variant.name][1] for other in self._left)
        slower = self._spent / self._expected if self._expected else 1.0
        number = self._all - len(self._left) + 1
        self._reporter.message(f"run {number} of {self._all}: {job.title}; about {duration(slower * left)} left in all")

    def best_rate(self, variant: Variant) -> float | None:
        """The rate of the search whose run comes out best by the study's first measure, None where none is searched."""
        study, found = self._options.study, []
        for rate in study.rates:
            curve = self.curve(make_job(self._options, variant, SEARCH_SEED, rate))
            value = None if curve is None else MEASURES[study.measures[0]][2](curve)
            loss = math.inf if curve is None else curve.epochs[-1]["loss"]
            found.append((math.inf if value is None else value, loss, rate))
        return min(found)[2] if found else None


def is_done(job: Job) -> bool:
    """Whether a run has come to its end, by its checkpoint: its metrics are written a moment before."""
    from ..checkpoint import load_checkpoint

    if (job.folder / DIVERGED_NAME).exists():
        return True
    path = job.folder / CHECKPOINT_NAME
    return path.exists() and read_run(load_checkpoint(path))[1].epoch >= job.options.given["epochs"]


def _resuming(job: Job) -> TrainOptions:
    from dataclasses import replace

    return replace(job.options, resume=(job.folder / CHECKPOINT_NAME).exists())


def run_study(options: StudyOptions) -> dict[str, Any]:
    """Run what is left of a study, and write ``results.json``, pictures, ``README.md`` and ``index.html``.

    Returns
    -------
    dict
        What ``results.json`` holds. It has no times, so that the same seeds give the same file.

    Raises
    ------
    Stopped
        After a signal; the same call goes on.
    ValueError, OSError, ImportError
        A source or device that is none, too few images, an output that holds another study; as `train`.
    FolderInUse
        Another study writes to the folder.
    """
    from .report import report, report_counts

    if not options.study.variants:
        with locked_folder(options.output):
            _hold(options, {"study": options.name})
            results = report_counts(options)
            _write(options.output / RESULTS_NAME, _json(results))
        return results
    source = check_source(options)
    used = options.devices or available.default_device("float32")
    recipe = recipe_for(options.source, planned(options)[-1].options.given)
    plan = {
        "study": options.name,
        "source": absolute(options.source),
        "images": fingerprint(source),
        "devices": [used] if isinstance(used, str) else list(used),
        "epochs": recipe.epochs,
        "recipes": {
            variant.name: options.study.given(variant, 0, options.epochs) for variant in options.study.variants
        },
    }
    with locked_folder(options.output):
        _hold(options, plan)
        runner, curves, rates = Runner(options), {}, {}
        for variant in options.study.variants:
            rates[variant.name] = runner.best_rate(variant)
        # Seed by seed: a study that is stopped has all variants of some seeds.
        jobs = {
            variant.name: [make_job(options, variant, seed, rates[variant.name]) for seed in range(options.seeds)]
            for variant in options.study.variants
        }
        found = [[runner.curve(job) for job in row] for row in zip(*jobs.values(), strict=True)]
        curves = dict(zip(jobs, zip(*found, strict=True), strict=True))
        results = _results(options, plan, rates, curves)
        report(options, source, results, curves, {name: [job.folder for job in row] for name, row in jobs.items()})
        _write(options.output / RESULTS_NAME, _json(results))
    return results


def _results(
    options: StudyOptions, plan: dict[str, Any], rates: dict[str, Any], curves: dict[str, Sequence[Curve | None]]
) -> dict[str, Any]:
    study = options.study
    rows = {
        name: {
            measure: [None if curve is None else MEASURES[measure][2](curve) for curve in found]
            for measure in study.measures
        }
        for name, found in curves.items()
    }
    epochs = {name: [None if curve is None else curve.epochs for curve in found] for name, found in curves.items()}
    about = {**plan, "source": options.source, "seeds": list(range(options.seeds)), "rates": rates}
    return {**about, **conclude(study, rows), "epochs_by_seed": epochs}


def _hold(options: StudyOptions, plan: dict[str, Any]) -> None:
    """Begin a study's folder, or see that it is of this very study; only seeds may be added later."""
    path, text = options.output / PLAN_NAME, _json(plan)
    if not path.exists():
        _write(path, text)
        return
    with naming(path):
        before = json.loads(path.read_text(encoding="utf-8"))
    if differing := [key for key in plan if before.get(key) != json.loads(text)[key]]:
        raise ValueError(
            f"{options.output} holds a study that was begun with other {differing[0]}: give that again or another --output"
        )


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
