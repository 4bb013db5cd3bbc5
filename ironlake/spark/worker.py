"""What runs in Spark's Python processes: a database of DuckDB in each, and calls of functions in it.

A function travels as its name and is found by ``import ironlake`` there. One that a program or a notebook declares
travels with what it was declared from. DuckDB chooses the overload, casts, and skips NULLs as it does elsewhere.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from ironlake.udf.engine import complete, declarations, extension
from ironlake.udf.engine.database import newest_cell
from ironlake.udf.engine.declaration import Declaration, closest
from ironlake.udf.engine.faces import face
from ironlake.udf.engine.stages import Stages

_ROWS = "spark_rows"
complete()  # declares the functions, in workers too


@dataclass(frozen=True)
class Function:
    """A declared function on its way to a worker.

    Attributes
    ----------
    name : the SQL name.
    declared : the pickled declaration, of a function that ``import ironlake`` does not declare.
    """

    name: str
    declared: bytes | None = None

    @classmethod
    def of(cls, declaration: Declaration) -> Function:
        """A declaration, made ready to travel."""
        if extension.comes_with_package(declaration):
            return cls(declaration.name)
        import cloudpickle

        return cls(declaration.name, cloudpickle.dumps(declaration))

    def declaration(self) -> Declaration:
        """The declaration, in this process."""
        if self.declared is not None:
            _declare(self.name, self.declared)
        return declarations[self.name]


#: name -> the pickled declaration that this process knows under the name.
_declared: dict[str, bytes] = {}


def _declare(name: str, declared: bytes) -> None:
    if _declared.get(name) != declared:
        import pickle

        declaration = pickle.loads(declared)
        extension.add(declaration, face(declaration))
        database.cache_clear()
    _declared[name] = declared


@functools.cache
def database() -> tuple[duckdb.DuckDBPyConnection, Stages]:
    """The database of this process, on one thread, as Spark runs a process for each core."""
    connection = duckdb.connect(":memory:", config={"threads": 1})
    return connection, Stages(newest_cell())


def literal(value: Any) -> str:
    """A Python value as SQL of DuckDB that stands for exactly this value."""
    if value is None:
        return "NULL"
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, float | np.floating):
        return f"CAST('{float(value)!r}' AS DOUBLE)"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if hasattr(value, "_asdict") or hasattr(value, "asDict"):
        value = value._asdict() if hasattr(value, "_asdict") else value.asDict()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(str(key))}: {literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple | np.ndarray):
        return "[" + ", ".join(map(literal, value)) + "]"
    return str(value)


def terms(
    declaration: Declaration, positional: Sequence[str], named: dict[str, str], options: dict[str, str]
) -> list[str]:
    """The arguments of a call in SQL, from those given by position, by name, and options by name.

    Raises
    ------
    TypeError
        An argument is unknown or missing.
    """
    names = [parameter.name for parameter in declaration.parameters]
    known = [*names, *(option.name for option in declaration.options)]
    for name in (*named, *options):
        if name not in known:
            raise TypeError(f"{declaration.name}: unknown argument {name!r}{closest(name, known)}")
    if not named and not options:
        return list(positional)
    given = dict(zip(names, positional, strict=False)) | named
    last = max((index for index, name in enumerate(names) if name in given), default=-1)
    made = []
    for parameter in declaration.parameters[: max(last + 1, declaration.options_at)]:
        if parameter.name not in given and parameter.required:
            raise TypeError(f"{declaration.name}: argument {parameter.name!r} is missing")
        made.append(given.get(parameter.name, literal(parameter.default) if not parameter.required else "NULL"))
    if options or (declaration.options and len(made) > declaration.options_at):
        struct = "{" + ", ".join(f"'{name}': {value}" for name, value in options.items()) + "}"
        made.insert(declaration.options_at, struct if options else "NULL")
    return made


def run(query: str, rows: pa.RecordBatchReader | pa.Table) -> pa.RecordBatchReader:
    """The result of a query that reads ``spark_rows``; the next query ends it."""
    connection, _ = database()
    connection.register(_ROWS, rows)
    return connection.sql(query).to_arrow_reader()


def column_names(count: int) -> list[str]:
    """What the columns of a call are called in the database of a worker."""
    return [f"a{index}" for index in range(count)]


def scalar(function: Function, arguments: Sequence[str], columns: Sequence[pa.Array]) -> pa.Array:
    """A scalar function of columns; the arguments are SQL, in which a column is called a0, a1 and so on."""
    function.declaration()
    return _column(f"SELECT {function.name}({', '.join(arguments)}) FROM {_ROWS}", _table(columns))


def scalar_called(function: Function, columns: Sequence[pa.Array], named: dict[str, pa.Array]) -> pa.Array:
    """A scalar function of columns that were given by position and by name."""
    declaration = function.declaration()
    places = column_names(len(columns) + len(named))
    by_name = dict(zip(named, places[len(columns) :], strict=True))
    options = {option.name for option in declaration.options}
    arguments = terms(
        declaration,
        places[: len(columns)],
        {name: place for name, place in by_name.items() if name not in options},
        {name: place for name, place in by_name.items() if name in options},
    )
    return scalar(function, arguments, [*columns, *named.values()])


def aggregate(function: Function, arguments: Sequence[str], batches: Iterable[pa.RecordBatch]) -> pa.Scalar:
    """An aggregate of all rows, which are taken in batch by batch; None if there are no batches."""
    function.declaration()
    reader = _reader(batches)
    if reader is None:
        return None
    return _column(f"SELECT {function.name}({', '.join(arguments)}) FROM {_ROWS}", reader)[0]


def aggregate_lists(function: Function, arguments: Sequence[str], lists: pa.Array) -> pa.Array:
    """An aggregate of each list of rows."""
    function.declaration()
    places = np.repeat(np.arange(len(lists)), lists.value_lengths().fill_null(0).to_numpy())
    content = lists.flatten()
    columns = [content.field(index) for index in range(content.type.num_fields)]
    call = f"{function.name}({', '.join(arguments)})"
    query = (
        f"SELECT CASE WHEN list IS NULL THEN of_nothing ELSE value END FROM range({len(lists)}) t(place) "
        f"CROSS JOIN (SELECT {call} AS of_nothing FROM {_ROWS} WHERE false) "
        f"LEFT JOIN (SELECT list, {call} AS value FROM {_ROWS} GROUP BY list) ON place = list ORDER BY place"
    )
    return _column(query, _table(columns).append_column("list", pa.array(places)))


def partial_states(
    function: Function, arguments: Sequence[str], keys: Sequence[str], batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """The first stage of an aggregate: a state for each combination of keys."""
    declaration = function.declaration()
    reader = _reader(batches)
    if reader is not None:
        name = database()[1].partial(declaration)
        yield from run(_grouped(keys, f"{name}({', '.join(arguments)}) AS state"), reader)


def merged_states(
    function: Function, keys: Sequence[str], batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """The second stage: the result for each combination of keys, from its states."""
    declaration = function.declaration()
    rest = iter(batches)
    held, state = [], None
    for batch in rest:
        held.append(batch)
        state = next((each.as_py() for each in batch.column("state") if each.is_valid), None)
        if state is not None:
            break
    if not held and not keys:
        held = [pa.record_batch({"state": pa.array([], pa.binary())})]
    reader = _reader(itertools.chain(held, rest))
    if reader is not None:
        name = database()[1].merge(declaration, state)
        yield from run(_grouped(keys, f"{name}(state) AS value"), reader)


def _grouped(keys: Sequence[str], value: str) -> str:
    listed = [f'"{key}"' for key in keys]
    group = f" GROUP BY {', '.join(listed)}" if keys else ""
    return f"SELECT {', '.join([*listed, value])} FROM {_ROWS}{group}"


def _column(query: str, rows: pa.RecordBatchReader | pa.Table) -> pa.Array:
    return run(query, rows).read_all().column(0).combine_chunks()


def _table(columns: Sequence[pa.Array]) -> pa.Table:
    return pa.table(list(columns), names=column_names(len(columns)))


def _reader(batches: Iterable[pa.RecordBatch]) -> pa.RecordBatchReader | None:
    """Batches as a stream; None if there is none, as nobody knows the columns then."""
    rest = iter(batches)
    first = next(rest, None)
    if first is None:
        return None
    return pa.RecordBatchReader.from_batches(first.schema, itertools.chain([first], rest))
