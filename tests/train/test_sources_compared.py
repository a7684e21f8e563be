"""Resuming on images that are not the run's, and on checkpoints whose metadata is damaged."""

import copy
import os
import shutil
import zlib

import pytest
from PIL import Image
from tests.failing import failing

from alexnet_cuda import Model, cli
from alexnet_cuda.checkpoint import load_checkpoint, save_checkpoint
from alexnet_cuda.data import ImageSource, open_source, prepare
from alexnet_cuda.data.fingerprint import difference, fingerprint

pytestmark = pytest.mark.usefixtures("no_curves")


def bmp(path, value):
    """Write a picture whose file has the same size whatever it shows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 24), (value, 0, 255 - value)).save(path)


@pytest.fixture
def source(tmp_path):
    for label, name in enumerate(("ant", "bee")):
        for number in range(6):
            bmp(tmp_path / "source" / name / f"{number}.bmp", 60 * label + 10 * number)
    return tmp_path / "source"


def test_other_photographs_under_the_same_names_are_noticed_and_new_times_are_not(run, source):
    checkpoint = run(source=source, epochs=1, devices="cpu").checkpoint
    before = checkpoint.read_bytes()
    for file in source.rglob("*.bmp"):
        os.utime(file, (0, 0))
    run(source=source, resume=True)
    assert checkpoint.read_bytes() == before
    changed = source / "ant" / "3.bmp"
    bmp(changed, 200)
    with pytest.raises(ValueError, match=r"are not those .*same names and sizes as then, but other contents\)"):
        run(source=source, resume=True, epochs=2)
    changed.write_bytes(changed.read_bytes() + b" ")
    with pytest.raises(ValueError, match=r"but files of other sizes\): give those, .* --accept-changes"):
        run(source=source, resume=True, epochs=2)
    assert checkpoint.read_bytes() == before
    assert run(source=source, resume=True, epochs=2, accept_changes=True).epochs == 2
    run(source=source, resume=True)  # these are the run's now


def test_accepted_images_begin_the_epoch_under_way_anew_but_other_classes_are_refused(run, source):
    crash = failing(Model, "train_step", OSError("gone"), lambda model, *_, **__: model.step == 8)
    with crash, pytest.raises(OSError, match="gone"):
        run(source=source, epochs=2, checkpoint_steps=1, batch_size=1)
    for number in (3, 4, 5):
        for name in ("ant", "bee"):
            (source / name / f"{number}.bmp").unlink()
    result = run(source=source, resume=True, accept_changes=True)
    assert (result.epochs, result.steps) == (2, 8 + 2 * 4)
    bmp(source / "cat" / "1.bmp", 3)
    with pytest.raises(ValueError, match="has other classes than the run"):
        run(source=source, resume=True, accept_changes=True)


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


def test_a_checksum_is_kept_and_compared_when_asked_for(run, source):
    run("without", source=source, epochs=1)
    with pytest.raises(ValueError, match=r"was begun without --checksum: there is nothing to compare"):
        run("without", source=source, resume=True, checksum=True)
    run("with", source=source, epochs=1, checksum=True)
    result = run("with", source=source, resume=True, epochs=2)
    run("with", source=source, resume=True, epochs=3, checksum=True)
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


def test_a_checksum_of_a_store_is_of_its_bytes(run, source, tmp_path):
    prepare(open_source(source), tmp_path / "store", side=76)
    run(source=tmp_path / "store", epochs=1)
    shard = tmp_path / "store" / "shard-00000.npy"
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    for given in ({"resume": True}, {"overwrite": True}):
        with pytest.raises(ValueError, match=r"shard-00000\.npy is not as it was written"):
            run(source=tmp_path / "store", checksum=True, **given)


def test_damaged_metadata_is_an_error_and_no_fault(finished_runs, pictures, tmp_path, capsys):
    """Whatever value is replaced by whatever: the commands answer, with a sentence if they cannot go on."""
    stored = load_checkpoint(finished_runs["plateau"].checkpoint)
    tensors = dict(stored.tensors)
    folder = tmp_path / "run"
    path = folder / "checkpoint.safetensors"
    train = ["train", str(pictures), "--output", str(folder), "--resume", "--devices", "cpu"]
    predict = ["predict", str(path), str(pictures / "red" / "0.png")]
    refused = 0
    for place in leaves(stored.metadata):
        # Two of the mutants for each place, others for each.
        for number in (zlib.crc32(repr(place).encode()), zlib.crc32(repr(place).encode()) // 7 + 3):
            metadata = copy.deepcopy(stored.metadata)
            value = metadata
            for key in place[:-1]:
                value = value[key]
            value[place[-1]] = MUTANTS[number % len(MUTANTS)]
            folder.mkdir()
            save_checkpoint(path, tensors, metadata)
            codes = cli.main(train), cli.main(predict)
            assert codes[0] in (0, 2), (place, value)
            assert codes[1] in (0, 1, 2), (place, value)
            assert "Traceback" not in capsys.readouterr().err
            refused += codes != (0, 0)
            shutil.rmtree(folder)
    assert refused > 50
