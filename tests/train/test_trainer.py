"""Whole runs: what they leave, how they stop, and that a resumed one ends with the bits of an uninterrupted one."""

import dataclasses
import json
import math
import os
import shlex
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alexnet_cuda import Model, StepResult, cli
from alexnet_cuda.checkpoint import load_checkpoint, save_checkpoint
from alexnet_cuda.data import ReadError, TooManyBroken, open_source, split
from alexnet_cuda.train import TrainingDiverged, TrainOptions, plots, train, trainer

pytestmark = pytest.mark.usefixtures("no_curves")

MakeOptions = Callable[..., TrainOptions]
WritePictures = Callable[..., Path]

STEPS_PER_EPOCH = 5  # 27 pictures, 7 held out, batches of 4
STEPS = 3 * STEPS_PER_EPOCH


def read(folder):
    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


def without_speed(records):
    return [{key: value for key, value in record.items() if key != "images_per_second"} for record in records]


def before_step(monkeypatch, step, act):
    """Act when the model is about to do step number `step`, counted from 1."""
    original = Model.train_step

    def train_step(self, *arguments, **keywords):
        if self.step + 1 == step:
            act()
        return original(self, *arguments, **keywords)

    monkeypatch.setattr(Model, "train_step", train_step)


def interrupt():
    # Not os.kill: the system may hand the signal to another thread, and Python then sees it later.
    signal.raise_signal(signal.SIGINT)


@pytest.fixture
def whole(finished_runs, tmp_path):
    """An uninterrupted run, in a copy that the test may change."""
    result = finished_runs["plateau"]
    shutil.copytree(result.checkpoint.parent, tmp_path / "whole")
    return dataclasses.replace(result, checkpoint=tmp_path / "whole" / "checkpoint.safetensors")


def test_a_run_learns_and_leaves_checkpoint_metrics_and_pictures(whole, pictures):
    folder = whole.checkpoint.parent
    assert sorted(os.listdir(folder)) == ["checkpoint.safetensors", "conv1_filters.png", "curves.png", "metrics.jsonl"]
    assert (whole.epochs, whole.steps, whole.signal, whole.skipped) == (3, STEPS, None, {})
    records = read(folder)
    steps = [record for record in records if "val_loss" not in record]
    epochs = [record for record in records if "val_loss" in record]
    assert [record["step"] for record in steps] == list(range(1, STEPS + 1))
    assert [record["epoch"] for record in steps] == [1] * 5 + [2] * 5 + [3] * 5
    assert all(set(record) == {
        "step", "epoch", "loss", "accuracy", "learning_rate", "images_per_second"
    } for record in steps)  # fmt: skip
    assert [record["epoch"] for record in epochs] == [1, 2, 3]
    assert all(set(record) == {
        "epoch", "step", "loss", "accuracy", "val_loss", "val_accuracy"
    } for record in epochs)  # fmt: skip
    # The batches of an epoch are of equal size here, so its figures are the means of its steps'.
    for number, record in enumerate(epochs):
        own = steps[5 * number : 5 * number + 5]
        assert record["loss"] == pytest.approx(np.mean([step["loss"] for step in own]), rel=1e-12)
        assert record["accuracy"] == pytest.approx(np.mean([step["accuracy"] for step in own]), rel=1e-12)
    assert whole.val_loss is not None
    assert whole.val_loss < math.log(3)
    model = Model.load(whole.checkpoint)
    assert model.class_names == ("blue", "green", "red")
    assert model.step == STEPS
    # The statistics of the 7 blue, 6 green and 7 red pictures that are left for training: noise of 0 to 59 everywhere
    # and 160 more in one channel; resizing smooths an unknown part of the noise away.
    share = np.array([7, 6, 7]) / 20
    np.testing.assert_allclose(model.config.mean, 29.5 + 160 * share, atol=0.5)
    least = 160 * np.sqrt(share * (1 - share))
    assert (model.config.std > least).all()
    assert (model.config.std < np.hypot(least, 60 / math.sqrt(12))).all()


