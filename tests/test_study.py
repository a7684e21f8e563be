"""Studies on a plan of two tiny networks: what a kill leaves, what is written, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alexnet_cuda import Model, cli
from alexnet_cuda.checkpoint import load_checkpoint
from alexnet_cuda.config import config_from_preset
from alexnet_cuda.network.plan import build_plan
from alexnet_cuda.study import plan, run, timing
from alexnet_cuda.study.counts import count
from alexnet_cuda.study.looks import LOOKS, Look
from alexnet_cuda.study.results import MEASURES, compare, interval
from alexnet_cuda.train import plots
from alexnet_cuda.train.recipe import Recipe
from tests.pages import read_page

TINY = {"conv_widths": [8, 16, 16, 16, 16], "fc_widths": [16, 16], "dropout": 0.1}
SEEDS = ["--seeds", "2", "--devices", "cpu"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, generator = tmp_path_factory.mktemp("images") / "photographs", np.random.default_rng(0)
    for label, name in enumerate(("ant", "bee")):
        (folder / name).mkdir(parents=True)
        for number in range(26):
            pixels = generator.integers(0, 100, (20, 20, 3), dtype=np.uint8) + np.uint8(100 * label)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(autouse=True)
def _tiny_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "plot_curves", lambda folder: folder)
    _use_tiny_plan(monkeypatch)


def _use_tiny_plan(patch: pytest.MonkeyPatch) -> None:
    variants = {"relu": {}, "tanh": {"config": {"activation": "tanh"}}}
    base = {"epochs": 2, "batch_size": 21, "schedule": "constant", "config": TINY}
    measures = ["training loss", "validation error"]
    tiny = plan.Study("relu", "Which?", "All.", "Much.", "Little.", variants, measures, base, kept=[1])
    patch.setitem(plan.STUDIES, "relu", tiny)


@pytest.fixture(scope="module")
def finished(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of a study that nothing disturbed."""
    folder = tmp_path_factory.mktemp("finished") / "study"
    with pytest.MonkeyPatch.context() as patch:
        _use_tiny_plan(patch)
        patch.setattr(plots, "plot_curves", lambda folder: folder)
        assert cli.main(["study", "relu", str(images), "--output", str(folder), *SEEDS]) == 0
    return folder


