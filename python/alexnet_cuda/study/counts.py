"""How many parameters and connections a network has, against what it would have without sharing and locality."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from ..config import Config
from ..network.plan import build_plan
from ..pages import pictures
from ..pages.page import table

KINDS = {
    "parameters": "parameters",
    "connections": "connections = multiply-adds",
    "one_tower": "parameters, one tower (the copied table)",
    "unshared": "parameters, weights not shared",
    "connected": "parameters, fully connected",
}


def count(config: Config) -> dict[str, Any]:
    """The figures of `KINDS`, JSON-able: ``layers`` with weights, their ``totals``, and an ``answer`` in sentences.

    Parameters include biases, connections do not; fully connected: each output sees each input.
    """
    alone = build_plan(dataclasses.replace(config, groups=1)).steps
    layers: list[dict[str, Any]] = []
    for step, single in zip(build_plan(config).steps, alone, strict=True):
        if step.weight_shape:
            outputs, inputs = math.prod(step.output), math.prod(step.input)
            counts = step.parameters, step.multiply_adds, single.parameters, step.multiply_adds + outputs
            figures = dict(zip(KINDS, (*counts, (inputs + 1) * outputs), strict=True))
            layers.append({"name": step.name, "output": list(step.output), **figures})
    totals = {kind: sum(layer[kind] for layer in layers) for kind in KINDS}
    first, times = layers[0], layers[0]["connected"] // layers[0]["parameters"]
    answer = [
        f"{totals['parameters']:,} parameters, {totals['connections']:,} connections (multiply-adds of one image).",
        f"The first layer has {first['parameters']:,} parameters: each of its {first['output'][2]} kernels has the "
        "weights of one window and one bias, wherever in the image it looks.",
        f"With weights of its own at each position it would have {first['unshared']:,} (locality alone), and "
        f"{first['connected']:,} if each output saw the whole image: {times:,} times as many.",
        f"The whole network, fully connected between the same shapes: {totals['connected']:,}.",
    ]
    return {"layers": layers, "totals": totals, "answer": answer}


def show(found: dict[str, Any], folder: Path) -> list[str]:
    """Draw a picture of `count`'s figures into `folder`, and give it with their table as Markdown."""
    kinds = {"as it is": "parameters", "not shared": "unshared", "fully connected": "connected"}
    lines = {title: {row["name"]: row[kind] for row in found["layers"]} for title, kind in kinds.items()}
    picture = pictures.by_layer(folder / "counts.png", {"Parameters": lines})
    rows = [
        (row["name"], "x".join(map(str, row.get("output", []))), *(f"{row[kind]:,}" for kind in KINDS))
        for row in [*found["layers"], {"name": "all", **found["totals"]}]
    ]
    return [f"![Parameters of each layer]({picture})", table([("layer", "output", *KINDS.values()), *rows])]
