"""How a log becomes rows of a trace table: what all loaders share.

A loader is a file of this folder. It says in SQL which rows it finds in logs, and which expressions over them are the
columns of which trace table::

    LOADER = Loader("chrome", rows, {"step_trace": {"op": "coalesce(args->>'op', cat)", ...}})

``rows`` gets a `Reading`, whose `lines` and `elements` are relations of the log's text, and returns a SELECT. Besides
columns of its own choice, which users may name in expressions, that has ``ironlake_place`` (where the row stands, such
as ``run.log, line 17``) and ``ironlake_problem`` (what is wrong with it; NULL for good rows).
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ironlake.sql import trace_columns, trace_schema
from ironlake.udf.engine.declaration import closest

from ..schema import quote_name, quote_text
from ..storage import Storage, scratch
from .files import elements, lines, log_files

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

PLACE, PROBLEM = "ironlake_place", "ironlake_problem"
#: SQL of both for rows that are a line, or should be JSON.
LINE = f"file || ', line ' || number AS {PLACE}"
NO_JSON = "'this is no JSON object: ' || left(trim(text), 60)"
#: SQL of the name of a file without its folder and its endings, which loaders take for the name of a run.
RUN = r"regexp_extract(file, '([^/\\]+?)(\.(json|jsonl|log|txt|csv|out|trace|pt|gz|zst|zstd|lz4|bz2))*$', 1)"

OnMalformed = Literal["error", "skip"]
_BATCH_ROWS = 65_536


@dataclass(frozen=True)
class Loader:
    """How a kind of log becomes rows of trace tables.

    Attributes
    ----------
    name : str
        What users call it.
    rows : callable
        The SELECT of what a `Reading` finds for a trace table.
    columns : mapping of str to mapping of str to str
        For each trace table that it is for, expressions over those rows by column. Columns that are not here are those
        of the same name.
    files : callable
        The files that a path stands for.
    """

    name: str
    rows: Callable[[Reading, str], str]
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    files: Callable[[str], list[str]] = log_files


class Reading:
    """Logs that are being read, with the database that does it.

    Attributes
    ----------
    files : list of str
        The logs.
    skips : bool
        Whether rows with a problem are left out, rather than an error.
    connection : duckdb.DuckDBPyConnection
        A database of its own, which writes to the disk what does not fit into memory.
    rejected : str or None
        A query of how many rows DuckDB's own reader left out, and what was wrong with the first.
    """

    def __init__(self, files: list[str], skips: bool) -> None:
        self.files, self.skips = files, skips
        remote = Storage.of(files[0].rpartition("/")[0]) if "://" in files[0] else None
        self.connection: duckdb.DuckDBPyConnection = scratch(remote)
        self.rejected: str | None = None
        self.failure: Exception | None = None
        self._streams = 0

    def lines(self) -> str:
        """The relation of all lines: ``file``, ``number`` from 1 on, ``text``. It can be read once."""
        return self._stream(lines)

    def elements(self, key: str) -> str:
        """The relation of the elements of the JSON arrays that the files are or have under a key, as `lines`."""
        return self._stream(lambda file: elements(file, key))

    def _stream(self, batches: Callable[[str], Iterator[pa.RecordBatch]]) -> str:
        import pyarrow as pa

        def all_batches() -> Iterator[pa.RecordBatch]:
            for file in self.files:
                try:
                    yield from batches(file)
                except Exception as error:
                    told = str(error) if file in str(error) else f"{file}: {error}"
                    self.failure = type(error)(told)
                    raise

        schema = pa.schema({"file": pa.string(), "number": pa.int64(), "text": pa.string()})
        self._streams += 1
        name = f"ironlake_stream{self._streams}"
        self.connection.register(name, pa.RecordBatchReader.from_batches(schema, all_batches()))
        return name


class LogRows:
    """The rows of a trace table that logs have, as a stream; see `read_log`.

    Attributes
    ----------
    rows, skipped : int
        How many rows there were so far, and how many were left out for a problem.
    first_problem : str or None
        The first of these.
    """

    def __init__(
        self, loader: Loader, trace: str, path: str, columns: Mapping[str, str], on_malformed: OnMalformed
    ) -> None:
        self.rows = self.skipped = 0
        self.first_problem: str | None = None
        self._loader, self._trace, self._schema = loader, trace, trace_schema(trace)
        self._files, self._skips = loader.files(path), on_malformed == "skip"
        self._columns = {**loader.columns.get(trace, {}), **columns}
        names = self._schema.names
        if unknown := next((name for name in columns if name not in names), None):
            raise ValueError(
                f"argument columns names {unknown!r}, which {trace} does not have{closest(unknown, names)}"
            )

    def reader(self) -> pa.RecordBatchReader:
        """The rows, once; nothing is read before the first is asked for."""
        import pyarrow as pa

        return pa.RecordBatchReader.from_batches(self._schema, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        reading = Reading(self._files, self._skips)
        with contextlib.closing(reading.connection), _told(reading):
            found = self._loader.rows(reading, self._trace)
            query = _select(reading, found, self._trace, self._columns)
            for batch in reading.connection.sql(query).to_arrow_reader(_BATCH_ROWS):
                kept = self._checked(batch).select(self._schema.names)
                self.rows += len(kept)
                yield pa.record_batch(kept.columns, self._schema)
            if reading.rejected:
                [(count, first)] = reading.connection.execute(reading.rejected).fetchall()
                self._note(count, first)
        if self.skipped:
            warnings.warn(
                f"{self.skipped:,} malformed rows were skipped; the first: {self.first_problem}", stacklevel=2
            )

    def _checked(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows without a problem."""
        import pyarrow.compute as pc

        problems = batch[PROBLEM]
        if problems.null_count == len(batch):
            return batch
        bad = batch.filter(pc.is_valid(problems))
        first = f"{bad[PLACE][0]}: {bad[PROBLEM][0]}"
        if not self._skips:
            raise ValueError(f"{first} (on_malformed = 'skip' leaves such rows out)")
        self._note(len(bad), first)
        return batch.filter(pc.is_null(problems))

    def _note(self, count: int, first: str | None) -> None:
        self.skipped += count
        self.first_problem = self.first_problem or first