def test_the_published_initial_weights_keep_the_published_scale_of_inputs(make_options):
    result = train(make_options(init="paper", epochs=1))
    assert Model.load(result.checkpoint).config.std == (1.0, 1.0, 1.0)


def test_every_step_gets_the_numbers_of_the_recipe(make_options, monkeypatch):
    given = []
    original = Model.train_step

    def train_step(self, *arguments, **keywords):
        given.append(keywords)
        return original(self, *arguments, **keywords)

    monkeypatch.setattr(Model, "train_step", train_step)
    changes = {"schedule": "step", "milestones": (1,), "learning_rate": 0.02, "momentum": 0.8, "weight_decay": 0.003}
    train(make_options(epochs=2, **changes))
    fixed = {"momentum": 0.8, "weight_decay": 0.003}
    assert given == [{"learning_rate": 0.02, **fixed}] * 5 + [{"learning_rate": 0.002, **fixed}] * 5


def test_two_runs_are_equal_to_the_bit_and_another_seed_is_another_run(make_options, whole):
    again = train(make_options("again"))
    assert again.checkpoint.read_bytes() == whole.checkpoint.read_bytes()
    other = train(make_options("other", seed=1))
    assert other.checkpoint.read_bytes() != whole.checkpoint.read_bytes()


@pytest.mark.parametrize(
    ("schedule", "stops"),
    [("plateau", (1,)), ("plateau", (STEPS_PER_EPOCH,)), ("plateau", (6, 7)), ("cosine", (3, 12))],
)
def test_a_run_that_was_interrupted_and_resumed_ends_with_the_same_bits(
    make_options, finished_runs, monkeypatch, stops, schedule
):
    expected = finished_runs[schedule]
    for number, stop in enumerate(stops):
        with monkeypatch.context() as patch:
            before_step(patch, stop, interrupt)
            part = train(make_options(**({"resume": True} if number else {"schedule": schedule})))
        assert (part.steps, part.signal) == (stop, signal.SIGINT)
        assert load_checkpoint(part.checkpoint).metadata["step"] == stop
    result = train(make_options(resume=True))
    assert result.signal is None
    assert result.checkpoint.read_bytes() == expected.checkpoint.read_bytes()
    assert without_speed(read(result.checkpoint.parent)) == without_speed(read(expected.checkpoint.parent))


def test_an_interrupt_during_validation_is_resumed_with_the_validation(make_options, monkeypatch, whole):
    original = Model.forward
    pending = [interrupt]

    def forward(self, images, train=False):
        if not train and self.step == 2 * STEPS_PER_EPOCH and pending:
            pending.pop()()
        return original(self, images, train)

    with monkeypatch.context() as patch:
        patch.setattr(Model, "forward", forward)
        part = train(make_options())
    assert (part.epochs, part.steps, part.signal) == (1, 2 * STEPS_PER_EPOCH, signal.SIGINT)
    result = train(make_options(resume=True))
    assert result.checkpoint.read_bytes() == whole.checkpoint.read_bytes()
    assert without_speed(read(result.checkpoint.parent)) == without_speed(read(whole.checkpoint.parent))


def test_a_crash_is_resumed_from_the_last_checkpoint_to_the_same_bits(make_options, monkeypatch, whole):
    def crash():
        raise OSError("the machine is gone")

    options = make_options(checkpoint_steps=3)
    with monkeypatch.context() as patch:
        before_step(patch, 9, crash)
        with pytest.raises(OSError, match="gone"):
            train(options)
    assert load_checkpoint(options.output / "checkpoint.safetensors").metadata["step"] == 6
    assert read(options.output)[-1]["step"] == 8
    # A line cut short by the crash.
    with open(options.output / "metrics.jsonl", "a") as file:
        file.write('{"step": 9, "los')
    result = train(make_options(resume=True))
    assert result.checkpoint.read_bytes() == whole.checkpoint.read_bytes()
    assert without_speed(read(options.output)) == without_speed(read(whole.checkpoint.parent))


