"""How good the probabilities of a two-class model are."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ironlake.udf.engine import aggregate
from ironlake.udf.engine.sqltypes import UTINYINT


class BinaryMetrics(NamedTuple):
    """The result of `binary_metrics`; the names are those of BigQuery's ML.EVALUATE."""

    precision: float
    recall: float
    accuracy: float
    f1_score: float
    log_loss: float
    roc_auc: float
    n: int


@aggregate
class binary_metrics:  # noqa: N801 - the SQL name
    """Measure predicted probabilities against true classes.

    Parameters
    ----------
    label : the true class: true or false, 1 or 0, 1 or -1.
    probability : of the positive class, between 0 and 1.
    threshold : a probability of at least this counts as a positive prediction.

    Returns
    -------
    STRUCT
        ``precision``, ``recall``, ``accuracy``, ``f1_score`` (0 where their denominator is), ``log_loss`` (natural
        logarithm, mean per row, probabilities kept 1e-15 away from 0 and 1), ``roc_auc`` (ties count half; NaN if there
        is only one class) and the number of rows ``n``. Rows with a NULL are skipped; no rows give NULL.

    Raises
    ------
    InvalidInputException
        If a probability is outside 0 ... 1 or NaN, or a label is no class.

    References
    ----------
    Hanley, McNeil: The meaning and use of the area under a ROC curve, Radiology 143 (1982): the area is the
    Mann-Whitney statistic.

    Examples
    --------
    SELECT binary_metrics(y, p) AS metrics FROM (VALUES (true, 0.9), (false, 0.2), (true, 0.4)) t(y, p);
    """

    probabilities: list[float]
    labels: list[UTINYINT]
    threshold: float

    def init(self, threshold: float = 0.5):
        self.threshold = threshold

    def update(self, label: bool | float, probability: float):
        if not 0 <= probability <= 1:
            raise ValueError("argument probability must be between 0 and 1; a row has", probability)
        if label != 1 and label != 0 and label != -1:
            raise ValueError("argument label must be true or false, 1 or 0, 1 or -1; a row has", label)
        self.probabilities.append(probability)
        self.labels.append(1 if label > 0 else 0)

    def merge(self, other):
        self.probabilities.extend(other.probabilities)
        self.labels.extend(other.labels)

    def finish(self) -> BinaryMetrics:
        probabilities, labels, threshold = self.probabilities[:], self.labels[:], self.threshold
        n, hits, misses, false_alarms, loss = len(labels), 0, 0, 0, 0.0
        for row in range(n):
            positive = probabilities[row] >= threshold
            hits += positive and labels[row] == 1
            misses += not positive and labels[row] == 1
            false_alarms += positive and labels[row] == 0
            likelihood = probabilities[row] if labels[row] == 1 else 1 - probabilities[row]
            loss -= math.log(min(max(likelihood, 1e-15), 1 - 1e-15))
        precision = hits / (hits + false_alarms) if hits + false_alarms else 0.0
        recall = hits / (hits + misses) if hits + misses else 0.0
        return BinaryMetrics(
            precision,
            recall,
            1 - (misses + false_alarms) / n,
            2 * precision * recall / (precision + recall) if precision + recall else 0.0,
            loss / n,
            self.area(probabilities, labels, hits + misses),
            n,
        )

    def area(self, probabilities, labels, positives):
        """Area under the ROC curve from the ranks of the positive rows, ties ranked by their mean."""
        n = len(labels)
        if positives == 0 or positives == n:
            return np.nan
        order = np.argsort(probabilities)
        ranks, start = 0.0, 0
        while start < n:
            stop = start
            while stop < n and probabilities[order[stop]] == probabilities[order[start]]:
                stop += 1
            for at in range(start, stop):
                ranks += labels[order[at]] * (start + stop + 1) / 2
            start = stop
        return (ranks - positives * (positives + 1) / 2) / (positives * (n - positives))
