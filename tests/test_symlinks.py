"""Files are written through symbolic links: the link stays, what it leads to is replaced, all or nothing."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from alexnet_cuda.base.files import atomic_path
from alexnet_cuda.checkpoint import load_checkpoint, save_checkpoint


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