def test_a_study_that_is_killed_or_loses_its_images_goes_on_to_the_same_results(
    images: Path,
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    class Killed(BaseException):
        pass

    steps, original = 0, Model.train_step

    def train_step(self: Model, *arguments: Any, **keywords: Any) -> Any:
        nonlocal steps
        timed = keywords["learning_rate"] == timing.TIMED_RATE
        steps += not timed
        if steps == 8 and not timed:  # of four runs of four steps: the last of the second
            raise Killed
        if steps == 11 and not timed:  # the first of the third run
            images.rename(tmp_path / "away")
        return original(self, *arguments, **keywords)

    monkeypatch.setattr(Model, "train_step", train_step)
    arguments = ["study", "relu", str(images), "--output", str(tmp_path / "study"), *SEEDS]
    with pytest.raises(Killed):
        cli.main(arguments)
    assert not (tmp_path / "study" / "results.json").exists()
    for _ in range(2):  # as they vanish, and while they are gone
        assert cli.main(arguments) == 2
        said = capfd.readouterr().err
        assert said.startswith(f"alexnet-cuda: error: {images}")
        assert said.count("\n") == 1
    (tmp_path / "away").rename(images)
    assert cli.main(arguments) == 0
    assert steps == 8 + 2 + 8  # nothing that was kept is done again; of the second run one epoch was
    results = (tmp_path / "study" / "results.json").read_text()
    assert results == (finished / "results.json").read_text()
    assert cli.main(arguments) == 0
    assert steps == 18


def test_seeds_and_data_are_shared_and_the_answer_is_of_them(finished: Path) -> None:
    for seed in (0, 1):
        places = [finished / "runs" / name / f"seed-{seed}" / "checkpoint.safetensors" for name in ("relu", "tanh")]
        relu, tanh = (load_checkpoint(place).metadata["train"] for place in places)
        assert relu["recipe"]["seed"] == seed
        assert relu["recipe"] | {"config": TINY} == tanh["recipe"] | {"config": TINY}
        assert relu["sources"] == tanh["sources"]
    results = json.loads((finished / "results.json").read_text())
    for measure in ("training loss", "validation error"):
        a, b = (np.array(results["measures"][name][measure]["values"]) for name in ("tanh", "relu"))
        assert results["comparisons"][measure]["tanh"]["mean"] == pytest.approx((a - b).mean())
    assert len(results["answer"]) == 4


def test_the_page_holds_answer_intervals_and_pictures(finished: Path) -> None:
    results = json.loads((finished / "results.json").read_text())
    text, page = (finished / "README.md").read_text(), (finished / "index.html").read_text()
    assert all(sentence in text for sentence in results["answer"])
    assert all(sentence in page for sentence in results["answer"])
    low = results["measures"]["tanh"]["training loss"]["low"]
    assert f"[{low:.3g}, " in text
    assert len(read_page(finished / "index.html")[1]) == text.count("![") == 1


def test_every_look_draws_and_is_of_the_networks(images: Path, finished: Path, tmp_path: Path) -> None:
    from alexnet_cuda.data import open_source

    options = run.StudyOptions("relu", finished, str(images), 2, devices="cpu")
    runs = {name: [run.make_job(options, name, seed).options for seed in (0, 1)] for name in ("relu", "tanh")}
    look = Look(tmp_path, open_source(images), runs, [1])
    found = {name: draw(look) for name, draw in LOOKS.items()}
    assert all((tmp_path / picture).read_bytes().startswith(b"\x89PNG") for _, picture, _ in found.values())
    shares = found["zeros"][0]["zeros"]
    assert list(shares["relu"]) == ["before training", "after epoch 1", "after training"]
    assert 0.4 < shares["relu"]["before training"]["conv1"] < 0.6
    assert shares["tanh"]["before training"]["conv1"] < 0.2
    coloured = np.array(found["filters"][0]["colour, by seed"]["relu"])
    assert coloured.shape == (2, 2)
    assert (abs(coloured - 2 / 3) < 0.1).all()  # of random kernels two of three directions of colour
    assert LOOKS["cost"](look) == found["cost"]  # measured once
    assert set(json.loads((tmp_path / "times.json").read_text())) == {"relu", "tanh"}
    nearest = found["neighbours"][0]["measures"]["pixels, Euclid"]["neighbours of another class"]
    assert nearest["values"] == [0.0, 0.0]  # the classes are a dark and a light one


def test_a_dry_run_trains_and_writes_nothing(
    images: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "train", None)
    assert cli.main(["study", "relu", str(images), "--output", str(tmp_path / "a" / "b"), "--dry-run", *SEEDS]) == 0
    printed = capfd.readouterr().out
    assert "4 runs, about " in printed
    assert "tanh (activation=tanh)" in printed
    assert not list(tmp_path.iterdir())


def test_bad_input_is_answered_in_a_sentence(
    images: Path, finished: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    few = tmp_path / "few"
    for name in ("ant", "bee"):
        (few / name).mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(few / name / "1.png")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "ant").symlink_to(images / "ant")
    output = ["--output", str(tmp_path / "study")]
    cases = {
        "needs at least 50 images": ["relu", str(few), *output],
        "expected at least 2": ["relu", str(tmp_path / "one"), *output],
        "does not exist": ["relu", str(tmp_path / "absent"), *output],
        "seeds must be at least 2": ["relu", str(images), *output, "--seeds", "1"],
        "looks at no images": ["counts", str(images), *output],
        "holds a study begun with other recipes": ["relu", str(images), "--output", str(finished), "--epochs", "3"],
    }
    for sentence, arguments in cases.items():
        assert cli.main(["study", *arguments]) == 2
        said = capfd.readouterr().err
        assert sentence in said
        assert said.count("\n") == 1
    assert not (tmp_path / "study").exists()


def test_plans_name_what_there_is_and_equal_parameters_are_equal() -> None:
    sizes: dict[str, dict[str, int]] = {}
    for study in plan.STUDIES.values():
        assert set(study.looks) <= set(LOOKS)
        assert set(study.measures) <= set(MEASURES)
        for variant in study.variants:
            recipe = Recipe(**study.given(variant, 0, None))
            assert not study.kept or recipe.schedule == "constant"
            config = config_from_preset(recipe.preset, recipe.image_size, num_classes=10, **recipe.config)
            sizes.setdefault(study.name, {})[variant] = sum(step.parameters for step in build_plan(config).steps)
    towers = sizes["towers"]
    equal = [size for variant, size in towers.items() if variant.endswith("equal parameters")]
    assert len(equal) == 2
    assert equal == pytest.approx([towers["two"]] * 2, rel=0.01)
    assert len(set(sizes["pooling"].values())) == 1


def test_intervals_and_verdicts() -> None:
    found = interval([1.0, 2.0, 3.0, 4.0])
    assert found["mean"] == 2.5
    assert found["high"] == pytest.approx(2.5 + 3.18245 * 1.29099 / 2, rel=1e-5)
    assert compare([1.0, 2.1, 3.0], [1.1, 2.0, 3.1], 1)["verdict"] == "within the noise"
    assert compare([1.0, 2.1, 3.0], [3.1, 4.0, 5.1], 1)["verdict"] == "lower"
    assert compare([1.0, None], [3.1, 4.0], 1) == {"verdict": "not comparable"}


def test_counts_are_the_published_ones() -> None:
    found = count(config_from_preset("paper"))
    assert found["layers"][0]["parameters"] == 34_944
    assert found["layers"][0]["connected"] == (227 * 227 * 3 + 1) * 55 * 55 * 96
    assert found["totals"]["parameters"] == 60_965_224
    assert found["totals"]["one_tower"] == 62_378_344
    last = found["layers"][-1]
    assert last["parameters"] == last["unshared"] == last["connected"]
