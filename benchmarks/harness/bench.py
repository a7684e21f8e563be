"""Measuring one operation: prepare every contender, check it, capture it, time all in turn, caches cold and warm."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .. import ops
from . import check, timing
from .cases import Case, as_json
from .device import Arrays, Captured
from .results import OURS, Record
from .values import values_of

# Of each family so many variants enter the last, long measurement; the others were timed shortly and lost.
FINALISTS = 2


class Unavailable(Exception):
    """A library is not installed; the message says how to get it."""


class Unsupported(Exception):
    """A library cannot do this."""


class DeviceLost(RuntimeError):
    """The device answers nothing any more: a kernel failed, and only a new process can go on."""

    def __init__(self, contender: str, reason: str) -> None:
        super().__init__(f"{contender}: {reason}")
        self.contender, self.reason = contender, reason


@dataclass
class Prepared:
    """A contender that can run.

    Attributes
    ----------
    run : callable
        Enqueues one call on arrays of the set with this number, on the current stream.
    outputs : callable
        Host copies of set 0's outputs, by name.
    roundings : int
        Roundings to the output's type on the way to a result; see `check.problems`.
    detail : dict
        What to keep in the results: the engine, the workspace, what was tried.
    capture : callable, optional
        From a function to a `Captured` graph of all it enqueues; the device's own by default.
    retry : callable
        Turns to another algorithm after wrong results; False where there is none.
    """

    run: Callable[[int], Any]
    outputs: Callable[[], check.Outputs]
    roundings: int = check.THEIR_ROUNDINGS
    detail: Record = field(default_factory=dict)
    capture: Callable[[Callable[[], Any]], Captured] | None = None
    retry: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Contender:
    """One way to do an operation.

    Attributes
    ----------
    name : str
        In results.
    family : str
        ``ours``, ``library`` or ``torch``.
    prepare : callable
        From the bench to what runs on its arrays; what it opens it leaves to the bench's `cleanup`. Raises
        `Unavailable` or `Unsupported`.
    seconds : float
        What it is expected to take, for the time budget.
    """

    name: str
    family: str
    prepare: Callable[[Bench], Prepared]
    seconds: float = 1.0


class Bench:
    """Arrays of a case on the device, in several sets that together are larger than the cache.

    Parameters
    ----------
    case : Case
    device : Device
    plan_seconds : float
        How long a search through a library's algorithms may take.
    end : float
        By the device's clock of the host, when no contender may be begun any more.

    Attributes
    ----------
    cleanup : ExitStack
        Of the contender at work: closed when it has failed, or else when all have been timed.
    """

    def __init__(self, case: Case, device: Any, plan_seconds: float = 6.0, end: float = math.inf) -> None:
        self.case, self.device, self.plan_seconds, self.end = case, device, plan_seconds, end
        self.cleanup = ExitStack()
        self.module = ops.module(case.op)
        self.tensors = self.module.tensors(case)
        # Opponents may need as much again for outputs of their own and for workspace.
        fitting = max(1, int(0.3 * device.free_bytes() // max(1, self.tensors.resident_bytes)))
        count = min(fitting, timing.sets_for(self.tensors.resident_bytes, device.cache_bytes))
        self.sets = [self._arrays(i) for i in range(count)]

    def _arrays(self, index: int) -> Arrays:
        made = {name: self.device.empty(t.shape, t.dtype) for name, t in self.tensors.all().items()}
        arrays = Arrays(self.device, made)
        self._fill(arrays, index)
        return arrays

    def _fill(self, arrays: Arrays, index: int) -> None:
        for name, tensor in {**self.tensors.inputs, **self.tensors.updated}.items():
            self.device.fill(arrays[name], name, tensor, index)

    def begin(self) -> None:
        """Set 0 as it was at first, its outputs poisoned."""
        self._fill(self.sets[0], 0)
        for name in self.tensors.outputs:
            self.device.poison(self.sets[0][name])

    def download(self) -> check.Outputs:
        """Host copies of what set 0's outputs and updated tensors hold."""
        names = [*self.tensors.outputs, *self.tensors.updated]
        return {name: self.device.download(self.sets[0][name]) for name in names}

    def samples(self) -> list[check.Sample]:
        """What some elements of set 0's outputs should be."""
        rng = np.random.default_rng(7)
        return list(self.module.samples(self.case, values_of(self.tensors), rng))


def ours(case: Case) -> Contender:
    """This package's own operation."""

    def prepare(bench: Bench) -> Prepared:
        for arrays in bench.sets:
            bench.module.prepare(case, arrays)
        detail: Record = {}
        with contextlib.suppress(Exception):  # the choice is for the record; the operation makes its own
            detail["launch"] = bench.module.launch(case)
        run = bench.module.ours
        return Prepared(lambda i: run(case, bench.sets[i]), bench.download, check.OUR_ROUNDINGS, detail)

    return Contender(OURS, OURS, prepare)


@dataclass
class _Entry:
    contender: Contender
    prepared: Prepared | None = None
    record: Record = field(default_factory=dict)
    cold: timing.Candidate | None = None
    cleanup: ExitStack = field(default_factory=ExitStack)


