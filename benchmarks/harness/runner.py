"""Going through the jobs: one worker process after the other, the results written after every measurement."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Any

from . import results, worker
from .device import NoDevice
from .results import Record
from .roofline import Ceilings
from .schedule import Budget, Job

ATTEMPTS = 3  # each without the contender that took the device with it
_START_SECONDS = 120.0
# The worker begins nothing in the last seconds: by then it has finished what it was at, or loses it.
_LAST_SECONDS = 8.0


class Lost(Exception):
    """The worker is gone; `stage` is the contender that was at work, if any."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage, self.message = stage, message


class OutOfTime(Exception):
    """The run's time ended before the job did."""


class Failed(Exception):
    """A job failed, the worker goes on."""


class Process:
    """A worker in a process of its own, begun anew and not forked: CUDA would not survive that.

    `main` runs in it, from its end of a pipe. Raises `NoDevice` where there is no usable GPU.
    """

    def __init__(self, main: Callable[[Connection], Any] = worker.main) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=main, args=(other,))
        self.process.start()
        other.close()  # so that the end of the process is the end of the pipe
        first = self._message("", _START_SECONDS)
        if "no_device" in first:
            self.stop()
            raise NoDevice(first["no_device"])
        self.machine: Record = first["machine"]

    def _message(self, stage: str, seconds: float) -> Record:
        if not self.pipe.poll(seconds):
            self.process.kill()
            self.stop()
            raise Lost(stage, f"no answer within {seconds:.0f} s")
        try:
            return dict(self.pipe.recv())
        except (EOFError, ConnectionError):
            self.process.join()
            raise Lost(stage, f"the process ended with code {self.process.exitcode}") from None

    def do(self, job: Record, silence: float, left: float) -> Record:
        """The record of a job; `silence` is the longest that is waited through, `left` the time for all of it.

        Raises `Lost`, `OutOfTime` or `Failed`.
        """
        stage, end = "", time.monotonic() + left
        try:
            self.pipe.send(job)
        except OSError as error:
            raise Lost(stage, "the process is gone") from error
        while True:
            try:
                message = self._message(stage, max(0.0, min(silence, end - time.monotonic())))
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
        self.pipe.close()
        self.process.join(timeout=5)
        self.process.kill()
        self.process.join()


class Run:
    """A run through jobs, with as many workers one after the other as it takes.

    `start` makes a worker, in tests what has the `machine`, `do` and `stop` of a `Process`. What is measured comes into
    `result`, with which `save` is called after every measurement; `say` is told in a line what each gave.
    """

    def __init__(
        self,
        budget: Budget,
        start: Callable[[], Any],
        result: Record,
        save: Callable[[Record], None],
        say: Callable[[str], None],
        plan_seconds: float = 6.0,
    ) -> None:
        self.budget, self.start, self.result, self.save, self.say = budget, start, result, save, say
        self.shared: Record = {"settings": {}, "plans": {}}
        self.order = {"shared": self.shared, "plan_seconds": plan_seconds}
        self.worker: Any = None

    def all(self, jobs: list[Job]) -> None:
        """Do the jobs in order, each for which there is still time; `NoDevice` where nothing was measured."""
        left_out = self.result["left_out"]
        try:
            for job in jobs:
                if not self.budget.admits(job):
                    left_out.append(job.key)
                    continue
                lost: dict[str, str] = {}
                record = self._attempt(job, lost)
                if job.kind == "towers":
                    self._drop()  # it ran under a profiler, whose hooks would stay in every later launch
                self._keep(job, record, lost)
                self.save(self.result)
                self.say(line(job, record, lost))
            self.result["complete"] = not left_out
            if left_out:
                self.say(f"out of time: {len(left_out)} measurements left out, the first of them {left_out[0]}")
        finally:
            self._drop()
        self.save(self.result)

    def _drop(self) -> None:
        if self.worker is not None:
            self.worker.stop()
        self.worker = None

    def _attempt(self, job: Job, lost: dict[str, str]) -> Record | None:
        """A job's record; None where it failed or time ran out, which is in the result then. Fills `lost`."""
        for _ in range(ATTEMPTS):
            try:
                if self.worker is None:
                    self.worker = self.start()
                    self.result["machine"] = self.result["machine"] or self.worker.machine
                left = max(0.0, self.budget.left - _LAST_SECONDS)
                whole = {**asdict(job), **self.order, "excluded": list(lost), "left": left}
                return dict(self.worker.do(whole, 2 * job.seconds + 60, self.budget.left))
            except Failed as error:
                self.result["failed"].append(f"{job.key}: {error}")
                return None
            except OutOfTime:
                self._drop()
                self.result["left_out"].append(job.key)
                return None
            except Lost as error:
                self._drop()
                lost[error.stage or "unknown"] = error.message
        self.result["failed"].append(f"{job.key}: the device was lost {ATTEMPTS} times: {', '.join(lost)}")
        return None

    def _keep(self, job: Job, record: Record | None, lost: dict[str, str]) -> None:
        for stage, message in lost.items():
            self.result["notes"].append(f"{job.key}: {stage} took the device with it: {message}")
        if record is None:
            return
        for stage, message in lost.items():
            family = "ours" if stage == results.OURS else "torch" if stage.startswith("PyTorch") else "library"
            record.setdefault("contenders", {})[stage] = {"family": family, "status": "failed", "message": message}
        if record["kind"] == "ceilings":
            self.result["ceilings"], self.result["ceilings_detail"] = record["ceilings"], record.get("detail")
            return
        self.result["measurements"].append(record)
        if record.get("settings"):
            self.shared["settings"].setdefault(record["mode"], record["settings"])
        # Which plan of cuDNN was fastest, for the step that is made of them.
        plain = {name: c for name, c in record.get("contenders", {}).items() if "padded" not in name}
        fastest = results.best({"contenders": plain}, "library")
        if fastest is not None and job.key.startswith("conv2d."):
            variant, engine = fastest[0].partition(", ")[2], plain[fastest[0]]["detail"]["engine"]
            self.shared["plans"][job.key] = [variant, engine]


def line(job: Job, record: Record | None, lost: dict[str, str]) -> str:
    """What to say of a measurement."""
    if record is None:
        return f"{job.key}: no result{' after losing the device' if lost else ''}"
    if record["kind"] == "ceilings":
        ceilings = Ceilings(**record["ceilings"])
        return f"ceilings: {ceilings}, launch {1e6 * ceilings.launch:.1f} us"
    parts = [f"{job.key}:"]
    for family in ("ours", "library", "torch"):
        if found := results.best(record, family):
            parts.append(f"{family} {found[1]:.1f} us" + ("" if family == "ours" else f" ({found[0]})"))
    for name, contender in record.get("contenders", {}).items():
        if contender["status"] not in ("ok", "unsupported"):
            parts.append(f"[{name}: {contender['status']}: {contender.get('message', '')[:160]}]")
    return " ".join(parts)
