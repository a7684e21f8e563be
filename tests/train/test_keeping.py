"""A run's checkpoints: which are kept, which are damaged, and runs that are killed at any moment."""

import os
import random
import signal
from pathlib import Path

import numpy as np
import pytest
from tests.child import exit_code_of_child

from alexnet_cuda import Model
from alexnet_cuda.checkpoint import DamagedCheckpoint, load_checkpoint, save_checkpoint
from alexnet_cuda.train.keeping import newest_whole

pytestmark = pytest.mark.usefixtures("no_curves")

NEWEST = "checkpoint.safetensors"


def steps(folder):
    return {path.name: load_checkpoint(path).metadata["step"] for path in sorted(folder.glob("*.safetensors"))}


@pytest.mark.parametrize(("keep", "epochs", "older"), [(1, 1, []), (2, 1, [10]), (9, 2, [5, 10]), (9, 9, [5])])
def test_the_newest_few_and_the_best_are_kept(run, keep, epochs, older):
    result = run(keep=keep, checkpoint_epochs=epochs, schedule="constant", learning_rate=1e-9)  # the first is the best
    expected = {f"checkpoint-{step}.safetensors": step for step in older}
    assert steps(result.checkpoint.parent) == {"best.safetensors": 5, **expected, NEWEST: 15}


def test_a_run_anew_leaves_nothing_of_the_one_before(run, whole_run, tmp_path):
    run(epochs=1, overwrite=True, validation_split=0.0, schedule="constant")
    assert steps(tmp_path / "run") == {NEWEST: 7}


@pytest.fixture
def whole_run(run):
    return run(keep=9).checkpoint.parent


def test_what_a_link_leads_to_is_kept_as_itself(run, tmp_path):
    """The newest may be a symbolic link to where there is room; the older ones are no further names of it."""
    newest = run(epochs=1).checkpoint
    newest.rename(tmp_path / "elsewhere")
    newest.symlink_to(tmp_path / "elsewhere")
    run(resume=True, epochs=3, schedule="constant")
    assert newest.is_symlink()
    kept = steps(newest.parent)
    assert kept[NEWEST] == 15
    assert kept["checkpoint-10.safetensors"] == 10


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << place % 8
    path.write_bytes(content)  # of best.safetensors too, where that is the same file


def test_a_damaged_checkpoint_is_passed_over_with_a_word_and_the_run_ends_the_same(run, whole_run, capsys):
    expected = (whole_run / NEWEST).read_bytes()
    flip(whole_run / NEWEST, -1000)
    (whole_run / "checkpoint-10.safetensors").write_bytes(expected[:-1])
    with pytest.raises(DamagedCheckpoint, match=f"{NEWEST} is damaged: its contents are not those of its checksum"):
        Model.load(whole_run / NEWEST)
    capsys.readouterr()
    result = run(resume=True)
    output = capsys.readouterr().out
    assert f"passed over: checkpoint {whole_run / NEWEST} is damaged" in output
    assert f"passed over: checkpoint {whole_run}/checkpoint-10.safetensors is truncated or damaged" in output
    assert (result.steps, result.checkpoint.read_bytes()) == (15, expected)
    assert set(steps(whole_run).values()) == {5, 10, 15}
    (whole_run / "best.safetensors").unlink()
    (whole_run / "best.safetensors").write_bytes(expected)  # as where it is a copy
    flip(whole_run / NEWEST, -1000)
    assert run(resume=True).checkpoint.read_bytes() == expected  # nothing was left to train
    (whole_run / NEWEST).unlink()
    assert run(resume=True).checkpoint.read_bytes() == expected
    for path in whole_run.glob("*.safetensors"):
        path.write_bytes(b"")
    with pytest.raises(DamagedCheckpoint, match=rf"{NEWEST} is not a safetensors file \(0 bytes\)"):
        run(resume=True)


def test_no_byte_can_change_unnoticed(tmp_path):
    path = tmp_path / NEWEST
    tensors = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "a.bias": np.ones(2, np.float32)}
    save_checkpoint(path, tensors, {"step": 7})
    content = path.read_bytes()
    unnoticed = []
    for place in range(0, len(content), 7):
        flip(path, place)
        try:
            found = newest_whole(tmp_path)[0]
        except ValueError:  # of a newer format, where it is that number's byte
            pass
        else:
            unnoticed.append(place)
            assert found.metadata["step"] == 7
            assert all(np.array_equal(found.tensors[name], tensor) for name, tensor in tensors.items())
        path.write_bytes(content)
    # The name of the checksum, without which it is a file of before there was one, and the padding of the header.
    assert all(content[place : place + 1] in b"sha256 " for place in unnoticed)


def kill_at(number):
    """Die without a word at the given one of the calls by which a run changes something."""
    left = [number]

    def dying(call):
        def wrapped(*arguments, **options):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return wrapped

    for owner, name in [(os, "replace"), (os, "link"), (os, "chmod"), (Path, "unlink"), (Model, "train_step")]:
        setattr(owner, name, dying(getattr(owner, name)))


def test_a_run_that_is_killed_at_any_moment_and_resumed_ends_with_the_same_bits(run, finished_runs, tmp_path):
    """In forked children, so that the kill is one; `resume` as soon as there is a checkpoint."""
    moments, kills = random.Random(0), 0
    while True:
        folder = tmp_path / "run"
        options = {"resume": True} if list(folder.glob("*.safetensors")) else {"overwrite": True}

        moment = moments.randint(4, 40)

        def child(options=options, moment=moment):
            kill_at(moment)
            run(checkpoint_steps=2, **options)
            return 0

        code = exit_code_of_child(child)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        kills += 1
        assert kills < 30
    assert kills >= 2
    expected = finished_runs["plateau"].checkpoint.parent
    for name in (NEWEST, "best.safetensors"):
        assert (folder / name).read_bytes() == (expected / name).read_bytes()
    assert not list(folder.glob(".*"))