def test_images_that_cannot_be_read_any_more_stop_the_run_and_it_goes_on_to_the_same_bits(
    make_options, monkeypatch, whole, pictures, tmp_path, capsys
):
    """A disk or a mount that goes away: in the first epoch, for later ones the images may be in memory."""
    source = tmp_path / "source"
    shutil.copytree(pictures, source)
    options = make_options(source=source, workers=1)
    with monkeypatch.context() as patch:
        before_step(patch, 2, lambda: source.rename(tmp_path / "away"))
        with pytest.raises(ReadError, match=r"cannot be read: No such file or directory: '.*source/.*png'"):
            train(options)
    step = load_checkpoint(options.output / "checkpoint.safetensors").metadata["step"]
    assert 2 <= step <= 5
    assert f"stopped at step {step}; to go on: alexnet-cuda train {source} " in capsys.readouterr().out
    (tmp_path / "away").rename(source)
    result = train(make_options(source=source, resume=True))
    assert result.skipped == {}
    assert result.checkpoint.read_bytes() == whole.checkpoint.read_bytes()


def test_too_many_broken_images_stop_the_run(make_options, tmp_path, write_pictures, monkeypatch):
    source = write_pictures(tmp_path / "source")
    (source / "red" / "0.png").write_bytes(b"no picture")
    with pytest.raises(TooManyBroken, match=r"1 of the 27 images of .* that max_broken"):
        train(make_options(source=source, max_broken=0.01, validation_split=0.0, schedule="constant"))
    assert not (tmp_path / "run").exists()  # the colour statistics have met it
    # A file that breaks under way: training has begun, and what is done stays.
    (source / "red" / "0.png").write_bytes((source / "red" / "1.png").read_bytes())
    options = make_options(source=source, max_broken=0.0, validation_split=0.25)
    before_step(monkeypatch, 1, lambda: [file.write_bytes(b"") for file in source.rglob("*.png")])
    with pytest.raises(TooManyBroken, match="the file is empty"):
        train(options)
    assert load_checkpoint(options.output / "checkpoint.safetensors").metadata["step"] >= 1


def test_broken_images_count_over_training_and_validation_together(make_options, tmp_path, write_pictures):
    """One of 7 held out is one of 27: less than 5 %; and it is the same one for an evaluation of what was held out."""
    source = write_pictures(tmp_path / "source")
    held = split(open_source(source), 0.25, 0)[1].names[0]
    (source / held).write_bytes(b"no picture")
    result = train(make_options(source=source, epochs=1))
    assert list(result.skipped) == [held]
    assert cli.main(["evaluate", str(result.checkpoint), str(source), "--held-out"]) == 0
    other = write_pictures(tmp_path / "other", each=1)
    (other / "red" / "0.png").write_bytes(b"no picture")
    options = {"source": source, "validation": str(other), "epochs": 1}
    with pytest.raises(TooManyBroken, match=r"2 of the 30 images of .*source and .*other are broken so far"):
        train(make_options("two", **options))
    assert len(train(make_options("three", **options, max_broken=0.07)).skipped) == 2


