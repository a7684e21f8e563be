"""The plan as it is executed: steps that one kernel does together are one stage."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from .plan import Plan, Shape, Step


@dataclass(frozen=True)
class Stage:
    """One call forward and a few backward.

    Attributes
    ----------
    step : Step
        Its first step, whose name and input are the stage's.
    op : str
        As of a step, or ``lrn_max_pool``.
    output : tuple of int
        Of the whole network, per image.
    pool : Step or None
        The max-pool that a normalisation is fused with.
    dropout : Step or None
        The dropout fused with an FC layer.
    crosses : bool
        Whether each of two towers reads the other's half of the input.
    undoes_relu : bool
        Whether its backward pass also undoes the ReLU that made its input.
    undoes_dropout : bool
        Whether that ReLU was followed by a fused dropout, which it then undoes too.
    """

    step: Step
    op: str
    output: Shape
    pool: Step | None = None
    dropout: Step | None = None
    crosses: bool = False
    undoes_relu: bool = False
    undoes_dropout: bool = False

    @property
    def name(self) -> str:
        """``conv1``, ``lrn1``, ...: its first step's."""
        return self.step.name

    @property
    def ends(self) -> tuple[str, ...]:
        """The steps whose output, where nothing is dropped, is the stage's."""
        return tuple(step.name for step in (self.pool or self.step, self.dropout) if step is not None)

    @property
    def activation(self) -> str:
        """``relu``, ``tanh``, ``logistic`` or ``none``: what its output is of, but for a dropout."""
        return (self.pool or self.step).activation


# Operations whose backward pass can leave out where a ReLU before them was closed.
_MASKING = ("conv2d", "linear", "lrn", "lrn_max_pool", "max_pool")


def fuse(plan: Plan, towers: int, wanted: Collection[str] = ()) -> tuple[Stage, ...]:
    """The stages of a plan for one tower or two.

    LRN is fused with the max-pool after it, unless its window reaches into the other tower or its own output is
    `wanted`; dropout with the FC layer before it, unless that one's is, where it has a ReLU: the output of both is then
    positive exactly where both let the gradient pass.
    """
    stages: list[Stage] = []
    steps = list(plan.steps)
    relu_open = dropped = False  # whether the last stage ended in a ReLU that nobody undid yet, and in a dropout
    while steps:
        step = steps.pop(0)
        crosses = step.crosses and towers == 2
        pool = dropout = None
        op = step.op
        following = steps[0].op if steps and step.name not in wanted else None
        if op == "lrn" and not crosses and following == "max_pool":
            op, pool = "lrn_max_pool", steps.pop(0)
        elif step.weight_shape and step.activation == "relu" and following == "dropout":
            dropout = steps.pop(0)
        undoes = relu_open and op in _MASKING
        output = (pool or dropout or step).output
        stages.append(Stage(step, op, output, pool, dropout, crosses, undoes, undoes and dropped))
        relu_open = stages[-1].activation == "relu"
        dropped = dropout is not None
    return tuple(stages)
