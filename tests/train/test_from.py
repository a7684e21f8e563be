"""Runs that start from a checkpoint's weights: other classes, frozen layers, a rate of the new layer's own."""

import os
import re

import numpy as np
import pytest
from PIL import Image
from tests.failing import failing

from alexnet_cuda import Model
from alexnet_cuda.checkpoint import load_checkpoint, save_checkpoint
from alexnet_cuda.cli import main
from alexnet_cuda.network.initialize import initial_parameters
from alexnet_cuda.train import TrainOptions
from alexnet_cuda.train.setup import prepare

pytestmark = pytest.mark.usefixtures("no_curves")

TRAINING = {"epochs": 2, "batch_size": 4, "schedule": "cosine", "validation_split": 0.25}
FROZEN = ("conv1", "conv3", "fc6")


@pytest.fixture(scope="module")
def base(finished_runs):
    """The checkpoint of a run on the classes blue, green and red."""
    return finished_runs["plateau"].checkpoint


@pytest.fixture(scope="module")
def others(write_pictures, tmp_path_factory):
    """Give pictures of four other classes, one of them in the modes that files come in: grey, palette, CMYK, RGBA."""
    folder = write_pictures(tmp_path_factory.mktemp("others"), ("ant", "bee", "cat"), each=6)
    (folder / "dog").mkdir()
    for number, mode in enumerate(("L", "P", "CMYK", "RGBA", "LA", "1")):
        picture = Image.open(folder / "cat" / f"{number}.png").convert(mode)
        picture.save(folder / "dog" / f"{number}.{'jpg' if mode == 'CMYK' else 'png'}")
    return folder


def options(source, folder, base, **given):
    names = TrainOptions.__dataclass_fields__
    of_run = {name: given.pop(name) for name in list(given) if name in names}
    return TrainOptions(str(source), folder, {**TRAINING, **given}, **{"devices": "cpu", "from_": str(base), **of_run})


def test_other_classes_get_a_new_last_layer_and_all_else_is_the_checkpoints(others, base, tmp_path):
    run = prepare(options(others, tmp_path / "run", base, seed=5, config={"dropout": 0.25, "mirror": False}))
    before = load_checkpoint(base)
    config, _, _ = before.network()
    model = run.model
    assert (model.class_names, model.step, run.training.classes) == (("ant", "bee", "cat", "dog"), 0, model.class_names)
    changed = {"num_classes": 4, "seed": 5, "dropout": 0.25, "mirror": False}
    assert model.config.to_dict() == {**config.to_dict(), **changed}
    fresh = initial_parameters(model.config, model.plan.steps[-1])
    for name, value in model.parameters.items():
        expected = fresh[name == "fc8.bias"] if name.startswith("fc8") else before.tensors[name]
        np.testing.assert_array_equal(value, expected, err_msg=name)
    assert not model.velocity
    assert run.identity["from"] == {**run.identity["from"], "name": base.name, "new": ["fc8"]}
    assert not (tmp_path / "run").exists()
    loaded = Model.load(base, devices=("cpu", "cpu"), classes=4, seed=5, dropout=0.25, mirror=False)
    assert (loaded.config, loaded.class_names, loaded.step) == (model.config, None, 0)
    for name, value in loaded.parameters.items():
        np.testing.assert_array_equal(value, model.parameters[name])


def test_the_same_classes_keep_the_last_layer(pictures, base, tmp_path):
    model = prepare(options(pictures, tmp_path / "run", base)).model
    for kept in (model, Model.load(base, classes=np.int64(3)), Model.load(base, classes=("blue", "green", "red"))):
        np.testing.assert_array_equal(kept.parameters["fc8.weight"], load_checkpoint(base).tensors["fc8.weight"])
        assert (kept.class_names, kept.step) == (("blue", "green", "red"), 0)
    other = Model.load(base, classes=("blue", "green", "rot"))
    assert other.class_names == ("blue", "green", "rot")
    assert not np.array_equal(other.parameters["fc8.weight"], model.parameters["fc8.weight"])
    for given in ("red", [1, 2, 3], 3.0):
        said = f"classes must be a number or a sequence of names, got {given!r}"
        with pytest.raises(TypeError, match=re.escape(said)):
            Model.load(base, classes=given)
    with pytest.raises(ValueError, match="unknown configuration field 'lnr'"):
        Model.load(base, classes=4, lnr=1)


