"""``fit_parallel``: stochastic gradient descent over partitions, whose models are averaged after each round.

Each round the model travels to all partitions with the query; each goes on from it over its own rows, by the ``init``
of the task's aggregate, and `treeAggregate` averages the models by their numbers of rows.

Source: McDonald, Hall, Mann: Distributed Training Strategies for the Structured Perceptron, NAACL 2010, section 3.2
(iterative parameter mixing); Chen, Huo: Scalable Training of Deep Learning Machines by Incremental Block Training,
ICASSP 2016, for the momentum.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql.types import DataType, StructField, StructType

from ironlake.udf.engine import declarations
from ironlake.udf.engine.declaration import Declaration, closest

from . import worker
from .binding import bind
from .partitions import map_partitions
from .types import spark_type
from .worker import Function

#: A sum of models: coefficients, intercept and loss weighted by rows, the rows, and the greatest number of steps.
_Sum = tuple[np.ndarray[Any, Any], float, float, int, int]


def fit_parallel(
    df: DataFrame,
    task: str,
    label: Column | str,
    features: Column | str,
    *,
    rounds: int = 10,
    average: Literal["mean", "momentum"] = "mean",
    momentum: float = 0.5,
    tolerance: float = 0.0,
    depth: int = 2,
    **options: Any,
) -> dict[str, Any]:
    """Train one model on all partitions of a DataFrame: descent in each, an average of the models after each round.

    Parameters
    ----------
    df : pyspark.sql.DataFrame
        The rows; it is read once a round, so `df.cache()` it if it is not read quickly.
    task : str
        The name of a task, such as ``'logistic'``: the aggregate ``logistic_fit`` trains it.
    label, features : pyspark.sql.Column or str
        The label, and the features as an array of numbers of one length.
    rounds : int
        How often the models are averaged.
    average : {'mean', 'momentum'}
        The next model is the mean, or the mean moved on by a share of the last round's step.
    momentum : float
        That share, from 0 to below 1.
    tolerance : float
        Stop when the loss of a round is less than this share below the one before; 0 never stops.
    depth : int
        Levels of the tree in which the models are added up.
    **options
        Options of the aggregate, such as ``epochs`` (in each round), ``step_size`` or ``l2``.

    Returns
    -------
    dict
        The model, with the same fields as of ``ironlake.logistic_fit``; ``epochs`` counts the rounds and
        ``loss_history`` has the loss of each.

    Raises
    ------
    ValueError
        There is no such task, a number is out of its range, or there are no rows.

    Examples
    --------
    >>> model = ils.fit_parallel(rows, "logistic", "label", "features", rounds=5, l2=1e-4)
    >>> rows.select(ils.functions.predict_proba(model, "features"))
    """
    declaration = _task(task)
    if rounds < 1:
        raise ValueError(f"ironlake.spark.fit_parallel: rounds must be at least 1, got {rounds}")
    if average not in ("mean", "momentum"):
        raise ValueError(f"ironlake.spark.fit_parallel: average must be 'mean' or 'momentum', got {average!r}")
    if not 0 <= momentum < 1:
        raise ValueError(f"ironlake.spark.fit_parallel: momentum must be from 0 to below 1, got {momentum}")
    _, columns = bind(declaration, (label, features), options)
    rows = df.select(*(each.alias(name) for name, each in zip(worker.column_names(len(columns)), columns, strict=True)))
    model: dict[str, Any] = {}
    history: list[float] = []
    velocity = np.zeros(0)
    for _ in range(rounds):
        trained, total = _round(declaration, rows, {**options, **_start(model)}, depth)
        if average == "momentum" and model:
            start = np.append(model["coefficients"], model["intercept"])
            mean = np.append(total[0], total[1])
            velocity = momentum * (velocity if len(velocity) else np.zeros_like(mean)) + (mean - start)
            total = ((start + velocity)[:-1], float((start + velocity)[-1]), *total[2:])
        history.append(total[2])
        model = {**trained, "coefficients": total[0].tolist(), "intercept": total[1], "n": total[3], "step": total[4]}
        converged = tolerance > 0 and len(history) > 1 and history[-2] - history[-1] < tolerance * abs(history[-2])
        model |= {"epochs": len(history), "loss": history[-1], "loss_history": list(history)}
        model |= {"converged": converged, "stop_reason": "tolerance" if converged else "epochs"}
        if converged:
            break
    return model


def _task(task: str) -> Declaration:
    """The aggregate that trains a task.

    Raises
    ------
    ValueError
        There is none that can go on from a model.
    """
    known = {
        name.removesuffix("_fit"): each
        for name, each in declarations.items()
        if each.kind == "aggregate" and any(option.name == "init" for option in each.options)
    }
    if task not in known:
        raise ValueError(f"ironlake.spark.fit_parallel: there is no task {task!r}{closest(task, known)}")
    return known[task]


def _start(model: dict[str, Any]) -> dict[str, Any]:
    """The option that lets training go on from a model."""
    return {"init": {name: model[name] for name in ("task", "coefficients", "intercept", "step")}} if model else {}


def _round(
    declaration: Declaration, rows: DataFrame, options: dict[str, Any], depth: int
) -> tuple[dict[str, Any], _Sum]:
    """The models of all partitions: one of them, and their average."""
    names = worker.column_names(len(rows.columns))
    arguments, _ = bind(declaration, names, options)
    assert declaration.result is not None
    schema = StructType([StructField("value", DataType.fromDDL(spark_type(declaration.result)))])
    models = map_partitions(rows, schema, _models, Function.of(declaration), arguments).rdd
    none: tuple[Any, Any] = (None, None)
    model, total = models.map(_weighted).treeAggregate(none, _add, _add, depth)
    if total is None:
        raise ValueError(f"ironlake.spark.fit_parallel: no partition has rows to train {declaration.name} on")
    coefficients, intercept, loss, count, steps = total
    return model, (coefficients / count, intercept / count, loss / count, count, steps)


def _models(function: Function, arguments: list[str], batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The model of a partition; none if it has no rows."""
    model = worker.aggregate(function, arguments, batches)
    if model is not None and model.is_valid:
        yield pa.RecordBatch.from_arrays([pa.array([model.as_py()], model.type)], ["value"])


def _weighted(row: Any) -> tuple[dict[str, Any], _Sum]:
    model = row.value.asDict(recursive=True)
    count = model["n"]
    weights = np.array(model["coefficients"]) * count
    return model, (weights, model["intercept"] * count, model["loss"] * count, count, model["step"])


def _add(one: tuple[Any, Any], other: tuple[Any, Any]) -> tuple[Any, Any]:
    """Add two sums of models, of which either may be empty."""
    if one[1] is None or other[1] is None:
        return other if one[1] is None else one
    mine, its = one[1], other[1]
    if len(mine[0]) != len(its[0]):
        raise ValueError(f"rows differ in length: some have {len(mine[0])} features, others {len(its[0])}")
    return one[0], (*(mine[place] + its[place] for place in range(4)), max(mine[4], its[4]))
