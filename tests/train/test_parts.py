"""The parts of a run, each alone: recipe, schedules, metrics, pictures, evaluation, progress."""

import dataclasses
import io
import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from alexnet_cuda import cli
from alexnet_cuda.base.wording import counted
from alexnet_cuda.config import config_from_preset
from alexnet_cuda.data import Batch
from alexnet_cuda.train.command import train_command
from alexnet_cuda.train.evaluation import evaluate
from alexnet_cuda.train.interrupt import StopRequest
from alexnet_cuda.train.metrics import MetricsWriter, read_metrics
from alexnet_cuda.train.plots import filter_grid, plot_curves, plot_filters
from alexnet_cuda.train.progress import PlainReporter, make_reporter
from alexnet_cuda.train.recipe import RECIPES, Recipe, recipe_for
from alexnet_cuda.train.schedule import make_schedule, state_of
from alexnet_cuda.train.setup import TrainOptions, default_output


def test_each_source_has_its_recipe_and_what_is_given_goes_first():
    paper = recipe_for("some/folder", {})
    assert paper == Recipe()
    assert (paper.batch_size, paper.learning_rate, paper.momentum, paper.weight_decay) == (128, 0.01, 0.9, 5e-4)
    digits = recipe_for("digits", {"epochs": 3, "config": {"lrn": False}})
    assert (digits.epochs, digits.image_size, digits.config["lrn"], digits.config["mirror"]) == (3, 67, False, False)
    assert Recipe(**json.loads(json.dumps(digits.to_dict()))) == digits


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"epoch": 3}, TypeError, "unknown training option 'epoch'"),
        ({"epochs": 1.5}, TypeError, r"epochs must be a whole number, got 1\.5"),
        ({"epochs": True}, TypeError, "epochs must be a whole number"),
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
        ({"batch_size": -1}, ValueError, "batch_size must be at least 1"),
        ({"learning_rate": "fast"}, TypeError, "learning_rate must be a number, got 'fast'"),
        ({"learning_rate": 0}, ValueError, "learning_rate must be above 0, got 0"),
        ({"learning_rate": math.inf}, ValueError, "learning_rate must be above 0, got inf"),
        ({"learning_rate": math.nan}, ValueError, "learning_rate must be above 0, got nan"),
        ({"momentum": 1.0}, ValueError, "momentum must be at least 0 and below 1"),
        ({"weight_decay": -1}, ValueError, "weight_decay must be at least 0"),
        ({"validation_split": 1}, ValueError, "validation_split must be at least 0 and below 1, got 1"),
        ({"schedule": "warp"}, ValueError, "schedule must be one of plateau"),
        ({"schedule": "step", "milestones": (3, 2)}, ValueError, r"milestones must rise, got \[3, 2\]"),
        ({"milestones": (3,)}, ValueError, "go together"),
        ({"recipe": "large"}, ValueError, "unknown recipe 'large'; there are paper, caffe"),
        ({"views": 5}, ValueError, "views must be 1 or 10, got 5"),
        ({"accumulate": 129}, ValueError, "accumulate must be at most the batch size, 128, got 129"),
        ({"warmup": 90}, ValueError, "warmup must end before the run, after 90 epochs, got 90"),
    ],
)
def test_values_that_a_recipe_cannot_have_are_named(given, error, message):
    with pytest.raises(error, match=message):
        recipe_for("x", given)


def test_constant_step_and_cosine_rates():
    constant = make_schedule(Recipe(schedule="constant", learning_rate=0.5), 10)
    assert {constant.rate(step) for step in (0, 7, 10_000)} == {0.5}
    step = make_schedule(Recipe(schedule="step", milestones=(2, 3), learning_rate=0.5), 10)
    assert [step.rate(n) for n in (0, 19, 20, 29, 30, 99)] == [0.5, 0.5, 0.05, 0.05, 0.005, 0.005]
    cosine = make_schedule(Recipe(schedule="cosine", epochs=4, learning_rate=0.5), 10)
    assert cosine.rate(0) == 0.5
    assert cosine.rate(20) == pytest.approx(0.25)
    assert cosine.rate(40) == 0
    assert all(cosine.rate(n) > cosine.rate(n + 1) for n in range(40))


