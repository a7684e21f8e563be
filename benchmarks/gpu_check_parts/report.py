"""The JSON that a check leaves: complete after every stage, whatever ends it."""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.harness import machine

sys.path.append(str(machine.ROOT / "python"))  # last: before the build there is no package, after it that one is meant
from alexnet_cuda.files import atomic_path

from .needs import NotRunError, how_to_install
from .process import Done
from .stages import Verdict

KIND = "alexnet-cuda gpu check"
FORMAT = 2


class Report:
    """What is known so far; `write` puts it in place of what the file held.

    Attributes
    ----------
    data : dict
        As in the file.
    """

    def __init__(self, path: Path, names: list[str], gpus: list[dict[str, Any]], minutes: float, build: bool) -> None:
        self.path, self._start = path, time.monotonic()
        self._packages: list[str] = []
        self.data: dict[str, Any] = {
            "kind": KIND,
            "format": FORMAT,
            "passed": False,
            "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "minutes": minutes,
            "seconds": 0.0,
            "commit": machine.commit(),
            "built": build,
            "gpu": gpus[0],
            "gpus": len(gpus),
            "versions": machine.versions(),
            "stages": [{"name": name, "status": "not run", "reason": "not reached"} for name in names],
        }

    def stage(self, name: str) -> dict[str, Any]:
        """Return the entry of a stage."""
        entry: dict[str, Any] = next(entry for entry in self.data["stages"] if entry["name"] == name)
        return entry

    def elapsed(self) -> float:
        """Return the seconds since the check began."""
        return time.monotonic() - self._start

    def not_run(self, name: str, error: NotRunError) -> None:
        """Record why a stage was not run; how to install what is missing is said once for all stages."""
        self.stage(name).update(status="not run", reason=str(error))
        self._packages += error.packages
        if self._packages:
            self.data["how_to_fix"] = how_to_install(self._packages)

    def begin(self, name: str, limit: float) -> None:
        """Record that a stage runs: what a cut run leaves of it."""
        self.stage(name).update(status="cut", reason="the check ended in this stage", limit=round(limit, 1))
        self.write()

    def end(self, name: str, done: Done, verdict: Verdict) -> None:
        """Record the result of a stage."""
        entry, status = self.stage(name), "passed" if verdict.passed else "failed"
        reason = verdict.reason
        if done.timed_out:
            status, reason = "out of time", f"its {entry['limit']:.0f} seconds ran out; {reason}".rstrip("; ")
        entry.update(status=status, reason=reason, seconds=round(done.seconds, 1), **verdict.details)
        if status != "passed":
            entry["tail"] = done.tail
        if "doctor" in verdict.details:
            self._take_facts(verdict.details["doctor"])

    def _take_facts(self, facts: dict[str, Any]) -> None:
        toolkit = (facts.get("build") or {}).get("cuda") or {}
        self.data["versions"] |= {"package": facts.get("package"), "nvcc": toolkit.get("version")}
        self.data["versions"] |= {name: facts["cuda"].get(name) for name in ("driver_cuda", "runtime_cuda")}
        self.data["architectures"] = toolkit.get("architectures")

    def write(self) -> None:
        """Put the file in place of what it held."""
        self.data["seconds"] = round(self.elapsed(), 1)
        self.data["passed"] = all(entry["status"] == "passed" for entry in self.data["stages"])
        with atomic_path(self.path) as temporary:
            temporary.write_text(json.dumps(self.data, indent=1, allow_nan=False) + "\n", encoding="utf-8")
