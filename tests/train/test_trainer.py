"""Whole runs: what they leave, how they stop, and that a resumed one ends with the bits of an uninterrupted one."""

import dataclasses
import json
import math
import os
import shlex
import shutil
import signal
from contextlib import contextmanager

import numpy as np
import pytest
from tests.failing import failing
from tests.pages import read_page

from alexnet_cuda import Model, StepResult, cli
from alexnet_cuda.checkpoint import load_checkpoint, save_checkpoint
from alexnet_cuda.data import ReadError, TooManyBroken, open_source, split
from alexnet_cuda.train import TrainingDiverged, page, plots, trainer

pytestmark = pytest.mark.usefixtures("no_curves")

STEPS_PER_EPOCH = 5  # 27 pictures, 7 held out, batches of 4
STEPS = 3 * STEPS_PER_EPOCH
WRITE_RUN_PAGE = page.write_run_page


def read(folder):
    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


def assert_same_run(one, other):
    """The same but for the speed."""
    assert one.checkpoint.read_bytes() == other.checkpoint.read_bytes()
    records, expected = read(one.checkpoint.parent), read(other.checkpoint.parent)
    for record in records + expected:
        record.pop("images_per_second", None)
    assert records == expected


@contextmanager
def each_step(before=lambda model, **_: None, after=lambda model, result: result):
    """Call `before` with the numbers of each training step; `after` gives what comes out of the step."""
    original = Model.train_step

    def train_step(self, *arguments, **keywords):
        before(self, **keywords)
        return after(self, original(self, *arguments, **keywords))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Model, "train_step", train_step)
        yield


def before_step(step, act):
    """Act when the model is about to do step number `step`, counted from 1."""
    return each_step(lambda model, **_: act() if model.step + 1 == step else None)


def interrupt():
    # Not os.kill: the system may hand the signal to another thread, and Python then sees it later.
    signal.raise_signal(signal.SIGINT)


def stored_step(folder):
    return load_checkpoint(folder / "checkpoint.safetensors").metadata["step"]


@pytest.fixture
def whole(finished_runs, tmp_path):
    """An uninterrupted run, in a copy that the test may change."""
    result = finished_runs["plateau"]
    shutil.copytree(result.checkpoint.parent, tmp_path / "whole")
    return dataclasses.replace(result, checkpoint=tmp_path / "whole" / "checkpoint.safetensors")


