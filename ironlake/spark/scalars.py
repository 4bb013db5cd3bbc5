"""Scalar functions as Arrow UDFs: a batch of columns in, a column out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
from pyspark.sql.udf import UserDefinedFunction

from ironlake.udf.engine.declaration import Declaration

from . import worker
from .types import arrow_udf, spark_type
from .worker import Function


def results(declaration: Declaration) -> Iterator[tuple[str, str]]:
    """The names of a function in Spark, each with the type of its result there.

    Spark knows one type for a name. Where overloads differ in their results, the first one's is the type of the name
    itself, and each other has a name of its own: ``predict`` gives a number, ``predict_varchar`` a text.
    """
    seen: set[str] = set()
    for each in (declaration, *declaration.others):
        assert each.result is not None
        type_ = spark_type(each.result)
        if type_ not in seen:
            suffix = str(each.result).lower().replace("[]", "_list")
            yield declaration.name + (f"_{suffix}" if seen else ""), type_
        seen.add(type_)


def registered(declaration: Declaration, type_: str) -> UserDefinedFunction:
    """A function for SQL: arguments come by position or by name, options too."""
    function = Function.of(declaration)

    def scalar(*columns: pa.Array, **named: pa.Array) -> pa.Array:
        return worker.scalar_called(function, columns, named)

    scalar.__name__ = declaration.name  # of the column, where a query gives it none
    made: UserDefinedFunction = arrow_udf(scalar, type_)
    return made


def called(declaration: Declaration, type_: str) -> Callable[[Sequence[str]], UserDefinedFunction]:
    """What makes a function of columns from the SQL of its arguments."""
    function = Function.of(declaration)

    def make(arguments: Sequence[str]) -> UserDefinedFunction:
        def scalar(*columns: pa.Array) -> pa.Array:
            return worker.scalar(function, arguments, columns)

        scalar.__name__ = declaration.name
        made: UserDefinedFunction = arrow_udf(scalar, type_)
        return made

    return make


def of_lists(declaration: Declaration, type_: str) -> UserDefinedFunction:
    """An aggregate as a function of lists of rows, STRUCTs of its arguments: what `sql` makes of calls it rewrites."""
    function = Function.of(declaration)

    def aggregate(lists: pa.Array) -> pa.Array:
        return worker.aggregate_lists(function, worker.column_names(lists.type.value_type.num_fields), lists)

    made: UserDefinedFunction = arrow_udf(aggregate, type_)
    return made
