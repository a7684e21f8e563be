"""Checkpoints and the atomic writing under them: what symbolic links lead to is replaced, and the links stay."""

import errno
import os
import re
import stat
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from alexnet_cuda.base.files import atomic_path, check_output_folder
from alexnet_cuda.checkpoint import join_tensors, load_checkpoint, save_checkpoint
from tests.child import exit_code_of_child
from tests.failing import failing

SHAPES = {"conv1.weight": (4, 3, 2, 3), "conv1.bias": (4,), "fc8.weight": (5, 7)}


def tensors(seed=0):
    generator = np.random.default_rng(seed)
    return {name: generator.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, join_tensors(tensors(0), tensors(1)), {"step": 7, "class_names": ["ä", "b"]})
    return path


def test_round_trip_keeps_every_bit_and_the_metadata(saved):
    checkpoint = load_checkpoint(saved)
    assert checkpoint.metadata == {"step": 7, "class_names": ["ä", "b"]}
    for part, seed in ((checkpoint.parameters(), 0), (checkpoint.velocity(), 1)):
        assert set(part) == set(SHAPES)
        for name, expected in tensors(seed).items():
            assert part[name].dtype == np.float32
            np.testing.assert_array_equal(part[name].view(np.uint32), expected.view(np.uint32))
    checkpoint.check_shapes(SHAPES)


def test_a_stock_reader_reads_it_and_the_same_content_is_the_same_bytes(tmp_path, saved):
    loaded = load_file(saved)
    assert set(loaded) == set(SHAPES) | {"velocity." + name for name in SHAPES}
    np.testing.assert_array_equal(loaded["velocity.fc8.weight"], tensors(1)["fc8.weight"])
    save_checkpoint(tmp_path / "again", join_tensors(tensors(0), tensors(1)), {"class_names": ["ä", "b"], "step": 7})
    assert (tmp_path / "again").read_bytes() == saved.read_bytes()


def test_strided_and_empty_tensors_are_written_as_their_values(tmp_path):
    expected = {"t": np.arange(12.0).reshape(3, 4).T, "none": np.zeros((0, 3), np.float32), "end": np.float32([5])}
    save_checkpoint(tmp_path / "strided", expected, {})
    for name, loaded in load_checkpoint(tmp_path / "strided").tensors.items():
        np.testing.assert_array_equal(loaded, expected[name], strict=True)


@pytest.mark.parametrize("kept", [0, 5, 8, 40, -1])
def test_a_truncated_file_is_an_error_that_names_it(saved, kept):
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"a\.safetensors (is not a safetensors|is truncated)"):
        load_checkpoint(saved)


def test_other_files_are_errors_that_say_what_they_are(tmp_path, saved):
    with pytest.raises(FileNotFoundError, match="absent"):
        load_checkpoint(tmp_path / "absent.safetensors")
    with pytest.raises(IsADirectoryError, match="folder"):
        load_checkpoint(tmp_path)
    raw, other = saved.read_bytes(), tmp_path / "other"
    save_file({"conv1.weight": np.zeros(3, np.float32)}, other)
    for content, message in (
        (other.read_bytes(), "not a checkpoint of alexnet_cuda"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a safetensors file"),
        (raw.replace(rb"\"format\": 1", rb"\"format\": 9"), r"format version 9.*newer"),
        (raw.replace(rb"\"step\"", rb"\"step: "), "damaged metadata"),
    ):
        other.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            load_checkpoint(other)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (SHAPES | {"fc8.bias": (5,)}, "lacks the tensor fc8.bias"),
        ({"conv1.weight": (4, 3, 2, 3), "conv1.bias": (4,)}, "holds the tensor fc8.weight, which"),
        (SHAPES | {"fc8.weight": (6, 7)}, r"fc8.weight with shape \(5, 7\).*needs \(6, 7\)"),
    ],
)
def test_other_shapes_are_named(saved, shapes, message):
    with pytest.raises(ValueError, match=message):
        load_checkpoint(saved).check_shapes(shapes)


def test_momentum_is_whole_or_absent(tmp_path):
    path = tmp_path / "d.safetensors"
    save_checkpoint(path, join_tensors(tensors()), {})
    checkpoint = load_checkpoint(path)
    assert not checkpoint.velocity()
    checkpoint.check_shapes(SHAPES)
    partial = tensors(1)
    del partial["conv1.bias"]
    save_checkpoint(path, join_tensors(tensors(), partial), {})
    with pytest.raises(ValueError, match=r"lacks the tensor velocity\.conv1\.bias"):
        load_checkpoint(path).check_shapes(SHAPES)


def test_what_cannot_be_stored_is_refused_and_the_old_file_stays(saved):
    before = saved.read_bytes()
    with pytest.raises(TypeError, match="t has dtype int64"):
        save_checkpoint(saved, {"t": np.arange(3)}, {})
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_checkpoint(saved, {}, {"best": float("nan")})
    for function in ("replace", "fsync"):  # before the rename
        with failing(os, function, OSError(28, "No space left on device")), pytest.raises(OSError, match="No space"):
            save_checkpoint(saved, tensors(5), {})
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_a_process_killed_while_writing_leaves_the_old_file(saved):
    before = saved.read_bytes()

    def child():
        os.replace = lambda *_: os._exit(9)
        save_checkpoint(saved, tensors(5), {})

    assert exit_code_of_child(child) == 9
    assert saved.read_bytes() == before
    assert len(os.listdir(saved.parent)) == 2
    save_checkpoint(saved, tensors(6), {})
    assert os.listdir(saved.parent) == [saved.name]
    np.testing.assert_array_equal(load_checkpoint(saved).tensors["fc8.weight"], tensors(6)["fc8.weight"])


