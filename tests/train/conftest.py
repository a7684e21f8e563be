"""A tiny network and tiny pictures, on which a run takes a fraction of a second."""

import numpy as np
import pytest

from alexnet_cuda.train import TrainOptions, plots, train

TINY = {"conv_widths": [8, 16, 16, 16, 16], "fc_widths": [32, 32]}
RECIPE = {
    "image_size": 67,
    "epochs": 3,
    "batch_size": 4,
    "learning_rate": 0.01,
    "patience": 1,
    "validation_split": 0.25,
    "config": TINY,
}


def _write_pictures(folder, classes=("blue", "green", "red"), each=9):
    """Write noisy pictures, every class of one colour."""
    from PIL import Image

    generator = np.random.default_rng(0)
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            pixels = generator.integers(0, 60, (20, 24, 3), dtype=np.uint8)
            pixels[..., label % 3] += 160
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def write_pictures():
    """Give the function that writes pictures into a new folder."""
    return _write_pictures


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    return _write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="session")
def finished_runs(pictures, tmp_path_factory):
    """Give the runs of `RECIPE` under two schedules, done once for all tests; they must not touch their folders."""

    # Done here and not when first asked for, which would be within a test that may have patched something.
    folder = tmp_path_factory.mktemp("finished")
    return {
        schedule: train(TrainOptions(str(pictures), folder / schedule, {**RECIPE, "schedule": schedule}))
        for schedule in ("plateau", "cosine")
    }


@pytest.fixture
def no_curves(monkeypatch):
    """Leave out the plot of the run, most of the time of a tiny one."""
    monkeypatch.setattr(plots, "plot_curves", lambda folder: folder)


@pytest.fixture
def make_options(pictures, tmp_path):
    """Give options of a run on `pictures` in `tmp_path`; keywords go to the recipe or the options, as they fit."""

    def make(name="run", source=pictures, **changes):
        names = set(TrainOptions.__dataclass_fields__)
        options = {key: value for key, value in changes.items() if key in names}
        recipe = {key: value for key, value in changes.items() if key not in names}
        given = {} if options.get("resume") else RECIPE
        if "validation" in options:
            given = {key: value for key, value in given.items() if key != "validation_split"}
        return TrainOptions(str(source), tmp_path / name, {**given, **recipe}, **options)

    return make
