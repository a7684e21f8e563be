"""Folders, the digits, views and the validation split."""

from __future__ import annotations

import builtins
import errno
import io
import os
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_cuda.data import ImageSource, Loader, ReadError, align, estimate_colour, open_source, split


class Labelled(ImageSource):
    """A source of labels without images."""

    def __init__(self, labels, classes):
        super().__init__("labelled", classes, labels, [f"{i}.png" for i in range(len(labels))])

    def load(self, index, at_least):
        return Image.new("RGB", (2, 2), (index, 0, 0))


def test_folder(tmp_path: Path, make_tree):
    source = open_source(make_tree(tmp_path / "set"))
    assert source.classes == ("ant", "mole", "zebra")
    assert len(source) == 12
    assert source.labels.dtype == np.int64
    np.testing.assert_array_equal(source.labels, np.repeat([0, 1, 2], 4))
    assert list(source.names)[:5] == ["ant/0.png", "ant/1.png", "ant/2.png", "ant/3.png", "mole/0.png"]
    assert source.name == str(tmp_path / "set")
    image = source.read(3)
    assert image.shape == (5, 9, 3)
    assert tuple(image[0, 0]) == (80, 150, 200)
    assert source.read_square(3, 7).shape == (7, 7, 3)
    with pytest.raises(ValueError, match="read-only"):
        source.labels[0] = 1


def test_one_folder_around_the_classes(tmp_path: Path, make_tree):
    make_tree(tmp_path / "outer" / "set")
    source = open_source(str(tmp_path / "outer"))
    assert source.classes == ("ant", "mole", "zebra")
    assert source.names[0] == "set/ant/0.png"
    assert source.read(0).shape == (5, 6, 3)


def test_links_in_a_folder_are_followed_and_circles_end(tmp_path: Path, make_tree):
    root = make_tree(tmp_path / "set")
    (root / "fly").symlink_to(root / "ant")
    (root / "ant" / "gone.png").symlink_to(root / "nothing")
    (root / "mole" / "loop").symlink_to(root / "mole" / "loop")
    source = open_source(root)
    assert source.classes == ("ant", "fly", "mole", "zebra")
    assert len(source) == 12 + 4
    assert "links to nothing: ant/gone.png, fly/gone.png, mole/loop" in source.ignored
    (root / "ant" / "circle").symlink_to(root)
    with pytest.raises(ValueError, match="different depths"):
        open_source(root)


def test_a_name_that_is_no_text(tmp_path: Path, make_tree):
    root = make_tree(tmp_path / "set")
    odd = os.fsencode(root / "ant") + b"/\xff.png"
    with open(odd, "wb") as stream:
        stream.write((root / "ant" / "0.png").read_bytes())
    source = open_source(root)
    assert source.read(source.names.index("ant/\\xff.png")).shape == (5, 6, 3)
    os.rename(os.fsencode(root / "ant"), os.fsencode(root) + b"/\xffant")
    with pytest.raises(ValueError, match="not UTF-8"):
        open_source(root)


def _write(root: Path, *names: str) -> Path:
    root.mkdir()
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(root / name)
    return root


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "holds no images"),
        (("a/.1.png",), "holds no images"),
        (("a/1.png", "a/2.png"), r"1 class \(a\), expected at least 2"),
        (("1.png", "2.png"), "in no class folder"),
        (("1.png", "a/2.png"), "different depths"),
        (("train/a/1.png", "val/b/2.png"), "2 folders of class folders"),
        (("x/y/a/1.png", "x/y/b/2.png"), "too many folders deep"),
    ],
)
def test_folders_that_are_no_source(names, message, tmp_path: Path):
    with pytest.raises(ValueError, match=message):
        open_source(_write(tmp_path / "s", *names))


def test_one_class_where_that_is_enough(tmp_path: Path):
    assert open_source(_write(tmp_path / "s", "a/1.png"), minimum_classes=1).classes == ("a",)


def test_what_does_not_exist(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="expected 'digits', a folder of class folders, or a tar archive"):
        open_source(tmp_path / "none")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="neither a folder"):
        open_source(tmp_path / "pipe")