def test_polynomial_rates_and_a_warm_up_before_any_schedule():
    polynomial = make_schedule(Recipe(schedule="polynomial", epochs=4, learning_rate=8.0, power=3.0), 10)
    assert [polynomial.rate(n) for n in (0, 20, 40, 99)] == [8.0, 1.0, 0.0, 0.0]
    for schedule, last in (("constant", 3.0), ("polynomial", 3.0 * (1 / 30) ** 2), ("plateau", 3.0)):
        warm = make_schedule(Recipe(schedule=schedule, epochs=4, learning_rate=3.0, warmup=1), 10)
        np.testing.assert_allclose([warm.rate(n) for n in range(11)], 3.0 / 11 * np.arange(1, 12), rtol=1e-15)
        assert warm.rate(39) == pytest.approx(last)
    late = make_schedule(Recipe(schedule="step", milestones=(2,), epochs=4, learning_rate=1.0, warmup=1), 10)
    assert [late.rate(n) for n in (10, 19, 20)] == [1.0, 1.0, 0.1]


@pytest.mark.parametrize("name", RECIPES)
def test_a_named_recipe_is_a_whole_one_and_what_is_given_goes_first(name):
    recipe = recipe_for("photos", {"recipe": name, "epochs": 45})
    assert (recipe.recipe, recipe.epochs, recipe.init) == (name, 45, "paper")
    assert recipe_for("digits", {"recipe": name}).image_size is None  # it replaces the source's defaults
    assert config_from_preset(recipe.preset, recipe.image_size, **recipe.config).preset == recipe.preset
    assert recipe.schedule == "plateau" or make_schedule(recipe, 1).rate(44) < recipe.learning_rate / 9
    assert recipe_for("photos", {"recipe": name, "schedule": "constant"}).milestones == ()
    assert Recipe(**json.loads(json.dumps(recipe.to_dict()))) == recipe
    with pytest.raises(ValueError, match=r"recipe is .* in the run to resume and was given as"):
        Recipe().changed({"recipe": name})


def test_plateau_divides_when_patience_ends_and_a_restored_one_goes_on_alike():
    recipe = Recipe(schedule="plateau", patience=2, learning_rate=1.0)
    errors = [0.5, 0.4, 0.4, 0.45, 0.41, 0.39, 0.39, 0.5, 0.6, 0.7]
    schedule = make_schedule(recipe, 10)
    rates = []
    for error in errors:
        rates.append(schedule.rate(0))
        schedule.end_epoch(error)
        schedule = make_schedule(recipe, 10, json.loads(json.dumps(state_of(schedule))))
    assert rates == [1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01]
    assert schedule.rate(0) == pytest.approx(0.001)
    other = make_schedule(Recipe(schedule="constant", learning_rate=1.0), 10, state_of(schedule))
    assert other.rate(0) == 1.0
    with pytest.raises(ValueError, match="needs a validation error"):
        schedule.end_epoch(None)