@pytest.fixture
def command(others, base, tmp_path, capfd):
    """Train by the command on the other classes: exit code and what it prints."""

    def run(name, *words):
        text = ["train", others, "--output", tmp_path / name, "--devices", "cpu,cpu", *words]
        code = main([str(word) for word in text])
        return code, capfd.readouterr().out

    given = "--epochs 2 --batch-size 4 --schedule cosine --validation-split 0.25 --new-rate 10"
    return run, ["--from", base, "--freeze", ",".join(FROZEN), *given.split()]


def test_a_run_that_is_killed_goes_on_to_the_bits_of_one_that_is_not_and_frozen_layers_keep_theirs(
    command, base, tmp_path
):
    run, words = command
    rates, step = [], Model.train_step
    note = lambda model, *given, **rest: rates.append(rest["layer_rates"]) or step(model, *given, **rest)  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Model, "train_step", note)
        code, said = run("whole", *words)
    assert code == 0
    assert "could not be decoded" not in said
    assert f"from the weights of {base.name}; new: fc8; frozen: conv1, conv3, fc6\n" in said
    whole, before = (load_checkpoint(path) for path in (tmp_path / "whole" / base.name, base))
    for name, value in whole.tensors.items():
        layer = name.removeprefix("velocity.").partition(".")[0]
        if name.startswith("velocity"):
            assert bool(value.any()) == (layer not in FROZEN), name
        elif layer != "fc8":
            assert np.array_equal(value, before.tensors[name]) == (layer in FROZEN), name
    steps = whole.metadata["step"]
    assert rates == [{"fc8": 10}] * steps
    killed = failing(Model, "train_step", KeyboardInterrupt(), lambda model, *_, **__: model.step == steps - 2)
    with killed:
        assert run("killed", *words, "--checkpoint-steps", "2")[0] == 130
    assert 0 < load_checkpoint(tmp_path / "killed" / base.name).metadata["step"] < steps
    assert run("killed", "--resume")[0] == 0
    assert (tmp_path / "killed" / base.name).read_bytes() == (tmp_path / "whole" / base.name).read_bytes()


BAD = [
    ({"freeze": ("conv1", "conv9")}, r"'conv9' to learn or freeze; there are conv1, .*, fc8"),
    ({"freeze": ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")}, "every layer is frozen"),
    ({"freeze": ("fc8",)}, "fc8 is new, for the classes of .*, and cannot be frozen"),
    ({"new_rate": 0}, "new_rate must be above 0"),
    ({"image_size": 99}, "has the image_size 67, and 99 was given"),
    ({"config": {"fc_widths": [16, 32]}}, r"fc6\.weight must have shape \[16, \d+\], got \[32, "),
    ({"config": {"num_classes": 4}}, "num_classes comes from the source"),
    *(({"config": {name: 4}}, f"unknown configuration field '{name}'") for name in ("classes", "cuda_graph", "path")),
    ({"preset": "caffe"}, "has the preset paper, and caffe was given"),
    ({"precision": "bfloat16"}, "bfloat16"),
    ({"from_": "absent"}, "absent does not exist"),
    ({"from_": None, "freeze": ("conv1",)}, "give --from CHECKPOINT"),
    ({"from_": None, "new_rate": 2.0}, "give --from CHECKPOINT"),
    ({"resume": True}, "resume and from exclude each other"),
]


@pytest.mark.parametrize(("given", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_input_is_refused_before_anything_is_written(others, base, tmp_path, given, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        prepare(options(others, tmp_path / "run", base, **given))
    assert not os.listdir(tmp_path)


def test_checkpoints_that_a_run_cannot_start_from_are_named(pictures, base, tmp_path):
    with pytest.raises(ValueError, match=r"no layer is new: .* has the classes of"):
        prepare(options(pictures, tmp_path / "run", base, new_rate=2.0))
    for own in sorted(base.parent.glob("*.safetensors")):
        with pytest.raises(ValueError, match=f"{own.name} would be removed by the run that starts from it"):
            prepare(options(pictures, base.parent, own, overwrite=True))
    checkpoint = load_checkpoint(base)
    tensors = {name: np.array(value) for name, value in checkpoint.tensors.items()}
    tensors["fc7.bias"][3] = np.nan
    save_checkpoint(tmp_path / "nan", tensors, checkpoint.metadata)
    with pytest.raises(ValueError, match=r"nan is of no use to start from: fc7\.bias holds NaN"):
        prepare(options(pictures, tmp_path / "run", tmp_path / "nan"))
    assert os.listdir(tmp_path) == ["nan"]
