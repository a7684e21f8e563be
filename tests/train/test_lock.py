"""One run at a time in a folder."""

import errno
import fcntl
import os

import pytest
from tests.failing import failing

from alexnet_cuda.base import folder_lock as lock
from alexnet_cuda.base.folder_lock import FolderInUse, locked_folder


def failing_lock(number):
    return failing(fcntl, "flock", OSError(number, os.strerror(number)))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EWOULDBLOCK, errno.EIO, errno.ESTALE])
def test_only_where_there_are_no_locks_a_run_goes_on_without(tmp_path, monkeypatch, number):
    """A network mount may answer EACCES where another one holds the file."""
    monkeypatch.setattr(lock.time, "sleep", lambda seconds: None)
    held = number in (errno.EACCES, errno.EWOULDBLOCK)
    kind, message = (FolderInUse, r"in use by a run \(another process\)") if held else (OSError, r"run\.lock")
    with failing_lock(number), pytest.raises(kind, match=message), locked_folder(tmp_path):
        raise AssertionError("it went on")


@pytest.mark.parametrize("resume", [False, True])
def test_a_second_run_is_refused_before_it_writes_and_told_who_holds_the_folder(run, tmp_path, resume):
    folder = tmp_path / "run"
    with locked_folder(folder):
        (folder / "checkpoint.safetensors").write_bytes(b"precious")
        before = sorted(folder.iterdir())
        with pytest.raises(
            FolderInUse, match=rf"in use by a run \(process {os.getpid()} on .*since 20.*another folder"
        ):
            run(resume=resume, overwrite=not resume)
        assert sorted(folder.iterdir()) == before
        assert (folder / "checkpoint.safetensors").read_bytes() == b"precious"
    assert os.listdir(folder) == ["checkpoint.safetensors"]


def test_a_lock_that_its_holder_removes_meanwhile_is_taken_anew(tmp_path, monkeypatch):
    flock = fcntl.flock

    def after_the_holder_left(descriptor, operation):
        monkeypatch.setattr(fcntl, "flock", flock)
        (tmp_path / "run.lock").unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", after_the_holder_left)
    with locked_folder(tmp_path), pytest.raises(FolderInUse), locked_folder(tmp_path):
        pass


@pytest.mark.parametrize("left", [b"", b"process 1 on elsewhere, dead"])
def test_a_holder_that_has_not_written_its_name_yet_is_waited_for(tmp_path, monkeypatch, left):
    """Whoever is refused is told the name of the run that holds the folder, not of one that was killed there."""
    path, looks = tmp_path / "run.lock", iter(range(2))
    path.write_bytes(left)

    def holder_goes_on(_):
        next(looks)  # it is refused before a third look
        path.write_bytes(b"process 7 on here")

    monkeypatch.setattr(lock.time, "sleep", holder_goes_on)
    refused = pytest.raises(FolderInUse, match=r"in use by a run \(process 7 on here\)")
    with open(path, "rb+") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with refused, locked_folder(tmp_path):
            pass


def test_what_a_killed_run_has_left_is_read_by_nobody_while_another_begins(tmp_path):
    path = tmp_path / "run.lock"
    path.write_bytes(b"process 1 on elsewhere, dead")
    before = path.stat().st_ino
    with open(path) as old, locked_folder(tmp_path):
        assert path.read_text().startswith(f"process {os.getpid()} on")
        assert path.stat().st_ino != before
        assert old.read() == "process 1 on elsewhere, dead"


@pytest.mark.filterwarnings("error")
def test_a_file_system_without_locks_is_said_and_no_obstacle(tmp_path, caplog):
    with failing_lock(errno.ENOLCK), locked_folder(tmp_path / "new"):
        assert (tmp_path / "new").is_dir()
    assert "without locks (No locks available)" in caplog.text
    assert not (tmp_path / "new").exists()
