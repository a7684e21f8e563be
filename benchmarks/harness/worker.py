"""The process that holds the device: takes jobs through a pipe, answers with who is at work and with records.

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
from multiprocessing.connection import Connection
from typing import Any

from .. import opponents
from . import machine, roofline, steps, towers
from .bench import Bench, measure
from .cases import Case
from .contest import DeviceLost, message_of, tidy
from .device import Device, NoDevice
from .results import Record

OP_SECONDS, STEP_SECONDS = 0.4, 2.0


def do(job: Record, device: Any, send: Callable[[Record], None]) -> Record:
    """The record of a job.

    Raises
    ------
    DeviceLost
        A kernel failed; nothing more can be done in this process.
    """

    def stage(name: str) -> None:
        send({"stage": name})

    kind, options, excluded, end = (
        job["kind"],
        job["options"],
        job["excluded"],
        device.now() + job.get("left", math.inf),
    )
    if kind == "ceilings":
        found, detail = roofline.measure(device)
        return {"kind": "ceilings", "key": job["key"], "ceilings": asdict(found), "detail": detail}
    if kind == "step":
        return steps.measure(device, options, job["shared"], STEP_SECONDS, excluded, stage, end)
    if kind == "towers":
        stage("two towers")
        return towers.measure(device, options, STEP_SECONDS)
    case = Case.from_key(job["key"])
    bench = Bench(case, device, job["plan_seconds"], end)
    return measure(bench, [c for c in opponents.contenders(case) if c.name not in excluded], OP_SECONDS, stage)


def serve(pipe: Connection, device: Any, read: Callable[[], dict[str, float]] | None) -> None:
    """Answer jobs until there are no more, or the device is lost."""
    monitor = machine.Monitor(read)
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        try:
            with monitor.watch() as clocks:
                record = do(job, device, pipe.send)
            plain = json.loads(json.dumps({**record, "clocks": clocks}))  # nothing of a library's own types
            pipe.send({"record": plain})
        except DeviceLost as lost:
            return pipe.send({"lost": lost.contender, "message": lost.reason})
        except Exception as error:  # this job alone failed, if the device still answers
            try:
                device.synchronize()
            except Exception:
                return pipe.send({"lost": "", "message": message_of(error)})
            pipe.send({"failed": message_of(error)})
        tidy(device)


def main(pipe: Connection) -> None:
    """What the process runs; what libraries print goes to standard error."""
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        device = Device()
        pipe.send({"machine": {**machine.describe(device), **device.machine}})
    except NoDevice as error:
        return pipe.send({"no_device": str(error)})
    serve(pipe, device, machine.sensors(device.bus_id))
