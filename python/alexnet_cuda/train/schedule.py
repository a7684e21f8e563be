"""Learning-rate schedules. What they remember is JSON, so a resumed run goes on at the very rate it stopped at."""

from __future__ import annotations

import math
from typing import Any

from .recipe import Recipe, require_int, require_number

_FACTOR = 10.0


class Schedule:
    """A constant learning rate after the warm-up, and the interface of the others.

    Parameters
    ----------
    recipe
        The run's recipe.
    steps_per_epoch
        Steps of one epoch.
    """

    def __init__(self, recipe: Recipe, steps_per_epoch: int) -> None:
        self.recipe = recipe
        self.steps_per_epoch = steps_per_epoch
        self._warm = recipe.warmup * steps_per_epoch

    def rate(self, step: int) -> float:
        """Give the learning rate of a step.

        Parameters
        ----------
        step
            Steps done before it.
        """
        return self._rate(step) * min(1.0, (step + 1) / (self._warm + 1))

    def _rate(self, step: int) -> float:
        """Give it without the warm-up."""
        return self.recipe.learning_rate

    def _done(self, step: int) -> float:
        """Give the part of the run after the warm-up that is done, from 0 to 1."""
        steps = self.recipe.epochs * self.steps_per_epoch
        return min(1.0, max(0, step - self._warm) / (steps - self._warm))

    def end_epoch(self, error: float | None) -> None:
        """Take note of an epoch's validation error (0 to 1), None without validation."""

    def state(self) -> dict[str, Any]:
        """Give what it remembers, as JSON-able values."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""


class StepSchedule(Schedule):
    """Divided by 10 after each of the milestones, which are numbers of finished epochs."""

    def _rate(self, step: int) -> float:
        epoch = step // self.steps_per_epoch
        passed = sum(epoch >= milestone for milestone in self.recipe.milestones)
        return self.recipe.learning_rate / _FACTOR**passed


class CosineSchedule(Schedule):
    """From the full rate to zero along half a cosine over the whole run (Loshchilov and Hutter 2017, no restart)."""

    def _rate(self, step: int) -> float:
        return self.recipe.learning_rate * 0.5 * (1.0 + math.cos(math.pi * self._done(step)))


class PolynomialSchedule(Schedule):
    """From the full rate to zero as a power of the part of the run that is left."""

    def _rate(self, step: int) -> float:
        return float(self.recipe.learning_rate * (1.0 - self._done(step)) ** self.recipe.power)


class PlateauSchedule(Schedule):
    """Divided by 10 when the validation error has not improved for `patience` epochs (paper section 5)."""

    def __init__(self, recipe: Recipe, steps_per_epoch: int) -> None:
        super().__init__(recipe, steps_per_epoch)
        self._best: float | None = None
        self._waited = 0
        self._drops = 0

    def _rate(self, step: int) -> float:
        return self.recipe.learning_rate / _FACTOR**self._drops

    def end_epoch(self, error: float | None) -> None:
        """Take note of an epoch's validation error."""
        if error is None:
            raise ValueError("the plateau schedule needs a validation error each epoch")
        if self._best is None or error < self._best:
            self._best = error
            self._waited = 0
            return
        self._waited += 1
        if self._waited >= self.recipe.patience:
            self._drops += 1
            self._waited = 0

    def state(self) -> dict[str, Any]:
        """Give what it remembers."""
        return {"best": self._best, "waited": self._waited, "drops": self._drops}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""
        for name in ("waited", "drops"):
            require_int(name, state[name], 0)
        if state["best"] is not None:
            require_number("best", state["best"])
        self._best = state["best"]
        self._waited = state["waited"]
        self._drops = min(state["drops"], 300)  # ten times as many are no float any more


_KINDS = {
    "constant": Schedule,
    "step": StepSchedule,
    "cosine": CosineSchedule,
    "polynomial": PolynomialSchedule,
    "plateau": PlateauSchedule,
}


def make_schedule(recipe: Recipe, steps_per_epoch: int, state: dict[str, Any] | None = None) -> Schedule:
    """Make the schedule that a recipe names.

    Parameters
    ----------
    recipe
        The run's recipe.
    steps_per_epoch
        Steps of one epoch.
    state
        What the schedule of an earlier part of the run remembered, as `state_of` stored it; the memory of another
        kind of schedule is not taken over.
    """
    schedule = _KINDS[recipe.schedule](recipe, steps_per_epoch)
    if state is not None and state["kind"] == recipe.schedule:
        schedule.restore(state)
    return schedule


def state_of(schedule: Schedule) -> dict[str, Any]:
    """Give a schedule's memory with its kind, for `make_schedule`."""
    return {"kind": schedule.recipe.schedule, **schedule.state()}