NOISE = (
    "__MACOSX/ant/1.png", "ant/@eaDir/1.png", "#recycle/1.png", "$RECYCLE.BIN/x/1.png", "lost+found/1.png",
    ".Trash-1000/1.png", "System Volume Information/1.png", "ant/.1.png", "Thumbs.db", "mole/1.heic", "mole/2.heic",
    "mole/3.HEIC", "mole/4.heic", "pets/1.heic", "none/deeper/", "none/deepest/", "runs/x/curves.png",
    "runs/x/conv1_filters.png", "runs/x/metrics.jsonl", "zebra/curves.png",
)  # fmt: skip


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("around", ["", "set/"])
def test_what_is_no_image_of_the_source_is_left_out_and_named(packed, around, tmp_path: Path):
    root = _write(tmp_path / "s", *(f"{around}{name}/1.png" for name in ("ant", "mole", "zebra")))
    for name in NOISE:
        path = root / (around + name)
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_bytes((root / around / "ant" / "1.png").read_bytes())
    if packed:
        with tarfile.open(tmp_path / "s.tar", "w") as tar:
            tar.add(root, ".")
    source = open_source(tmp_path / "s.tar" if packed else root)
    assert source.classes == ("ant", "mole", "zebra")
    assert list(source.names) == [
        f"{around}{name}" for name in ("ant/1.png", "mole/1.png", "zebra/1.png", "zebra/curves.png")
    ]
    systems = [
        "#recycle",
        "$RECYCLE.BIN",
        "System Volume Information",
        "Thumbs.db",
        "__MACOSX",
        "ant/@eaDir",
        "lost+found",
    ]
    expected = {
        "folders without images": ["none", "pets"],
        "hidden": [".Trash-1000", "ant/.1.png"],
        "left by a system or program": systems,
        "no image by the ending": ["mole/1.heic", "mole/2.heic", "mole/3.HEIC", "mole/4.heic", "pets/1.heic"],
        "pictures of a training run": ["runs/x/conv1_filters.png", "runs/x/curves.png"],
    }
    assert source.ignored == tuple(
        f"{reason}: {', '.join(around + path for path in paths[:3])}"
        + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
        for reason, paths in expected.items()
    )
    assert source.subset([0]).ignored == source.ignored


def test_of_empty_folders_in_each_other_the_outermost_is_named(tmp_path: Path):
    root = _write(tmp_path / "s", "set/a/1.png", "set/b/1.png")
    (root / "docs" / "old").mkdir(parents=True)
    assert open_source(root).ignored == ("folders without images: docs",)


def test_a_source_with_too_little_says_what_it_has_instead(tmp_path: Path):
    root = _write(tmp_path / "s", "a/1.png", "@eaDir/1.png")
    (root / "b").mkdir()
    (root / "b" / "1.heic").write_bytes(b"")
    with pytest.raises(ValueError, match=r"1 class.*folders without images: b; .*@eaDir; .*ending: b/1\.heic"):
        open_source(root)
    (root / "a" / "1.png").unlink()
    with pytest.raises(ValueError, match=r"no images.*@eaDir; .*ending: b/1\.heic"):
        open_source(root)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.EACCES, errno.ENOENT])
@pytest.mark.parametrize("when", ["open", "read"])
def test_a_file_that_the_system_cannot_read_is_not_called_broken(when, number, tmp_path: Path, monkeypatch):
    source = open_source(_write(tmp_path / "s", "a/1.png", "b/2.png"))
    original = builtins.open

    class Failing(io.BytesIO):
        def read(self, size=-1):
            raise OSError(number, os.strerror(number))

    def fail(file, *arguments, **keywords):
        if not str(file).endswith("2.png"):
            return original(file, *arguments, **keywords)
        if when == "read":
            return Failing()
        raise OSError(number, os.strerror(number), str(file))

    monkeypatch.setattr(builtins, "open", fail)
    with pytest.raises(OSError, match=rf"{os.strerror(number)}: '.*b/2\.png'") as caught:
        source.read(1)
    assert caught.value.errno == number
    with pytest.raises(OSError, match=r"b/2\.png"):
        source.contents(1)
    for shuffle in (True, False):
        with pytest.raises(ReadError, match=rf"cannot be read: {os.strerror(number)}: '.*b/2\.png'") as caught:
            list(Loader(source, 4, 1, shuffle=shuffle).epoch(0))
        assert caught.value.errno == number
    with pytest.raises(ReadError, match=r"b/2\.png"):
        estimate_colour(source, 4)


@pytest.mark.parametrize("name", ["", "mole"])
def test_a_source_that_the_system_cannot_look_into_is_not_called_absent(name, tmp_path: Path, make_tree, monkeypatch):
    root = make_tree(tmp_path / "set")
    (root / "link").symlink_to(root / "mole")
    stat = os.stat

    def fail(path, *arguments, **keywords):
        if str(path) == str(root / ("link" if name else "")):
            raise OSError(errno.ESTALE, "Stale file handle", str(path))
        return stat(path, *arguments, **keywords)

    monkeypatch.setattr(os, "stat", fail)
    with pytest.raises(OSError, match=r"set cannot be read: Stale file handle") as caught:
        open_source(str(root))
    assert caught.value.errno == errno.ESTALE


COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


def test_composed_and_decomposed_names_are_the_same(tmp_path: Path):
    sources = []
    for name in (COMPOSED, DECOMPOSED):
        # "cafez" lies between the two by code point.
        root = _write(tmp_path / name, f"{name}/{name}.png", f"{name}/1.png", "cafez/1.png", "tea/1.png")
        Image.new("RGB", (4, 4), (9, 9, 9)).save(root / name / f"{name}.png")
        sources.append(open_source(root))
    for source in sources:
        assert source.classes == ("cafez", COMPOSED, "tea")
        assert source.names == sources[0].names
        assert source.read(source.names.index(f"{COMPOSED}/{COMPOSED}.png"))[0, 0, 0] == 9
    for ours, theirs in ((COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)):
        labelled = align(Labelled([0, 1], ["a", ours]), [theirs, "a"])
        np.testing.assert_array_equal(labelled.labels, [1, 0])
    with pytest.raises(ValueError, match=f"two class folders that are both called {COMPOSED}, .*NFC and NFD"):
        open_source(_write(tmp_path / "both", f"{COMPOSED}/1.png", f"{DECOMPOSED}/1.png"))


