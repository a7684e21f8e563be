"""Images in no class folders: archives by class, files beside images, and lists, with what cannot be told refused."""

import io
import json
import tarfile

import numpy as np
import pytest

from alexnet_cuda import cli
from alexnet_cuda.data import open_source

NUMBERS = (1, 2, 3)


@pytest.fixture
def pictures(encode, picture):
    """Three small files, no two alike."""
    return [encode(picture[: 5 + i]) for i in range(3)]


def tar(*members):
    """The bytes of an archive."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


@pytest.fixture
def validation(tmp_path, pictures):
    """ILSVRC's flat archive, in little."""
    path = tmp_path / "ILSVRC2012_img_val.tar"
    members = [(f"ILSVRC2012_val_{n:08}.JPEG", data) for n, data in zip(NUMBERS, pictures, strict=True)]
    path.write_bytes(tar(*reversed(members)))
    return path


@pytest.fixture
def kit(tmp_path):
    """ILSVRC's development kit, in little: three synsets, and one above them."""
    from scipy.io import savemat

    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    synsets = np.empty(4, kind)
    rows = [(1, "n03", "cat, kitten", 0), (2, "n01", "dog", 0), (3, "n02", "fox", 0), (4, "n00", "animal", 3)]
    for i, row in enumerate(rows):
        synsets[i] = row
    folder = tmp_path / "ILSVRC2012_devkit_t12" / "data"
    folder.mkdir(parents=True)
    savemat(folder / "meta.mat", {"synsets": synsets})
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text("2\n1\n3\n")
    archive = tmp_path / "kit.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(folder.parent, folder.parent.name)
    return folder.parent, folder, archive


def labelled(source):
    """The class of each image by its name."""
    classes = (source.classes[label] for label in source.labels)
    return {name.rpartition("/")[2]: name_of for name, name_of in zip(source.names, classes, strict=True)}


@pytest.mark.parametrize("form", ["archive", "folder"])
def test_an_archive_of_archives_and_a_folder_of_them_are_class_folders(tmp_path, pictures, make_tar, form, assert_same):
    inner = {f"n0{i}": [(f"n0{i}_{j}.JPEG", pictures[j]) for j in range(3)] for i in NUMBERS}
    folders = make_tar(*((f"{name}/{file}", data) for name, files in inner.items() for file, data in files))
    archives = [(f"{name}.tar", tar(*files)) for name, files in inner.items()]
    path = tmp_path / "train"
    if form == "archive":
        path.write_bytes(tar(*archives))
    else:
        path.mkdir()
        for name, data in archives:
            (path / name).write_bytes(data)
    packed = open_source(path)
    assert_same(packed, open_source(folders))
    assert [packed.size(i) for i in range(3)] == [len(data) for data in pictures]


def test_a_stray_archive_among_images_is_none_of_them(tmp_path, pictures, make_tar):
    archive = tar(("c/1.png", pictures[0]))
    path = make_tar(("a/1.png", pictures[0]), ("b/1.png", pictures[1]), ("c/old.tar", archive), ("d.tar", archive))
    source = open_source(path)
    assert source.classes == ("a", "b")
    assert "no image by the ending: c/old.tar, d.tar" in source.ignored
    folder = tmp_path / "flat"
    folder.mkdir()
    for name, data in (("1.png", pictures[0]), ("2.png", pictures[1]), ("old.tar", archive)):
        (folder / name).write_bytes(data)
    (tmp_path / "list").write_text("1.png a\n2.png b\n")
    assert open_source(folder, labels=tmp_path / "list").names == ["1.png", "2.png"]


def test_damage_of_an_archive_in_an_archive_is_named(tmp_path, pictures):
    whole = tar(("a.png", pictures[0]), ("b.png", pictures[1]))
    path = tmp_path / "cut.tar"
    for cut in range(512, len(whole.rstrip(b"\0")) + 512, 512):  # the last without a mark at its end
        path.write_bytes(tar(("n01.tar", whole[:cut]), ("n02.tar", whole)))
        with pytest.raises(ValueError, match=r"cut\.tar: n01\.tar is (damaged or cut short|cut short or damaged)"):
            open_source(path)
    path.write_bytes(tar(("n01.tar", tar(("../a.png", pictures[0]))), ("n02.tar", whole)))
    with pytest.raises(ValueError, match="parent path"):
        open_source(path)


@pytest.mark.parametrize("ending", ["cls", "json"])
def test_files_beside_images_say_the_class(tmp_path, pictures, ending):
    def shard(*samples):
        members = []
        for key, label, data in samples:
            text = str(label) + "\n" if ending == "cls" else json.dumps({"label": label, "width": 3})
            members += [(f"{key}.{ending}", text.encode()), (f"{key}.png", data), (f"{key}.txt", b"a caption")]
        return tar(*members)

    folder = tmp_path / "shards"
    folder.mkdir()
    (folder / "s-0.tar").write_bytes(shard(("00", 10, pictures[0]), ("01", 9, pictures[1])))
    (folder / "s-1.tar").write_bytes(shard(("00", 0, pictures[2])))
    source = open_source(folder)
    assert source.classes == ("0", "9", "10")  # as numbers
    assert source.names == ["s-0/00.png", "s-0/01.png", "s-1/00.png"]
    assert source.labels.tolist() == [2, 1, 0]
    assert source.ignored == ()
    names = tmp_path / "names"
    names.write_text("".join(f"n{i:02} some words\n" for i in range(11)))
    assert open_source(folder, classes=names).classes == ("n00", "n09", "n10")
    alone = open_source(folder / "s-0.tar")
    assert (alone.names, alone.classes) == (["00.png", "01.png"], ("9", "10"))
    np.testing.assert_array_equal(alone.read(0), source.read(0))


