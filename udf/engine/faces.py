"""The Python face of a declared function: the same computation on scalars, NumPy arrays and Arrow tables.

A call runs as a query on a private in-memory database, so Python sees the same casts, NULL rules and errors as SQL.
Table functions are called directly and give an Arrow table.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np

from .declaration import REQUIRED, Declaration, Parameter, closest, sql_literal

if TYPE_CHECKING:
    import pyarrow as pa

_local = threading.local()


def face(declaration: Declaration) -> Callable[..., Any]:
    """The function that Python users call; its docstring and signature are the declaration's."""
    call = {"table": _call_table, "scalar": _call_scalar}.get(declaration.kind, _call_aggregate)

    def function(*arguments: Any, **options: Any) -> Any:
        return call(declaration, arguments, options)

    function.__name__ = function.__qualname__ = declaration.name
    function.__module__ = "ironlake"
    function.__doc__ = f"{declaration.signature}\n\n{declaration.documentation.text}"
    function.__signature__ = _signature(declaration)  # type: ignore[attr-defined]
    function.declaration = declaration  # type: ignore[attr-defined]
    return function


def _signature(declaration: Declaration) -> inspect.Signature:
    kinds = inspect.Parameter
    columns = [
        kinds(parameter.name, kinds.POSITIONAL_OR_KEYWORD, default=parameter.default)
        for parameter in sorted(declaration.parameters, key=lambda parameter: not parameter.required)
    ]
    options = [kinds(option.name, kinds.KEYWORD_ONLY, default=option.default) for option in declaration.options]
    return inspect.Signature([*columns, *options])


def _connection() -> duckdb.DuckDBPyConnection:
    """The thread's connection to the private database."""
    if getattr(_local, "database", None) is not private_database():
        _local.database = private_database()
        _local.connection = _local.database.cursor()
    connection: duckdb.DuckDBPyConnection = _local.connection
    return connection


@functools.cache
def private_database() -> duckdb.DuckDBPyConnection:
    """The in-memory database in which Python calls run."""
    return duckdb.connect(":memory:")


def _call_table(declaration: Declaration, arguments: tuple[Any, ...], named: dict[str, Any]) -> pa.Table:
    import pyarrow as pa

    from .database import Database, newest_cell
    from .tables import Source, check_arguments, stream

    names = [parameter.name for parameter in declaration.parameters]
    if len(arguments) > len(names):
        raise TypeError(f"{declaration.name} takes {len(names)} arguments, got {len(arguments)}")
    given = check_arguments(declaration, {**dict(zip(names, arguments, strict=False)), **named})
    injected = declaration.settings["database"]
    if injected:
        private_database()
        given[injected] = Database(newest_cell())
    schema, batches, _ = stream(declaration.body(**given))
    return pa.Table.from_batches(batches.read(schema.names) if isinstance(batches, Source) else batches, schema)


