"""Measuring one operation: set every contender up, check it, time all of them interleaved, caches cold and warm."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from .. import ops
from . import check, timing
from .cases import Case, of_role
from .contest import Wrong, attempt, close
from .device import Captured
from .results import OURS, Record

# Of each family so many variants enter the last, long measurement; the others were timed provisionally and lost.
FINALISTS = 2


@dataclass
class Prepared:
    """A contender that can run.

    Attributes
    ----------
    run : callable
        Enqueues one call on arrays of the set with this number, on the current stream.
    outputs : callable
        Host copies of set 0's outputs, by name and of the case's shapes.
    detail : dict
        What to keep in the results: the engine, the workspace, what was tried.
    capture : callable, optional
        From a function to a `Captured` graph of all it enqueues; the device's own by default.
    retry : callable
        Turns to another algorithm after wrong results; False where there is none.
    """

    run: Callable[[int], Any]
    outputs: Callable[[], check.Outputs]
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
        self.operation = ops.of(case)
        self.tensors = self.operation.tensors(case)
        size = sum(t.nbytes for t in self.tensors.values())
        # Opponents may need as much again for outputs of their own and for workspace.
        fitting = max(1, int(0.3 * device.free_bytes() // size))
        count = min(fitting, timing.sets_for(size, device.cache_bytes))
        self.sets = [{n: device.empty(t.shape, t.dtype) for n, t in self.tensors.items()} for _ in range(count)]
        for i in range(count):
            self._fill(i)

    def _fill(self, index: int) -> None:
        for name, tensor in of_role(self.tensors, "input", "updated").items():
            self.device.fill(self.sets[index][name], name, tensor, index)

    def begin(self) -> None:
        """Set 0 as it was at first, its outputs poisoned."""
        self._fill(0)
        for name in of_role(self.tensors, "output"):
            self.device.poison(self.sets[0][name])

    def download(self, **other: Any) -> check.Outputs:
        """Host copies of what set 0's outputs and updated tensors hold, or of some others under their names."""
        arrays = other or {name: self.sets[0][name] for name in of_role(self.tensors, "output", "updated")}
        return {name: self.device.download(array) for name, array in arrays.items()}


def ours(case: Case) -> Contender:
    """This package's own operation."""

    def prepare(bench: Bench) -> Prepared:
        for arrays in bench.sets:
            bench.operation.prepare(case, arrays, bench.device.upload, {})
        detail: Record = {}
        with contextlib.suppress(Exception):  # the choice is for the record; the operation makes its own
            detail["launch"] = bench.operation.launch(case, bench.device.machine)
        return Prepared(lambda i: bench.operation.call(case, bench.sets[i]), bench.download, detail)

    return Contender(OURS, OURS, prepare)


@dataclass
class _Entry:
    contender: Contender
    record: Record
    prepared: Prepared | None = None
    cold: timing.Candidate | None = None
    cleanup: ExitStack = field(default_factory=ExitStack)


def measure(
    bench: Bench,
    contenders: list[Contender],
    seconds: float,
    stage: Callable[[str], None] = lambda name: None,
) -> Record:
    """The contenders' times: of those that gave right results, the best of each family measured interleaved.

    Parameters
    ----------
    bench : Bench
    contenders : list of Contender
    seconds : float
        For each of the two interleaved measurements.
    stage : callable
        Told which contender is at work, so that another process knows which one took the device with it.

    Raises
    ------
    DeviceLost
        A contender's kernel failed and the device with it.
    """
    wanted = check.expected(bench.case)
    entries = []
    for contender in contenders:
        stage(contender.name)
        entries.append(_enter(bench, contender, wanted))
    finalists = _finalists(entries)
    for caches in ("cold", "warm"):
        candidates = [_candidate(bench, entry, caches) for entry in finalists]
        times = timing.interleaved(bench.device, candidates, seconds)
        for entry in finalists:
            entry.record[caches] = times[entry.contender.name]
    for entry in finalists:
        entry.record["kernels"] = _capture(bench, entry, [0]).kernels()
    bench.device.synchronize()
    for entry in entries:
        close(entry.cleanup)
    case, tensors = bench.case, {name: [list(t.shape), t.dtype] for name, t in bench.tensors.items()}
    sizes = {"flops": bench.operation.flops(case), "floor_bytes": bench.operation.floor_bytes(case)}
    made: Record = {"kind": "op", "key": case.key, **asdict(case), **sizes, "tensors": tensors, "sets": len(bench.sets)}
    return {**made, "contenders": {entry.contender.name: entry.record for entry in entries}}


def _enter(bench: Bench, contender: Contender, wanted: dict[str, check.Expected]) -> _Entry:
    entry = _Entry(contender, {"family": contender.family})
    if bench.device.now() >= bench.end:
        entry.record |= {"status": "left out", "message": "no time was left"}
        return entry

    def make(cleanup: ExitStack) -> timing.Candidate:
        bench.cleanup = cleanup
        entry.prepared = contender.prepare(bench)
        entry.record["detail"] = entry.prepared.detail
        if found := wrong(bench, entry.prepared, wanted, contender.family == OURS):
            raise Wrong("; ".join(found))
        cold = _cold(bench, entry)
        entry.record["cold"] = timing.provisional(timing.quick(bench.device, cold))
        return cold

    entry.cold, status, entry.cleanup = attempt(bench.device, contender.name, make)
    entry.record |= status
    if entry.cold is None:
        entry.prepared = None  # what it held is needed no longer
        entry.record.pop("cold", None)
    return entry


def wrong(bench: Bench, prepared: Prepared, wanted: dict[str, check.Expected], ours: bool) -> list[str]:
    """What is wrong with a contender's results, once it has no other algorithm to turn to."""
    while True:
        bench.begin()
        prepared.run(0)
        bench.device.synchronize()
        found = check.problems(prepared.outputs(), wanted, ours)
        if not found or not prepared.retry():
            return found
        prepared.detail.setdefault("rejected", []).append("; ".join(found)[:200])


def _capture(bench: Bench, entry: _Entry, indices: list[int]) -> Captured:
    prepared = entry.prepared
    assert prepared is not None

    def enqueue() -> None:
        for index in indices:
            prepared.run(index)

    captured: Captured = (prepared.capture or bench.device.capture)(enqueue)
    return captured


def _cold(bench: Bench, entry: _Entry) -> timing.Candidate:
    """All sets one after the other, often enough that a replay takes long."""
    name, sets = entry.contender.name, list(range(len(bench.sets)))
    candidate = timing.Candidate(name, _capture(bench, entry, sets).replay, len(sets))
    calls = timing.calls_for(timing.quick(bench.device, candidate, 3), len(sets))
    if calls > len(sets):
        candidate = timing.Candidate(name, _capture(bench, entry, sets * (calls // len(sets))).replay, calls)
    return candidate


def _candidate(bench: Bench, entry: _Entry, caches: str) -> timing.Candidate:
    assert entry.cold is not None
    if caches == "cold":
        return entry.cold
    calls = max(8, entry.cold.calls)
    return timing.Candidate(entry.contender.name, _capture(bench, entry, [0] * calls).replay, calls)


def _finalists(entries: list[_Entry]) -> list[_Entry]:
    timed = sorted((e for e in entries if e.cold is not None), key=lambda e: float(e.record["cold"]["median"]))
    families = dict.fromkeys(e.contender.family for e in entries)
    return [e for f in families for e in [e for e in timed if e.contender.family == f][:FINALISTS]]
