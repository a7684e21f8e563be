"""The process that holds the device: takes jobs as lines of JSON, answers with lines of JSON.

A kernel that fails takes the CUDA context with it, and a process has but one. So the measurements run here, and the
process that keeps the results (`runner.py`) starts another of these when one is lost.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TextIO

from . import machine, roofline, steps, towers
from .bench import Bench, measure
from .cases import Case
from .contest import DeviceLost, message_of
from .device import Device, NoDevice
from .results import Record

LOST, NO_DEVICE = 3, 4  # exit codes
OP_SECONDS, STEP_SECONDS = 0.4, 2.0
Send = Callable[[Record], None]


def do(job: Record, device: Any, send: Send) -> Record:
    """The record of a job.

    Raises
    ------
    DeviceLost
        A kernel failed; nothing more can be done in this process.
    """

    def stage(name: str) -> None:
        send({"stage": name})

    kind, options = job["kind"], job["options"]
    excluded, shared = job.get("excluded", []), job.get("shared", {})
    end = device.now() + job.get("left", math.inf)
    if kind == "ceilings":
        found, detail = roofline.measure(device)
        return {"kind": "ceilings", "key": job["key"], "ceilings": asdict(found), "detail": detail}
    if kind == "step":
        return steps.measure(device, options, shared, STEP_SECONDS, excluded, stage, end)
    if kind == "towers":
        stage("two towers")
        return towers.measure(device, options, STEP_SECONDS)
    from .. import opponents

    case = Case.from_key(job["key"])
    bench = Bench(case, device, job.get("plan_seconds", 6.0), end)
    contenders = [c for c in opponents.contenders(case) if c.name not in excluded]
    return measure(bench, contenders, OP_SECONDS, stage)


def serve(jobs: TextIO, send: Send, device: Any, read: Callable[[], dict[str, float]] | None) -> int:
    """Answer jobs until there are no more; the exit code."""
    monitor = machine.Monitor(read)
    for line in jobs:
        job = json.loads(line)
        try:
            with monitor.watch() as clocks:
                record = do(job, device, send)
            record["clocks"] = clocks
            send({"record": record})
        except DeviceLost as lost:
            send({"lost": lost.contender, "message": lost.reason})
            return LOST
        except Exception as error:  # this job alone failed, if the device still answers
            message = message_of(error)
            try:
                device.synchronize()
            except Exception:
                send({"lost": "", "message": message})
                return LOST
            send({"failed": message})
        steps.tidy(device)
    return 0


def main() -> int:
    """Talk over standard input and output; what libraries print goes to standard error."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def send(message: Record) -> None:
        out.write(json.dumps(message) + "\n")

    try:
        device = Device()
        send({"machine": {**machine.describe(device), **device.machine}})
    except NoDevice as error:
        send({"no_device": str(error)})
        return NO_DEVICE
    return serve(sys.stdin, send, device, machine.sensors(device.bus_id))
