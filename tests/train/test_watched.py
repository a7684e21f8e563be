"""What a run records beside its losses: units at zero, TensorBoard's copy, and all that is needed to repeat it."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from tests.model.tiny import tiny

from alexnet_cuda import Model, __version__
from alexnet_cuda.checkpoint import load_checkpoint
from alexnet_cuda.train import journal
from alexnet_cuda.train.metrics import read_metrics, zero_shares

pytestmark = pytest.mark.usefixtures("no_curves")
LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7")


def test_units_at_zero_are_those_after_each_relu():
    images = np.random.default_rng(0).integers(0, 256, (2, 76, 76, 3), dtype=np.uint8)
    model = tiny(devices="cpu")
    parameters = dict(model.parameters)
    parameters["conv5.bias"] = np.where(np.arange(8) < 2, -1e9, 1e9).astype(np.float32)
    model.set_parameters(parameters)
    found = zero_shares(model, images)
    assert tuple(found) == LAYERS
    assert found["conv5"] == 0.25
    for layer in ("conv1", "fc7"):
        assert found[layer] == pytest.approx(np.mean(model.features(images, layer) == 0), rel=1e-5)
    assert zero_shares(tiny(devices="cpu", activation="tanh"), images) == {}
    # Where the ReLU comes after the pool its layer is still conv1.
    after = tiny(devices="cpu", preset="original", image_size=67)
    assert tuple(zero_shares(after, images)) == LAYERS


def test_without_images_to_validate_on_the_shares_are_of_training_images_in_order(run, tmp_path):
    result = run(validation_split=0.0, schedule="constant", epochs=1)
    record = [r for r in read_metrics(tmp_path / "run" / "metrics.jsonl") if "layers" in r][-1]
    assert {layer for layer, kinds in record["layers"].items() if "zero" in kinds} == set(LAYERS)
    assert 0 < record["layers"]["fc7"]["zero"] < 1
    assert Model.load(result.checkpoint).step == record["step"]


def test_tensorboard_gets_every_number_of_the_metrics(run, monkeypatch, tmp_path):
    """By a stand-in for tensorboardX's SummaryWriter."""
    made = []

    class SummaryWriter:
        def __init__(self, logdir, purge_step):
            self.logdir, self.purge_step, self.scalars, self.closed = logdir, purge_step, [], False
            made.append(self)

        def add_scalar(self, tag, scalar_value, global_step):
            self.scalars.append((tag, scalar_value, global_step))
            self.flushed = False

        def flush(self):
            self.flushed = True

        def close(self):
            self.closed = True

    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"tensorboardX: pip install 'alexnet-cuda\[tensorboard\]'"):
        run(tensorboard=True)
    assert not (tmp_path / "run").exists()
    monkeypatch.setitem(sys.modules, "tensorboardX", SimpleNamespace(SummaryWriter=SummaryWriter, __spec__="there"))
    run(tensorboard=True, epochs=1)
    run(tensorboard=True, epochs=2, resume=True)
    assert [(board.logdir, board.purge_step, board.flushed and board.closed) for board in made] == [
        (str(tmp_path / "run" / "tensorboard"), 1, True),
        (str(tmp_path / "run" / "tensorboard"), 6, True),
    ]
    scalars = {(tag, step): value for board in made for tag, value, step in board.scalars}
    records = list(read_metrics(tmp_path / "run" / "metrics.jsonl"))
    assert scalars["step/loss", 3] == records[2]["loss"]
    epochs = [record for record in records if "layers" in record]
    assert scalars["epoch/val_loss", 10] == epochs[1]["val_loss"]
    assert scalars["zero/conv2", 5] == epochs[0]["layers"]["conv2"]["zero"]
    assert scalars["update/fc8", 10] == epochs[1]["layers"]["fc8"]["update"]
    assert len(scalars) == 10 * 4 + 2 * (4 + 8 + 8 + 7)


def test_a_run_notes_all_that_is_needed_to_repeat_it(run, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["alexnet-cuda", "train"])
    result = run(epochs=1, seed=3)
    run(epochs=2, resume=True)
    path = tmp_path / "run" / "run.json"
    first, second = json.loads(path.read_text())
    assert (first["step"], second["step"]) == (0, 5)
    stored = load_checkpoint(result.checkpoint).metadata
    assert second["recipe"] == stored["train"]["recipe"]
    assert (first["config"], first["seed"], first["arguments"]) == (stored["config"], 3, ["alexnet-cuda", "train"])
    assert first["command"].startswith("alexnet-cuda train ")
    assert second["command"].endswith("--resume --epochs 2")
    assert first["packages"]["numpy"] == np.__version__
    assert first["alexnet_cuda"] == __version__
    path.write_text("[")
    run(epochs=2, resume=True)
    assert [entry["step"] for entry in json.loads(path.read_text())] == [10]


def test_the_commit_is_the_packages_own_checkouts(tmp_path, monkeypatch):
    def git(*words):
        return subprocess.check_output(["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a", *words])

    package = tmp_path / "alexnet_cuda"
    (package / "train").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(journal, "__file__", str(package / "train" / "journal.py"))
    assert journal._commit() is None
    git("init", "-q")
    assert journal._commit() is None  # installed below a checkout of something else
    git("add", ".")
    git("commit", "-qm", "first")
    head = git("rev-parse", "HEAD").decode().strip()
    assert journal._commit() == head
    (package / "__init__.py").write_text("changed")
    assert journal._commit() == f"{head}-dirty"