def test_a_run_learns_and_leaves_checkpoint_metrics_and_pictures(whole):
    folder = whole.checkpoint.parent
    pictures = ["conv1_filters.png", "curves.png", "index.html"]
    checkpoints = ["best.safetensors", "checkpoint-10.safetensors", "checkpoint.safetensors"]
    assert sorted(os.listdir(folder)) == [*checkpoints, *pictures, "metrics.jsonl", "run.json"]
    assert (whole.epochs, whole.steps, whole.signal, whole.skipped) == (3, STEPS, None, {})
    records = read(folder)
    steps = [record for record in records if "val_loss" not in record]
    epochs = [record for record in records if "val_loss" in record]
    assert [(record["step"], record["epoch"]) for record in steps] == [(n + 1, n // 5 + 1) for n in range(STEPS)]
    assert [record["epoch"] for record in epochs] == [1, 2, 3]
    for record in steps:
        assert set(record) == {"step", "epoch", "loss", "accuracy", "learning_rate", "images_per_second"}
    for number, record in enumerate(epochs):
        assert set(record) == {"epoch", "step", "loss", "accuracy", "val_loss", "val_accuracy", "layers"}
        # The batches of an epoch are of equal size here, so its figures are the means of its steps'.
        for key in ("loss", "accuracy"):
            own = [step[key] for step in steps[5 * number : 5 * number + 5]]
            assert record[key] == pytest.approx(np.mean(own), rel=1e-12)
    kept = load_checkpoint(whole.checkpoint)
    tensors = {"weight": kept.parameters(), "update": kept.velocity()}
    assert list(epochs[-1]["layers"]) == ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
    for layer, norms in epochs[-1]["layers"].items():
        assert (norms.pop("zero", None) is None) == (layer == "fc8")
        for kind, norm in norms.items():
            assert norm == pytest.approx(np.linalg.norm(tensors[kind][f"{layer}.weight"]), rel=1e-5)
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


def test_the_page_of_a_run_holds_its_pictures_its_recipe_and_what_is_taken_for_what(whole):
    text, pictures = read_page(whole.checkpoint.parent / "index.html")
    assert len(pictures) == 2
    assert "alexnet-cuda train " in text
    assert f"7 images: top-1 error {1 - whole.val_accuracy:.2%}" in text
    words = text.split()
    start = words.index("predicted:") + 4  # the head of the table, and its three classes
    rows = [words[start + 4 * i : start + 4 * i + 4] for i in range(3)]
    assert [row[0] for row in rows] == ["blue", "green", "red"]
    counts = np.array([row[1:] for row in rows], int)
    assert (counts.sum(), np.trace(counts)) == (7, round(7 * whole.val_accuracy))
    assert "learning_rate 0.01" in " ".join(words)


def test_every_step_gets_the_numbers_of_the_recipe(run):
    given = []
    changes = {"schedule": "step", "milestones": (1,), "learning_rate": 0.02, "momentum": 0.8, "weight_decay": 0.003}
    changes |= {"bias_rate": 1.0, "accumulate": 2, "lars": 0.5}
    with each_step(lambda _, **keywords: given.append(keywords)):
        run(epochs=2, **changes)
    fixed = {"momentum": 0.8, "weight_decay": 0.003, "frozen": (), "layer_rates": {}}
    fixed |= {"bias_rate": 1.0, "accumulate": 2, "lars": 0.5}
    assert given == [{"learning_rate": 0.02, **fixed}] * 5 + [{"learning_rate": 0.002, **fixed}] * 5


def test_two_runs_are_equal_to_the_bit_and_another_seed_is_another_run(run, whole, capsys):
    assert_same_run(run("again"), whole)
    assert "hint" not in capsys.readouterr().out  # the loss falls
    assert run("other", seed=1).checkpoint.read_bytes() != whole.checkpoint.read_bytes()


@pytest.mark.parametrize(
    ("schedule", "stops"),
    [("plateau", (1,)), ("plateau", (STEPS_PER_EPOCH,)), ("plateau", (6, 7)), ("cosine", (3, 12))],
)
def test_a_run_that_was_interrupted_and_resumed_ends_with_the_same_bits(run, finished_runs, stops, schedule):
    options = {"schedule": schedule}
    for stop in stops:
        with before_step(stop, interrupt):
            part = run(**options)
        assert (part.steps, part.signal, stored_step(part.checkpoint.parent)) == (stop, signal.SIGINT, stop)
        options = {"resume": True}
    result = run(resume=True)
    assert result.signal is None
    assert_same_run(result, finished_runs[schedule])


def test_an_interrupt_during_validation_is_resumed_with_the_validation(run, monkeypatch, whole):
    original = Model.forward

    def forward(self, images, train=False):
        if not train and self.step == 2 * STEPS_PER_EPOCH:
            patch.undo()
            interrupt()
        return original(self, images, train)

    with monkeypatch.context() as patch:
        patch.setattr(Model, "forward", forward)
        part = run()
    assert (part.epochs, part.steps, part.signal) == (1, 2 * STEPS_PER_EPOCH, signal.SIGINT)
    assert_same_run(run(resume=True), whole)


def test_a_crash_is_resumed_from_the_last_checkpoint_to_the_same_bits(run, tmp_path, whole):
    crash = failing(Model, "train_step", OSError("gone"), lambda model, *_, **__: model.step == 8)
    with crash, pytest.raises(OSError, match="gone"):
        run(checkpoint_steps=3)
    assert stored_step(tmp_path / "run") == 6
    assert read(tmp_path / "run")[-1]["step"] == 8
    metrics = tmp_path / "run" / "metrics.jsonl"
    content = metrics.read_text()
    metrics.write_text("hello\n" + content)
    with pytest.raises(ValueError, match="line 1 is not a JSON object"):
        run(resume=True)
    metrics.write_text(content + '{"step": 9, "los')  # a line cut short by the crash
    assert_same_run(run(resume=True), whole)
    assert [entry["step"] for entry in json.loads((tmp_path / "run" / "run.json").read_text())] == [0, 6]


def test_images_that_cannot_be_read_any_more_stop_the_run_and_it_goes_on_to_the_same_bits(
    run, whole, pictures, tmp_path, capsys
):
    """A disk or a mount that goes away: in the first epoch, for later ones the images may be in memory."""
    source = tmp_path / "source"
    shutil.copytree(pictures, source)
    with (
        before_step(2, lambda: source.rename(tmp_path / "away")),
        pytest.raises(ReadError, match=r"cannot be read: No such file or directory: '.*source/.*png'"),
    ):
        run(source=source, workers=1)
    step = stored_step(tmp_path / "run")
    assert 2 <= step <= 5
    assert f"stopped at step {step}; to go on: alexnet-cuda train {source} " in capsys.readouterr().out
    (tmp_path / "away").rename(source)
    result = run(source=source, resume=True)
    assert result.skipped == {}
    assert result.checkpoint.read_bytes() == whole.checkpoint.read_bytes()


def test_too_many_broken_images_stop_the_run(run, tmp_path, write_pictures):
    source = write_pictures(tmp_path / "source")
    (source / "red" / "0.png").write_bytes(b"no picture")
    with pytest.raises(TooManyBroken, match=r"1 of the 27 images of .* that max_broken"):
        run(source=source, max_broken=0.01, validation_split=0.0, schedule="constant")
    assert not (tmp_path / "run").exists()  # the colour statistics have met it
    # A file that breaks under way: training has begun, and what is done stays.
    (source / "red" / "0.png").write_bytes((source / "red" / "1.png").read_bytes())
    with (
        before_step(1, lambda: [file.write_bytes(b"") for file in source.rglob("*.png")]),
        pytest.raises(TooManyBroken, match="the file is empty"),
    ):
        run(source=source, max_broken=0.0)
    assert stored_step(tmp_path / "run") >= 1


def test_broken_images_count_over_training_and_validation_together(run, tmp_path, write_pictures, capsys):
    """One of 7 held out is one of 27: less than 5 %; and it is the same one for an evaluation of what was held out."""
    source = write_pictures(tmp_path / "source")
    held = split(open_source(source), 0.25, 0)[1].names[0]
    (source / held).write_bytes(b"no picture")
    result = run(source=source, epochs=1)
    assert list(result.skipped) == [held]
    assert cli.main(["evaluate", str(result.checkpoint), str(source), "--held-out"]) == 0
    other = write_pictures(tmp_path / "other", each=1)
    (other / "red" / "0.png").write_bytes(b"")
    options = {"source": source, "validation": str(other), "epochs": 1}
    with pytest.raises(TooManyBroken, match=r"2 of the 30 images of .*source and .*other are broken so far"):
        run("two", **options)
    assert sorted(run("three", **options, max_broken=0.07).skipped) == sorted([held, "red/0.png"])
    output = capsys.readouterr().out
    assert "2 image files could not be decoded and were skipped:" in output
    assert f"{held}: it is not an image" in output


@pytest.mark.parametrize("picture", [(plots, "plot_filters"), (plots, "plot_curves"), (page, "write_run_page")])
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (MemoryError(), "MemoryError"),
        (ValueError("a\nb"), "a b"),
    ],
)
def test_a_picture_never_stops_a_run(run, monkeypatch, capsys, picture, error, reason):
    monkeypatch.setattr(trainer, "_PLOT_SECONDS", 0.0)  # also under way
    with failing(*picture, error):
        result = run(epochs=2)
    assert (result.epochs, stored_step(result.checkpoint.parent)) == (2, 2 * STEPS_PER_EPOCH)
    output = capsys.readouterr().out
    assert output.count("a picture or the page of the run is missing") == 1
    assert f"a picture or the page of the run is missing: {reason}\n" in output


