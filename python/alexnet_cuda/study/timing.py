"""How long a training step of each of several runs takes, here and now."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import time
from collections.abc import Mapping

from ..train.setup import Run, TrainOptions, prepare

TIMED_RATE = 1e-4


def time_steps(options: Mapping[str, TrainOptions], rounds: int, own: bool = False) -> dict[str, tuple[float, Run]]:
    """The least seconds of so many steps, and the run as it would begin; nothing is written.

    `own`: of a model on the CPU the processor's time for this process alone, which other programs hardly change.
    """
    from ..data import Loader

    runs, batches = {}, {}
    for name, given in options.items():
        runs[name] = run = prepare(dataclasses.replace(given, overwrite=True))
        recipe, config = run.recipe, run.model.config
        images, size, seed = run.training, recipe.batch_size, recipe.seed
        loader = Loader(images, config.resize, size, seed, shuffle=True, mode=config.resize_mode)
        with contextlib.closing(loader.epoch(0)) as epoch:
            batches[name] = next(iter(epoch))
    on_cpu = all(set(run.model.devices) == {"cpu"} for run in runs.values())
    clock = time.process_time if own and on_cpu else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in runs}
    # In turn, so that what else the machine does slows all alike; the first round makes buffers.
    for _, (name, run) in itertools.product(range(rounds + 1), runs.items()):
        before = clock()
        run.model.train_step(*batches[name][:2], learning_rate=TIMED_RATE).loss  # noqa: B018 - waits for it
        times[name].append(clock() - before)
    return {name: (min(times[name][1:]), run) for name, run in runs.items()}
