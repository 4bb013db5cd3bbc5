"""Training in many passes, over rows larger than memory: orders, step sizes, parallelism, convergence, logged runs."""

from .lbfgs import lbfgs_fit
from .newton import newton_fit
from .run import TrainingRun
from .settings import Settings
from .train import train
from .trainer import DivergenceError

__all__ = ["train", "lbfgs_fit", "newton_fit", "TrainingRun", "Settings", "DivergenceError"]
