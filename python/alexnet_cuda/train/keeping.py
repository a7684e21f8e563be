"""The checkpoints in a run's folder: the newest few and the best, and which of them a run goes on from."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..base.files import BEST_NAME, CHECKPOINT_NAME, atomic_path
from ..checkpoint import Checkpoint, DamagedCheckpoint, load_checkpoint, save_checkpoint


def kept_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder: the newest, older ones from the newest down, the best."""
    paths = [folder / CHECKPOINT_NAME, *(path for _, path in reversed(_numbered(folder))), folder / BEST_NAME]
    return [path for path in paths if path.exists()]


def newest_whole(folder: Path) -> tuple[Checkpoint, list[str]]:
    """Open the newest checkpoint in a folder that is whole, and say what is wrong with those that are not.

    Raises
    ------
    FileNotFoundError
        There is none.
    DamagedCheckpoint
        None is whole; it names the newest.
    """
    opened: list[Checkpoint] = []
    damaged: list[DamagedCheckpoint] = []
    for path in kept_checkpoints(folder):
        try:
            opened.append(load_checkpoint(path))
        except DamagedCheckpoint as error:
            damaged.append(error)
    for checkpoint in sorted(opened, key=_step, reverse=True):
        try:
            checkpoint.verify()
        except DamagedCheckpoint as error:
            damaged.append(error)
        else:
            return checkpoint, [str(error) for error in damaged]
    if damaged:
        raise damaged[0]
    raise FileNotFoundError(f"there is no {folder / CHECKPOINT_NAME} to resume from: start the run without --resume")


class Keeper:
    """Writes a run's checkpoints.

    Parameters
    ----------
    folder
        Of the run.
    keep
        How many of the newest stay, the best not counted.
    started_from
        The checkpoint that the run goes on from; None for a new run.
    """

    def __init__(self, folder: Path, keep: int, started_from: Checkpoint | None) -> None:
        self.path = folder / CHECKPOINT_NAME
        self._keep = keep
        # The step of what is at `path`, None where that is nothing, or damaged.
        whole = started_from is not None and started_from.path.name == CHECKPOINT_NAME
        self._step = _step(started_from) if started_from is not None and whole else None

    def clear(self) -> None:
        """Remove what an earlier run left, which must not be taken for this one's."""
        for path in kept_checkpoints(self.path.parent):
            path.unlink()

    def save(self, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
        """Write the newest checkpoint; the one before stays under a name with its step, as far as it is to be kept."""
        folder, step = self.path.parent, metadata["step"]
        if self._keep > 1 and self._step not in (None, step):
            _also_as(self.path, folder / f"checkpoint-{self._step}.safetensors")
        save_checkpoint(self.path, tensors, metadata)
        self._step = step
        numbered = _numbered(folder)
        kept = [path for number, path in numbered if number < step][-(self._keep - 1) :] if self._keep > 1 else []
        for _, path in numbered:
            if path not in kept:  # too old, or beyond where the run went on from, damaged
                path.unlink()

    def keep_as_best(self) -> None:
        """Keep the newest checkpoint as the best too."""
        if self._step is not None:
            _also_as(self.path, self.path.with_name(BEST_NAME))


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    found = ((re.fullmatch(r"checkpoint-(\d+)\.safetensors", path.name), path) for path in folder.glob("checkpoint-*"))
    return sorted((int(match[1]), path) for match, path in found if match)


def _step(checkpoint: Checkpoint) -> int:
    step = checkpoint.metadata.get("step")
    return step if type(step) is int else -1


def _also_as(path: Path, name: Path) -> None:
    """Give a file a second name, or where the file system has one name a file a copy."""
    if name.exists() and os.path.samefile(path, name):
        return
    with atomic_path(name) as temporary:
        temporary.unlink()
        try:
            os.link(os.path.realpath(path), temporary)
        except OSError:
            shutil.copyfile(path, temporary)
