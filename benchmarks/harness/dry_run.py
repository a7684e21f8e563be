"""What a run would measure, without a GPU: shapes, FLOPs, bytes, floors, our launch choices, predicted times."""

from __future__ import annotations

from .. import ops
from ..ops.launch import Machine, choice
from . import schedule, steps
from .cases import PLAN, Case
from .results import Record
from .roofline import Ceilings
from .towers import exchanged_bytes

# What a good kernel reaches of a ceiling, for operations whose launch choice models no time itself.
_BANDWIDTH_SHARE = 0.88


def row(case: Case, ceilings: Ceilings, machine: Machine) -> Record:
    """One case: its size, its floor, what our launch would be, and the time to expect of it."""
    operation = ops.of(case)
    flops, nbytes, launch = operation.flops(case), operation.floor_bytes(case), choice(case, machine)
    floor, bound = ceilings.floor(flops, nbytes, case.precision)
    predicted = max(launch.get("microseconds", 0.0), floor / _BANDWIDTH_SHARE)
    made: Record = {"key": case.key, "flops": flops, "bytes": nbytes, "floor_us": floor, "bound": bound}
    return {**made, "launch": launch, "predicted_us": predicted}


def step_row(batch: int, precision: str, mode: str, ceilings: Ceilings, machine: Machine) -> Record:
    """A whole step: the sums of its cases, one kernel at a time."""
    rows = [row(case, ceilings, machine) for case in steps.parts(batch, precision, mode)]
    floor, predicted = (sum(r[name] for r in rows) for name in ("floor_us", "predicted_us"))
    made = {"key": f"step.{mode}/{batch}/{precision}", "flops": steps.flops(mode, batch), "floor_us": floor}
    return {**made, "predicted_us": predicted, "images_per_second": 1e6 * batch / predicted}


def report(jobs: list[schedule.Job], ceilings: Ceilings, machine: Machine) -> str:
    """The whole table as text, in the order of a run."""
    lines = [
        f"ceilings: {ceilings.source}: {ceilings}",
        "every time is computed, none is measured",
        "",
        f"{'case':<48} {'GFLOP':>8} {'MB':>8} {'floor us':>9} {'bound':>8} {'expected':>9}  our launch",
    ]
    for job in jobs:
        o = job.options
        if job.kind == "op":
            lines.append(_op_line(row(Case.from_key(job.key), ceilings, machine)))
        elif job.kind == "step":
            r = step_row(o["batch"], o["precision"], o["mode"], ceilings, machine)
            size = f"{r['flops'] / 1e9:8.1f} {'':>8} {r['floor_us']:9.1f} {'':>8} {r['predicted_us']:9.1f}"
            lines.append(f"{r['key']:<48} {size}  {r['images_per_second']:,.0f} images/s")
        elif job.kind == "towers":
            crossing = exchanged_bytes({e.before: e.floats * o["batch"] for e in PLAN.exchanges}, o["precision"])
            lines.append(f"{job.key:<48} exchanged each way: " + ", ".join(f"{n} {b:,} B" for n, b in crossing.items()))
    return "\n".join(lines)


def _op_line(r: Record) -> str:
    choice = r["launch"]
    if "tile" in choice:
        tile = "x".join(str(n) for n in choice["tile"])
        text = f"{tile}{' folded' if choice['fold'] else ''}, {choice['splits']} splits, {choice['blocks']} blocks"
    else:
        text = ", ".join(f"{name} {value}" for name, value in choice.items())
    size = f"{r['flops'] / 1e9:8.2f} {r['bytes'] / 1e6:8.1f} {r['floor_us']:9.2f} {r['bound']:>8}"
    return f"{r['key']:<48} {size} {r['predicted_us']:9.1f}  {text}"
