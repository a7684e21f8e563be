"""Resuming on images that are not the run's, and on checkpoints whose metadata is damaged."""

import copy
import os
import shutil
import zlib
from collections.abc import Callable

import pytest
from PIL import Image

from alexnet_cuda import Model, cli
from alexnet_cuda.checkpoint import load_checkpoint, save_checkpoint
from alexnet_cuda.data import ImageSource
from alexnet_cuda.train import TrainOptions, train
from alexnet_cuda.train.state import difference, fingerprint

pytestmark = pytest.mark.usefixtures("no_curves")

MakeOptions = Callable[..., TrainOptions]


def bmp(path, value):
    """Write a picture whose file has the same size whatever it shows."""
    Image.new("RGB", (20, 24), (value, 0, 255 - value)).save(path)


@pytest.fixture
def source(tmp_path):
    for label, name in enumerate(("ant", "bee")):
        (tmp_path / "source" / name).mkdir(parents=True)
        for number in range(6):
            bmp(tmp_path / "source" / name / f"{number}.bmp", 60 * label + 10 * number)
    return tmp_path / "source"


def test_other_photographs_under_the_same_names_are_noticed_and_new_times_are_not(make_options, source):
    options = make_options(source=source, epochs=1, devices="cpu")
    train(options)
    before = (options.output / "checkpoint.safetensors").read_bytes()
    for file in source.rglob("*.bmp"):
        os.utime(file, (0, 0))
    train(make_options(source=source, resume=True))
    assert (options.output / "checkpoint.safetensors").read_bytes() == before
    bmp(source / "ant" / "3.bmp", 200)
    with pytest.raises(ValueError, match=r"are not those .*same names and sizes as then, but other contents\)"):
        train(make_options(source=source, resume=True, epochs=2))
    (source / "ant" / "3.bmp").write_bytes((source / "ant" / "3.bmp").read_bytes() + b" ")
    with pytest.raises(ValueError, match=r"but files of other sizes\): give those, .* --accept-changes"):
        train(make_options(source=source, resume=True, epochs=2))
    assert (options.output / "checkpoint.safetensors").read_bytes() == before
    result = train(make_options(source=source, resume=True, epochs=2, accept_changes=True))
    assert result.epochs == 2
    train(make_options(source=source, resume=True))  # these are the run's now


def test_accepted_images_begin_the_epoch_under_way_anew_but_other_classes_are_refused(
    make_options, source, monkeypatch
):
    options = make_options(source=source, epochs=2, checkpoint_steps=1, batch_size=1)
    original = Model.train_step

    def stop(self, *arguments, **keywords):
        if self.step == 8:
            raise OSError("gone")
        return original(self, *arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(Model, "train_step", stop)
        with pytest.raises(OSError, match="gone"):
            train(options)
    for number in (3, 4, 5):
        (source / "ant" / f"{number}.bmp").unlink()
        (source / "bee" / f"{number}.bmp").unlink()
    result = train(make_options(source=source, resume=True, accept_changes=True))
    assert (result.epochs, result.steps) == (2, 8 + 2 * 4)
    (source / "cat").mkdir()
    bmp(source / "cat" / "1.bmp", 3)
    with pytest.raises(ValueError, match="has other classes than the run"):
        train(make_options(source=source, resume=True, accept_changes=True))


class Files(ImageSource):
    """Made-up files of two bytes."""

    def __init__(self, files):
        self.files = files
        super().__init__("files", ["a"], [0] * len(files), [f"a/{i}" for i in range(len(files))])

    def load(self, index, at_least):
        raise NotImplementedError

    def contents(self, index):
        return self.files[index]


def test_one_changed_file_of_many_is_found_by_the_checksum_alone():
    files = [b"ab"] * 1000
    other = [*files[:501], b"ba", *files[502:]]
    assert difference(fingerprint(Files(files)), fingerprint(Files(other))) is None
    whole = fingerprint(Files(files), checksum=True)
    assert difference(whole, fingerprint(Files(files), checksum=True)) is None
    assert "other contents" in str(difference(whole, fingerprint(Files(other), checksum=True)))
    assert "other contents" in str(difference(whole, fingerprint(Files([b"ba"] * 1000))))
    assert "other sizes" in str(difference(whole, fingerprint(Files([b"abc", *files[1:]]))))
    assert difference(whole, fingerprint(Files(files[:1]))) == "1,000 images then, 1 image now"
    # As releases before this one left it.
    assert difference({key: whole[key] for key in ("images", "digest")}, fingerprint(Files(other))) is None


def test_a_checksum_is_kept_and_compared_when_asked_for(make_options, source):
    train(make_options("without", source=source, epochs=1))
    with pytest.raises(ValueError, match=r"was begun without --checksum: there is nothing to compare"):
        train(make_options("without", source=source, resume=True, checksum=True))
    train(make_options("with", source=source, epochs=1, checksum=True))
    result = train(make_options("with", source=source, resume=True, epochs=2))
    train(make_options("with", source=source, resume=True, epochs=3, checksum=True))
    assert "contents" in load_checkpoint(result.checkpoint).metadata["train"]["sources"]["training"]


def leaves(value, path=()):
    """Give the paths of all values of some JSON, inner ones too; of a list only the first entry's."""
    if path:
        yield path
    if isinstance(value, dict):
        for key in value:
            yield from leaves(value[key], (*path, key))
    elif isinstance(value, list) and value:
        yield from leaves(value[0], (*path, 0))


MUTANTS = (None, -1, 10**400, 1e308, True, "x", [], {}, [[]], {"a": 1}, 0, 2**63)


def test_damaged_metadata_is_an_error_and_no_fault(finished_runs, pictures, tmp_path, capsys):
    """Whatever value is replaced by whatever: the commands answer, with a sentence if they cannot go on."""
    stored = load_checkpoint(finished_runs["plateau"].checkpoint)
    tensors = dict(stored.tensors)
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "checkpoint.safetensors"
    refused = 0
    for place in leaves(stored.metadata):
        # Two of the mutants for each place, others for each.
        for number in (zlib.crc32(repr(place).encode()), zlib.crc32(repr(place).encode()) // 7 + 3):
            metadata = copy.deepcopy(stored.metadata)
            value = metadata
            for key in place[:-1]:
                value = value[key]
            value[place[-1]] = MUTANTS[number % len(MUTANTS)]
            save_checkpoint(path, tensors, metadata)
            train_code = cli.main(
                ["train", str(pictures), "--output", str(path.parent), "--resume", "--devices", "cpu"]
            )
            code = cli.main(["predict", str(path), str(pictures / "red" / "0.png")])
            errors = capsys.readouterr().err
            assert train_code in (0, 2), (place, value)
            assert code in (0, 1, 2), (place, value)
            refused += (train_code or code) > 0
            shutil.rmtree(path.parent)
            path.parent.mkdir()
            assert "Traceback" not in errors
    assert refused > 50