@pytest.mark.parametrize("picture", ["plot_filters", "plot_curves"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), MemoryError(), ValueError("a\nb")], ids=repr)
def test_a_picture_never_stops_a_run(make_options, monkeypatch, capsys, picture, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(plots, picture, fail)
    monkeypatch.setattr(trainer, "_PLOT_SECONDS", 0.0)  # also under way
    result = train(make_options(epochs=2))
    assert (result.epochs, load_checkpoint(result.checkpoint).metadata["step"]) == (2, 2 * STEPS_PER_EPOCH)
    output = capsys.readouterr().out
    reason = {OSError: "[Errno 28] No space left on device", MemoryError: "MemoryError"}.get(type(error), "a b")
    assert output.count("a picture of the run is missing") == 1
    assert f"a picture of the run is missing: {reason}\n" in output


def test_a_run_within_its_source_is_no_part_of_it(make_options, tmp_path, write_pictures, capsys):
    source = write_pictures(tmp_path / "source")
    for name in ("source/runs/one", "source", "source/red"):  # as --output can be, down to a class folder
        first = train(make_options(name, source=source, epochs=1))
        again = train(make_options(name, source=source, resume=True, epochs=2))
        assert (first.steps, again.steps) == (STEPS_PER_EPOCH, 2 * STEPS_PER_EPOCH)
    ignored = "red/conv1_filters.png, runs/one/conv1_filters.png"
    assert f"ignored in {source}: pictures of a training run: conv1_filters.png, {ignored}\n" in capsys.readouterr().out


def test_a_run_begins_with_what_it_has_found(make_options, tmp_path, write_pictures, capsys):
    source = write_pictures(tmp_path / "source")
    (source / "@eaDir").mkdir()
    train(make_options(source=source, epochs=1))
    lines = capsys.readouterr().out.splitlines()
    held = "20 images of 3 classes to train on, 7 held out to validate on"
    assert lines[0] == f"{source}: {held}; on cpu; output in {tmp_path / 'run'}"
    assert lines[1] == f"ignored in {source}: left by a system or program: @eaDir"
    other = write_pictures(tmp_path / "other", ("green",), each=2)
    (other / "red").mkdir()
    train(make_options("two", source=source, validation=str(other), epochs=1, devices=("cpu", "cpu")))
    lines = capsys.readouterr().out.splitlines()
    both = f"27 images of 3 classes to train on, 2 of {other} to validate on"
    assert lines[0] == f"{source}: {both}; on cpu, cpu; output in {tmp_path / 'two'}"
    assert lines[2] == f"ignored in {other}: folders without images: red"


def test_a_run_goes_on_for_more_epochs_and_at_another_rate(make_options, whole):
    result = train(make_options("whole", resume=True, epochs=4, learning_rate=0.001, schedule="constant"))
    assert (result.epochs, result.steps) == (4, STEPS + STEPS_PER_EPOCH)
    steps = [record for record in read(result.checkpoint.parent) if "learning_rate" in record]
    assert {record["learning_rate"] for record in steps if record["epoch"] == 4} == {0.001}
    recipe = load_checkpoint(result.checkpoint).metadata["train"]["recipe"]
    assert (recipe["epochs"], recipe["schedule"]) == (4, "constant")


def test_resuming_a_finished_runs_changes_nothing_and_says_so(make_options, whole, capsys):
    before = whole.checkpoint.read_bytes()
    metrics = (whole.checkpoint.parent / "metrics.jsonl").read_bytes()
    train(make_options("whole", resume=True))
    assert whole.checkpoint.read_bytes() == before
    assert (whole.checkpoint.parent / "metrics.jsonl").read_bytes() == metrics
    assert "nothing to train: the run has done 3 epochs, --epochs is 3; give --epochs 4 or" in capsys.readouterr().out
    result = train(make_options("whole", resume=True, epochs=2))
    assert (result.epochs, result.steps) == (3, STEPS)
    assert whole.checkpoint.read_bytes() == before
    assert (whole.checkpoint.parent / "metrics.jsonl").read_bytes() == metrics
    assert "nothing to train: the run has done 3 epochs, --epochs is 2; give --epochs 4 or" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 8}, "batch_size is 4 in the run to resume and was given as 8"),
        ({"seed": 3}, "seed is 0"),
        ({"config": {"dropout": 0.1}}, "config is"),
    ],
)
def test_resuming_with_another_recipe_is_refused(make_options, whole, changes, message):
    before = whole.checkpoint.read_bytes()
    with pytest.raises(ValueError, match=message):
        train(make_options("whole", resume=True, **changes))
    assert whole.checkpoint.read_bytes() == before


def test_resuming_on_other_images_is_refused(make_options, whole, tmp_path, write_pictures):
    other = write_pictures(tmp_path / "other", each=10)
    with pytest.raises(ValueError, match=r"not those the run in .* began with"):
        train(make_options("whole", source=other, resume=True))