def test_a_run_within_its_source_is_no_part_of_it(run, tmp_path, write_pictures, capsys):
    source = write_pictures(tmp_path / "source")
    for name in ("source/runs/one", "source", "source/red"):  # as --output can be, down to a class folder
        first = run(name, source=source, epochs=1)
        again = run(name, source=source, resume=True, epochs=2)
        assert (first.steps, again.steps) == (STEPS_PER_EPOCH, 2 * STEPS_PER_EPOCH)
    ignored = "red/conv1_filters.png, runs/one/conv1_filters.png"
    assert f"ignored in {source}: pictures of a training run: conv1_filters.png, {ignored}\n" in capsys.readouterr().out


def test_a_run_begins_with_what_it_has_found(run, tmp_path, write_pictures, capsys):
    source = write_pictures(tmp_path / "source")
    (source / "@eaDir").mkdir()
    run(source=source, epochs=1)
    lines = capsys.readouterr().out.splitlines()
    held = "20 images of 3 classes to train on, 7 held out to validate on"
    assert lines[0] == f"{source}: {held}; on cpu; output in {tmp_path / 'run'}"
    assert lines[1] == f"ignored in {source}: left by a system or program: @eaDir"
    other = write_pictures(tmp_path / "other", ("green",), each=2)
    (other / "red").mkdir()
    run("two", source=source, validation=str(other), epochs=1, devices=("cpu", "cpu"))
    lines = capsys.readouterr().out.splitlines()
    both = f"27 images of 3 classes to train on, 2 of {other} to validate on"
    assert lines[0] == f"{source}: {both}; on cpu, cpu; output in {tmp_path / 'two'}"
    assert lines[2] == f"ignored in {other}: folders without images: red"


