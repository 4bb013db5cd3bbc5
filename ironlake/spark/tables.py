"""Table functions as Arrow UDTFs: constants in, a table out.

Spark asks for the columns while it analyses a query, in a process of its own: the body is called there, as DuckDB calls
it to bind. A table that it returns travels with the plan. Of a stream only the columns are looked at, and the task
calls the body again to read it; a procedure does its work when it is read, so it does it once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F  # noqa: N812 - as everyone calls it
from pyspark.sql.udtf import AnalyzeArgument, AnalyzeResult, UserDefinedTableFunction
from pyspark.util import PythonEvalType

from ironlake.udf.engine import Database
from ironlake.udf.engine.database import newest_cell
from ironlake.udf.engine.declaration import Declaration
from ironlake.udf.engine.tables import Source, check_arguments, stream

from . import worker
from .types import spark_columns, spark_schema
from .worker import Function


@dataclass
class Analysis(AnalyzeResult):
    """What is known of a call when Spark has analysed it.

    Attributes
    ----------
    arguments : all arguments, defaults too.
    rows : the result as an Arrow stream, if the body returned a table.
    """

    arguments: dict[str, Any] = field(default_factory=dict)
    rows: bytes | None = None


def registered(declaration: Declaration) -> UserDefinedTableFunction:
    """A table function for SQL: ``FROM f('x', stages => 8)``."""
    function = Function.of(declaration)

    class Table:
        """What Spark calls."""

        def __init__(self, analysis: Analysis) -> None:
            self.analysis = analysis

        @staticmethod
        def analyze(*arguments: AnalyzeArgument, **named: AnalyzeArgument) -> Analysis:
            return analysed(function, arguments, named)

        def eval(self, *arguments: pa.Array, **named: pa.Array) -> Iterator[pa.RecordBatch]:
            return rows_of(function, self.analysis)

    # `arrow_udtf` refuses a class with `analyze`; Spark itself takes it.
    return UserDefinedTableFunction(Table, None, declaration.name, PythonEvalType.SQL_ARROW_UDTF)


def called(declaration: Declaration) -> Any:
    """A table function for Python: values in, a DataFrame out."""
    udtf = registered(declaration)

    def function(*arguments: Any, **named: Any) -> DataFrame:
        return udtf(*map(F.lit, arguments), **{name: F.lit(value) for name, value in named.items()})

    function.__name__ = function.__qualname__ = declaration.name
    function.__doc__ = f"{declaration.signature}\n\n{declaration.documentation.text}"
    return function


def analysed(function: Function, arguments: tuple[AnalyzeArgument, ...], named: dict[str, AnalyzeArgument]) -> Analysis:
    """The columns of a call, its arguments, and its rows if they are there already.

    Raises
    ------
    TypeError
        There are too many arguments.
    ValueError
        An argument is wrong, or no constant.
    """
    declaration = function.declaration()
    names = [parameter.name for parameter in declaration.parameters]
    if len(arguments) > len(names):
        raise TypeError(f"{declaration.name} takes {len(names)} arguments, got {len(arguments)}")
    given = {}
    for name, argument in (*zip(names, arguments, strict=False), *named.items()):
        if not argument.isConstantExpression:
            raise ValueError(f"{declaration.name}: argument {name!r} must be a constant, as Spark plans with it")
        given[name] = _plain(argument.value)
    try:
        values = check_arguments(declaration, given)
    except ValueError as error:
        raise ValueError(f"{declaration.name}: {error}") from None
    schema, batches, count = stream(_body(declaration, values))
    if count is None:
        if not isinstance(batches, Source):
            _close(batches)
        return Analysis(spark_schema(schema), arguments=values)
    return Analysis(spark_schema(schema), rows=_packed(schema, batches))


def rows_of(function: Function, analysis: Analysis) -> Iterator[pa.RecordBatch]:
    """The rows of a call that Spark has analysed."""
    if analysis.rows is not None:
        yield from pa.ipc.open_stream(analysis.rows)
        return
    schema, batches, _ = stream(_body(function.declaration(), analysis.arguments))
    if isinstance(batches, Source):
        batches = batches.read(schema.names)
    try:
        for batch in batches:
            yield _for_spark(batch)
    finally:
        _close(batches)


def _body(declaration: Declaration, values: dict[str, Any]) -> Any:
    """Call the body; one that queries gets the database of this process."""
    injected = declaration.settings["database"]
    if injected:
        worker.database()
        values = {**values, injected: Database(newest_cell())}
    return declaration.body(**values)


def _packed(schema: pa.Schema, batches: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, spark_columns(schema)) as writer:
        for batch in batches:
            writer.write_batch(_for_spark(batch))
    return bytes(sink.getvalue())


def _for_spark(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.cast(spark_columns(batch.schema))


def _plain(value: Any) -> Any:
    """What Spark gives for a constant, as plain Python."""
    if isinstance(value, Row):
        return {name: _plain(item) for name, item in value.asDict().items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _close(batches: Any) -> None:
    if hasattr(batches, "close"):
        with contextlib.suppress(pa.ArrowInvalid):
            batches.close()
