"""Going through the jobs: one worker process after the other, the results written after every measurement."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from . import results
from .cases import Case
from .results import Record
from .schedule import Budget, Job

ROOT = Path(__file__).resolve().parents[2]
ATTEMPTS = 3  # each without the contender that took the device with it
_START_SECONDS = 120.0


class Lost(Exception):
    """The worker is gone; `stage` is the contender that was at work, if any."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage, self.message = stage, message


class NoDevice(Exception):
    """The worker found no GPU."""


class Failed(Exception):
    """A job failed, the worker goes on."""


class Worker(Protocol):
    """What `run` needs of a worker."""

    machine: Record

    def do(self, job: Record, seconds: float) -> Record:
        """The record of a job. Raises `Lost` or `Failed`."""

    def stop(self) -> None:
        """End it."""


class Process:
    """A worker in a process of its own.

    Raises
    ------
    NoDevice
        There is no usable GPU.
    """

    def __init__(self, command: list[str] | None = None) -> None:
        command = command or [sys.executable, str(ROOT / "benchmarks" / "run_all.py"), "--worker"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.messages: queue.Queue[Record | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        first = self._message("", _START_SECONDS)
        if "no_device" in first:
            self.stop()
            raise NoDevice(first["no_device"])
        self.machine: Record = first["machine"]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with contextlib.suppress(json.JSONDecodeError):
                self.messages.put(json.loads(line))
        self.messages.put(None)

    def _message(self, stage: str, seconds: float) -> Record:
        try:
            message = self.messages.get(timeout=seconds)
        except queue.Empty:
            self.process.kill()  # what hangs does not read its input either
            self.stop()
            raise Lost(stage, f"no answer within {seconds:.0f} s") from None
        if message is None:
            raise Lost(stage, f"the process ended with code {self.process.wait()}")
        return message

    def do(self, job: Record, seconds: float) -> Record:
        """The record of a job; `seconds` is the longest silence that is waited through."""
        assert self.process.stdin is not None
        stage = ""
        try:
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise Lost(stage, "the process is gone") from error
        while True:
            message = self._message(stage, seconds)
            if "stage" in message:
                stage = message["stage"]
            elif "lost" in message:
                raise Lost(message["lost"] or stage, message["message"])
            elif "failed" in message:
                raise Failed(message["failed"])
            else:
                return dict(message["record"])

    def stop(self) -> None:
        """End the process, by force if it does not answer."""
        with contextlib.suppress(OSError):
            if self.process.stdin is not None:
                self.process.stdin.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def run(
    jobs: list[Job],
    budget: Budget,
    start: Callable[[], Worker],
    result: Record,
    save: Callable[[Record], None],
    say: Callable[[str], None] = print,
    plan_seconds: float = 6.0,
) -> Record:
    """Do the jobs in order, each for which there is still time; `save` is called with the result after each.

    Raises
    ------
    NoDevice
        There is no GPU. Nothing was measured.
    """
    worker: Worker | None = None
    shared: Record = {"settings": {}, "plans": {}}
    try:
        for job in jobs:
            if not budget.admits(job):
                result["left_out"].append(job.key)
                continue
            lost: dict[str, str] = {}
            record: Record | None = None
            for _ in range(ATTEMPTS):
                try:
                    if worker is None:
                        worker = start()
                        result["machine"] = result["machine"] or worker.machine
                    order = {**job.to_json(), "excluded": list(lost), "shared": shared, "plan_seconds": plan_seconds}
                    record = worker.do(order, 4 * job.seconds + 60)
                    break
                except Failed as error:
                    result["notes"].append(f"{job.key}: {error}")
                    break
                except Lost as error:
                    lost[error.stage or "unknown"] = error.message
                    if worker is not None:
                        worker.stop()
                    worker = None
            if job.kind == "towers" and worker is not None:
                # It ran under a profiler, whose hooks would stay in every later launch.
                worker.stop()
                worker = None
            _keep(result, job, record, lost, shared)
            save(result)
            say(line(job, record, lost))
        result["complete"] = not result["left_out"]
        if left_out := result["left_out"]:
            say(f"out of time: {len(left_out)} measurements left out, the first of them {left_out[0]}")
    finally:
        if worker is not None:
            worker.stop()
    save(result)
    return result


def _keep(result: Record, job: Job, record: Record | None, lost: dict[str, str], shared: Record) -> None:
    for stage, message in lost.items():
        result["notes"].append(f"{job.key}: {stage} took the device with it: {message}")
    if record is None:
        return
    for stage, message in lost.items():
        family = "ours" if stage == results.OURS else "torch" if stage.startswith("PyTorch") else "library"
        record.setdefault("contenders", {})[stage] = {"family": family, "status": "failed", "message": message}
    if record["kind"] == "ceilings":
        result["ceilings"], result["ceilings_detail"] = record["ceilings"], record.get("detail")
        return
    result["measurements"].append(record)
    if record.get("settings"):
        shared["settings"].setdefault(record["mode"], record["settings"])
    if job.kind == "op":
        _keep_plan(record, shared)


def _keep_plan(record: Record, shared: Record) -> None:
    """Which plan of cuDNN's graph API was fastest, for the step that is made of them."""
    case = Case.from_key(record["key"])
    timed = [
        (results.time_of(c), name, c["detail"]["engine"])
        for name, c in results.contenders(record, "library")
        if c.get("detail", {}).get("api") == "graph" and "padded" not in name
    ]
    if case.op == "conv2d" and timed:
        _, name, engine = min(timed)
        shared["plans"][case.key] = [name.partition(", ")[2], engine]


def line(job: Job, record: Record | None, lost: dict[str, str]) -> str:
    """What to say of a measurement."""
    if record is None:
        return f"{job.key}: failed{' after losing the device' if lost else ''}"
    if record["kind"] == "ceilings":
        c = record["ceilings"]
        rates = ", ".join(f"{name} {rate / 1e12:.0f}" for name, rate in c["flops"].items())
        return f"ceilings: {c['bandwidth'] / 1e12:.2f} TB/s; TFLOP/s {rates}; launch {1e6 * c['launch']:.1f} us"
    parts = [f"{job.key}:"]
    for family in ("ours", "library", "torch"):
        if found := results.best(record, family):
            parts.append(f"{family} {found[1]:.1f} us" + ("" if family == "ours" else f" ({found[0]})"))
    for name, contender in record.get("contenders", {}).items():
        if contender["status"] not in ("ok", "unsupported"):
            parts.append(f"[{name}: {contender['status']}: {contender.get('message', '')[:160]}]")
    return " ".join(parts)
