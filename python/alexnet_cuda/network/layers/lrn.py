"""Response normalisation alone. Where its window reaches into the other tower's channels each normalises all."""

from __future__ import annotations

from ... import ops
from ...base.params import LrnParams
from ..stages import Stage
from ..tower import Array, Arrival, Kept, Pass, Tower


def parameters(tower: Tower, stage: Stage) -> LrnParams:
    """The normalisation of the channels that this tower sees at once."""
    c, step = tower.config, stage.step
    channels = step.input[-1] if stage.crosses else step.input[-1] // tower.count
    groups = 1 if step.crosses else step.groups // tower.count
    return ops.lrn.parameters(channels, c.lrn_size, c.lrn_k, c.lrn_alpha, c.lrn_beta, c.lrn_alpha_over_size, groups)


def forward(tower: Tower, stage: Stage, x: Array, arrival: Arrival | None, y: Array, run: Pass) -> Array | None:
    """Returns all channels of the input, of a stage that crosses."""
    p = parameters(tower, stage)
    if arrival is None:
        ops.lrn.fprop(x, p, out=y)
        return None
    whole = tower.buffer(f"{stage.name}.whole", (*x.shape[:-1], stage.step.input[-1]))
    tower.join(whole, x, arrival)
    normalised = ops.lrn.fprop(whole, p, out=tower.buffer("lrn", whole.shape))
    lo, hi = tower.channels(whole.shape[-1])
    ops.copy.cast(normalised[..., lo:hi], out=y)
    return whole


def backward(tower: Tower, stage: Stage, kept: Kept, dy: Array, dx: Array, arrival: Arrival | None, run: Pass) -> None:
    """Of a stage that crosses `backward_remote` did the work."""
    if arrival is None:
        ops.lrn.bprop(dy, kept.x, parameters(tower, stage), relu=stage.undoes_relu, out=dx)
        return
    lo, hi = tower.channels(kept.own.shape[-1])
    dwhole = tower.buffer("lrn.gradient", kept.own.shape)
    ops.copy.cast(dwhole[..., lo:hi], addend=tower.wait(arrival), out=dx)


def backward_remote(tower: Tower, stage: Stage, kept: Kept, dy: Array) -> Array:
    """The gradient of the other tower's channels; that of ours stays in a buffer for `backward`."""
    whole = kept.own
    (lo, hi), (first, last) = tower.channels(whole.shape[-1]), tower.other_channels(whole.shape[-1])
    padded = tower.buffer("lrn", whole.shape)
    tower.device.zero(padded)
    ops.copy.cast(dy, out=padded[..., lo:hi])
    dwhole = tower.buffer("lrn.gradient", whole.shape)
    ops.lrn.bprop(padded, whole, parameters(tower, stage), relu=stage.undoes_relu, out=dwhole)
    return ops.copy.cast(dwhole[..., first:last], out=tower.buffer(f"{stage.name}.remote", kept.remote.shape))
