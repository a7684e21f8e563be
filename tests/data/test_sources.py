"""Folders, the digits, views and the validation split."""

import builtins
import errno
import io
import os
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image
from tests.failing import failing

from alexnet_cuda.data import ImageSource, Loader, ReadError, align, estimate_colour, open_source, split


class Labelled(ImageSource):
    """A source of labels without images."""

    def __init__(self, labels, classes):
        super().__init__("labelled", classes, labels, [f"{i}.png" for i in range(len(labels))])

    def load(self, index, at_least):
        return Image.new("RGB", (2, 2), (index, 0, 0))


def _write(root, *names):
    """Write a small PNG under each name; a name that ends in a slash is a folder."""
    root.mkdir(exist_ok=True)
    for name in names:
        path = root / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            Image.new("RGB", (4, 4)).save(path, "PNG")
    return root


@pytest.fixture(params=["folder", "archive"])
def written(request, tmp_path):
    """`_write` to a new folder, and give that or an archive of it."""

    def write(*names):
        root, archive = _write(tmp_path / "s", *names), tmp_path / "s.tar"
        if request.param == "folder":
            return root
        with tarfile.open(archive, "w") as tar:
            tar.add(root, ".")
        return archive

    return write


def test_folder_and_one_folder_around_it(tree, assert_same):
    source = open_source(tree)
    assert source.classes == ("ant", "mole", "zebra")
    assert len(source) == 12
    assert source.labels.dtype == np.int64
    np.testing.assert_array_equal(source.labels, np.repeat([0, 1, 2], 4))
    assert list(source.names)[:5] == ["ant/0.png", "ant/1.png", "ant/2.png", "ant/3.png", "mole/0.png"]
    assert source.name == str(tree)
    image = source.read(3)
    assert image.shape == (5, 9, 3)
    assert tuple(image[0, 0]) == (80, 150, 200)
    assert source.read_square(3, 7).shape == (7, 7, 3)
    with pytest.raises(ValueError, match="read-only"):
        source.labels[0] = 1
    outer = open_source(str(tree.parent))
    assert outer.names[0] == "set/ant/0.png"
    assert_same(outer, source)


def test_links_in_a_folder_are_followed_and_circles_end(tree):
    (tree / "fly").symlink_to(tree / "ant")
    (tree / "ant" / "gone.png").symlink_to(tree / "nothing")
    (tree / "mole" / "loop").symlink_to(tree / "mole" / "loop")
    source = open_source(tree)
    assert source.classes == ("ant", "fly", "mole", "zebra")
    assert len(source) == 12 + 4
    assert "links to nothing: ant/gone.png, fly/gone.png, mole/loop" in source.ignored
    (tree / "ant" / "circle").symlink_to(tree)
    with pytest.raises(ValueError, match="different depths"):
        open_source(tree)


def test_a_name_that_is_no_text(tree):
    folder = os.fsencode(tree / "ant")
    os.rename(folder + b"/0.png", folder + b"/\xff.png")
    source = open_source(tree)
    assert source.read(source.names.index("ant/\\xff.png")).shape == (5, 6, 3)
    os.rename(folder, os.fsencode(tree) + b"/\xffant")
    with pytest.raises(ValueError, match="not UTF-8"):
        open_source(tree)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "holds no images"),
        (("a/.1.png",), "holds no images"),
        (("a/notes.txt", "b/notes.txt"), "holds no images"),
        (("a/1.png", "a/2.png"), r"1 class \(a\), expected at least 2"),
        (("1.png",), "in no class folder"),
        (("1.png", "2.png"), "in no class folder"),
        (("1.png", "a/2.png"), "different depths"),
        (("train/a/1.png", "val/b/2.png"), "2 folders of class folders"),
        (("x/y/a/1.png", "x/y/b/2.png"), "too many folders deep"),
    ],
)
def test_what_is_no_source(names, message, written):
    with pytest.raises(ValueError, match=message):
        open_source(written(*names))


def test_one_class_where_that_is_enough(written):
    assert open_source(written("a/1.png"), minimum_classes=1).classes == ("a",)


def test_what_does_not_exist(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected 'digits', a folder of class folders, a tar archive"):
        open_source(tmp_path / "none")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="neither a folder"):
        open_source(tmp_path / "pipe")


IMAGES = ("ant/1.png", "mole/1.png", "zebra/1.png", "zebra/curves.png", "zebra/show-1.png")
NOISE = (
    "__MACOSX/ant/1.png", "ant/@eaDir/1.png", "#recycle/1.png", "$RECYCLE.BIN/x/1.png", "lost+found/1.png",
    ".Trash-1000/1.png", "System Volume Information/1.png", "ant/.1.png", "Thumbs.db", "mole/1.heic", "mole/2.heic",
    "mole/3.HEIC", "mole/4.heic", "pets/1.heic", "none/deeper/", "none/deepest/", "runs/x/curves.png",
    "runs/x/conv1_filters.png", "runs/x/metrics.jsonl", "runs/y/index.html", "runs/y/show-1-views.png",
)  # fmt: skip
IGNORED = """\
folders without images: {0}none, {0}pets
hidden: {0}.Trash-1000, {0}ant/.1.png
left by a system or program: {0}#recycle, {0}$RECYCLE.BIN, {0}System Volume Information and 4 more
no image by the ending: {0}mole/1.heic, {0}mole/2.heic, {0}mole/3.HEIC and 3 more
pictures of a training run: {0}runs/x/conv1_filters.png, {0}runs/x/curves.png, {0}runs/y/show-1-views.png"""


