"""What a run was: all that is needed to repeat it, as ``run.json`` in its folder."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .. import __version__
from ..base.files import RUN_NAME, atomic_path
from ..base.parallel import num_threads
from .command import train_command
from .setup import Run

_PACKAGES = ("numpy", "pillow", "safetensors", "ml_dtypes", "threadpoolctl", "cupy-cuda13x")


def note_run(run: Run) -> None:
    """Add to ``run.json``, a list with an entry for the start of a run and one for each time that it was resumed.

    A file that is no such list, as it may be after a fault of the disk, is begun anew.
    """
    path = run.options.output / RUN_NAME
    entries: list[Any] = []
    if run.options.resume and path.exists():
        try:
            entries = list(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            entries = []
    text = json.dumps([*entries, _entry(run)], indent=1)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _entry(run: Run) -> dict[str, Any]:
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "step": run.model.step,
        "command": train_command(run.options),
        "arguments": sys.argv,
        "folder": os.getcwd(),
        "seed": run.recipe.seed,
        "recipe": run.recipe.to_dict(),
        "config": run.model.config.to_dict(),
        "sources": run.identity,
        "devices": list(run.model.devices),
        "threads": num_threads(),
        "alexnet_cuda": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the package's own checkout, with ``-dirty`` where that was changed; None where there is none."""
    package = Path(__file__).resolve().parents[1]
    words = ["git", "-C", str(package), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    tracked = ["git", "-C", str(package), "ls-files", "--error-unmatch", "__init__.py"]
    try:
        for command in (tracked, words):
            found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return found
