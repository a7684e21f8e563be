"""README's table from a result: text between two markers, the same whenever it is made from the same file."""

from __future__ import annotations

from pathlib import Path

from . import results
from .results import Record
from .roofline import Ceilings

BEGIN, END = "<!-- benchmark:begin -->", "<!-- benchmark:end -->"
# That no GPU has run anything README says once, in its table of what runs where.
NOTHING = "`python benchmarks/run_all.py --dry-run` shows what is measured, with computed floors."
SYNTHETIC = "**Synthetic: these numbers test the report and were never measured.**"
NONE, TIMES = "-", "\u00d7"
# In a cell without a time: the reason that most asks to be looked into.
_REASONS = {"failed": "failed", "wrong": "wrong", "left out": "out of time", "unavailable": "not installed"}
_SHOWN = ("conv2d", "linear", "lrn_max_pool", "max_pool")
_WITHIN = ("pool1", "pool2")  # part of the rows of the normalisation before them
_DIRECTIONS = ("fprop", "bprop", "dgrad", "wgrad")


def origin(result: Record) -> str:
    """GPU, versions and commit in one line."""
    m = result["machine"]
    versions = m.get("versions", {})
    names = {"torch": "PyTorch", "nvidia-cudnn-cu13": "cuDNN", "nvidia-cudnn-frontend": "cudnn-frontend"}
    parts = [m.get("gpu", "unknown GPU"), f"driver {m.get('driver', 'unknown')}"]
    parts += [f"{label} {versions[name]}" for name, label in names.items() if name in versions]
    return ", ".join([*parts, f"commit {m.get('commit', 'unknown')}"])


def _without_time(record: Record, family: str) -> str:
    """Why there is no time of a family in a measurement; a dash where it does not have the operation."""
    statuses = {c["status"] for c in record.get("contenders", {}).values() if c["family"] == family}
    return next((text for status, text in _REASONS.items() if status in statuses), NONE)


def _ratio(ours: results.Best | None, theirs: results.Best) -> str:
    return f"{theirs[1]:.1f} µs" if ours is None else f"{theirs[1] / ours[1]:.2f}"


def _op_rows(result: Record, ceilings: Ceilings) -> list[str]:
    rows = []
    for record in result["measurements"]:
        if record["kind"] != "op" or (record["batch"], record["precision"]) != (128, "bfloat16"):
            continue
        if record["op"] in _SHOWN and record["direction"] in _DIRECTIONS and record["layer"] not in _WITHIN:
            rows.append(_row(record, ceilings))
    return rows


def _row(record: Record, ceilings: Ceilings) -> str:
    """TFLOP/s where arithmetic sets the floor, else GB/s of the bytes that must move; the share is floor over time."""
    time, mine = results.best(record, "ours"), [_without_time(record, "ours"), NONE, NONE]
    if time is not None:
        floor, bound = ceilings.floor(record["flops"], record["floor_bytes"], record["precision"])
        rate = f"{record['flops'] / time[1] / 1e6:.0f} TFLOP/s"
        if bound == "memory":
            rate = f"{record['floor_bytes'] / time[1] / 1e3:.0f} GB/s"
        mine = [f"{time[1]:.1f}", rate, f"{100 * floor / time[1]:.0f} %"]
    best = {family: results.best(record, family) for family in ("library", "torch")}
    others = [_ratio(time, b) if b else _without_time(record, family) for family, b in best.items()]
    name = record["layer"] if record["op"] != "lrn_max_pool" else f"{record['layer']} + pool"
    return "| " + " | ".join([name, record["direction"], *mine, *others]) + " |"


def _step_rows(result: Record) -> list[str]:
    rows = []
    steps = [r for r in result["measurements"] if r["kind"] == "step"]
    for record in sorted(steps, key=lambda r: (r["mode"] != "training", r["precision"], r["batch"])):
        cells = [f"{record['mode']}, {record['precision']}", str(record["batch"])]
        best = {family: results.best(record, family) for family in ("ours", "torch", "library")}
        for family, found in best.items():
            if found is None:
                cells.append(_without_time(record, family))
            else:
                rate = f"{1e6 * record['batch'] / found[1]:,.0f}"
                cells.append(rate if family == "ours" else f"{rate} ({found[0]})")
        rivals = [b for b in (best["torch"], best["library"]) if b]
        fastest = min(rivals, key=lambda pair: pair[1], default=None)
        cells.append(_ratio(best["ours"], fastest) if best["ours"] and fastest else NONE)
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def missing(result: Record) -> list[str]:
    """What was to be measured and was not, with the reason: opponents, once each, and whole measurements."""
    sentences = []
    for name, where in results.without_time(result, "unavailable").items():
        reason = where[0].partition(": ")[2].partition(" (")[0]
        sentences.append(f"{name} took no part: {reason}.")
    for name, where in results.without_time(result, "failed").items():
        sentences.append(f"{name} failed in {len(where)} of the measurements, the first of them {where[0]}.")
    return [*sentences, *(f"No result of {text}." for text in result["failed"])]


def render(result: Record | None, source: str = "") -> str:
    """What stands between the markers: the table of a result, or that there is none yet."""
    if result is None:
        return NOTHING
    lines = [SYNTHETIC, ""] if result["synthetic"] else []
    lines += [f"{origin(result)}. Raw figures: `{source}`.", ""]
    if result["ceilings"] is not None:
        ceilings = Ceilings(**result["ceilings"])
        launch = f"{1e6 * ceilings.launch:.1f} µs from one tiny kernel to the next"
        lines += [f"Ceilings measured in the same run: {ceilings}, {launch}.", ""]
        if rows := _op_rows(result, ceilings):
            lines += [
                f"Batch 128, bfloat16, caches cold; medians. {TIMES} is their time over ours: above 1 we are faster.",
                "",
                f"| layer | pass | µs | rate | of roofline | {TIMES} cuDNN, cuBLAS | {TIMES} PyTorch |",
                "|---|---|---|---|---|---|---|",
                *rows,
                "",
            ]
    if rows := _step_rows(result):
        lines += [
            "Images per second; the opponent is the best of its configurations.",
            "",
            "| step | batch | ours | PyTorch | cuDNN and cuBLAS | ours over the better |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    lines += missing(result)
    if not result["complete"]:
        lines.append(f"The run was cut short: {len(result['left_out'])} measurements were left out.")
    return "\n".join(lines).strip()


def between(text: str, table: str) -> str:
    """The text with the table between its markers.

    Raises
    ------
    ValueError
        The markers are not there, once each and in order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"expected one {BEGIN} and after it one {END}")
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}"


def newest(folder: Path) -> Path | None:
    """The result in a folder that was written last, by its name's date; None if there is none."""
    found = [p for p in sorted(folder.glob("*.json")) if _is_result(p)]
    return max(found, key=lambda p: (p.stem[-10:], p.name), default=None)


def _is_result(path: Path) -> bool:
    try:
        return not results.read(path)["synthetic"]
    except ValueError:
        return False
