"""What all estimators share: rows from arrays or relations, scores, and training in many passes."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ..udf.tasks.epochs import HEAD
from ..udf.training.rows import Rows, collect
from ..udf.training.settings import Settings
from ..udf.training.source import open_source
from ..udf.training.trainer import Trainer

Array = np.ndarray[Any, Any]


class Linear(BaseEstimator):
    """What all estimators share: rows from arrays or relations, and scores."""

    def _rows(self, X: Any, y: Any, sample_weight: Any, numeric: bool) -> tuple[Rows, Array]:
        """The rows with their labels as float32, and the labels as they are."""
        if isinstance(y, str):
            source = open_source(X, None, None)
            features = getattr(self, "features", "features")
            name = sample_weight if isinstance(sample_weight, str) else None
            rows = collect(source.batches, y, features, name, False, 1e12)
            if len(rows) == 0:
                raise ValueError("there are no rows to train on")
            self.n_features_in_ = rows.width
            return rows, rows.matrix[:, 0].copy()
        X, y = validate_data(self, X, y, y_numeric=numeric, ensure_min_samples=1 if numeric else 2)
        matrix = np.empty((len(X), X.shape[1] + HEAD), np.float32)
        matrix[:, 0] = y if numeric else 0
        matrix[:, 1] = 1 if sample_weight is None else _check_sample_weight(sample_weight, X)
        with np.errstate(over="ignore"):
            matrix[:, HEAD:] = X
        if not np.isfinite(matrix).all():
            raise ValueError(f"{type(self).__name__}.fit: a feature or a label is beyond the range of float32")
        return Rows(matrix, False, np.inf), y

    def _scores(self, X: Any) -> Array:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        scores: Array = X @ self.coef_.T + self.intercept_
        return scores


class Trained(Linear):
    """Training in many passes, with the settings of `ironlake.train`."""

    def _trained(self, rows: Rows, loss: str) -> Any:
        given = self.get_params()
        settings = Settings(
            epochs=given["epochs"], step_size=given["step_size"], step_rule=given["step_rule"], l1=given["l1"],
            l2=given["l2"], fit_intercept=given["fit_intercept"], order=given["order"], parallel=given["parallel"],
            threads=given["threads"], tolerance=given["tol"], seed=_seed(given["random_state"]),
        )  # fmt: skip
        kept = Rows(rows.matrix.copy(), rows.spilled, rows.buffer)  # training changes them
        return list(Trainer(loss, kept, settings).epochs())[-1].model


def _seed(random_state: Any) -> int:
    """A seed from what scikit-learn takes for one; without any, always the same."""
    if random_state is None or isinstance(random_state, int | np.integer):
        return int(random_state or 0)
    return int(random_state.randint(2**31 - 1))
