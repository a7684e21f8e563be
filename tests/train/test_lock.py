"""One run at a time in a folder."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from alexnet_cuda.train import TrainOptions, train
from alexnet_cuda.train.lock import FolderInUse, locked_folder


def holder_elsewhere(folder: Path) -> int:
    """Start a process that holds the folder until it is killed."""
    ready, done = os.pipe()
    child = os.fork()
    if child == 0:
        with locked_folder(folder):
            os.write(done, b"x")
            signal.pause()
    assert os.read(ready, 1) == b"x"
    return child


@pytest.mark.parametrize("number", [errno.EACCES, errno.EWOULDBLOCK, errno.EIO, errno.ESTALE])
def test_only_where_there_are_no_locks_a_run_goes_on_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A network mount may answer EACCES where another one holds the file."""

    def answer(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", answer)
    held = number in (errno.EACCES, errno.EWOULDBLOCK)
    kind, message = (FolderInUse, "in use by a run") if held else (OSError, r"run\.lock")
    with pytest.raises(kind, match=message), locked_folder(tmp_path):
        raise AssertionError("it went on")


@pytest.mark.parametrize("resume", [False, True])
def test_a_second_run_is_refused_before_it_writes_and_told_who_holds_the_folder(
    make_options: Callable[..., TrainOptions], tmp_path: Path, resume: bool
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "checkpoint.safetensors").write_bytes(b"precious")
    child = holder_elsewhere(folder)
    try:
        before = sorted(folder.iterdir())
        with pytest.raises(FolderInUse, match=rf"in use by a run \(process {child} on .*since 20.*--output"):
            train(make_options(resume=resume, overwrite=not resume))
        assert sorted(folder.iterdir()) == before
        assert (folder / "checkpoint.safetensors").read_bytes() == b"precious"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert (folder / "run.lock").exists()  # left by the dead process, without harm
    with locked_folder(folder), pytest.raises(FolderInUse, match=f"process {os.getpid()} on"), locked_folder(folder):
        pass
    assert not (folder / "run.lock").exists()


def test_a_lock_that_its_holder_removes_meanwhile_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, pending = fcntl.flock, [1]

    def after_the_holder_left(descriptor: int, operation: int) -> None:
        if pending:
            pending.pop()
            (tmp_path / "run.lock").unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", after_the_holder_left)
    with locked_folder(tmp_path), pytest.raises(FolderInUse), locked_folder(tmp_path):
        pass


def test_a_file_system_without_locks_is_said_and_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_here(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none_here)
    with pytest.warns(RuntimeWarning, match=r"without locks \(No locks available\)"), locked_folder(tmp_path / "new"):
        assert (tmp_path / "new").is_dir()
    assert not (tmp_path / "new").exists()