def is_folder(descriptor):
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


def test_atomic_path_syncs_the_file_then_renames_then_syncs_the_folder(tmp_path, monkeypatch):
    done, replace = [], os.replace

    def note_replace(source, target):
        done.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append("folder" if is_folder(descriptor) else "file"))
    monkeypatch.setattr(os, "replace", note_replace)
    with atomic_path(tmp_path / "x.json") as temporary:
        temporary.write_text('{"ä": 1}', encoding="utf-8")
    assert done == ["file", "replace", "folder"]
    assert (tmp_path / "x.json").read_text(encoding="utf-8") == '{"ä": 1}'


CALLS = {
    "fsync of a folder": (os, "fsync", is_folder),
    "fsync of a file": (os, "fsync", lambda descriptor: not is_folder(descriptor)),
    "opening a folder": (os, "open", lambda path, *_: os.path.isdir(path)),
    "chmod": (Path, "chmod", lambda *_: True),
    "writing": (Path, "write_text", lambda *_: True),
}


@pytest.mark.parametrize(
    ("call", "codes", "lost"),
    [
        ("fsync of a folder", ("EINVAL", "ENOTSUP", "ENOSYS", "EROFS", "EBADF", "EPERM"), False),
        ("fsync of a file", ("EINVAL", "ENOTSUP"), False),
        ("opening a folder", ("EACCES", "EINVAL"), False),
        ("chmod", ("EPERM", "ENOTSUP", "ENOSYS"), False),
        ("fsync of a folder", ("EIO",), True),
        ("fsync of a file", ("EIO", "ENOSPC"), True),
        ("chmod", ("EIO",), True),
        ("writing", ("EIO", "ENOSPC", "EINVAL"), True),
    ],
)
def test_what_a_file_system_does_not_know_is_told_from_what_fails(tmp_path, call, codes, lost):
    owner, name, when = CALLS[call]
    file = tmp_path / "x"
    for code in codes:
        error = OSError(getattr(errno, code), os.strerror(getattr(errno, code)))
        said = pytest.raises(OSError, match=re.escape(f"{error.strerror}: '{file}'")) if lost else nullcontext()
        with failing(owner, name, error, when), said, atomic_path(file) as temporary:
            temporary.write_text(code)
        if not lost:
            assert file.read_text() == code
        assert set(os.listdir(tmp_path)) <= {"x"}


def test_places_that_cannot_be_written_are_told_apart(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("kept")
    with pytest.raises(FileNotFoundError, match="absent does not exist"), atomic_path(tmp_path / "absent" / "x"):
        pass
    with pytest.raises(IsADirectoryError, match="it is a folder"), atomic_path(tmp_path):
        pass
    for folder in (file, file / "runs" / "a"):
        with pytest.raises(NotADirectoryError, match="file is not a folder"):
            check_output_folder(folder)
    assert check_output_folder(tmp_path / "new" / "deeper") == tmp_path / "new" / "deeper"
    # Tests may run as root, whom no permission stops: the answer of the system is put in its mouth.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match="does not permit"):
        check_output_folder(tmp_path / "new")
    assert os.listdir(tmp_path) == ["file"]
    assert file.read_text() == "kept"


def write(path, text):
    with atomic_path(path) as temporary:
        temporary.write_text(text)


@pytest.mark.parametrize("exists", [True, False])
def test_what_a_chain_of_links_leads_to_is_replaced(tmp_path, exists):
    (tmp_path / "disk").mkdir()
    file, link, first = tmp_path / "disk" / "file", tmp_path / "link", tmp_path / "first"
    link.symlink_to("disk/file")
    first.symlink_to(link)
    if exists:
        file.write_text("old")
        with pytest.raises(ZeroDivisionError), atomic_path(first):
            raise ZeroDivisionError
        assert file.read_text() == "old"
    write(first, "new")
    assert (first.readlink(), link.readlink()) == (link, Path("disk/file"))
    assert not file.is_symlink()
    assert file.read_text() == first.read_text() == "new"
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["disk", "file", "first", "link"]


def test_links_that_lead_nowhere_are_errors(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for target, kind, message in (
        ("link", OSError, r"symbolic link that leads back to itself: '.*link'"),
        ("no such folder/file", FileNotFoundError, "no such folder does not exist"),
        (tmp_path, IsADirectoryError, "it is a folder"),
        # As root, a rename over /dev/null would take it from everybody.
        ("pipe", OSError, "cannot replace a device, pipe or socket"),
    ):
        link = tmp_path / "link"
        link.symlink_to(target)
        with pytest.raises(kind, match=message) as caught:
            write(link, "new")
        assert (caught.value.errno == errno.ELOOP) == (target == "link")
        assert link.readlink() == Path(target)
        link.unlink()
    with pytest.raises(OSError, match="cannot replace a device, pipe or socket"):
        write(tmp_path / "pipe", "new")
    assert (tmp_path / "pipe").is_fifo()
    assert os.listdir(tmp_path) == ["pipe"]


def test_a_checkpoint_is_saved_through_a_link_and_read_as_read_only(tmp_path):
    link = tmp_path / "latest.safetensors"
    link.symlink_to("epoch1.safetensors")
    save_checkpoint(link, {"t": np.ones(3, np.float32)}, {})
    assert link.is_symlink()
    tensors = load_checkpoint(tmp_path / "epoch1.safetensors").tensors
    with pytest.raises(ValueError, match="read-only"):
        tensors["t"][...] = 0