def _call_aggregate(declaration: Declaration, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    bound, options = _bind(declaration, arguments, named)
    columns = {name: _column(value) for name, value in bound.items()}
    return _query(declaration, columns, {}, options).column(0)[0].as_py()


def _call_scalar(declaration: Declaration, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    bound, options = _bind(declaration, arguments, named)
    parameters = {parameter.name: parameter for parameter in declaration.parameters}
    columns = {name: _column(value) for name, value in bound.items() if _is_column(parameters[name], value)}
    values = {name: value for name, value in bound.items() if name not in columns}
    result = _query(declaration, columns, values, options).column(0)
    if not columns:
        return result[0].as_py()
    if any(isinstance(bound[name], np.ndarray) for name in columns):
        return result.combine_chunks().to_numpy(zero_copy_only=False)
    return result


def _bind(
    declaration: Declaration, arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Column arguments by name, and options; one table alone supplies the columns by their names."""
    names = [parameter.name for parameter in declaration.parameters]
    option_names = [option.name for option in declaration.options]
    for name in named:
        if name not in names and name not in option_names:
            raise TypeError(f"{declaration.name}: unknown argument {name!r}{closest(name, [*names, *option_names])}")
    options = {name: value for name, value in named.items() if name in option_names}
    given = {name: value for name, value in named.items() if name in names}
    if len(arguments) == 1 and not given and _is_table(arguments[0]):
        return _table_columns(declaration, arguments[0]), options
    if len(arguments) > len(names):
        raise TypeError(f"{declaration.name} takes {len(names)} column arguments, got {len(arguments)}")
    bound = {**dict(zip(names, arguments, strict=False)), **given}
    for parameter in declaration.parameters:
        if parameter.name not in bound and parameter.default is REQUIRED:
            raise TypeError(f"{declaration.name}: argument {parameter.name!r} is missing")
    return {name: bound[name] for name in names if name in bound}, options


def _is_table(value: Any) -> bool:
    import pyarrow as pa

    streams = hasattr(value, "__arrow_c_stream__") and not isinstance(value, pa.ChunkedArray)
    return streams or isinstance(value, pa.RecordBatch)


def _table_columns(declaration: Declaration, table: Any) -> dict[str, Any]:
    import pyarrow as pa

    table = table if isinstance(table, pa.Table) else pa.table(table)
    missing = [
        parameter.name
        for parameter in declaration.parameters
        if parameter.required and parameter.name not in table.column_names
    ]
    if missing:
        raise TypeError(
            f"{declaration.name}: the table has no column {missing[0]!r}; its columns are "
            + ", ".join(map(repr, table.column_names))
        )
    wanted = [parameter.name for parameter in declaration.parameters if parameter.name in table.column_names]
    return {name: table.column(name) for name in wanted}


def _is_column(parameter: Parameter, value: Any) -> bool:
    """Whether a scalar function's argument is a column, not one value (a list is one value of a LIST)."""
    import pyarrow as pa

    if isinstance(value, pa.Array | pa.ChunkedArray):
        return True
    takes_lists = all(type_.name in ("LIST", "ARRAY") for type_ in parameter.types)
    return isinstance(value, np.ndarray) and value.ndim > (1 if takes_lists else 0)


def _column(value: Any) -> Any:
    import pyarrow as pa

    if isinstance(value, np.ndarray) and value.ndim == 2:
        flat = pa.array(np.ascontiguousarray(value).reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, value.shape[1])
    return value if isinstance(value, pa.Array | pa.ChunkedArray) else pa.array(value)


def _query(declaration: Declaration, columns: dict[str, Any], values: dict[str, Any], options: dict[str, Any]) -> Any:
    """``SELECT f(...)`` over the columns, as an Arrow table."""
    import pyarrow as pa

    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name!r} has {length} rows" for name, length in lengths.items())
        raise ValueError(f"{declaration.name}: columns of different lengths: {told}")
    terms, bindings = [], []
    for parameter in declaration.parameters:
        if parameter.name not in columns and parameter.name not in values:
            continue
        term = f'"{parameter.name}"'
        if parameter.name in values:
            bindings.append(_plain(values[parameter.name]))
            term = "?"
        terms.append(
            f"CAST({term} AS {parameter.types[0]})" if len(parameter.types) == 1 and not declaration.others else term
        )
    if options or (declaration.options and len(terms) > declaration.options_at):
        given = {name: _plain(value) for name, value in options.items()}
        terms.insert(declaration.options_at, sql_literal(given or None))
    query = f"SELECT {declaration.name}({', '.join(terms)})"
    connection = _connection()
    if columns:
        connection.register("ironlake_arguments", pa.table(columns))
        query += " FROM ironlake_arguments"
    try:
        return connection.sql(query, params=bindings).to_arrow_table()
    finally:
        if columns:
            connection.unregister("ironlake_arguments")


def _plain(value: Any) -> Any:
    """A NumPy or named-tuple value as plain Python."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value._asdict() if hasattr(value, "_asdict") else value
