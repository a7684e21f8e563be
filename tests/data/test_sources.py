"""Folders, the digits, views and the validation split."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_cuda.data import DecodeError, ImageSource, align, open_source, split


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
    assert len(source) == 12 + 4 + 2
    with pytest.raises(DecodeError, match=r"gone\.png cannot be decoded: No such file"):
        source.read(source.names.index("ant/gone.png"))
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


def test_digits(monkeypatch):
    source = open_source("digits")
    assert len(source) == 1797
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