def test_metrics_are_json_lines_and_a_resumed_file_keeps_what_the_checkpoint_knows(tmp_path):
    with MetricsWriter(tmp_path) as metrics:
        for step in range(1, 7):
            metrics.write(step=step, epoch=(step + 2) // 3, loss=math.nan if step == 2 else step / 7)
            if step % 3 == 0:
                metrics.write(epoch=step // 3, step=step, val_loss=math.inf, layers={"a": {"b": math.nan}})
        lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
        assert len(lines) == 8  # flushed while it is open
    assert json.loads(lines[1]) == {"step": 2, "epoch": 1, "loss": None}
    assert json.loads(lines[3]) == {"epoch": 1, "step": 3, "val_loss": None, "layers": {"a": {"b": None}}}
    with MetricsWriter(tmp_path, keep_steps=6, keep_epochs=1) as metrics:
        metrics.write(step=7, epoch=3, loss=0.5)
    records = list(read_metrics(tmp_path / "metrics.jsonl"))
    assert [record["step"] for record in records] == [1, 2, 3, 3, 4, 5, 6, 7]
    assert [number for number, record in enumerate(records) if "val_loss" in record] == [3]
    assert records[5]["loss"] == 5 / 7
    with MetricsWriter(tmp_path):
        assert (tmp_path / "metrics.jsonl").read_bytes() == b""


def test_metrics_that_find_no_room_or_are_damaged_name_their_file_and_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    metrics = MetricsWriter(tmp_path)
    with open("/dev/full", "wb") as full:
        os.dup2(full.fileno(), metrics._file.fileno())
    for call in (lambda: metrics.write(step=1, epoch=1), lambda: metrics.__exit__(None, None, None)):
        with pytest.raises(OSError, match="No space left") as failure:  # closing tries again what was not written
            call()
        assert failure.value.filename == str(path)
    good = '{"step": 1, "epoch": 1}'
    for record in ("hello", '{"loss": 1}', '{"step": "1", "epoch": 1}', '{"step": 1, "epoch": 0}', "[]", "\xff"):
        path.write_text(f"{good}\n{record}\n", encoding="latin-1")
        with pytest.raises(ValueError, match="line 2 is "):
            MetricsWriter(tmp_path, 5)
        assert path.read_text(encoding="latin-1").endswith(f"{record}\n")


def test_filters_are_laid_out_by_tower_and_scaled_one_by_one():
    weight = np.zeros((96, 11, 11, 3), np.float32)
    weight[0, 0, 0] = (1, 0.5, 0)  # first of the first tower
    weight[48, :, :, 2] = 1e-6  # first of the second tower
    weight[95] = 7  # flat
    grid = filter_grid(weight, 2)
    cell = 4 * 11 + 4
    assert grid.shape == (6 * cell + 4 + 8, 16 * cell + 4, 3)
    assert grid[4:8, 4:8].reshape(-1, 3).tolist() == [[255, 128, 0]] * 16
    assert grid[8, 8].tolist() == [0, 0, 0]
    second = 4 + 3 * cell + 8
    assert (grid[second : second + 44, 4:48] == [0, 0, 255]).all()
    assert (grid[second - 12 : second] == 255).all()
    assert (grid[-48:-4, -48:-4] == 0).all()
    np.testing.assert_array_equal(filter_grid(weight[..., ::-1], 2, "BGR"), grid)


def test_pictures_are_whole_pngs_from_the_beginning_of_a_run_on(tmp_path):
    def assert_whole(path):
        with Image.open(path) as image:
            image.load()
            assert image.format == "PNG"
            assert min(image.size) > 150

    assert_whole(plot_filters(tmp_path, np.random.default_rng(0).random((64, 11, 11, 3)), 1, "RGB"))
    with MetricsWriter(tmp_path) as metrics:
        assert_whole(plot_curves(tmp_path))
        metrics.write(step=1, epoch=1, loss=2.0)
        assert_whole(plot_curves(tmp_path))
        for step in range(2, 1300):
            metrics.write(step=step, epoch=1 + step // 650, loss=math.nan if step == 5 else 2 / step)
            if step % 650 == 0:
                metrics.write(epoch=step // 650, step=step, loss=1.0, accuracy=0.5, val_loss=None, val_accuracy=None)
    assert_whole(plot_curves(tmp_path))


def test_without_matplotlib_the_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pictures need matplotlib: pip install 'alexnet-cuda\[demo\]'"):
        plot_curves(tmp_path)


def run_evaluation(scores, labels, views=1):
    """Evaluate a model whose outputs are its images, and they the scores given, in batches of two."""
    scores, labels = np.array(scores, np.float32), np.array(labels)

    def batches(epoch):
        for start in range(0, len(labels), 2):
            part = slice(start, start + 2)
            yield Batch(scores[part], labels[part], np.arange(len(labels))[part])

    def forward(images, train):
        assert not train
        return images

    def probabilities(images, views):
        assert views == 10
        scores = np.exp(images.astype(np.float64))
        return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)

    model = SimpleNamespace(forward=forward, probabilities=probabilities, parameters={})
    model.config = SimpleNamespace(num_classes=scores.shape[1])
    model.prefetch = lambda ready: (batch for batch in ready)
    loader = SimpleNamespace(epoch=batches, skipped={"a.png": "torn"})
    return evaluate(model, loader, views=views)


@pytest.mark.parametrize("views", [1, 10])
def test_evaluation_counts_ranks_and_averages_over_images(views):
    scores = [9, 8, 7, 6, 5, 4, 3]
    result = run_evaluation([scores] * 5, [0, 1, 4, 5, 6], views)
    assert result.images == 5
    assert result.top1_error == pytest.approx(4 / 5)
    assert result.top5_error == pytest.approx(2 / 5)
    log_sum = math.log(sum(math.exp(score) for score in scores))
    assert result.loss == pytest.approx(log_sum - np.mean([9, 8, 5, 4, 3]), rel=1e-6)
    assert result.skipped == {"a.png": "torn"}


def test_evaluation_of_equal_scores_few_classes_and_extreme_outputs():
    # Equal scores rank by class number, so that a blind model is at chance.
    result = run_evaluation(np.zeros((10, 10)), range(10))
    assert (result.top1_error, result.top5_error, result.loss) == (0.9, 0.5, pytest.approx(math.log(10)))
    assert run_evaluation(np.zeros((5, 5)), [0, 1, 2, 3, 4]).top5_error is None
    assert run_evaluation(np.zeros((5, 6)), [0, 1, 2, 3, 5]).top5_error == pytest.approx(1 / 5)
    assert math.isfinite(run_evaluation([[0, 300, 0, 0, 0, 0]], [0], views=10).loss)
    with pytest.raises(ValueError, match="outputs are not finite"):
        run_evaluation([[0, 0, 0], [0, 0, math.nan]], [0, 0])


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), ValueError(), KeyError("odd"), BrokenPipeError()])
def test_a_reporter_that_cannot_write_is_silent(monkeypatch, terminal, error):
    output = Mock(spec=["write", "flush", "isatty", "fileno"] if terminal else ["write", "flush"])  # not a whole file
    output.write.side_effect = output.flush.side_effect = error
    if terminal:  # Rich has another file take its place
        output.fileno.side_effect = lambda: os.open(os.devnull, os.O_WRONLY)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("rich._console", None)  # which stays silent once its pipe is broken
    monkeypatch.setattr(sys, "stdout", output)
    with make_reporter() as reporter:
        reporter.start(0, 10, 2)
        reporter.message("a")
        tries = output.write.call_count
        reporter.step(1, 1, 0.5, 0.5, 3.0)
        reporter.epoch("b")
        assert output.write.call_count == tries
    assert sys.stdout is output
    monkeypatch.setattr(sys, "stdout", None)
    with make_reporter() as reporter:
        reporter.message("a")