@contextlib.contextmanager
def _told(reading: Reading) -> Iterator[None]:
    """Let errors of DuckDB be one sentence, and those in the stream of a file what they were there."""
    import duckdb
    import pyarrow as pa

    try:
        yield
    except Exception as error:
        if reading.failure is not None:
            raise reading.failure from None
        # Arrow's streams raise a plain OSError for errors of DuckDB.
        if isinstance(error, duckdb.Error | pa.ArrowException) or (type(error) is OSError and error.errno is None):
            raise ValueError(_sentence(str(error))) from None
        raise


def _sentence(message: str) -> str:
    """What DuckDB says, without what it says about its own options."""
    if found := re.search(r"CSV Error on Line: (\d+)\n.*\n(.*)[\s\S]*?\n\s*file = (.*)", message):
        return f"{found[3]}, line {found[1]}: {found[2]}"
    return message.splitlines()[0]


def _select(reading: Reading, found: str, trace: str, given: Mapping[str, str]) -> str:
    """The SELECT of a trace table's columns over what a loader found."""
    columns = {column.name: column.type for column in trace_columns(trace)}
    there = reading.connection.sql(found).columns
    by_name = {name.lower(): name for name in there}
    known = {*given, *by_name}
    values = {name: given.get(name) or quote_name(by_name[name]) for name in columns if name in known}
    if not values:
        told = ", ".join(name for name in there if name not in (PLACE, PROBLEM))
        raise ValueError(f"the log has none of the columns of {trace}, but {told}; say in columns what they stand for")
    selected, problems = [], [PROBLEM]
    for name, type_ in columns.items():
        value = f"({values[name]})" if name in values else "NULL"
        selected.append(f"TRY_CAST({value} AS {type_}) AS {quote_name(name)}")
        if name in values and type_ != "VARCHAR":
            wrong = f"{quote_text(f'column {name} is ')} || {value}::VARCHAR || {quote_text(f', which is no {type_}')}"
            problems.append(f"CASE WHEN TRY_CAST({value} AS {type_}) IS NULL AND {value} IS NOT NULL THEN {wrong} END")
    query = f"SELECT {', '.join(selected)}, {PLACE}, coalesce({', '.join(problems)}) AS {PROBLEM} FROM ({found})"
    _check(reading, found, given, query)
    return query


def _check(reading: Reading, found: str, given: Mapping[str, str], query: str) -> None:
    """Refuse expressions that are none, and say which."""
    import duckdb

    try:
        reading.connection.sql(query)
    except duckdb.Error:
        for name, value in given.items():
            try:
                reading.connection.sql(f"SELECT ({value}) FROM ({found})")
            except duckdb.Error as error:
                told = f"argument columns: {name!r} is {value!r}, which is no expression over the log: "
                raise ValueError(told + _sentence(str(error))) from None
        raise
