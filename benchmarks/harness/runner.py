"""Going through the jobs: one worker process after the other, the results written after every measurement."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
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
# The worker begins nothing in the last seconds: by then it has finished what it was at, or loses it.
_LAST_SECONDS = 8.0


class Lost(Exception):
    """The worker is gone; `stage` is the contender that was at work, if any."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage, self.message = stage, message


class NoDevice(Exception):
    """The worker found no GPU."""


class OutOfTime(Exception):
    """The run's time ended before the job did."""


class Failed(Exception):
    """A job failed, the worker goes on."""


class Worker(Protocol):
    """What `run` needs of a worker."""

    machine: Record

    def do(self, job: Record, silence: float, left: float) -> Record:
        """The record of a job. Raises `Lost`, `OutOfTime` or `Failed`."""

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

    def do(self, job: Record, silence: float, left: float) -> Record:
        """The record of a job; `silence` is the longest that is waited through, `left` the time for all of it."""
        assert self.process.stdin is not None
        stage, end = "", time.monotonic() + left
        try:
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise Lost(stage, "the process is gone") from error
        while True:
            rest = end - time.monotonic()
            try:
                message = self._message(stage, max(0.0, min(silence, rest)))
            except Lost as error:
                if time.monotonic() >= end:
                    raise OutOfTime from error
                raise
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
    workers = _Workers(start, result)
    shared: Record = {"settings": {}, "plans": {}}
    try:
        for job in jobs:
            if not budget.admits(job):
                result["left_out"].append(job.key)
                continue
            lost: dict[str, str] = {}
            record = _attempt(job, workers, budget, {"shared": shared, "plan_seconds": plan_seconds}, result, lost)
            if job.kind == "towers":
                workers.drop()  # it ran under a profiler, whose hooks would stay in every later launch
            _keep(result, job, record, lost, shared)
            save(result)
            say(line(job, record, lost))
        result["complete"] = not result["left_out"]
        if left_out := result["left_out"]:
            say(f"out of time: {len(left_out)} measurements left out, the first of them {left_out[0]}")
    finally:
        workers.drop()
    save(result)
    return result


class _Workers:
    """The worker there is, or the next one."""

    def __init__(self, start: Callable[[], Worker], result: Record) -> None:
        self._start, self._result = start, result
        self._worker: Worker | None = None

    def get(self) -> Worker:
        if self._worker is None:
            self._worker = self._start()
            self._result["machine"] = self._result["machine"] or self._worker.machine
        return self._worker

    def drop(self) -> None:
        if self._worker is not None:
            self._worker.stop()
        self._worker = None


def _attempt(
    job: Job, workers: _Workers, budget: Budget, order: Record, result: Record, lost: dict[str, str]
) -> Record | None:
    """A job's record; None where it failed or time ran out, which is in the result then, and who was lost in `lost`."""
    for _ in range(ATTEMPTS):
        try:
            worker = workers.get()
            left = max(0.0, budget.left - _LAST_SECONDS)
            whole = {**job.to_json(), **order, "excluded": list(lost), "left": left}
            return worker.do(whole, 2 * job.seconds + 60, budget.left)
        except Failed as error:
            result["failed"].append(f"{job.key}: {error}")
            return None
        except OutOfTime:
            workers.drop()
            result["left_out"].append(job.key)
            return None
        except Lost as error:
            workers.drop()
            lost[error.stage or "unknown"] = error.message
    result["failed"].append(f"{job.key}: the device was lost {ATTEMPTS} times: {', '.join(lost)}")
    return None


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
        return f"{job.key}: no result{' after losing the device' if lost else ''}"
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
