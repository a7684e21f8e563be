"""Training: recipes, the loop, checkpoints that resume to the bit, and evaluation."""

from .divergence import TrainingDiverged
from .lock import FolderInUse
from .recipe import Recipe, recipe_for
from .setup import TrainOptions
from .trainer import TrainResult, train

__all__ = ["FolderInUse", "Recipe", "TrainOptions", "TrainResult", "TrainingDiverged", "recipe_for", "train"]
