"""Training a recommendation model on a table, and predicting with it; the model is a SQL value."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ironlake.udf.engine import relation, scalar
from ironlake.udf.engine.sqltypes import FLOAT, INTEGER

from .operators import interaction_size

if TYPE_CHECKING:
    pass

_MOST_NUMBERS = 2**31 - 1


class DlrmModel(NamedTuple):
    """A trained model as a SQL STRUCT.

    Attributes
    ----------
    task : ``dlrm``.
    dim : numbers of an embedding.
    bottom, top : sizes of the layers of both networks, their inputs first.
    table_rows : rows of each embedding table; an id is taken modulo these.
    weights : of both networks, layer by layer: for each output its weights, then the biases of all.
    embeddings : of all tables, row by row.
    n, epochs : rows, and passes over them.
    loss_history : mean log loss of every epoch, each batch's taken before the step on it.
    """

    task: str
    dim: INTEGER
    bottom: list[INTEGER]
    top: list[INTEGER]
    table_rows: list[int]
    weights: list[FLOAT]
    embeddings: list[FLOAT]
    n: int
    epochs: INTEGER
    loss_history: list[float]


@relation
def dlrm_fit(
    label: bool | float,
    dense: list[float],
    categories: list[int],
    *,
    dim: int = 16,
    bottom: list[int] = [64],  # noqa: B006 - read only
    top: list[int] = [64],  # noqa: B006 - read only
    max_rows: int = 100_000,
    step_size: float = 0.1,
    epochs: int = 1,
    batch: int = 128,
    seed: int = 0,
) -> DlrmModel | None:
    """Train a deep learning recommendation model (DLRM) that predicts clicks, by stochastic gradient descent.

    Dense features go through the bottom network, each category to a row of an embedding table of its own; the products
    of all pairs of these vectors go, with the bottom network's output, through the top network. Embeddings change only
    where a batch looked them up.

    Parameters
    ----------
    label : whether there was a click: true or false, 1 or 0.
    dense : numbers, as many in each row; of a size near 1, so take logarithms of counts.
    categories : ids, at least 0, as many in each row: one for each table.
    dim : numbers of an embedding.
    bottom, top : sizes of the hidden layers.
    max_rows : most rows of a table; ids are taken modulo the rows, which are the largest id and one, or these.
    step_size : of a step along the mean gradient of a batch.
    epochs : passes over the rows, each in an order of its own.
    batch : rows of a step.
    seed : of the model to begin with, and the orders.

    Returns
    -------
    STRUCT
        The model, for `dlrm_predict`. Rows with a NULL are skipped; no rows give NULL.

    Raises
    ------
    InvalidInputException
        If a label is not 0 or 1, a number is NaN or infinite, an id negative, rows have different numbers of features,
        an option is out of range, or training diverges.

    References
    ----------
    Naumov and others: Deep Learning Recommendation Model for Personalization and Recommendation Systems, arXiv
    1906.00091 (2019).

    Examples
    --------
    SELECT dlrm_predict(model, [0.5], [3, 1]) AS probability
    FROM (SELECT dlrm_fit(i % 5 = i % 3, [sin(i)], [i % 5, i % 3], {'dim': 4, 'epochs': 3}) AS model
          FROM range(1000) t(i));
    """
    from .network import Dlrm

    options = {"dim": dim, "max_rows": max_rows, "epochs": epochs, "batch": batch}
    _check(options, [*bottom, *top], step_size, seed)
    rows = _rows(label, dense, categories)
    if rows is None:
        return None
    labels, numbers, ids = rows
    table_rows = np.minimum(ids.max(0) + 1, max_rows) if ids.shape[1] else np.zeros(0, np.int64)
    if table_rows.sum() * dim > _MOST_NUMBERS:
        raise ValueError(f"option dim is {dim}, too large for a list of {table_rows.sum()} rows; lower max_rows")
    ids = ids % np.maximum(table_rows, 1) + np.concatenate([[0], np.cumsum(table_rows)[:-1]]).astype(np.int64)
    below = [numbers.shape[1], *bottom, dim]
    above = [interaction_size(ids.shape[1], dim, "dot"), *top, 1]
    random = np.random.default_rng(seed)
    model, losses = Dlrm.random(below, above, table_rows, random), []
    for _ in range(epochs):
        order, total = random.permutation(len(labels)), 0.0
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            with np.errstate(over="ignore", invalid="ignore"):  # told below
                total += model.train(numbers[chosen], ids[chosen], labels[chosen], step_size)
        if not math.isfinite(total):
            raise ValueError(f"training diverges with the step_size {step_size}; expected a smaller one")
        losses.append(total / len(labels))
    layers = [*model.bottom.layers, *model.top.layers]
    weights: Any = np.concatenate([part.ravel() for layer in layers for part in layer])
    return DlrmModel(
        "dlrm", dim, below, above, table_rows.tolist(), weights, model.embeddings.ravel(), len(labels), epochs, losses
    )


def _check(counts: dict[str, int], sizes: list[int], step_size: float, seed: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"option {name} must be at least 1, got {value}")
    if any(size < 1 for size in sizes):
        raise ValueError(f"options bottom and top must be sizes of at least 1, got {min(sizes)}")
    if not 0 < step_size < math.inf:
        raise ValueError(f"option step_size must be above 0 and finite, got {step_size}")
    if seed < 0:
        raise ValueError(f"option seed must be at least 0, got {seed}")


def _rows(label: Any, dense: Any, categories: Any) -> tuple[Any, Any, Any] | None:
    """Labels, dense features and categories of the rows without NULLs, as arrays."""
    import pyarrow as pa

    kept = pa.table([label, dense, categories], ["label", "dense", "categories"]).drop_null().combine_chunks()
    if not len(kept):
        return None
    label, dense, categories = (column.combine_chunks() for column in kept.columns)
    labels = np.asarray(label.to_numpy(zero_copy_only=False), np.float64)
    wrong = ~np.isin(labels, (0, 1))
    if wrong.any():
        raise ValueError(f"argument label must be true or false, 1 or 0; a row has {labels[wrong][0]}")
    numbers, ids = _matrix("dense", dense), _matrix("categories", categories)
    if not numbers.shape[1]:
        raise ValueError("argument dense has no numbers; expected at least one, such as [1.0]")
    if not np.isfinite(numbers).all():
        raise ValueError(f"argument dense must be finite numbers; a row has {numbers[~np.isfinite(numbers)][0]}")
    if (ids < 0).any():
        raise ValueError(f"argument categories must be ids of at least 0; a row has {ids[ids < 0][0]}")
    return labels, numbers.astype(np.float32), ids.astype(np.int64)


def _matrix(name: str, lists: Any) -> Any:
    import pyarrow.compute as pc

    lengths = pc.unique(pc.list_value_length(lists)).to_pylist()
    if len(lengths) > 1:
        raise ValueError(
            f"argument {name} has {lengths[0]} values in a row and {lengths[1]} in another; expected as many"
        )
    values = lists.flatten()
    if values.null_count:
        raise ValueError(f"argument {name} has a NULL inside a list; expected a value")
    return values.to_numpy().reshape(len(lists), lengths[0])


@scalar(boundscheck=False)
def dlrm_predict(model: DlrmModel, dense: list[float], categories: list[int]) -> float:
    """The probability of a click by a recommendation model.

    Parameters
    ----------
    model : as `dlrm_fit` returns it.
    dense, categories : of a row, as many as the model was trained on.

    Returns
    -------
    DOUBLE
        Between 0 and 1; NULL if an argument is NULL. An id that training did not see is taken modulo the table's rows.

    Raises
    ------
    InvalidInputException
        If the model is another one, the numbers of features are not the model's, or an id is negative.

    References
    ----------
    Naumov and others: Deep Learning Recommendation Model for Personalization and Recommendation Systems, arXiv
    1906.00091 (2019).

    Examples
    --------
    SELECT dlrm_predict(model, [0.5], [3, 1]) AS probability
    FROM (SELECT dlrm_fit(i % 5 = i % 3, [sin(i)], [i % 5, i % 3], {'dim': 4, 'epochs': 3}) AS model
          FROM range(1000) t(i));
    """
    from_here = 0
    if model.task != "dlrm":
        raise ValueError("argument model must be a model of dlrm_fit")
    if len(dense) != model.bottom[0]:
        raise ValueError("argument dense has", len(dense), "numbers, the model was trained on", model.bottom[0])
    if len(categories) != len(model.table_rows):
        raise ValueError(
            "argument categories has", len(categories), "ids, the model was trained on", len(model.table_rows)
        )
    needed, rows = 0, 0
    for sizes in (model.bottom, model.top):
        for layer in range(len(sizes) - 1):
            needed += (sizes[layer] + 1) * sizes[layer + 1]
    for table in range(len(model.table_rows)):
        rows += model.table_rows[table]
    vectors, dim = len(categories) + 1, model.dim
    fits = len(model.weights) == needed and len(model.embeddings) == rows * dim
    if not fits or model.bottom[-1] != dim or model.top[0] != vectors * (vectors - 1) // 2 + dim:
        raise ValueError("argument model does not have as many weights and embeddings as its sizes tell")
    values: Any = np.empty(len(dense), np.float32)
    values[:] = dense
    weights, ends_linear = model.weights, False
    matrix = np.empty((vectors, dim), np.float32)
    for sizes in (model.bottom, model.top):
        for layer in range(len(sizes) - 1):
            inputs, outputs = sizes[layer], sizes[layer + 1]
            following = np.empty(outputs, np.float32)
            for out in range(outputs):
                total = weights[from_here + inputs * outputs + out]
                for into in range(inputs):
                    total += weights[from_here + out * inputs + into] * values[into]
                is_last = ends_linear and layer == len(sizes) - 2
                following[out] = total if is_last or total > 0 else 0
            values, from_here = following, from_here + (inputs + 1) * outputs
        if ends_linear:
            break
        matrix[0], start = values, 0
        for table in range(len(categories)):
            if categories[table] < 0:
                raise ValueError("argument categories must be ids of at least 0; a row has", categories[table])
            place = (start + categories[table] % model.table_rows[table]) * dim
            matrix[table + 1] = model.embeddings[place : place + dim]
            start += model.table_rows[table]
        values = np.empty(model.top[0], np.float32)
        values[:dim], place = matrix[0], dim
        for one in range(1, vectors):
            for other in range(one):
                values[place] = (matrix[one] * matrix[other]).sum()
                place += 1
        ends_linear = True
    return 1 / (1 + math.exp(-np.float64(values[0])))
