"""Machine-learning tasks: training is one aggregate query, a model is a value (Bismarck, SIGMOD 2012)."""

from . import binary_metrics, logistic, predict

__all__ = ["binary_metrics", "logistic", "predict"]
