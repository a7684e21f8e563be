"""Draw ``docs/towers.svg`` from the plan: the paper's network in its two towers, and what crosses between them.

Run ``python tools/towers.py`` after the plan or the preset ``paper`` has changed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

from alexnet_cuda.config import config_from_preset
from alexnet_cuda.network.plan import Shape, build_plan, share
from house import ROOT, document

ROWS = (175, 425)  # of the towers
CENTRE = sum(ROWS) // 2
PITCH = 90
PLAIN, BOLD = "font-size:12px", "font-weight:bold"
TIMES = "&#215;"


@dataclass
class Column:
    """What the towers have after a step: each its half of `shape`, or where it is `whole` all of it.

    `floats` cross before it, an image and direction.
    """

    name: str
    shape: Shape
    notes: list[str] = field(default_factory=list)
    whole: bool = False
    x: int = 0
    floats: int = 0

    def own(self, tower: int) -> Shape:
        """The shape that one tower has of it."""
        lo, hi = (0, self.shape[-1]) if self.whole else share(self.shape[-1], tower, 2)
        return (*self.shape[:-1], hi - lo)

    def size(self, tower: int) -> tuple[float, float, float]:
        """Width, height and depth of its block: square roots, so that 6 x 6 is seen beside 227 x 227."""
        *sides, channels = self.own(tower)
        if sides:
            return 5 + channels / 7, 10 * math.sqrt(sides[0]), 2.4 * math.sqrt(sides[1])
        return 10, 2.2 * math.sqrt(channels), 5


def columns() -> list[Column]:
    """The image, the steps that change its shape, and the logits."""
    config = config_from_preset("paper")
    plan = build_plan(config)
    found = [Column("image", plan.steps[0].input, whole=True)]
    lrn: list[str] = []
    for step in plan.steps:
        if step.op == "lrn":
            lrn = ["after LRN"]
        elif step.op == "dropout":
            found[-1].notes.append("dropout")
        else:
            window = [f"{step.kernel}{TIMES}{step.kernel}"] * (step.kernel > 0)
            stride = [f"stride {step.stride}"] * (step.stride > 1)
            found.append(Column(step.name, step.output, window + stride + lrn))
            lrn = []
    found.append(Column("logits", (config.num_classes,), ["softmax"], whole=True))
    exchanges = {exchange.before: exchange.floats for exchange in plan.exchanges}
    for number, column in enumerate(found):
        column.x, column.floats = 65 + PITCH * number, exchanges.get(column.name, 0)
    return found


def text(x: float, y: float, words: str, style: str, kind: str = "") -> str:
    """A line of text around `x`."""
    return f'<text class="{kind}" x="{x:g}" y="{y:.1f}" text-anchor="middle" style="stroke:none;{style}">{words}</text>'


def arrow(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    """An arrow in the colour of its kind: ``line``, ``forward`` or ``backward``."""
    return f'<path class="{kind} way" d="M{x1:.1f} {y1:.1f} {x2:.1f} {y2:.1f}" marker-end="url(#{kind})"/>'


def block(column: Column, y: int, tower: int) -> list[str]:
    """What one tower has after a step, and its shape, away from where the arrows cross."""
    w, h, d = column.size(tower)
    x, top = column.x - w / 2, y - h / 2
    return [
        f'<path class="side" d="M{x:.1f} {top:.1f} l{d:.1f} {-d:.1f} h{w:.1f} v{h:.1f} l{-d:.1f} {d:.1f} z"/>',
        f'<rect class="box" x="{x:.1f}" y="{top:.1f}" width="{w:.1f}" height="{h:.1f}"/>',
        text(column.x, top - d - 8 if y < CENTRE else top + h + 16, TIMES.join(map(str, column.own(tower))), PLAIN),
    ]


def crossing(before: Column, after: Column) -> list[str]:
    """The arrows of an exchange from tower to tower, and its numbers where they meet."""
    # Of the logits each tower computes the gradient of its own half.
    ways = ["forward"] if after.whole else ["forward", "backward"]
    lines = []
    for sender, receiver, down in ((0, 1, 1), (1, 0, -1)):
        start = ROWS[sender] + down * (18 + before.size(sender)[1] / 2)
        end = ROWS[receiver] - down * (18 + after.size(receiver)[1] / 2)
        lines.append(arrow("forward", before.x + 8, start, after.x - 14, end))
        if "backward" in ways:
            lines.append(arrow("backward", after.x - 4, end, before.x + 18, start))
    x, top = (before.x + after.x) / 2, CENTRE - 10 * len(ways)
    lines.append(f'<rect class="page" x="{x - 36:g}" y="{top - 2}" width="72" height="{20 * len(ways) + 4}"/>')
    return lines + [text(x, top + 15 + 20 * i, f"{after.floats:,}", BOLD, way) for i, way in enumerate(ways)]


def picture() -> str:
    """The network from left to right, a tower a row."""
    shown = columns()
    body = []
    for column in shown:
        body.append(text(column.x, 30, column.name, BOLD))
        body += [text(column.x, 48 + 16 * line, note, PLAIN) for line, note in enumerate(column.notes)]
    for before, after in pairwise(shown):
        body += crossing(before, after) if after.floats else []
        for tower, y in enumerate(ROWS):
            w, _, d = before.size(tower)
            start = CENTRE if before is shown[0] else y
            body.append(arrow("line", before.x + w / 2 + d + 3, start, after.x - after.size(tower)[0] / 2 - 3, y))
    body += block(shown[0], CENTRE, 0)
    for tower, y in enumerate(ROWS):
        body += [line for column in shown[1:] for line in block(column, y, tower)]
        body.append(text(shown[0].x, y + 5, f"tower {tower}", BOLD))
    width, y = PITCH * len(shown) + 40, ROWS[1] + 105
    for x, way, words in ((width * 0.27, "forward", "activations"), (width * 0.73, "backward", "gradients")):
        body.append(text(x, y, f"{way}: {words} that each tower sends the other, floats an image", "", way))
    return document(width, y + 25, body)


if __name__ == "__main__":
    (ROOT / "docs" / "towers.svg").write_text(picture())