def test_resuming_without_a_run_to_resume_is_refused(make_options, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no .*checkpoint\.safetensors to resume from"):
        train(make_options(resume=True))
    assert not (tmp_path / "run").exists()
    (tmp_path / "run").mkdir()
    save_checkpoint(tmp_path / "run" / "checkpoint.safetensors", {}, {"config": {}})
    with pytest.raises(ValueError, match="no training run to resume"):
        train(make_options(resume=True))
    foreign = {"recipe": {"warp": 9}, "state": {}}
    save_checkpoint(tmp_path / "run" / "checkpoint.safetensors", {}, {"config": {}, "train": foreign})
    with pytest.raises(ValueError, match=r"cannot resume \(.*'warp'"):
        train(make_options(resume=True))


def test_a_folder_that_holds_a_run_is_only_overwritten_on_request(make_options, whole):
    before = whole.checkpoint.read_bytes()
    with pytest.raises(FileExistsError, match=r"already holds a run: give --resume .*--overwrite"):
        train(make_options("whole", seed=5))
    assert whole.checkpoint.read_bytes() == before
    train(make_options("whole", seed=5, epochs=1, overwrite=True))
    assert load_checkpoint(whole.checkpoint).metadata["config"]["seed"] == 5
    assert read(whole.checkpoint.parent)[-1]["epoch"] == 1


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"source": Path("absent")}, FileNotFoundError, "absent does not exist"),
        ({"validation": "absent"}, FileNotFoundError, "absent does not exist"),
        ({"preset": "lenet"}, ValueError, "unknown preset 'lenet'"),
        ({"devices": "abacus"}, ValueError, "unknown device 'abacus'"),
        ({"image_size": 50}, ValueError, "image_size must be at least"),
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
        ({"batch_size": -1}, ValueError, "batch_size must be at least 1"),
        ({"learning_rate": math.nan}, ValueError, "learning_rate must be above 0, got nan"),
        ({"momentum": 1.0}, ValueError, "momentum must be at least 0 and below 1"),
        ({"precision": "float8"}, ValueError, "precision must be one of"),
        ({"config": {"num_classes": 5}}, ValueError, "num_classes comes from the source"),
        ({"config": {"seed": 5}}, ValueError, "seed has an option of its own"),
        ({"config": {"fc_width": 5}}, ValueError, "unknown configuration field 'fc_width'"),
        ({"validation_split": 0.0}, ValueError, "plateau schedule watches the validation error"),
        ({"schedule": "step"}, ValueError, "'step' and milestones go together"),
        ({"workers": 0}, ValueError, "workers must be at least 1"),
        ({"max_broken": 1.5}, ValueError, r"max_broken must lie in 0\.\.1, got 1\.5"),
        ({"checkpoint_steps": 0}, ValueError, "checkpoint_steps must be at least 1"),
        ({"checkpoint_minutes": math.nan}, ValueError, "checkpoint_minutes must be above 0"),
        ({"resume": True, "overwrite": True}, ValueError, "exclude each other"),
    ],
)
def test_what_keeps_a_run_from_starting_is_said_before_anything_is_written(
    make_options, tmp_path, changes, error, message
):
    with pytest.raises(error, match=message):
        train(make_options(**changes))
    assert os.listdir(tmp_path) == []


