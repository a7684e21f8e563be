"""The file of results: what it holds, and writing it so that a run that is cut short keeps what it had."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from alexnet_cuda.base.files import atomic_path

SCHEMA = 1
# Of a contender: timed; not installed; cannot do this; gave wrong results; failed; there was no time for it.
STATUSES = ("ok", "unavailable", "unsupported", "wrong", "failed", "left out")
OURS = "ours"

Record = dict[str, Any]
Best = tuple[str, float]


def new(machine: Record, synthetic: bool = False) -> Record:
    """An empty result."""
    return {
        "schema": SCHEMA,
        "synthetic": synthetic,  # numbers for a test, never measured
        "complete": False,
        "machine": machine,
        "ceilings": None,
        "measurements": [],
        "left_out": [],
        "failed": [],
        "notes": [],
    }


def write(path: Path, result: Record) -> None:
    """Put a result in place of the file, all or nothing."""
    check(result)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")


def read(path: Path) -> Record:
    """A result from a file.

    Raises
    ------
    FileNotFoundError
    ValueError
        Not a result of this schema.
    """
    try:
        result = json.loads(path.read_text("utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    try:
        check(result)
    except ValueError as error:
        raise ValueError(f"{path} is not a benchmark result: {error}") from error
    return dict(result)


def check(result: Any) -> None:
    """Require a whole result.

    Raises
    ------
    ValueError
        What is missing or out of place.
    """
    if not isinstance(result, dict) or result.get("schema") != SCHEMA:
        given = result.get("schema") if isinstance(result, dict) else type(result).__name__
        raise ValueError(f"expected schema {SCHEMA}, got {given}")
    kinds = {"synthetic": bool, "complete": bool, "machine": dict, "measurements": list, "failed": list}
    for name, kind in kinds.items():
        if not isinstance(result.get(name), kind):
            raise ValueError(f"expected {name} of type {kind.__name__}, got {result.get(name)!r}")
    for record in result["measurements"]:
        if not isinstance(record, dict) or not isinstance(record.get("key"), str) or "kind" not in record:
            raise ValueError(f"expected a measurement with key and kind, got {record!r:.80}")
        for name, contender in record.get("contenders", {}).items():
            if contender.get("status") not in STATUSES:
                raise ValueError(f"{record['key']}: {name} has status {contender.get('status')!r}")
            time = contender.get("cold", {}).get("median")
            if contender["status"] == "ok" and not _positive(time):
                raise ValueError(f"{record['key']}: {name} is ok, but its time is {time}")


def _positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value) and value > 0


def best(record: Record, family: str) -> Best | None:
    """Name and microseconds of the fastest of a family: "ours", "library" or "torch"."""
    timed = [
        (name, float(contender["cold"]["median"]))
        for name, contender in record.get("contenders", {}).items()
        if contender["family"] == family and contender["status"] == "ok"
    ]
    return min(timed, key=lambda pair: pair[1], default=None)


def wrong(result: Record) -> list[str]:
    """One sentence for every contender whose results were wrong."""
    return [
        f"{record['key']}: {name}: {contender.get('message', '')}"
        for record in result["measurements"]
        for name, contender in record.get("contenders", {}).items()
        if contender["status"] == "wrong"
    ]


def without_time(result: Record, status: str) -> dict[str, list[str]]:
    """Opponents that a measurement has no time of, for this reason: keys of the measurements, and a message.

    An opponent is a library, "cuDNN" or "PyTorch", ours is one too: it has a time where any of its ways to do the
    operation has.
    """
    found: dict[str, list[str]] = {}
    for record in result["measurements"]:
        ways: dict[str, list[Record]] = {}
        for name, contender in record.get("contenders", {}).items():
            ways.setdefault(name.partition(",")[0], []).append(contender)
        for name, tried in ways.items():
            reasons = [c.get("message", "") for c in tried if c["status"] == status]
            if reasons and not any(c["status"] == "ok" for c in tried):
                found.setdefault(name, []).append(f"{record['key']}: {reasons[0]}")
    return found
