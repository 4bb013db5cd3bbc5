"""Machine-learning tasks: training is one aggregate query, a model is a value (Bismarck, SIGMOD 2012)."""

from . import (
    binary_metrics,
    classification,
    crf,
    fold,
    kalman,
    linear_regression,
    matrix_factorization,
    multiclass_metrics,
    onnx_export,
    portfolio,
    predict,
    prox,
    recommend,
    regression,
    regression_metrics,
    softmax,
    sparse_predict,
)
from .task import task

__all__ = [
    "binary_metrics",
    "classification",
    "crf",
    "fold",
    "kalman",
    "linear_regression",
    "matrix_factorization",
    "multiclass_metrics",
    "onnx_export",
    "portfolio",
    "predict",
    "prox",
    "recommend",
    "regression",
    "regression_metrics",
    "softmax",
    "sparse_predict",
    "task",
]