def measure(
    bench: Bench,
    contenders: list[Contender],
    seconds: float,
    stage: Callable[[str], None] = lambda name: None,
) -> Record:
    """The contenders' times: those that gave right results, the best of each family measured in turn.

    Parameters
    ----------
    bench : Bench
    contenders : list of Contender
    seconds : float
        For each of the two measurements in turn.
    stage : callable
        Told which contender is at work, so that another process knows which one took the device with it.

    Raises
    ------
    DeviceLost
        A contender's kernel failed and the device with it.
    """
    samples = bench.samples()
    entries = []
    for contender in contenders:
        stage(contender.name)
        entries.append(_enter(bench, contender, samples))
    finalists = _finalists(entries)
    for caches in ("cold", "warm"):
        candidates = [_candidate(bench, entry, caches) for entry in finalists]
        for name, times in timing.in_turn(bench.device, candidates, seconds).items():
            next(e for e in finalists if e.contender.name == name).record[caches] = times.to_json()
    for entry in finalists:
        assert entry.prepared is not None
        entry.record["kernels"] = _capture(bench, entry.prepared, [0]).kernels()
    bench.device.synchronize()
    for entry in entries:
        close(entry.cleanup)
    return _record(bench, {entry.contender.name: entry.record for entry in entries})


def close(cleanup: ExitStack) -> None:
    """Give back what a contender opened; its complaints are worth no measurement."""
    with contextlib.suppress(Exception):
        cleanup.close()


def _enter(bench: Bench, contender: Contender, samples: list[check.Sample]) -> _Entry:
    entry = _Entry(contender, record={"family": contender.family, "status": "ok"})
    if bench.device.now() >= bench.end:
        entry.record |= {"status": "left out", "message": "no time was left"}
        return entry
    bench.cleanup = entry.cleanup
    try:
        entry.prepared = prepared = contender.prepare(bench)
        entry.record["detail"] = prepared.detail
        if found := wrong(bench, prepared, samples):
            entry.record |= {"status": "wrong", "message": "; ".join(found)}
        else:
            entry.cold = _cold(bench, contender.name, prepared)
            shortly = timing.quick(bench.device, entry.cold)
            entry.record["cold"] = {"median": round(1e6 * shortly, 3), "rounds": 5, "shortly": True}
    except Unavailable as error:
        entry.record |= {"status": "unavailable", "message": str(error)}
    except Unsupported as error:
        entry.record |= {"status": "unsupported", "message": str(error)}
    except Exception as error:  # whatever a library raises: the others go on
        message = f"{type(error).__name__}: {error}"[:500]
        try:
            bench.device.synchronize()
        except Exception as lost:
            raise DeviceLost(contender.name, message) from lost
        entry.record |= {"status": "failed", "message": message}
    if entry.record["status"] != "ok":
        entry.prepared = entry.cold = None
        close(entry.cleanup)
    return entry


def wrong(bench: Bench, prepared: Prepared, samples: list[check.Sample]) -> list[str]:
    """What is wrong with a contender's results, once it has no other algorithm to turn to."""
    while True:
        bench.begin()
        prepared.run(0)
        bench.device.synchronize()
        found = check.problems(prepared.outputs(), samples, prepared.roundings)
        if not found or not prepared.retry():
            return found
        prepared.detail.setdefault("rejected", []).append("; ".join(found)[:200])


def _capture(bench: Bench, prepared: Prepared, indices: list[int]) -> Captured:
    def enqueue() -> None:
        for index in indices:
            prepared.run(index)

    captured: Captured = (prepared.capture or bench.device.capture)(enqueue)
    return captured


def _cold(bench: Bench, name: str, prepared: Prepared) -> timing.Candidate:
    """All sets in turn, often enough that a replay takes long."""
    sets = list(range(len(bench.sets)))
    candidate = timing.Candidate(name, _capture(bench, prepared, sets).replay, len(sets))
    calls = timing.calls_for(timing.quick(bench.device, candidate, 3), len(sets))
    if calls > len(sets):
        candidate = timing.Candidate(name, _capture(bench, prepared, sets * (calls // len(sets))).replay, calls)
    return candidate


def _candidate(bench: Bench, entry: _Entry, caches: str) -> timing.Candidate:
    assert entry.prepared is not None
    assert entry.cold is not None
    if caches == "cold":
        return entry.cold
    calls = max(8, entry.cold.calls)
    return timing.Candidate(entry.contender.name, _capture(bench, entry.prepared, [0] * calls).replay, calls)


def _finalists(entries: list[_Entry]) -> list[_Entry]:
    timed = [e for e in entries if e.cold is not None]
    chosen = []
    for family in dict.fromkeys(e.contender.family for e in timed):
        members = sorted((e for e in timed if e.contender.family == family), key=lambda e: e.record["cold"]["median"])
        chosen += members[:FINALISTS]
    return chosen


def _record(bench: Bench, contenders: Record) -> Record:
    case, tensors = bench.case, bench.tensors
    return {
        "kind": "op",
        "key": case.key,
        **asdict(case),
        "flops": bench.module.flops(case),
        "floor_bytes": tensors.floor_bytes,
        "tensors": as_json(tensors.all()),
        "sets": len(bench.sets),
        "contenders": contenders,
    }
