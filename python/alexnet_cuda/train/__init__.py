"""Training: recipes, the loop, checkpoints that resume to the bit, and evaluation."""

from ..base.folder_lock import FolderInUse
from .divergence import TrainingDiverged
from .recipe import Recipe, recipe_for
from .setup import TrainOptions
from .trainer import TrainResult, train

__all__ = ["FolderInUse", "Recipe", "TrainOptions", "TrainResult", "TrainingDiverged", "recipe_for", "train"]
