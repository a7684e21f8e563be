"""Measuring one operation: set every contender up, check it, time all of them interleaved, caches cold and warm."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from .. import ops
from ..ops import launch
from . import check, timing
from .cases import Case, of_role
from .contest import Contest, Wrong
from .device import Captured
from .results import OURS, Record
from .timing import Candidate

# Of each family so many variants enter the last, long measurement; the others were timed provisionally and lost.
FINALISTS = 2


@dataclass
class Prepared:
    """A contender that can run, on the arrays of the set with a number and on the current stream."""

    run: Callable[[int], Any]
    outputs: Callable[[], check.Outputs]  # host copies of set 0's, of the case's shapes
    detail: Record = field(default_factory=dict)  # for the results: the engine, the workspace, what was tried
    capture: Callable[[Callable[[], Any]], Captured] | None = None  # where the device's own is not to be used
    retry: Callable[[], bool] = lambda: False  # turns to another algorithm after wrong results, if there is one


@dataclass(frozen=True)
class Contender:
    """One way to do an operation; `seconds` are what it is expected to take, for the time budget.

    `prepare` may raise `Unavailable` or `Unsupported`, and leaves what it opens to the bench's `cleanup`.
    """

    name: str
    family: str  # "ours", "library" or "torch"
    prepare: Callable[[Bench], Prepared]
    seconds: float = 1.0


class Bench:
    """Arrays of a case on the device, in several sets that together are larger than the cache.

    A search through a library's algorithms may take `plan_seconds`; after `end`, by the device's clock of the host, no
    contender is begun. `cleanup` is that of the contender at work.
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
            detail["launch"] = launch.choice(case, bench.device.machine)
        return Prepared(lambda i: bench.operation.call(case, bench.sets[i]), bench.download, detail)

    return Contender(OURS, OURS, prepare)


def measure(
    bench: Bench,
    contenders: list[Contender],
    seconds: float,
    stage: Callable[[str], None] = lambda name: None,
) -> Record:
    """The contenders' times: of those that gave right results, the best of each family measured interleaved.

    That takes `seconds` twice; `stage` is told which contender is at work, so that another process knows which one took
    the device with it.

    Raises
    ------
    DeviceLost
        A contender's kernel failed and the device with it.
    """
    wanted, contest = check.expected(bench.case), Contest(bench.device, stage, end=bench.end)
    for contender in contenders:
        ready = functools.partial(_ready, bench, contender, wanted)
        contest.enter(contender.name, contender.family, ready)
    finalists = {name: contest.ready[name] for name in _finalists(contest)}
    cold = [candidate for _, candidate in finalists.values()]
    warm = []
    for name, (prepared, candidate) in finalists.items():
        calls = max(8, candidate.calls)
        warm.append(Candidate(name, _replay(bench, prepared, [0] * calls), calls))
    for caches, candidates in (("cold", cold), ("warm", warm)):
        for name, times in timing.interleaved(bench.device, candidates, seconds).items():
            contest.records[name][caches] = times
    for name, (prepared, _) in finalists.items():
        contest.records[name]["kernels"] = _capture(bench, prepared, [0]).kernels()
    contest.leave()
    case, tensors = bench.case, {name: [list(t.shape), t.dtype] for name, t in bench.tensors.items()}
    sizes = {"flops": bench.operation.flops(case), "floor_bytes": bench.operation.floor_bytes(case)}
    made: Record = {"kind": "op", "key": case.key, **asdict(case), **sizes, "tensors": tensors, "sets": len(bench.sets)}
    return {**made, "contenders": contest.records}


def _ready(
    bench: Bench, contender: Contender, wanted: check.Wanted, record: Record, cleanup: ExitStack
) -> tuple[Prepared, Candidate]:
    """A contender that gave right results, and what goes through all sets, often enough that a replay takes long."""
    bench.cleanup = cleanup
    prepared = contender.prepare(bench)
    record["detail"] = prepared.detail
    if found := wrong(bench, prepared, wanted, contender.family == OURS):
        raise Wrong("; ".join(found))
    sets = list(range(len(bench.sets)))
    cold = Candidate(contender.name, _replay(bench, prepared, sets), len(sets))
    calls = timing.calls_for(timing.quick(bench.device, cold, 3), len(sets))
    if calls > len(sets):
        cold = Candidate(contender.name, _replay(bench, prepared, sets * (calls // len(sets))), calls)
    record["cold"] = timing.provisional(timing.quick(bench.device, cold))
    return prepared, cold


def wrong(bench: Bench, prepared: Prepared, wanted: check.Wanted, ours: bool) -> list[str]:
    """What is wrong with a contender's results, once it has no other algorithm to turn to."""
    while True:
        bench.begin()
        prepared.run(0)
        bench.device.synchronize()
        found = check.problems(prepared.outputs(), wanted, ours)
        if not found or not prepared.retry():
            return found
        prepared.detail.setdefault("rejected", []).append("; ".join(found)[:200])


def _capture(bench: Bench, prepared: Prepared, indices: list[int]) -> Captured:
    return (prepared.capture or bench.device.capture)(lambda: [prepared.run(index) for index in indices])


def _replay(bench: Bench, prepared: Prepared, indices: list[int]) -> Callable[[], Any]:
    return _capture(bench, prepared, indices).replay


def _finalists(contest: Contest) -> list[str]:
    by_time = sorted(contest.ready, key=lambda name: float(contest.records[name]["cold"]["median"]))
    families = dict.fromkeys(record["family"] for record in contest.records.values())
    return [n for f in families for n in [n for n in by_time if contest.records[n]["family"] == f][:FINALISTS]]
