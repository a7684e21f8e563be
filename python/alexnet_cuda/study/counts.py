"""How many parameters and connections a network has, against what it would have without sharing and locality."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from ..config import Config
from ..network.plan import Step, build_plan
from .page import Block


def count(config: Config) -> dict[str, Any]:
    """The figures, JSON-able.

    Returns
    -------
    dict
        ``layers``: of each layer with weights its ``name``, ``output``; ``parameters``; ``connections``, one for each
        multiply-add, without biases; ``one_tower``, its parameters with one group; ``unshared``, those with weights of
        its own at each position; ``connected``, those if each output saw each input. ``totals``: the sums.
    """
    alone = build_plan(dataclasses.replace(config, groups=1)).steps
    layers = [
        _layer(step, single.parameters)
        for step, single in zip(build_plan(config).steps, alone, strict=True)
        if step.weight_shape
    ]
    kinds = ("parameters", "connections", "one_tower", "unshared", "connected")
    return {"layers": layers, "totals": {kind: sum(layer[kind] for layer in layers) for kind in kinds}}


def _layer(step: Step, one_tower: int) -> dict[str, Any]:
    outputs = math.prod(step.output)
    return {
        "name": step.name,
        "output": list(step.output),
        "parameters": step.parameters,
        "connections": step.multiply_adds,
        "one_tower": one_tower,
        "unshared": step.multiply_adds + outputs,
        "connected": math.prod(step.input) * outputs + outputs,
    }


def answer(found: dict[str, Any]) -> list[str]:
    """The answer in sentences."""
    first, total = found["layers"][0], found["totals"]
    return [
        f"{total['parameters']:,} parameters and {total['connections']:,} connections (multiply-adds of one image).",
        f"The first layer has {first['parameters']:,} parameters: each of its {first['output'][2]} kernels has the weights of "
        "one window and one bias, wherever in the image it looks.",
        f"With weights of its own at each position it would have {first['unshared']:,} (locality alone), and if each output "
        f"saw the whole image {first['connected']:,}: {first['connected'] // first['parameters']:,} times as many.",
        f"The whole network, fully connected between the same shapes: {total['connected']:,}.",
    ]


def table(found: dict[str, Any]) -> Block:
    """The figures as a table."""
    head = (
        "layer",
        "output",
        "parameters",
        "connections = multiply-adds",
        "parameters, one tower (the copied table)",
        "parameters, weights not shared",
        "parameters, fully connected",
    )
    kinds = ("parameters", "connections", "one_tower", "unshared", "connected")
    rows = [
        (layer["name"], "×".join(map(str, layer["output"])), *(f"{layer[kind]:,}" for kind in kinds))
        for layer in found["layers"]
    ]
    return Block("table", rows=[head, *rows, ("all", "", *(f"{found['totals'][kind]:,}" for kind in kinds))])