def test_an_output_that_is_a_file_is_refused_and_kept(make_options, tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(NotADirectoryError, match="run is not a folder"):
        train(make_options())
    assert (tmp_path / "run").read_text() == "mine"


def works_by_itself(monkeypatch):
    """Let the trainer take the CPU for a device whose steps it need not wait for."""
    monkeypatch.setattr(Model, "devices", ("cuda:0",))


def test_a_loss_is_looked_at_when_the_next_step_is_queued_and_nothing_else_changes(make_options, monkeypatch, whole):
    original, order = Model.train_step, []

    def train_step(self, *arguments, **keywords):
        number, result = self.step + 1, original(self, *arguments, **keywords)
        order.append(f"step {number}")
        values = [np.full(4, result.loss), np.arange(4) < result.correct]
        return StepResult(lambda: order.append(f"look {number}") or values)

    monkeypatch.setattr(Model, "train_step", train_step)
    works_by_itself(monkeypatch)
    result = train(make_options("late", checkpoint_steps=3))
    first = "step 1, step 2, look 1, step 3, look 2, look 3, step 4, step 5, look 4, look 5, step 6, look 6, step 7"
    assert ", ".join(order).startswith(first), "all are looked at before a checkpoint, and at an epoch's end"
    assert result.checkpoint.read_bytes() == whole.checkpoint.read_bytes()
    assert without_speed(read(result.checkpoint.parent)) == without_speed(read(whole.checkpoint.parent))


@pytest.mark.parametrize("late", [False, True])
def test_a_loss_of_nan_stops_the_run_and_keeps_the_last_checkpoint(make_options, monkeypatch, late):
    if late:
        works_by_itself(monkeypatch)
    original = Model.train_step

    def train_step(self, *arguments, **keywords):
        result = original(self, *arguments, **keywords)
        return StepResult(lambda: [np.full(2, np.nan), np.zeros(2, bool)]) if self.step == 8 else result

    monkeypatch.setattr(Model, "train_step", train_step)
    options = make_options(checkpoint_steps=8)
    with pytest.raises(
        TrainingDiverged, match=r"exploded to nan at step 8 \(epoch 2\).*last good.*learning rate too high"
    ):
        train(options)
    checkpoint = load_checkpoint(options.output / "checkpoint.safetensors")
    assert checkpoint.metadata["step"] == STEPS_PER_EPOCH
    assert read(options.output)[-1]["loss"] is None


@pytest.mark.parametrize("late", [False, True])
def test_a_loss_that_has_exploded_stops_the_run_at_once_and_the_advice_works(make_options, monkeypatch, late):
    """Finite all the time, and without --checkpoint-steps: the rule is that of checkpoints, 1000 ln 3."""
    original, losses = Model.train_step, {7: 1098.0, 8: 1099.0}

    def train_step(self, *arguments, **keywords):
        result, loss = original(self, *arguments, **keywords), losses.get(self.step)
        return result if loss is None else StepResult(lambda: [np.full(4, loss), np.zeros(4, bool)])

    options = make_options(epochs=2)
    with monkeypatch.context() as patch:
        if late:
            works_by_itself(patch)
        patch.setattr(Model, "train_step", train_step)
        with pytest.raises(
            TrainingDiverged, match=r"exploded to 1099 at step 8 \(epoch 2\); the last good checkpoint is .*; likely"
        ) as caught:
            train(options)
    assert load_checkpoint(options.output / "checkpoint.safetensors").metadata["step"] == STEPS_PER_EPOCH
    assert [record["step"] for record in read(options.output)] == [1, 2, 3, 4, 5, 5, 6, 7, 8]
    words = shlex.split(str(caught.value).partition("at a lower rate: ")[2])
    assert words[words.index("--learning-rate") + 1] == "0.001"
    assert cli.main(words[1:]) == 0


def test_weights_that_overflow_are_never_saved(make_options):
    options = make_options(learning_rate=1e30)
    with pytest.raises(TrainingDiverged, match=r"no checkpoint yet; .*--learning-rate 0\.01 "):
        train(options)
    assert not (options.output / "checkpoint.safetensors").exists()


@pytest.mark.parametrize("checkpoint_steps", [1, None])
def test_exploded_weights_are_no_good_checkpoint_and_the_advice_works(
    make_options, whole, checkpoint_steps, monkeypatch
):
    before = whole.checkpoint.read_bytes()
    given = {"epochs": 4, "learning_rate": 1e9, "schedule": "constant"}
    with pytest.raises(
        TrainingDiverged, match=r"step 1[67] \(epoch 4\); the last good checkpoint is .*; likely"
    ) as caught:
        train(make_options("whole", resume=True, checkpoint_steps=checkpoint_steps, **given))
    assert whole.checkpoint.read_bytes() == before
    _, _, advice = str(caught.value).partition("at a lower rate: ")
    words = shlex.split(advice)
    assert words[words.index("--learning-rate") + 1] == "0.01"
    monkeypatch.chdir("/")
    assert cli.main(words[1:]) == 0
    assert load_checkpoint(whole.checkpoint).metadata["train"]["state"]["epoch"] == 4


@pytest.mark.parametrize(("validation_split", "last_good"), [(0.25, 5), (0.0, 7)])
def test_bad_weights_are_noticed_before_they_are_saved_even_while_the_loss_is_finite(
    make_options, monkeypatch, validation_split, last_good
):
    original = Model.train_step

    def train_step(self, *arguments, **keywords):
        result = original(self, *arguments, **keywords)
        if self.step == 10:
            weights = {name: np.array(value) for name, value in self.parameters.items()}
            weights["fc7.weight"][3, 1] = np.inf
            self.set_parameters(weights)
        return result

    monkeypatch.setattr(Model, "train_step", train_step)
    options = make_options(validation_split=validation_split, schedule="constant", checkpoint_steps=5)
    with pytest.raises(TrainingDiverged, match=r"fc7\.weight holds NaN or infinity after step 10 \(epoch 2\)"):
        train(options)
    assert load_checkpoint(options.output / "checkpoint.safetensors").metadata["step"] == last_good


def test_a_run_goes_on_on_another_backend(make_options):
    """On the kernels, then on one device more, then on NumPy again: as if it had stayed there, but for roundings."""
    losses = []
    for places in (("cpu",) * 4, ("cpu", "simt", ("simt", "simt"), "cpu")):
        name = f"run{len(losses)}"
        for epochs, devices in enumerate(places, start=1):
            options = {"resume": True} if epochs > 1 else {"schedule": "constant"}
            result = train(make_options(name, epochs=epochs, devices=devices, **options))
            assert (result.epochs, result.steps) == (epochs, 5 * epochs)
        losses.append(result.loss)
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_a_source_of_its_own_validates(make_options, tmp_path, write_pictures):
    other = write_pictures(tmp_path / "other", ("green", "blue"), each=2)
    result = train(make_options(validation=str(other), epochs=1))
    assert result.val_accuracy in (0, 0.25, 0.5, 0.75, 1)
    assert result.steps == 7  # all 27 pictures are for training
    again = train(make_options(resume=True, epochs=2))
    assert again.steps == 14
    strange = write_pictures(tmp_path / "strange", ("blue", "violet"), each=2)
    with pytest.raises(ValueError, match="'violet'"):
        train(make_options("new", validation=str(strange)))
    assert not (tmp_path / "new").exists()


def test_without_validation_the_figures_are_null(make_options):
    result = train(make_options(validation_split=0.0, schedule="constant", epochs=1))
    record = read(result.checkpoint.parent)[-1]
    assert record["val_loss"] is None
    assert record["val_accuracy"] is None
    assert result.val_accuracy is None


def test_files_that_cannot_be_decoded_are_named_at_the_end(make_options, tmp_path, capsys, write_pictures):
    source = write_pictures(tmp_path / "source")
    (source / "red" / "broken.png").write_bytes(b"no picture")
    (source / "blue" / "empty.jpg").write_bytes(b"")
    result = train(make_options(source=source, epochs=1, max_broken=0.1))
    assert sorted(result.skipped) == ["blue/empty.jpg", "red/broken.png"]
    output = capsys.readouterr().out
    assert "2 image files could not be decoded and were skipped:" in output
    assert "red/broken.png: it is not an image" in output


def test_a_loss_that_stays_at_chance_gets_a_hint_once(make_options, capsys):
    train(make_options(init="paper", learning_rate=1e-9))
    output = capsys.readouterr().out
    assert (
        output.count("hint: the loss stays at ln(classes) = 1.099, the network guesses: start anew with --init he") == 1
    )


def test_a_loss_that_falls_gets_no_hint(make_options, capsys):
    train(make_options("falls"))
    assert "hint" not in capsys.readouterr().out


def test_a_second_ctrl_c_does_not_wait(make_options, monkeypatch):
    def twice():
        interrupt()
        interrupt()

    before_step(monkeypatch, 3, twice)
    # A test run in the background starts with SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(make_options())
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_two_towers_train_and_go_on_from_one_device(make_options):
    first = train(make_options(epochs=1))
    result = train(make_options(resume=True, epochs=2, devices=("cpu", "cpu")))
    assert result.steps == 2 * STEPS_PER_EPOCH
    assert first.checkpoint == result.checkpoint
