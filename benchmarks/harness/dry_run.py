"""What a run would measure, without a GPU: shapes, FLOPs, bytes, floors, our launch choices, predicted times."""

from __future__ import annotations

from typing import Any

from .. import ops
from . import schedule, steps
from .cases import Case, plan
from .results import Record
from .roofline import NOMINAL, Ceilings, floor
from .towers import exchanged_bytes

# What a good kernel reaches of a ceiling, for operations whose launch choice models no time itself.
_BANDWIDTH_SHARE = 0.88


def row(case: Case, ceilings: Ceilings = NOMINAL) -> Record:
    """One case: its size, its floor, what our launch would be, and the time to expect of it."""
    module = ops.module(case.op)
    tensors, launch = module.tensors(case), module.launch(case)
    least = floor(module.flops(case), tensors.floor_bytes, case.precision, ceilings)
    predicted = max(launch.get("microseconds", 0.0), 1e6 * least.seconds / _BANDWIDTH_SHARE)
    shapes = {name: [list(t.shape), t.dtype] for name, t in tensors.all().items()}
    return {
        "key": case.key,
        "shapes": shapes,
        "flops": module.flops(case),
        "bytes": tensors.floor_bytes,
        "floor_us": 1e6 * least.seconds,
        "bound": least.bound,
        "launch": launch,
        "predicted_us": predicted,
    }


def describe_launch(launch: Record) -> str:
    """The choice in a few words."""
    if "tile" in launch:
        tile = "x".join(str(n) for n in launch["tile"])
        return f"{tile}{' folded' if launch['fold'] else ''}, {launch['splits']} splits, {launch['blocks']} blocks"
    return ", ".join(f"{name} {value}" for name, value in launch.items())


# One pass of the network, in which every layer's time is counted once, fused as our step fuses it.
def step_cases(batch: int, precision: str, mode: str) -> list[Case]:
    """The cases whose times add up to a step."""
    fused = {"lrn1": "lrn_max_pool", "lrn2": "lrn_max_pool"}
    found = []
    for s in plan().steps:
        training = mode == "training"
        if s.op in ("conv2d", "linear"):
            backward = ["wgrad_sgd", *(["dgrad"] if s.name != "conv1" else [])]
            found += [Case(s.op, d, s.name, batch, precision) for d in ["fprop_fused", *(backward if training else [])]]
        elif s.name in fused or s.name == "pool5":
            op, single = fused.get(s.name, "max_pool"), "float32" if precision == "tf32" else precision
            directions = ["fprop", "bprop"] if training else ["fprop"]
            found += [Case(op, d, s.name, batch, single) for d in directions]
    return found


def step_row(batch: int, precision: str, mode: str, ceilings: Ceilings = NOMINAL) -> Record:
    """A whole step: the sums of its cases, one kernel at a time."""
    rows = [row(case, ceilings) for case in step_cases(batch, precision, mode)]
    least, predicted = (sum(r[name] for r in rows) for name in ("floor_us", "predicted_us"))
    return {
        "key": f"step.{mode}/{batch}/{precision}",
        "flops": steps.flops(mode, batch),
        "floor_us": least,
        "predicted_us": predicted,
        "images_per_second": 1e6 * batch / predicted,
    }


def exchanges(batch: int, dtype: str) -> dict[str, int]:
    """Bytes a direction that two towers exchange in a forward pass, by what they are before."""
    return exchanged_bytes({e.before: e.floats * batch for e in plan().exchanges}, dtype)


def report(jobs: list[schedule.Job], ceilings: Ceilings = NOMINAL) -> str:
    """The whole table as text, in the order of a run."""
    lines = [
        f"ceilings: {ceilings.source}: {ceilings.bandwidth / 1e12:.2f} TB/s, "
        + ", ".join(f"{name} {rate / 1e12:.0f}" for name, rate in ceilings.flops.items())
        + " TFLOP/s",
        "every time is computed, none is measured",
        "",
        f"{'case':<48} {'GFLOP':>8} {'MB':>8} {'floor us':>9} {'bound':>8} {'expected':>9}  our launch",
    ]
    for job in jobs:
        if job.kind == "op":
            lines.append(_op_line(row(Case.from_key(job.key), ceilings)))
        elif job.kind == "step":
            o: dict[str, Any] = job.options
            r = step_row(o["batch"], o["precision"], o["mode"], ceilings)
            size = f"{r['flops'] / 1e9:8.1f} {'':>8} {r['floor_us']:9.1f} {'':>8} {r['predicted_us']:9.1f}"
            lines.append(f"{r['key']:<48} {size}  {r['images_per_second']:,.0f} images/s")
        elif job.kind == "towers":
            crossing = exchanges(job.options["batch"], job.options["precision"])
            lines.append(f"{job.key:<48} exchanged each way: " + ", ".join(f"{n} {b:,} B" for n, b in crossing.items()))
    return "\n".join(lines)


def _op_line(r: Record) -> str:
    size = f"{r['flops'] / 1e9:8.2f} {r['bytes'] / 1e6:8.1f} {r['floor_us']:9.2f} {r['bound']:>8}"
    return f"{r['key']:<48} {size} {r['predicted_us']:9.1f}  {describe_launch(r['launch'])}"
