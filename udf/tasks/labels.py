"""Labels and weights of rows, as every training aggregate takes them."""

from __future__ import annotations

import math

import numpy as np

from ironlake.udf.engine.sqltypes import FLOAT

from .model import BINARY, COUNT

_ZERO_ONE, _MINUS_ONE, _NO_CLASSES = np.array([0.0, 1.0]), np.array([-1.0, 1.0]), np.empty(0)


class Nulls:
    """The part of a training aggregate that knows of rows with a NULL: it counts them, to skip or to refuse them."""

    skip_nulls: bool
    nulls: int

    def skipped(self):
        self.nulls += 1

    def refuse_nulls(self, rows):
        """Raise an error if there were NULLs beside so many rows, unless they are to be skipped."""
        if self.nulls > 0 and not self.skip_nulls:
            raise ValueError(
                self.nulls, "of", self.nulls + rows, "rows have a NULL as label, weight or feature; filter such rows,"
                " use coalesce, or pass {'on_null': 'skip'}"
            )  # fmt: skip


class Labels(Nulls):
    """The part of a training aggregate that knows what its labels are; a task has the kind in ``labels``."""

    minus: bool  # there was the label -1
    zero: bool
    positives: bool
    negative_weight: FLOAT = 1.0
    positive_weight: FLOAT = 1.0

    def weigh_classes(self, class_weight):
        """Take in the option."""
        if len(class_weight) != 0:
            if self.labels != BINARY or len(class_weight) != 2:
                raise ValueError("option class_weight must be [weight of negatives, of positives], for two classes")
            self.negative_weight, self.positive_weight = class_weight[0], class_weight[1]

    def target(self, label):
        """The label as the loss wants it: one of two classes is +1 or -1."""
        if self.labels == BINARY:
            if label > 0:
                self.positives = True
            elif label < 0:
                self.minus = True
            else:
                self.zero = True
            if label != 1 and label != 0 and label != -1:
                raise ValueError(
                    "label must be true or false, 1 or 0, 1 or -1; a row has", label, "; softmax_fit takes more classes"
                )
            return 1.0 if label > 0 else -1.0
        if not abs(label) < math.inf:
            raise ValueError("the label of a row is NaN or infinite; filter such rows")
        if self.labels == COUNT and label < 0:
            raise ValueError("label must be at least 0; a row has", label)
        return np.float64(label)

    def weighed(self, target, weight):
        """The weight of a row, that of its class in it."""
        if self.labels == BINARY:
            weight *= self.positive_weight if target > 0 else self.negative_weight
        if not 0 <= weight < math.inf:
            raise ValueError("sample_weight and class_weight must be at least 0 and finite; a row has", weight)
        return weight

    def merge_labels(self, other):
        """Take in what another state saw."""
        self.nulls += other.nulls
        self.minus, self.zero = self.minus or other.minus, self.zero or other.zero
        self.positives = self.positives or other.positives

    def check_labels(self, rows):
        """Refuse NULLs, and two ways to write the negative class, beside so many rows."""
        self.refuse_nulls(rows)
        if self.minus and self.zero:
            raise ValueError("label must be true or false, 1 or 0, or 1 or -1; the rows have both 0 and -1")

    def one_class(self):
        """Whether all rows were of one of two classes."""
        return self.labels == BINARY and not (self.positives and (self.minus or self.zero))

    def classes(self):
        """The labels of the two classes; none where labels are numbers."""
        if self.labels != BINARY:
            return _NO_CLASSES
        return _MINUS_ONE if self.minus else _ZERO_ONE
