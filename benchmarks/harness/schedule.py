"""What is measured in which order: what tells most comes first, so that a run cut short has answered most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .. import opponents, ops
from .cases import BATCHES, PRECISIONS, Case

INFERENCE_BATCHES = (1, 1024, 8, 32, 256, 512, 2048)  # after 128


@dataclass(frozen=True)
class Job:
    """One measurement, and the seconds that it is expected to take: it begins only if so many are left."""

    kind: str  # "ceilings", "op", "step" or "towers"
    key: str  # its name in the results
    options: dict[str, Any] = field(default_factory=dict)
    seconds: float = 10.0  # what takes longer ends with the run


def _op(case: Case) -> Job:
    return Job("op", case.key, seconds=1.0 + sum(contender.seconds for contender in opponents.contenders(case)))


def step_job(mode: str, batch: int, precision: str, search: bool = False) -> Job:
    """A whole step; `search` looks for PyTorch's best configuration, which later ones then use."""
    options = {"mode": mode, "batch": batch, "precision": precision, "search": search}
    return Job("step", f"step.{mode}/{batch}/{precision}", options, 110.0 if search else 25.0)


def jobs() -> list[Job]:
    """Everything, the most telling first.

    Convolutions and FC layers at batch 128 in bfloat16 alone (the time goes there, and what cuDNN does there nobody
    knows), then the step, the other operations, the towers, and then other precisions and batch sizes.
    """
    first = ops.cases(128, "bfloat16")
    plain = [c for c in first if ops.of(c).multiplies and c.direction in ("fprop", "dgrad", "wgrad")]
    between = [c for c in first if c.op in ("lrn_max_pool", "max_pool", "lrn")]
    found = [Job("ceilings", "ceilings", seconds=15.0), *map(_op, plain)]
    found += [step_job("training", 128, "bfloat16", search=True), step_job("inference", 128, "bfloat16")]
    found += map(_op, between + [c for c in first if c not in plain + between])
    found += [step_job("training", batch, "bfloat16") for batch in BATCHES[1:]]
    found += [Job("towers", "towers/128/bfloat16", {"batch": 128, "precision": "bfloat16"}, 20.0)]
    found += [step_job("inference", batch, "bfloat16") for batch in INFERENCE_BATCHES]
    found += [step_job("training", 128, precision) for precision in PRECISIONS[1:]]
    rest = [c for precision in PRECISIONS for batch in BATCHES for c in ops.cases(batch, precision)]
    return found + [_op(c) for c in rest if c not in first]


def matching(all_jobs: list[Job], patterns: list[str]) -> list[Job]:
    """The jobs whose key contains any of the patterns; the ceilings always."""
    if not patterns:
        return all_jobs
    return [job for job in all_jobs if job.kind == "ceilings" or any(text in job.key for text in patterns)]


class Budget:
    """Minutes that a run may take: a job begins only if what it should take still fits."""

    def __init__(self, minutes: float, now: Callable[[], float]) -> None:
        self.now, self.end = now, now() + 60.0 * minutes

    @property
    def left(self) -> float:
        """Seconds."""
        return self.end - self.now()

    def admits(self, job: Job) -> bool:
        """Whether there is time for a job."""
        return self.left >= job.seconds