def test_a_run_goes_on_for_more_epochs_and_at_another_rate(run, whole):
    result = run("whole", resume=True, epochs=4, learning_rate=0.001, schedule="constant")
    assert (result.epochs, result.steps) == (4, STEPS + STEPS_PER_EPOCH)
    steps = [record for record in read(result.checkpoint.parent) if "learning_rate" in record]
    assert {record["learning_rate"] for record in steps if record["epoch"] == 4} == {0.001}
    recipe = load_checkpoint(result.checkpoint).metadata["train"]["recipe"]
    assert (recipe["epochs"], recipe["schedule"]) == (4, "constant")


@pytest.mark.parametrize("epochs", [{}, {"epochs": 2}])
def test_resuming_a_finished_run_changes_nothing_and_says_so(run, whole, finished_runs, capsys, epochs, monkeypatch):
    monkeypatch.setattr(page, "write_run_page", WRITE_RUN_PAGE)
    result = run("whole", resume=True, **epochs)
    assert (result.epochs, result.steps) == (3, STEPS)
    before = finished_runs["plateau"].checkpoint.parent
    for name in ("checkpoint.safetensors", "metrics.jsonl", "index.html"):
        assert (whole.checkpoint.parent / name).read_bytes() == (before / name).read_bytes()
    said = f"nothing to train: the run has done 3 epochs, --epochs is {epochs.get('epochs', 3)}; give --epochs 4 or"
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"resume": True, "batch_size": 8}, ValueError, "batch_size is 4 in the run to resume and was given as 8"),
        ({"resume": True, "seed": 3}, ValueError, "seed is 0"),
        ({"resume": True, "config": {"dropout": 0.1}}, ValueError, "config is"),
        ({"seed": 5}, FileExistsError, r"already holds a run: give --resume .*--overwrite"),
    ],
)
def test_a_run_that_is_not_the_folders_is_refused(run, whole, changes, error, message):
    before = whole.checkpoint.read_bytes()
    with pytest.raises(error, match=message):
        run("whole", **changes)
    assert whole.checkpoint.read_bytes() == before


def test_a_folder_that_holds_a_run_is_overwritten_on_request(run, whole):
    run("whole", seed=5, epochs=1, overwrite=True)
    assert load_checkpoint(whole.checkpoint).metadata["config"]["seed"] == 5
    assert read(whole.checkpoint.parent)[-1]["epoch"] == 1


