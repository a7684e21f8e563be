"""The JSON that a check leaves: complete after every stage, whatever ends it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.harness import machine

sys.path.append(str(machine.ROOT / "python"))  # last: before the build there is no package, after it that one is meant
from alexnet_cuda.base.files import atomic_path

from .needs import how_to_install

KIND, FORMAT = "alexnet-cuda gpu check", 2
Entry = dict[str, Any]


class Report:
    """What is known so far; `write` puts it in place of what the file held.

    Attributes
    ----------
    data : dict
        As in the file.
    packages : list of str
        Requirements that stages lacked.
    """

    def __init__(self, path: Path, names: Sequence[str], gpus: list[Entry], minutes: float, build: bool) -> None:
        self.path, self._start = path, time.monotonic()
        self.packages: list[str] = []
        self.data: dict[str, Any] = {
            "kind": KIND,
            "format": FORMAT,
            "passed": False,
            "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "minutes": minutes,
            "commit": machine.commit(),
            "built": build,
            "gpu": gpus[0],
            "gpus": len(gpus),
            "versions": machine.versions(),
            "stages": [{"name": name, "status": "not run", "reason": "not reached"} for name in names],
        }

    def stage(self, name: str) -> Entry:
        """Return the entry of a stage."""
        return next(entry for entry in self.data["stages"] if entry["name"] == name)

    def names(self, passed: bool) -> str:
        """Return the names of the stages that passed, or of the others."""
        found = [entry["name"] for entry in self.data["stages"] if (entry["status"] == "passed") is passed]
        return ", ".join(found) or "nothing"

    def elapsed(self) -> float:
        """Return the seconds since the check began."""
        return time.monotonic() - self._start

    def write(self) -> None:
        """Put the file in place of what it held."""
        self.data["seconds"] = round(self.elapsed(), 1)
        self.data["passed"] = self.names(False) == "nothing"
        if self.packages:
            self.data["how_to_fix"] = how_to_install(self.packages)
        with atomic_path(self.path) as temporary:
            temporary.write_text(json.dumps(self.data, indent=1, allow_nan=False) + "\n", encoding="utf-8")