@pytest.mark.parametrize("around", ["", "set/"])
def test_what_is_no_image_of_the_source_is_left_out_and_named(around, written):
    source = open_source(written(*(around + name for name in IMAGES + NOISE)))
    assert source.classes == ("ant", "mole", "zebra")
    assert list(source.names) == [around + name for name in IMAGES]
    assert source.ignored == tuple(IGNORED.format(around).splitlines())
    assert source.subset([0]).ignored == source.ignored


def test_a_source_with_too_little_says_what_it_has_instead(tmp_path):
    root = _write(tmp_path / "s", "a/1.png", "@eaDir/1.png", "b/1.heic", "docs/old/")  # of the two the outer is named
    with pytest.raises(ValueError, match=r"1 class.*folders without images: b, docs; .*@eaDir; .*ending: b/1\.heic"):
        open_source(root)
    (root / "a" / "1.png").unlink()
    with pytest.raises(ValueError, match=r"no images.*@eaDir; .*ending: b/1\.heic"):
        open_source(root)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.EACCES, errno.ENOENT])
@pytest.mark.parametrize("when", ["open", "read"])
def test_a_file_that_the_system_cannot_read_is_not_called_broken(when, number, tmp_path, monkeypatch):
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


@pytest.mark.parametrize(("function", "name"), [("stat", ""), ("stat", "link"), ("scandir", "mole")])
def test_a_source_that_the_system_cannot_look_into_is_not_called_absent(function, name, tree):
    (tree / "link").symlink_to(tree / "mole")
    lost = OSError(errno.ESTALE, "Stale file handle", str(tree / name))
    message = r"set cannot be read: Stale file handle" + (r" \(.*mole\)" if name == "mole" else "")
    with (
        failing(os, function, lost, lambda path, *_, **__: str(path) == str(tree / name)),
        pytest.raises(OSError, match=message) as caught,
    ):
        open_source(str(tree))
    assert caught.value.errno == errno.ESTALE


COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


def test_composed_and_decomposed_names_are_the_same(tmp_path):
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


def test_digits(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    source = open_source("digits")
    assert len(source) == 1797
    assert source.ignored == ()
    _write(tmp_path / "digits", "a/1.png", "b/1.png")
    assert len(open_source("./digits")) == 2
    both = open_source("digits")
    assert len(both) == 1797
    assert both.ignored == ("./digits",)
    foreign = r"digits \(scikit-learn's, not \./digits\) has 10 of its 10 classes outside the 2 known"
    with pytest.raises(ValueError, match=foreign):
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
    with pytest.raises(ValueError, match="has the class 'b', and several of the known ones have that name"):
        align(part, ["a", "b", "c", "b"])
    assert align(part, ["a", "x", "b", "c", "x"]).labels.max() == 3


@pytest.mark.parametrize(
    ("counts", "fraction"),
    [((100, 50, 10), 0.1), ((5,) * 4, 0.1), ((1, 2, 3, 40), 0.5), ((7,) * 3, 0.9), ((2, 2), 0.01), ((1, 1, 2), 0.99)],
)
def test_split_is_stratified(counts, fraction):
    counts = np.array(counts)
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    source = Labelled(labels, [str(i) for i in range(len(counts))])
    train, held = split(source, fraction, seed=3)
    assert sorted([*train.names, *held.names]) == sorted(source.names)
    assert train.classes == held.classes == source.classes
    trained = np.bincount(train.labels, minlength=len(counts))
    assert trained.min() >= 1
    assert len(held) == min(max(1, round(fraction * len(labels))), len(labels) - len(counts))
    if (fraction * counts <= counts - 1).all():
        assert np.abs(counts - trained - fraction * counts).max() < 1
    assert list(train.names) == [name for name in source.names if name in train.names]


def test_split_depends_on_the_seed_alone_and_leaves_something_in_both_parts():
    source = Labelled([0, 1] * 50, ["a", "b"])
    one, again, other = (split(source, 0.2, seed)[1] for seed in (7, 7, 8))
    assert one.names == again.names != other.names
    assert one.read(0)[0, 0, 0] == int(one.names[0][:-4])
    with pytest.raises(ValueError, match=r"give --validation SOURCE, or --validation-split 0"):
        split(Labelled([0, 1, 2], ["a", "b", "c"]), 0.1, 0)
    for fraction in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="fraction"):
            split(source, fraction, 0)


def test_parquet_files_say_what_they_need(tmp_path, monkeypatch):
    """What they hold is read in test_parquet.py, where pyarrow is."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "train-0.parquet").write_bytes(b"PAR1")
    for path in (tmp_path, tmp_path / "train-0.parquet"):
        with pytest.raises(ImportError, match=r"pyarrow is missing, pip install 'alexnet-cuda\[parquet\]'"):
            open_source(path)
