"""How good the predictions of a model with several classes are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ironlake.udf.engine import relation

if TYPE_CHECKING:
    import pyarrow as pa

#: Probabilities are kept this far away from 0, whose logarithm is infinite.
_SMALLEST = 1e-15
#: How far the sum of a row's probabilities may be from 1.
_SUM_ERROR = 1e-3


class Cell(NamedTuple):
    """How many rows have a label and a prediction."""

    label: str
    prediction: str
    n: int


class ClassMetrics(NamedTuple):
    """The metrics of one class against all others; ``n`` counts the rows of which it is the label."""

    label: str
    precision: float
    recall: float
    f1_score: float
    n: int


class MulticlassMetrics(NamedTuple):
    """The result of `multiclass_metrics`; the names are those of BigQuery's ML.EVALUATE."""

    precision: float
    recall: float
    accuracy: float
    f1_score: float
    log_loss: float | None
    n: int
    classes: list[ClassMetrics]
    confusion_matrix: list[Cell]


@relation
def multiclass_metrics(
    label: int | float | str,
    prediction: int | float | str,
    probabilities: list[float] | None = None,
    *,
    classes: list[str] | list[int] | None = None,
) -> MulticlassMetrics | None:
    """Measure predicted classes against true ones, and the probabilities of all classes if they are given.

    Parameters
    ----------
    label : the true class, a number or a text.
    prediction : the predicted class, a number if labels are numbers, else a text.
    probabilities : of all classes, in the order of the option; they stand behind the options.
    classes : all classes in their order. Default: those among labels and predictions, sorted.

    Returns
    -------
    STRUCT
        ``precision``, ``recall`` and ``f1_score`` are means over the classes (macro averages; 0 where a denominator
        is), ``accuracy`` the share of right predictions, ``log_loss`` the mean of minus the natural logarithm of the
        true class's probability (at least 1e-15; NULL without probabilities), ``n`` the number of rows. ``classes``
        has the metrics of each class, ``confusion_matrix`` the number of rows for each label and prediction that occur
        together. Rows with a NULL are skipped; no rows give NULL.

    Raises
    ------
    InvalidInputException
        If a label is NaN, a class is not among ``classes``, labels are texts and predictions numbers or the other way
        round, or probabilities are not one for each class, between 0 and 1, with the sum 1.

    References
    ----------
    Sokolova, Lapalme: A Systematic Analysis of Performance Measures for Classification Tasks, Information Processing
    and Management 45 (2009), table 3.

    Examples
    --------
    SELECT multiclass_metrics(y, p) AS metrics FROM (VALUES ('cat', 'cat'), ('dog', 'cat'), ('dog', 'dog')) t(y, p);
    SELECT multiclass_metrics(y, p, {'classes': [1, 2, 3]}, q).log_loss AS loss
    FROM (VALUES (1, 1, [0.7, 0.2, 0.1]), (3, 1, [0.5, 0.1, 0.4])) t(y, p, q);
    """
    columns = _without_nulls(label, prediction, probabilities)
    if not len(columns[0]):
        return None
    names, truth, guess = _codes(columns[0], columns[1], classes)
    size, n = len(names), len(truth)
    pairs, counts = np.unique(truth * size + guess, return_counts=True)
    rows, columns_of_pairs = pairs // size, pairs % size
    right = np.zeros(size)
    right[rows[rows == columns_of_pairs]] = counts[rows == columns_of_pairs]
    actual, predicted = np.bincount(truth, minlength=size), np.bincount(guess, minlength=size)
    precision, recall = _share(right, predicted), _share(right, actual)
    f1_score = _share(2 * right, actual + predicted)
    by_class = zip(names, precision.tolist(), recall.tolist(), f1_score.tolist(), actual.tolist(), strict=True)
    cells = zip(rows.tolist(), columns_of_pairs.tolist(), counts.tolist(), strict=True)
    return MulticlassMetrics(
        float(precision.mean()),
        float(recall.mean()),
        float(right.sum() / n),
        float(f1_score.mean()),
        None if probabilities is None else _log_loss(columns[2], truth, size),
        n,
        [ClassMetrics(*metrics)._asdict() for metrics in by_class],
        [Cell(names[row], names[column], count)._asdict() for row, column, count in cells],
    )


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """The quotients, 0 where the denominator is."""
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def _without_nulls(*columns: pa.Array | None) -> list[pa.Array]:
    """The rows of columns in which none of them is NULL."""
    import pyarrow.compute as pc

    given = [column for column in columns if column is not None]
    if not any(column.null_count for column in given):
        return given
    valid = given[0].is_valid()
    for column in given[1:]:
        valid = pc.and_(valid, column.is_valid())
    return [column.filter(valid) for column in given]