@pytest.mark.parametrize(
    ("beside", "message"),
    [
        ({"0.cls": b"1"}, r"1\.png has no \.cls or \.json file beside it"),
        ({"0.txt": b"a", "1.txt": b"b"}, r"0\.png has no \.cls or \.json"),
        ({"0.json": b"{}", "1.json": b"{}"}, "has 0 classes, expected one, under cls or label or class"),
        ({"0.json": b'{"cls": 1, "label": 2}', "1.json": b"{}"}, "has 2 classes"),
        ({"0.json": b"[]", "1.json": b"{}"}, "is no JSON object"),
        ({"0.cls": b" \n", "1.cls": b"1"}, r"0\.png: the \.cls file beside it is empty"),
        ({}, "in no class folder"),
    ],
)
def test_files_beside_images_that_do_not_say_it_are_refused(make_tar, pictures, beside, message):
    path = make_tar(("0.png", pictures[0]), ("1.png", pictures[1]), *beside.items())
    with pytest.raises(ValueError, match=message):
        open_source(path)


def test_ilsvrcs_validation_images_by_the_development_kit(validation, kit, tmp_path):
    expected = dict(zip((f"ILSVRC2012_val_{n:08}.JPEG" for n in NUMBERS), ("n01", "n03", "n02"), strict=True))
    for path in kit:
        source = open_source(validation, labels=path)
        assert labelled(source) == expected
        assert source.classes == ("n01", "n02", "n03")
    folder = tmp_path / "val"
    with tarfile.open(validation) as archive:
        archive.extractall(folder, filter="data")
    assert labelled(open_source(folder, labels=kit[0])) == expected
    store = tmp_path / "store"
    assert cli.main(["prepare", str(validation), str(store), "--labels", str(kit[2]), "--side", "8"]) == 0
    assert labelled(open_source(store)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "ILSVRC2012_val_00000003.JPEG n02\nval/ILSVRC2012_val_00000001.JPEG n01\nILSVRC2012_val_00000002 n03\nb.png n7",
        "n01\nn03\nn02\n",
        "ILSVRC2012_val_00000001.JPEG 0\nILSVRC2012_val_00000002.JPEG 2\nILSVRC2012_val_00000003.JPEG 1\n",
    ],
    ids=["file and class", "class", "file and number"],
)
def test_lists(validation, tmp_path, text):
    path, names = tmp_path / "list.txt", tmp_path / "names"
    path.write_text(text)
    names.write_text("n01 dog\nn02 fox\nn03 cat\n")
    source = open_source(validation, labels=path, classes=names if " 0" in text else None)
    assert list(labelled(source).values()) == ["n01", "n03", "n02"]


@pytest.mark.parametrize(
    ("text", "names", "message"),
    [
        ("2\n1\n3\n", None, "numbers alone, and whether they are ILSVRC's IDs .* give the development kit"),
        ("2\n1\n3\n", "a b c", "numbers alone"),
        ("{1} 0\n{2} 1\n{3} 1\n", None, "numbers for classes: give --classes"),
        ("{1} 1\n{2} 2\n{3} 3\n", "a b c d", "classes 1 to 3, expected numbers from 0 to 3, and 0 among them"),
        ("{1} 0\n{2} 1\n{3} 3\n", "a b c", "classes 0 to 3, expected numbers from 0 to 2"),
        ("{1} 0\n{2} 1\n{3} -1\n", "a b c", "classes -1 to 1, expected numbers from 0 to 2"),
        ("{1} -1\n{2} -1\n{3} -1\n", None, "numbers for classes: give --classes"),
        ("{1} n01\n{2} n02\n{3} n03\n", "a b c", "no use for --classes"),
        ("{1} 0\n{2} 1\n{3} 1\n", "a b a", "has the class a twice"),
        ("{1} n01\n{2} n02\n", None, r"lacks 1 of 3 images, the first is ILSVRC2012_val_00000003\.JPEG"),
        ("{1} n01\n{1} n02\n", None, "ILSVRC2012_val_00000001 in two classes, n01 and n02"),
        ("{1} n01\n{2} n02 fox\n", None, r"lines of \[2, 3\] words, expected 'FILE CLASS'"),
        ("\n", None, "is empty"),
        ("\x80", None, "is no text file"),
    ],
)
def test_lists_that_do_not_tell_are_refused(validation, tmp_path, text, names, message):
    path, order = tmp_path / "list.txt", tmp_path / "names"
    for n in NUMBERS:
        text = text.replace(f"{{{n}}}", f"ILSVRC2012_val_{n:08}.JPEG")
    path.write_bytes(text.encode("latin-1"))
    if names is not None:
        order.write_text(names.replace(" ", "\n"))
    with pytest.raises(ValueError, match=message):
        open_source(validation, labels=path, classes=None if names is None else order)


def test_what_has_its_classes_takes_no_list(tree, kit, validation, tmp_path):
    (tmp_path / "names").write_text("a\nb\n")
    for source in (tree, "digits"):
        with pytest.raises(ValueError, match=r"no use for .*--classes"):
            open_source(source, classes=tmp_path / "names")
    with pytest.raises(ValueError, match="no use for --classes"):
        open_source(validation, labels=kit[0], classes=tmp_path / "names")
    (kit[1] / "meta.mat").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"meta\.mat or .* is damaged"):
        open_source(validation, labels=kit[0])
    (kit[1] / "meta.mat").unlink()
    with pytest.raises(ValueError, match="no development kit of ILSVRC 2012"):
        open_source(validation, labels=kit[0])
