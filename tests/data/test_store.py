"""Stores: the same pixels as their source, the same bytes however they were made, and what is wrong with them."""

import errno
import json
import os
import shutil
import signal
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from tests.child import exit_code_of_child
from tests.failing import failing

from alexnet_cuda import cli
from alexnet_cuda.base.folder_lock import FolderInUse, locked_folder
from alexnet_cuda.config import RESIZE_MODES
from alexnet_cuda.data import (
    ImageSource,
    Loader,
    ReadError,
    StoreSource,
    TooManyBroken,
    align,
    estimate_colour,
    open_source,
    prepare,
    store_writer,
    verify,
)
from alexnet_cuda.data.fingerprint import difference, fingerprint

SIDE = 12


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """Shards of four images: three of them for `tree`."""
    monkeypatch.setattr(store_writer, "_BATCH", 2)
    monkeypatch.setattr(store_writer, "_LEAST", 4)


@pytest.fixture
def make(tmp_path):
    """Prepare a source, to `tmp_path` / "store" if no other name is given."""

    def make(source, name="store", **options):
        options = {"side": SIDE, "workers": 1, **options}
        return prepare(source if isinstance(source, ImageSource) else open_source(source), tmp_path / name, **options)

    return make


def held(folder):
    """The bytes of all files."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def killed_at(images):
    """A progress that kills the process when so many images are done."""
    return lambda done, total, here: os.kill(os.getpid(), signal.SIGKILL) if done >= images else None


def test_a_store_is_its_source_undecoded(tree, make, tmp_path, assert_same, monkeypatch):
    source = open_source(tree)
    store = make(tree)
    monkeypatch.setattr(StoreSource, "load", None)  # no way through Pillow
    assert (store.classes, store.names, store.side) == (source.classes, source.names, SIDE)
    for one, other in ((source, store), (source.subset([5, 0, 11]), store.subset([5, 0, 11]))):
        loaders = [Loader(images, SIDE, 5, seed=3, shuffle=True) for images in (one, align(other, source.classes))]
        assert len(loaders[1]._cache) == 0
        for mine, its in zip(*(loader.epoch(1) for loader in loaders), strict=True):
            for left, right in zip(mine, its, strict=True):
                np.testing.assert_array_equal(left, right)
    for mine, its in zip(estimate_colour(source, SIDE), estimate_colour(store, SIDE), strict=True):
        np.testing.assert_array_equal(mine, its)
    pixels = np.concatenate([np.load(tmp_path / f"store/shard-0000{i}.npy", mmap_mode="r") for i in range(3)])
    np.testing.assert_array_equal(pixels, [source.read_square(i, SIDE) for i in range(12)])
    index = json.loads((tmp_path / "store/store.json").read_text())
    np.testing.assert_allclose(index["colour"]["mean"], pixels.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(
        index["colour"]["covariance"], np.cov(pixels.reshape(-1, 3).T.astype(float), bias=True), rtol=1e-9
    )


@pytest.mark.parametrize("mode", RESIZE_MODES)
def test_squares_of_every_mode(tree, make, mode):
    source, store = open_source(tree), make(tree, mode=mode)
    mine, its = (next(Loader(s, SIDE, 12, shuffle=True, mode=mode).epoch(0)) for s in (source, store))
    np.testing.assert_array_equal(mine.images, its.images)
    for mine, its in zip(*(estimate_colour(s, SIDE, mode=mode) for s in (source, store)), strict=True):
        np.testing.assert_array_equal(mine, its)


def test_squares_of_another_side_come_from_those_of_the_store(tree, make, caplog):
    store = make(tree)
    square = Image.fromarray(store.read(4)).resize((7, 7), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(store.read_square(4, 7), np.asarray(square))
    np.testing.assert_array_equal(store.subset([4]).read_square(0, 7), np.asarray(square))
    np.testing.assert_array_equal(next(Loader(store, 7, 5, shuffle=False).epoch(0)).images[4], np.asarray(square))
    assert "squares of 7 pixels (square) come from its squares of 12 (square)" in caplog.text


@pytest.mark.parametrize("images", [2, 4, 7, 12])
def test_killed_and_begun_again_it_goes_on_and_ends_with_the_same_bytes(tree, make, tmp_path, images, monkeypatch):
    (tree / "mole" / "1.png").write_bytes((tree / "mole" / "1.png").read_bytes()[:-30])
    make(tree, "undisturbed")
    assert exit_code_of_child(lambda: make(tree, progress=killed_at(images))) == -signal.SIGKILL
    with pytest.raises(ValueError, match=r"not finished, it holds .* images so far: run its prepare command again"):
        open_source(tmp_path / "store")
    with pytest.raises(ValueError, match="not finished"):
        verify(tmp_path / "store")
    done, usage = [], shutil.disk_usage

    def room(folder):
        assert not list(folder.glob(".*.tmp"))  # what the killed process had under way counts as free
        return usage(folder)

    monkeypatch.setattr(shutil, "disk_usage", room)
    store = make(tree, workers=3, progress=lambda *numbers: done.append(numbers))
    assert done[0][0] - done[0][2] == (images - 1) // 4 * 4  # what is finished is not done again
    assert done[-1][:2] == (12, 12)
    assert held(tmp_path / "store") == held(tmp_path / "undisturbed")
    assert len(store) == 11
    assert store.ignored == ("could not be decoded: mole/1.png",)
    assert "truncated" in json.loads((tmp_path / "store/store.json").read_text())["shards"][1]["skipped"]["mole/1.png"]
    before = [path.stat().st_mtime_ns for path in (tmp_path / "store").iterdir()]
    make(tree)
    assert before == [path.stat().st_mtime_ns for path in (tmp_path / "store").iterdir()]


def test_broken_images_count_together_over_all_calls_and_a_rest_of_them_ends_a_store(tree, make, tmp_path):
    names = [f"zebra/{i}.png" for i in range(4)]
    for name in ("ant/0.png", *names):
        (tree / name).write_bytes(b"no image")
    assert exit_code_of_child(lambda: make(tree, progress=killed_at(6))) == -signal.SIGKILL
    with pytest.raises(TooManyBroken, match="5 of the 12 images"):
        make(tree, max_broken=0.4)
    shards = json.loads((tmp_path / "store/store.json").read_text())["shards"]
    assert [list(shard["skipped"]) for shard in shards] == [["ant/0.png"], []]
    store = make(tree, max_broken=0.5)
    assert (len(store), store.classes) == (7, ("ant", "mole", "zebra"))
    assert "and 2 more" in store.ignored[0]
    assert verify(tmp_path / "store") > 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("file", ["shard-00001.npy", "names.json"])
def test_a_disk_that_fails_leaves_what_is_finished(tree, make, tmp_path, number, file):
    error = OSError(number, os.strerror(number))
    renaming = failing(os, "replace", error, lambda _, target: target.name == file)
    with renaming, pytest.raises(OSError, match=error.strerror) as caught:
        make(tree)
    assert caught.value.filename == str(tmp_path / "store" / file)
    assert ("make room and run the same command again" in str(caught.value)) == (number == errno.ENOSPC)
    assert not list((tmp_path / "store").glob(".*"))
    shards = json.loads((tmp_path / "store/store.json").read_text())["shards"]
    assert len(shards) == (1 if file.startswith("shard") else 3)
    make(tree)
    make(tree, "undisturbed")
    assert held(tmp_path / "store") == held(tmp_path / "undisturbed")


def test_too_little_room_is_known_before_anything_is_written(tree, make, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(OSError, match=r"GB are needed for the images that are missing, 0\.0 GB are free") as caught:
        make(tree)
    assert caught.value.errno == errno.ENOSPC
    assert not (tmp_path / "store").exists()


def test_a_source_that_vanishes_ends_it_and_what_is_finished_stays(tree, make, tmp_path):
    def vanish(done, total, here):
        if done == 4:
            tree.rename(tmp_path / "gone")

    with pytest.raises(ReadError, match="cannot be read"):
        make(tree, progress=vanish)
    assert sorted(os.listdir(tmp_path / "store")) == ["shard-00000.npy", "store.json"]
    (tmp_path / "gone").rename(tree)
    assert len(make(tree)) == 12


def test_what_is_refused(tree, make, tmp_path):
    make(tree)
    before = held(tmp_path / "store")
    with pytest.raises(ValueError, match=r"store of another side \(12, not 13\)"):
        make(tree, side=13)
    with pytest.raises(ValueError, match=r"store of another mode \(square, not stretch\)"):
        make(tree, mode="stretch")
    with pytest.raises(ValueError, match=r"store of another source .*12 images then, 11 images now"):
        make(open_source(tree).subset(range(11)))
    Image.new("RGB", (5, 5)).save(tree / "ant" / "0.png")
    with pytest.raises(ValueError, match="store of another source"):
        make(tree)
    assert held(tmp_path / "store") == before
    with locked_folder(tmp_path / "store"), pytest.raises(FolderInUse, match=f"process {os.getpid()}"):
        make(tree)
    with pytest.raises(ValueError, match=r"set holds \.hidden and is no store"):
        make(tree, tree)
    with pytest.raises(NotADirectoryError):
        make(tree, tree / "ant" / "notes.txt")
    for option, value in (("side", 0), ("workers", 0), ("max_broken", 2), ("mode", "fit")):
        with pytest.raises(ValueError, match=f"{option} must"):
            make(tree, "none", **{option: value})
    assert not (tmp_path / "none").exists()


def test_damage_is_named_and_mended_by_deleting_what_is_wrong(tree, make, tmp_path):
    store, folder = make(tree), tmp_path / "store"
    good, shard = held(folder), folder / "shard-00001.npy"
    damaged = bytearray(good[shard.name])
    damaged[500] ^= 1
    shard.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"shard-00001\.npy is not as it was written: delete what is wrong"):
        verify(folder)
    os.truncate(shard, len(damaged) - 1)
    with pytest.raises(OSError, match=r"shard 1 has become shorter, mole/3\.png is beyond"):
        store.read(7)
    with pytest.raises(ValueError, match=r"damaged store.*shard-00001\.npy has shape .* expected"):
        open_source(folder)
    shard.unlink()
    with pytest.raises(ValueError, match=r"shard-00001\.npy is missing"):
        verify(folder)
    (folder / "names.json").unlink()
    make(tree)
    assert held(folder) == good
    index = json.loads(good["store.json"])
    without = [{other: index[other] for other in index if other != key} for key in set(index) - {"images"}]
    shards = index["shards"]
    of_shard = [{**index, "shards": [{**shards[0], key: None}, *shards[1:]]} for key in shards[0]]
    for damaged_index in (*without, *of_shard, {**index, "version": 2}, {**index, "shards": [1]}, []):
        (folder / "store.json").write_text(json.dumps(damaged_index))
        for use in (open_source, verify, lambda _: make(tree)):
            with pytest.raises(ValueError, match="damaged store, or of another release"):
                use(folder)


def test_a_run_knows_a_store_by_its_checksums(tree, make, tmp_path):
    before = fingerprint(make(tree).subset([0, 1]))
    shutil.rmtree(tmp_path / "store")
    Image.new("RGB", (9, 5), (1, 2, 3)).save(tree / "zebra" / "3.png")
    assert "other contents" in str(difference(before, fingerprint(make(tree).subset([0, 1]))))


def test_the_command(tree, tmp_path, capsys):
    store = str(tmp_path / "store")
    words = ["prepare", str(tree), store, "--side", "12"]
    assert cli.main([*words, "--verify"]) == 0
    out = capsys.readouterr().out
    assert "ignored in" in out
    assert "holds 12 images of 3 classes" in out
    assert "all checksums" in out
    (tmp_path / "store/shard-00001.npy").write_bytes(b"")
    assert cli.main(["prepare", store, "--verify"]) == 2
    assert "shard-00001.npy" in capsys.readouterr().err
    assert cli.main(["prepare", store]) == 2
    assert "expected SOURCE and STORE" in capsys.readouterr().err