def _codes(label: pa.Array, prediction: pa.Array, classes: list[Any] | None) -> tuple[list[str], Any, Any]:
    """The names of the classes in their order, and each row's label and prediction as places in it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = [pa.types.is_string(column.type) for column in (label, prediction)]
    if texts[0] != texts[1]:
        raise ValueError(
            f"arguments label and prediction must both be numbers or both be texts, got {label.type} and "
            f"{prediction.type}"
        )
    if label.type != prediction.type:
        label, prediction = label.cast(pa.float64()), prediction.cast(pa.float64())
    if pa.types.is_floating(label.type):
        label, prediction = pc.add(label, 0.0), pc.add(prediction, 0.0)  # -0 is 0
    both = pa.concat_arrays([label, prediction]).dictionary_encode()
    values = both.dictionary
    if pa.types.is_floating(values.type) and pc.any(pc.is_nan(values)).as_py():
        raise ValueError("arguments label and prediction must be classes; a row has NaN")
    found = [_name(value) for value in values.to_pylist()]
    if classes is None:
        order = pc.sort_indices(values).to_numpy()
        names = [found[index] for index in order]
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(len(order))
    else:
        names = [_name(value) for value in classes]
        if not names or None in classes or len(set(names)) != len(names):
            raise ValueError(f"option classes must be different classes, at least one, got {classes}")
        place = {name: index for index, name in enumerate(names)}
        missing = next((name for name in found if name not in place), None)
        if missing is not None:
            raise ValueError(f"option classes must have all classes; a row has {missing!r}, which is not in {classes}")
        places = np.array([place[name] for name in found])
    codes = places[both.indices.to_numpy()]
    return names, codes[: len(label)], codes[len(label) :]


def _name(value: int | float | str) -> str:
    """A class as text; a number that is whole, as an integer, however it is stored."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _log_loss(probabilities: pa.Array, truth: np.ndarray, size: int) -> float:
    """The mean of minus the logarithm of the true class's probability."""
    import pyarrow.compute as pc

    lengths = pc.list_value_length(probabilities).to_numpy()
    if (lengths != size).any():
        raise ValueError(
            f"argument probabilities must have a number for each of the {size} classes, a row has "
            f"{lengths[lengths != size][0]}; name classes that are in no row in option classes"
        )
    numbers = probabilities.flatten()
    if numbers.null_count:
        raise ValueError("argument probabilities must be numbers; a row has a NULL among them")
    rows = numbers.to_numpy(zero_copy_only=False).reshape(-1, size)
    wrong = ~((rows >= 0) & (rows <= 1))
    if wrong.any():
        raise ValueError(f"argument probabilities must be between 0 and 1; a row has {rows[wrong][0]}")
    sums = rows.sum(axis=1)
    wrong = np.abs(sums - 1) > _SUM_ERROR
    if wrong.any():
        raise ValueError(f"argument probabilities must add up to 1; those of a row add up to {sums[wrong][0]}")
    return float(-np.log(np.maximum(rows[np.arange(len(rows)), truth], _SMALLEST)).mean())
