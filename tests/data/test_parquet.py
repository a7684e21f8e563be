"""Parquet files as Hugging Face's libraries write them."""

import json

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from alexnet_cuda.data import Loader, open_source, prepare
from alexnet_cuda.data.fingerprint import difference, fingerprint


@pytest.fixture
def write(tmp_path, encode, picture):
    """Write a file of images with these labels, two a row group."""

    def write(name, labels, names=("dog", "cat", "fox"), **columns):
        files = [encode(picture[: 5 + i]) for i in range(len(labels))]
        images = [{"bytes": data, "path": None} for data in files]
        table = pyarrow.table({"image": images, "label": labels, **columns})
        if names:
            info = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
            table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
        (tmp_path / "set").mkdir(exist_ok=True)
        parquet.write_table(table, tmp_path / "set" / name, row_group_size=2)
        return tmp_path / "set" / name

    return write


def test_a_folder_of_files_is_a_source(write, tmp_path, picture):
    write("train-00000-of-00002.parquet", [2, 0, 1, 0, 1])
    one = write("train-00001-of-00002.parquet", [1, 1])
    source = open_source(one.parent)
    assert source.classes == ("cat", "dog", "fox")
    assert [source.classes[label] for label in source.labels] == ["fox", "dog", "cat", "dog", "cat", "cat", "cat"]
    for index, rows in enumerate((5, 6, 7, 8, 9, 5, 6)):
        np.testing.assert_array_equal(source.read(index), picture[:rows])
    assert source.names[5] == "train-00001-of-00002.parquet/000000"
    assert len(open_source(one, minimum_classes=1)) == 2
    store = prepare(source, tmp_path / "store", side=6)
    for mine, its in zip(*(Loader(s, 6, 3, shuffle=True).epoch(0) for s in (source, store)), strict=True):
        np.testing.assert_array_equal(mine.images, its.images)
    before = fingerprint(source)
    write("train-00001-of-00002.parquet", [1, 1, 0])
    assert difference(before, fingerprint(open_source(one.parent))) == "7 images then, 8 images now"


def test_without_names_the_classes_are_numbers(write):
    assert open_source(write("a.parquet", [10, 9, 9], names=None)).classes == ("9", "10")


def test_what_is_refused(write, tmp_path):
    with pytest.raises(ValueError, match=r"image 1 has no label \(-1\)"):
        open_source(write("a.parquet", [0, -1]))
    with pytest.raises(ValueError, match=r"a\.parquet cannot be used: list index out of range"):
        open_source(write("a.parquet", [0, 3]))
    with pytest.raises(ValueError, match=r"its columns are .*'other'\], expected one of images"):
        open_source(write("a.parquet", [0, 1], other=[{"bytes": b""}, {"bytes": b""}]))
    with pytest.raises(ValueError, match="has 1 class, expected at least 2"):
        open_source(write("a.parquet", [1]))
    whole = write("a.parquet", [0, 1]).read_bytes()
    (tmp_path / "set" / "a.parquet").write_bytes(whole[:-9])
    with pytest.raises(ValueError, match=r"a\.parquet cannot be used"):
        open_source(tmp_path / "set" / "a.parquet")
    write("train-0.parquet", [0, 1])
    with pytest.raises(ValueError, match=r"several splits \(a, train\)"):
        open_source(tmp_path / "set")


@pytest.mark.parametrize("name", ["{:04}", "train_{}", "part.{}", "train-{:05}-of-00002"])
def test_numbered_files_are_of_one_split(write, name):
    one, _ = (write(f"{name.format(number)}.parquet", [0, 1]) for number in range(2))
    assert len(open_source(one.parent)) == 4
