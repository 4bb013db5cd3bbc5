"""Aggregate and relation functions: as grouped-aggregate UDFs in SQL, and in two stages over partitions.

A grouped-aggregate UDF gets all rows of a group, batch by batch, in one worker. `aggregate` makes a state for each
group in each partition first, and only these cross the network; what there is of a state is in
`ironlake.udf.engine.stages`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 - as everyone calls it
from pyspark.sql.types import BinaryType, DataType, StructField, StructType
from pyspark.sql.udf import UserDefinedFunction

from ironlake.udf.engine import declarations
from ironlake.udf.engine.declaration import Declaration, closest

from . import worker
from .binding import bind
from .partitions import map_partitions
from .types import arrow_udf, spark_type
from .worker import Function


def registered(declaration: Declaration) -> UserDefinedFunction:
    """An aggregate for SQL, whose arguments come by position."""
    return _udf(declaration, None)


def called(declaration: Declaration) -> Callable[[Sequence[str]], UserDefinedFunction]:
    """What makes an aggregate of columns from the SQL of its arguments."""
    return lambda arguments: _udf(declaration, arguments)


def _udf(declaration: Declaration, arguments: Sequence[str] | None) -> UserDefinedFunction:
    function = Function.of(declaration)

    def aggregate(batches: Iterator[tuple[pa.Array, ...]]) -> Any:
        return _aggregate(function, arguments, batches)

    aggregate.__name__ = declaration.name
    # Spark reads the hints as objects.
    aggregate.__annotations__ = {"batches": Iterator[tuple[pa.Array, ...]], "return": Any}
    assert declaration.result is not None
    made: UserDefinedFunction = arrow_udf(aggregate, spark_type(declaration.result))
    return made


def _aggregate(function: Function, known: Sequence[str] | None, batches: Iterator[Any]) -> pa.Scalar:
    """An aggregate of a group, whose batches are tuples of columns, or a column where there is just one."""
    rows = _batches(function, batches)
    first = next(rows)
    arguments = first.schema.names if known is None else known
    return worker.aggregate(function, arguments, itertools.chain([first], rows))


def _batches(function: Function, batches: Iterator[Any]) -> Iterator[pa.RecordBatch]:
    """The batches of a group, with columns called a0, a1 and so on.

    Of a call with named arguments Spark 4.3 passes only those without a name, and says nothing. The others are columns
    of what its ``map`` iterates over.
    """
    pick: Any = None
    group: Any = batches
    if isinstance(batches, map):
        parts: Any = batches.__reduce__()
        _, (pick, group) = parts
    for batch in group:
        picked = pick(batch) if pick else batch
        columns = picked if isinstance(picked, tuple) else (picked,)
        if pick and batch.num_columns > len(columns):
            raise TypeError(
                f"{function.name}: Spark loses arguments given by name to an aggregate; give options as "
                "named_struct('epochs', 5), or call ironlake.spark.sql, which does that"
            )
        yield pa.RecordBatch.from_arrays(list(columns), worker.column_names(len(columns)))


def aggregate(
    df: DataFrame,
    name: str,
    *columns: Column | str | Any,
    by: Column | str | Sequence[Column | str] = (),
    **options: Any,
) -> DataFrame:
    """Aggregate in two stages: a partial state for each group in each partition, merged for each group.

    Parameters
    ----------
    df : pyspark.sql.DataFrame
        The rows.
    name : str
        An aggregate or relation function, such as ``'logistic_fit'``.
    *columns : pyspark.sql.Column, str or a value
        Its column arguments: columns, names of columns, or values that are the same for all rows.
    by : names of columns or columns
        What to group by; by default all rows are one group.
    **options
        The options of the function, and column arguments by their names.

    Returns
    -------
    pyspark.sql.DataFrame
        A row for each group: the columns of ``by``, and the result under the name of the function.

    Raises
    ------
    ValueError
        There is no such aggregate.
    TypeError
        An argument is unknown or missing.

    Examples
    --------
    >>> ils.aggregate(visits, "logistic_fit", "bought", "features", by="customer", epochs=5)
    """
    declaration = declarations.get(name)
    if declaration is None or declaration.kind not in ("aggregate", "relation"):
        known = [each.name for each in declarations.values() if each.kind in ("aggregate", "relation")]
        raise ValueError(f"ironlake.spark.aggregate: {name!r} is no aggregate{closest(name, known)}")
    arguments, inputs = bind(declaration, columns, options)
    listed: list[Column | str] = list(by) if isinstance(by, list | tuple) else [by]  # type: ignore[list-item]
    keys = [F.col(key) if isinstance(key, str) else key for key in listed]
    names = [f"k{index}" for index in range(len(keys))]
    rows = df.select(
        *(key.alias(place) for place, key in zip(names, keys, strict=True)),
        *(each.alias(place) for place, each in zip(worker.column_names(len(inputs)), inputs, strict=True)),
    )
    assert declaration.result is not None
    key_fields = rows.schema.fields[: len(keys)]
    states = StructType([*key_fields, StructField("state", BinaryType())])
    results = StructType([*key_fields, StructField("value", DataType.fromDDL(spark_type(declaration.result)))])
    function = Function.of(declaration)
    partial = map_partitions(rows, states, worker.partial_states, function, arguments, names)
    together = partial.repartition(*map(_hashed, key_fields)) if keys else partial.repartition(1)
    merged = map_partitions(together, results, worker.merged_states, function, names)
    return merged.toDF(*df.select(*keys).columns, name)


def _hashed(key: StructField) -> Column:
    """A key as Spark spreads it over partitions: for DuckDB 0.0 and -0.0 are one group, for Spark's hash two."""
    column = F.col(key.name)
    return column + F.lit(0.0) if key.dataType.simpleString() in ("double", "float") else column
