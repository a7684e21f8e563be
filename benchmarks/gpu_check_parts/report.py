"""The JSON that a check leaves: complete after every stage, whatever ends it."""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from . import machine
from .process import Done
from .stages import Stage, Verdict

KIND = "alexnet-cuda gpu check"
FORMAT = 1


class Report:
    """What is known so far; `write` puts it in place of what the file held.

    Attributes
    ----------
    data : dict
        As in the file.
    """

    def __init__(self, path: Path, names: list[str], gpus: list[dict[str, Any]], minutes: float, build: bool) -> None:
        self.path, self._start = path, time.monotonic()
        self.data: dict[str, Any] = {
            "kind": KIND,
            "format": FORMAT,
            "passed": False,
            "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "minutes": minutes,
            "seconds": 0.0,
            **machine.source_state(),
            "built": build,
            "gpu": gpus[0],
            "gpus": len(gpus),
            "versions": machine.versions(),
            "stages": [{"name": name, "status": "not run", "reason": "not reached"} for name in names],
            "kernels": [],
        }

    def stage(self, name: str) -> dict[str, Any]:
        """Return the entry of a stage."""
        entry: dict[str, Any] = next(entry for entry in self.data["stages"] if entry["name"] == name)
        return entry

    def elapsed(self) -> float:
        """Return the seconds since the check began."""
        return time.monotonic() - self._start

    def not_run(self, stage: Stage, reason: str) -> None:
        """Record that a stage was not run, and why."""
        self.stage(stage.name).update(status="not run", reason=reason)

    def begin(self, stage: Stage, limit: float) -> None:
        """Record that a stage is under way: what a cut run leaves of it."""
        self.stage(stage.name).update(status="cut", reason="the check ended in this stage", limit=round(limit, 1))
        self.write()

    def end(self, stage: Stage, done: Done, verdict: Verdict) -> None:
        """Record what became of a stage."""
        details = dict(verdict.details)
        self.data["kernels"] = details.pop("kernels", self.data["kernels"])
        if "doctor" in details:
            self._take_facts(details["doctor"])
        entry = self.stage(stage.name)
        if done.timed_out:
            status, reason = "out of time", f"its {entry['limit']:.0f} seconds ran out; {verdict.reason}".rstrip("; ")
        else:
            status, reason = "passed" if verdict.passed else "failed", verdict.reason
        entry.update(status=status, reason=reason, seconds=round(done.seconds, 1), **details)
        if status != "passed":
            entry["tail"] = done.tail

    def _take_facts(self, facts: dict[str, Any]) -> None:
        toolkit = (facts.get("build") or {}).get("cuda") or {}
        self.data["versions"] |= {
            "package": facts.get("package"),
            "nvcc": toolkit.get("version"),
            "driver_cuda": facts["cuda"].get("driver_cuda"),
            "runtime_cuda": facts["cuda"].get("runtime_cuda"),
        }
        self.data["architectures"] = toolkit.get("architectures")

    def write(self) -> None:
        """Put the file in place of what it held."""
        self.data["seconds"] = round(self.elapsed(), 1)
        self.data["passed"] = all(entry["status"] == "passed" for entry in self.data["stages"])
        with machine.atomic_path(self.path) as temporary:
            temporary.write_text(json.dumps(self.data, indent=1, allow_nan=False) + "\n", encoding="utf-8")