def test_the_bar_fits_80_columns_whatever_the_numbers(monkeypatch):
    output = io.StringIO()
    output.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with make_reporter() as reporter:
        reporter.start(0, 10**6, 1000)
        for step in range(1, 6):
            now += 3600
            reporter.step(10_000 * step, 1000, 123456.789, 1.0, 124_000.0)
    with make_reporter() as reporter:  # of images that are looked at once
        reporter.start(0, 10**6, 0)
        now += 3600
        reporter.images(200_000)
    frames = re.split(r"[\r\n]+", re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", output.getvalue()))
    assert max(map(len, frames)) == 80
    bars = "\n".join(frames)
    for shown in (
        r"epoch 1000/1000 .* 5% loss 1\.235e\+05, 100\.0%, 124000 img/s .*left",
        " 20% 200,000 images .*left",
    ):
        assert re.search(shown, bars)
    assert "…" not in "".join(frames)


def test_the_command_of_a_run_is_whole_and_good_in_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {"epochs": 3, "schedule": "step", "milestones": (1, 2), "config": {"fc_widths": [8, 8], "lrn": False}}
    given |= {"freeze": ("conv1", "conv2"), "new_rate": 10.0}
    numbers = {
        "from_": "../base",
        "checkpoint_steps": 5,
        "checkpoint_minutes": 2.5,
        "workers": 3,
        "checksum": True,
        "max_broken": 0.25,
    }
    options = TrainOptions("-photos", Path("a 'run'"), given, "../val", ("cpu", "cpu"), overwrite=True, **numbers)
    words = shlex.split(train_command(options))
    assert words[:5] == ["alexnet-cuda", "train", f"{tmp_path}/-photos", "--output", f"{tmp_path}/a 'run'"]
    read = []
    monkeypatch.setattr("alexnet_cuda.train.train", lambda options: read.append(options) or SimpleNamespace(signal=1))
    cli.main(words[1:])
    absolute = {"source": f"{tmp_path}/-photos", "output": tmp_path / "a 'run'", "validation": f"{tmp_path.parent}/val"}
    absolute["from_"] = f"{tmp_path.parent}/base"
    assert dataclasses.replace(read[0], given={}) == dataclasses.replace(options, **absolute, given={})
    assert recipe_for("", read[0].given) == recipe_for("", given)
    assert shlex.split(train_command(TrainOptions("digits", Path("x"), {})))[2] == "digits"
    name = os.fsdecode(b"/a\xff'\n b")  # no text
    line = train_command(TrainOptions(name, tmp_path, {}))
    assert line.isprintable()
    shell = ["bash", "-c", f"alexnet-cuda() {{ printf '%s' \"$2\"; }}; {line}"]
    assert subprocess.check_output(shell) == os.fsencode(name)


def test_a_run_is_called_after_its_source(tmp_path, monkeypatch):
    folder = tmp_path / "up" / "here"
    (folder / "made.tar").mkdir(parents=True)
    monkeypatch.chdir(folder)
    for name, sources in {
        "photos.v1": ("photos.v1", "a/photos.v1/", "photos.v1.tar"),
        "photos": ("photos.TAR.GZ", "photos.tgz", "photos.tar.xz", "photos.tbz2"),
        "here": (".",),
        "up": ("..",),
        "run": ("/",),
        **{name: (name,) for name in (".photos", "made.tar", "digits")},
    }.items():
        assert {default_output(source) for source in sources} == {Path("runs") / name}


def test_one_thing_and_several():
    assert [counted(number, "image file") for number in (0, 1, 2)] == ["0 image files", "1 image file", "2 image files"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signals_are_noted_and_a_second_hang_up_does_not_cut_the_saving_short(number):
    def handler(*_):
        raise AssertionError("as before")

    repeated = signal.SIGHUP, signal.SIGUSR1
    kept = {kind: signal.signal(kind, handler) for kind in (signal.SIGINT, signal.SIGTERM, *repeated)}
    try:
        with StopRequest() as stop:
            signal.raise_signal(number)
            assert stop.signal == number
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGUSR1)
            with pytest.raises(AssertionError, match="as before"):
                signal.raise_signal(signal.SIGINT)
        assert all(signal.getsignal(kind) is handler for kind in kept)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert stop.signal is None
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        for kind, before in kept.items():
            signal.signal(kind, before)


def test_plain_lines_come_every_ten_seconds(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    reporter = PlainReporter()
    reporter.start(step=100, total=1100, epochs=11)
    for step in range(101, 140):
        now += 1
        reporter.step(step, 2, 1.5, 0.25, 32.4)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "epoch 2/11 step 110/1100: loss 1.5000, accuracy 25.0%, 32 images/s, 16:30 left"
    assert [line.split()[3] for line in lines] == ["110/1100:", "120/1100:", "130/1100:"]