def test_resuming_without_a_run_to_resume_is_refused(run, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no .*checkpoint\.safetensors to resume from"):
        run(resume=True)
    assert not (tmp_path / "run").exists()
    (tmp_path / "run").mkdir()
    for metadata, message in (
        ({}, "no training run to resume"),
        ({"train": {"recipe": {"warp": 9}, "state": {}}}, r"cannot resume \(.*'warp'"),
    ):
        save_checkpoint(tmp_path / "run" / "checkpoint.safetensors", {}, {"config": {}, **metadata})
        with pytest.raises(ValueError, match=message):
            run(resume=True)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"validation": "absent"}, FileNotFoundError, "absent does not exist"),
        ({"image_size": 50}, ValueError, "image_size must be at least"),
        ({"config": {"num_classes": 5}}, ValueError, "num_classes comes from the source"),
        ({"config": {"seed": 5}}, ValueError, "seed has an option of its own"),
        ({"config": {"fc_width": 5}}, ValueError, "unknown configuration field 'fc_width'"),
        ({"validation_split": 0.0}, ValueError, "plateau schedule watches the validation error"),
        ({"schedule": "step"}, ValueError, "'step' and milestones go together"),
        ({"workers": 0}, ValueError, "workers must be at least 1"),
        ({"max_broken": 1.5}, ValueError, r"max_broken must lie in 0\.\.1, got 1\.5"),
        ({"checkpoint_steps": 0}, ValueError, "checkpoint_steps must be at least 1"),
        ({"keep": 0}, ValueError, "keep must be at least 1"),
        ({"checkpoint_minutes": math.nan}, ValueError, "checkpoint_minutes must be above 0"),
        ({"resume": True, "overwrite": True}, ValueError, "exclude each other"),
    ],
)
def test_what_keeps_a_run_from_starting_is_said_before_anything_is_written(run, tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        run(**changes)
    assert os.listdir(tmp_path) == []


@contextmanager
def results_not_awaited(late):
    """Where `late`, let the trainer take the CPU for a device whose steps it need not wait for."""
    with pytest.MonkeyPatch.context() as patch:
        if late:
            patch.setattr(Model, "devices", property(lambda model: ("cuda:0",), lambda *_: None), raising=False)
        yield


def made_result(losses, correct, look=lambda: None):
    """A step's result whose values are these; `look` is called when somebody looks at them."""
    values = [np.asarray(losses, np.float64).view(np.uint8), np.asarray(correct, np.uint8)]
    return StepResult(lambda: look() or np.concatenate(values), np.dtype(np.float64))


def test_a_loss_is_looked_at_when_the_next_step_is_queued_and_nothing_else_changes(run, whole):
    order = []

    def look_later(model, result):
        losses, correct, number = np.full(4, result.loss), np.arange(4) < result.correct, model.step
        order.append(f"step {number}")
        return made_result(losses, correct, lambda: order.append(f"look {number}"))

    with each_step(after=look_later), results_not_awaited(True):
        result = run("late", checkpoint_steps=3)
    first = "step 1, step 2, look 1, step 3, look 2, look 3, step 4, step 5, look 4, look 5, step 6, look 6, step 7"
    assert ", ".join(order).startswith(first), "all are looked at before a checkpoint, and at an epoch's end"
    assert_same_run(result, whole)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    ("losses", "checkpoint_steps", "said"), [({8: math.nan}, 8, "nan"), ({7: 1098.0, 8: 1099.0}, None, "1099")]
)
def test_a_loss_that_has_exploded_stops_the_run_at_once_and_the_advice_works(
    run, tmp_path, late, losses, checkpoint_steps, said
):
    """Of finite ones the rule is that of checkpoints, 1000 ln 3."""

    def explode(model, result):
        loss = losses.get(model.step)
        return result if loss is None else made_result(np.full(4, loss), np.zeros(4))

    message = rf"exploded to {said} at step 8 \(epoch 2\); the last good .*; likely causes: a learning rate too high"
    diverged = pytest.raises(TrainingDiverged, match=message)
    with each_step(after=explode), results_not_awaited(late), diverged as caught:
        run(epochs=2, checkpoint_steps=checkpoint_steps)
    assert stored_step(tmp_path / "run") == STEPS_PER_EPOCH
    assert [record["step"] for record in read(tmp_path / "run")] == [1, 2, 3, 4, 5, 5, 6, 7, 8]
    follow_advice(caught.value, "0.001")


def follow_advice(diverged, rate):
    """Train as the sentence says, at the lower rate that it names."""
    words = shlex.split(str(diverged).partition("at a lower rate: ")[2])
    assert words[words.index("--learning-rate") + 1] == rate
    assert cli.main(words[1:]) == 0


