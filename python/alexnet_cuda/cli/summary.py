"""What a network consists of, in figures: per layer its output, parameters, multiply-adds, bytes, towers, crossings."""

from __future__ import annotations

import math
from typing import Any

from ..config import Config
from ..network.plan import Step, build_plan

_FLOAT_BYTES = 4


def summarize(config: Config) -> dict[str, Any]:
    """The figures of a network, JSON-able.

    Returns
    -------
    dict
        ``layers``: for each step of the plan its ``name``, ``op``, ``output`` (height, width, channels), ``weight``
        shape, ``parameters``, ``multiply_adds`` of one image, ``activation_bytes`` and ``parameter_bytes`` in
        float32, ``towers`` ("own half": each tower works on its own half of the input; "both halves": on all of it;
        "image"), and ``crosses`` (floats an image that each of two towers receives before it). ``exchanges``: the
        crossings in order, the logits' last. Totals: ``parameters``, ``multiply_adds``, ``activation_bytes``.
    """
    plan = build_plan(config)
    crossings = {exchange.before: exchange.floats for exchange in plan.exchanges}
    layers = [_layer(step, crossings.get(step.name, 0), number == 0) for number, step in enumerate(plan.steps)]
    return {
        "preset": config.preset,
        "image_size": config.image_size,
        "num_classes": config.num_classes,
        "layers": layers,
        "exchanges": [{"before": e.before, "floats": e.floats} for e in plan.exchanges],
        "parameters": sum(layer["parameters"] for layer in layers),
        "multiply_adds": sum(layer["multiply_adds"] for layer in layers),
        "activation_bytes": sum(layer["activation_bytes"] for layer in layers),
    }


def _layer(step: Step, crossing: int, first: bool) -> dict[str, Any]:
    return {
        "name": step.name,
        "op": step.op,
        "output": list(step.output),
        "weight": list(step.weight_shape),
        "groups": step.groups,
        "parameters": step.parameters,
        "multiply_adds": step.multiply_adds,
        "activation_bytes": math.prod(step.output) * _FLOAT_BYTES,
        "parameter_bytes": step.parameters * _FLOAT_BYTES,
        "towers": "image" if first else "both halves" if step.crosses else "own half",
        "crosses": crossing,
    }


def render(summary: dict[str, Any]) -> str:
    """The figures as a plain text table."""
    header = ("layer", "output", "weight", "parameters", "multiply-adds", "MB out", "MB weights", "each tower reads")
    rows = [header]
    for layer in summary["layers"]:
        reads = layer["towers"] + (f" ({layer['crosses']:,} cross)" if layer["crosses"] else "")
        rows.append(
            (
                layer["name"],
                "x".join(map(str, layer["output"])),
                "x".join(map(str, layer["weight"])),
                f"{layer['parameters']:,}" if layer["parameters"] else "",
                f"{layer['multiply_adds']:,}" if layer["multiply_adds"] else "",
                f"{layer['activation_bytes'] / 1e6:.2f}",
                f"{layer['parameter_bytes'] / 1e6:.2f}" if layer["parameter_bytes"] else "",
                reads,
            )
        )
    total = (f"{summary['parameters']:,}", f"{summary['multiply_adds']:,}", f"{summary['activation_bytes'] / 1e6:.2f}")
    logits = summary["exchanges"][-1]["floats"]
    rows.append(
        ("total", "", "", *total, f"{summary['parameters'] * _FLOAT_BYTES / 1e6:.2f}", f"({logits:,} logits cross)")
    )
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    right = {3, 4, 5, 6}
    lines = []
    for row in rows:
        cells = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    rule = "-" * max(map(len, lines))
    title = (
        f"{summary['preset']}: input {summary['image_size']}x{summary['image_size']}x3, "
        f"{summary['num_classes']} classes; sizes per image, float32"
    )
    return "\n".join([title, rule, lines[0], rule, *lines[1:-1], rule, lines[-1]])
