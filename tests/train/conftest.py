"""A tiny network and tiny pictures, on which a run takes a fraction of a second."""

import numpy as np
import pytest
from PIL import Image

from alexnet_cuda.train import TrainOptions, page, plots, train

RECIPE = {
    "image_size": 67,
    "epochs": 3,
    "batch_size": 4,
    "learning_rate": 0.01,
    "patience": 1,
    "validation_split": 0.25,
    "config": {"conv_widths": [8, 16, 16, 16, 16], "fc_widths": [32, 32]},
}


@pytest.fixture(scope="session")
def write_pictures():
    """Write noisy pictures into a new folder, every class of one colour."""

    def write(folder, classes=("blue", "green", "red"), each=9):
        generator = np.random.default_rng(0)
        for label, name in enumerate(classes):
            (folder / name).mkdir(parents=True)
            for number in range(each):
                pixels = generator.integers(0, 60, (20, 24, 3), dtype=np.uint8)
                pixels[..., label % 3] += 160
                Image.fromarray(pixels).save(folder / name / f"{number}.png")
        return folder

    return write


@pytest.fixture(scope="session")
def pictures(write_pictures, tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="session")
def finished_runs(pictures, tmp_path_factory):
    """Give the runs of `RECIPE` under two schedules, done once for all tests; they must not touch their folders."""

    # Done here and not when first asked for, which would be within a test that may have patched something.
    folder = tmp_path_factory.mktemp("finished")
    return {
        schedule: train(TrainOptions(str(pictures), folder / schedule, {**RECIPE, "schedule": schedule}))
        for schedule in ("plateau", "cosine")
    }


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch):
    """Leave out what only a power cut would need."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def no_curves(monkeypatch):
    """Leave out the plot of the run, most of the time of a tiny one, and the page that it is on."""
    monkeypatch.setattr(plots, "plot_curves", lambda folder: folder)
    monkeypatch.setattr(page, "write_run_page", lambda *_: None)


@pytest.fixture
def run(pictures, tmp_path):
    """Train on `pictures`, in `tmp_path`; keywords go to the recipe or the options, as they fit."""

    def run(name="run", source=pictures, **changes):
        options = {key: changes.pop(key) for key in TrainOptions.__dataclass_fields__ if key in changes}
        recipe = {} if options.get("resume") else dict(RECIPE)
        if "validation" in options:
            recipe.pop("validation_split", None)
        return train(TrainOptions(str(source), tmp_path / name, {**recipe, **changes}, **options))

    return run
