"""Runs that diverge: the error, with the command that could work."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from .command import resumed, train_command
from .recipe import CHANGEABLE, Recipe
from .setup import TrainOptions


class TrainingDiverged(RuntimeError):
    """Loss or weights are NaN or infinite, or the loss has exploded."""


def diverged(
    what: str, options: TrainOptions, recipe: Recipe, epoch: int, rate: float, checkpoint: Path
) -> TrainingDiverged:
    """Make the error; its command has a tenth of the rate, and at most the paper's.

    Parameters
    ----------
    what
        That has happened.
    options, recipe
        Of the run.
    epoch, rate
        In which it was, and the learning rate then.
    checkpoint
        Where its last one is, if there is one.
    """
    most = 0.1 if recipe.lars or rate <= 0 else Recipe.learning_rate / rate  # LARS has rates of another size
    lower = recipe.learning_rate * min(0.1, most)
    changed = {"learning_rate": float(f"{lower:.2g}")}
    if checkpoint.exists():
        kept = f"the last good checkpoint is {checkpoint}"
        given = {name: value for name, value in options.given.items() if name in CHANGEABLE}
        again = dataclasses.replace(resumed(options, given | changed), accept_changes=options.accept_changes)
    else:
        kept = "no checkpoint yet"
        again = dataclasses.replace(options, given={**options.given, **changed})
    causes = [f"a learning rate too high for this batch size (now {rate:g})"]
    if recipe.init == "paper":
        causes.append("initial weights that do not suit the data (try --init he)")
    if recipe.precision == "float16":
        causes.append("the narrow range of float16 (try --precision bfloat16)")
    command = train_command(again)
    return TrainingDiverged(
        f"{what} (epoch {epoch}); {kept}; likely causes: {', '.join(causes)}; at a lower rate: {command}"
    )