def test_an_unreadable_folder_says_so(tmp_path: Path, make_tree, monkeypatch):
    root = make_tree(tmp_path / "set")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("mole"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # the tests may run as root, whom no mode bits stop
    with pytest.raises(PermissionError, match=r"set cannot be read: Permission denied \(.*mole\)"):
        open_source(root)


def test_digits(monkeypatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    source = open_source("digits")
    assert len(source) == 1797
    assert source.ignored == ()
    _write(tmp_path / "digits", "a/1.png", "b/1.png")
    assert len(open_source("./digits")) == 2
    both = open_source("digits")
    assert len(both) == 1797
    assert both.ignored == ("./digits",)
    with pytest.raises(
        ValueError, match=r"digits \(scikit-learn's, not \./digits\) has 10 of its 10 classes outside the 2 known"
    ):
        align(both, ("a", "b"))
    assert source.classes == tuple("0123456789")
    assert len(set(source.names)) == 1797
    np.testing.assert_array_equal(source.labels[:10], range(10))
    first = source.read(0)
    # The data set's first row is 0 0 5 13 9 1 0 0 of 16.
    np.testing.assert_array_equal(first[0, :, 0], [0, 0, 80, 207, 143, 16, 0, 0])
    assert np.ptp(first, axis=2).max() == 0
    assert source.read_square(0, 76).shape == (76, 76, 3)
    for name in [name for name in sys.modules if name.split(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"pip install 'alexnet-cuda\[demo\]'"):
        open_source("digits")


def test_subset_and_align():
    source = Labelled([0, 1, 2, 0, 1, 2], ["a", "b", "c"])
    part = source.subset([5, 0, 3]).subset(np.array([2, 0]))
    assert part.names == ("3.png", "5.png")
    np.testing.assert_array_equal(part.labels, [0, 2])
    assert part.read(1)[0, 0, 0] == 5
    assert part.classes == ("a", "b", "c")
    assert len(source.subset([])) == 0
    for wrong, error in (([6], IndexError), ([-1], IndexError), ([0.5], ValueError), ([[0]], ValueError)):
        with pytest.raises(error):
            source.subset(wrong)

    moved = align(part, ["c", "x", "b", "a"])
    assert moved.classes == ("c", "x", "b", "a")
    np.testing.assert_array_equal(moved.labels, [3, 0])
    assert moved.read(1)[0, 0, 0] == 5
    assert align(part, ("a", "b", "c")) is part
    with pytest.raises(ValueError, match=r"1 of its 3 classes outside the 2 known ones, the first is 'b'"):
        align(part, ["c", "a"])


@pytest.mark.parametrize(
    ("counts", "fraction"),
    [
        ((100, 50, 10), 0.1),
        ((5, 5, 5, 5), 0.1),
        ((1, 2, 3, 40), 0.5),
        ((7, 7, 7), 0.9),
        ((2, 2), 0.01),
        ((1, 1, 2), 0.99),
    ],
)
def test_split_is_stratified(counts, fraction):
    labels = np.repeat(np.arange(len(counts)), counts)
    labels = labels[np.random.default_rng(1).permutation(len(labels))]
    source = Labelled(labels, [str(i) for i in range(len(counts))])
    train, held = split(source, fraction, seed=3)
    assert sorted([*train.names, *held.names]) == sorted(source.names)
    assert train.classes == held.classes == source.classes
    trained = np.bincount(train.labels, minlength=len(counts))
    assert trained.min() >= 1
    total = sum(counts)
    assert len(held) == min(max(1, round(fraction * total)), total - len(counts))
    room = [count - 1 for count in counts]
    if all(fraction * count <= r for count, r in zip(counts, room, strict=True)):
        exact = np.array(counts) * fraction
        assert np.abs(np.array(counts) - trained - exact).max() < 1
    names = list(source.names)
    assert [names.index(name) for name in train.names] == sorted(names.index(name) for name in train.names)


def test_split_depends_on_the_seed_alone():
    source = Labelled([0, 1] * 50, ["a", "b"])
    assert split(source, 0.2, 7)[1].names == split(source, 0.2, 7)[1].names
    assert split(source, 0.2, 7)[1].names != split(source, 0.2, 8)[1].names
    image = split(source, 0.2, 7)[1]
    assert image.read(0)[0, 0, 0] == int(image.names[0][:-4])


def test_split_that_cannot_be():
    with pytest.raises(ValueError, match=r"give --validation SOURCE, or --validation-split 0"):
        split(Labelled([0, 1, 2], ["a", "b", "c"]), 0.1, 0)
    for fraction in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="fraction"):
            split(Labelled([0, 0, 1], ["a", "b"]), fraction, 0)