@pytest.mark.parametrize("checkpoint_steps", [1, None])
def test_exploded_weights_are_no_good_checkpoint_and_the_advice_works(
    run, whole, tmp_path, checkpoint_steps, monkeypatch
):
    before = whole.checkpoint.read_bytes()
    given = {"epochs": 4, "learning_rate": 1e9, "schedule": "constant", "checkpoint_steps": checkpoint_steps}
    message = r"step 1[67] \(epoch 4\); the last good checkpoint is .*; likely"
    with pytest.raises(TrainingDiverged, match=message) as caught:
        run("whole", resume=True, **given)
    assert whole.checkpoint.read_bytes() == before
    monkeypatch.chdir("/")
    follow_advice(caught.value, "0.01")
    assert load_checkpoint(whole.checkpoint).metadata["train"]["state"]["epoch"] == 4
    with pytest.raises(TrainingDiverged, match=r"no checkpoint yet; .*--learning-rate 0\.01 "):
        run(learning_rate=1e30)
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()


@pytest.mark.parametrize(("validation_split", "last_good"), [(0.25, 5), (0.0, 7)])
def test_bad_weights_are_noticed_before_they_are_saved_even_while_the_loss_is_finite(
    run, tmp_path, validation_split, last_good
):
    def spoil(model, result):
        if model.step == 10:
            weights = {name: np.array(value) for name, value in model.parameters.items()}
            weights["fc7.weight"][3, 1] = np.inf
            model.set_parameters(weights)
        return result

    bad = pytest.raises(TrainingDiverged, match=r"fc7\.weight holds NaN or infinity after step 10 \(epoch 2\)")
    with each_step(after=spoil), bad:
        run(validation_split=validation_split, schedule="constant", checkpoint_steps=5)
    assert stored_step(tmp_path / "run") == last_good


def test_a_run_goes_on_on_another_backend(run, tmp_path, write_pictures):
    """On the kernels, then on one device more, then on NumPy again: as if it had stayed there, but for roundings."""
    source = write_pictures(tmp_path / "source", each=4)
    expected = run("cpu", source=source, epochs=4, schedule="constant").loss
    options = {"schedule": "constant"}
    for epochs, devices in enumerate(("cpu", "simt", ("simt", "simt"), "cpu"), start=1):
        result = run(source=source, epochs=epochs, devices=devices, **options)
        assert (result.epochs, result.steps) == (epochs, 3 * epochs)
        options = {"resume": True}
    assert result.loss == pytest.approx(expected, rel=1e-3)


def test_a_source_of_its_own_validates_or_none(run, tmp_path, write_pictures):
    other = write_pictures(tmp_path / "other", ("green", "blue"), each=2)
    result = run(validation=str(other), epochs=1)
    assert result.val_accuracy in (0, 0.25, 0.5, 0.75, 1)
    assert result.steps == 7  # all 27 pictures are for training
    assert run(resume=True, epochs=2).steps == 14
    strange = write_pictures(tmp_path / "strange", ("blue", "violet"), each=2)
    with pytest.raises(ValueError, match="'violet'"):
        run("new", validation=str(strange))
    assert not (tmp_path / "new").exists()
    without = run("without", validation_split=0.0, schedule="constant", epochs=1)
    record = read(tmp_path / "without")[-1]
    assert (record["val_loss"], record["val_accuracy"], without.val_accuracy) == (None, None, None)


def test_the_published_initial_weights_keep_the_scale_of_inputs_and_get_a_hint_where_they_learn_nothing(run, capsys):
    result = run(init="paper", learning_rate=1e-9)
    assert Model.load(result.checkpoint).config.std == (1.0, 1.0, 1.0)
    hint = "hint: the loss stays at ln(classes) = 1.099, the network guesses: start anew with --init he"
    assert capsys.readouterr().out.count(hint) == 1


def test_a_second_ctrl_c_does_not_wait(run):
    # A test run in the background starts with SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with before_step(3, lambda: (interrupt(), interrupt())), pytest.raises(KeyboardInterrupt):
            run()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
