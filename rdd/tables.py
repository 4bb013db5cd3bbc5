"""RDDs from tables and tables from RDDs: Arrow's, DuckDB's, and those of a Delta lakehouse."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .base import Base
from .batches import BATCH_ROWS, Batch
from .sources import Given
from .tiers.folding import Collect

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from .rdd import RDD

#: Elements that are looked at for the types of columns that begin with nulls.
_LOOKED_AT = 100
#: The column of elements that are no rows.
_VALUE = "value"
#: The name under which DuckDB finds a partition.
_INSERTED = "ironlake_rdd_partition"


class Tables(Base):
    """The part of `RDD` that makes tables."""

    def toDF(self, schema: Any = None, sampleRatio: float | None = None) -> pa.Table:
        """The elements as an Arrow table, with the columns that Spark gives a DataFrame of them.

        Parameters
        ----------
        schema : list of str, str, pyarrow.Schema or pyspark.sql.types.StructType, optional
            Names of the columns, or names and types, such as ``"a int, b array<date>"``. Otherwise tuples have columns
            ``_1``, ``_2`` and so on, and dictionaries and objects those of their keys and attributes.
        sampleRatio : float, optional
            The part of the elements that types are inferred from. By default the first decides, and up to a hundred
            more where it has nulls.

        Returns
        -------
        pyarrow.Table
            A row for each element.

        Raises
        ------
        ValueError
            There are no elements, or all values of a column are null, and nobody says what they are.
        TypeError
            An element is no row, or a value is not of its column's type.

        Examples
        --------
        >>> sc.parallelize([(1, "fig"), (2, None)]).toDF(["id", "fruit"]).to_pydict()
        {'id': [1, 2], 'fruit': ['fig', None]}
        """
        import pyarrow as pa

        from .schemas import parsed

        given = parsed(schema)
        names = None if given is not None or schema is None else [str(name) for name in schema]
        columns = given if given is not None else self._inferred(names, sampleRatio)
        return pa.Table.from_batches(self._record_batches(columns, range(self.getNumPartitions())), columns)

    def toArrow(self, names: Sequence[str] | None = None) -> pa.Table:
        """The elements as an Arrow table: as `toDF`, and elements that are no rows as a column ``value``.

        Numbers and texts that are kept as columns are not copied.

        Parameters
        ----------
        names : sequence of str, optional
            Names of the columns.

        Raises
        ------
        ValueError, TypeError
            As `toDF`.

        Examples
        --------
        >>> sc.parallelize([0.5, 1.5]).toArrow()["value"].to_pylist()
        [0.5, 1.5]
        """
        rows, found = self._rows()
        return rows.toDF(found if names is None else list(names))

    def toDuckDB(self, con: duckdb.DuckDBPyConnection, name: str) -> duckdb.DuckDBPyRelation:
        """Write the elements to a new table of a DuckDB database, partition after partition.

        Parameters
        ----------
        con : duckdb.DuckDBPyConnection
            The database.
        name : str
            The table, with the columns of `toArrow`.

        Returns
        -------
        duckdb.DuckDBPyRelation
            The table.

        Raises
        ------
        duckdb.CatalogException
            There is a table of this name.
        ValueError, TypeError
            As `toDF`; then no table is left.

        Examples
        --------
        >>> sc.parallelize([(1, "fig"), (2, "kiwi")]).toDuckDB(duckdb.connect(), "fruit").fetchall()
        [(1, 'fig'), (2, 'kiwi')]
        """
        import pyarrow as pa

        rows, names = self._rows()
        columns = rows._inferred(names, None)
        quoted = ".".join(f'"{part}"' for part in name.replace('"', '""').split("."))
        part = pa.Table.from_batches([], columns)
        con.register(_INSERTED, part)
        con.execute(f"CREATE TABLE {quoted} AS FROM {_INSERTED}")
        try:
            for split in range(rows.getNumPartitions()):
                part = pa.Table.from_batches(rows._record_batches(columns, [split]), columns)
                con.register(_INSERTED, part)
                con.execute(f"INSERT INTO {quoted} FROM {_INSERTED}")
        except BaseException:
            con.execute(f"DROP TABLE {quoted}")
            raise
        finally:
            con.unregister(_INSERTED)
        return con.table(name)

    def _rows(self) -> tuple[RDD, list[str] | None]:
        """The elements, or where they are no rows, tuples of one; and the names of their columns."""
        first = self.take(1)  # type: ignore[attr-defined]
        if not first or isinstance(first[0], tuple | list | dict) or hasattr(first[0], "__dict__"):
            return self, None  # type: ignore[return-value]
        return self.map(_alone), [_VALUE]  # type: ignore[attr-defined]

    def _inferred(self, names: list[str] | None, sampleRatio: float | None) -> pa.Schema:
        from .rows import shown, together
        from .schemas import has_unknown, inferred

        if sampleRatio is not None:
            sampled: Any = self if sampleRatio >= 0.99 else self.sample(False, sampleRatio)  # type: ignore[attr-defined]
            found = sampled.mapPartitions(lambda rows: [inferred(rows, names)]).collect()
            schema = inferred([], names)
            for each in found:
                schema = together(schema, each)
        else:
            rows = self.take(_LOOKED_AT)  # type: ignore[attr-defined]
            if not rows:
                raise ValueError("RDD is empty")
            looked_at = 1
            while has_unknown(schema := inferred(rows[:looked_at], names)) and looked_at < len(rows):
                looked_at += 1
        if not len(schema):
            raise ValueError("toDF: no columns can be inferred from elements without values; pass a schema")
        if has_unknown(schema):
            raise ValueError(
                f"toDF: the types of some columns cannot be inferred, as their values are null: {shown(schema)}; pass "
                "a schema, or sampleRatio=1.0 to look at all elements"
            )
        return schema

    def _record_batches(self, schema: pa.Schema, splits: Sequence[int]) -> list[pa.RecordBatch]:
        from .rows import record_batch

        parts = self.context.runJob(self, Collect(), list(splits))
        batches = (part if isinstance(part, Batch) else Batch.of(part) for part in parts)
        return [record_batch(batch, schema) for batch in batches if len(batch)]


class TableReading:
    """The part of `SparkContext` that makes RDDs of tables."""

    @property
    def defaultParallelism(self) -> int:
        raise NotImplementedError

    _next_id: Callable[[], int]

    def fromArrow(self, data: Any, numSlices: int | None = None) -> RDD:
        """An RDD of the rows of a table, as tuples.

        Integers, floats, booleans, texts and bytes stay the columns that they are; other columns become Python objects.

        Parameters
        ----------
        data : object with ``__arrow_c_stream__``
            An Arrow table or stream of batches, a DuckDB relation, a pandas or Polars data frame; read to its end.
        numSlices : int, optional
            How many partitions.

        Raises
        ------
        TypeError
            `data` is no table.

        Examples
        --------
        >>> sc.fromArrow(pyarrow.table({"n": [1, 2], "t": ["a", "b"]})).collect()
        [(1, 'a'), (2, 'b')]
        """
        import pyarrow as pa

        from .rdd import RDD
        from .rows import batch_of_rows

        if isinstance(data, pa.RecordBatch):
            data = pa.Table.from_batches([data])
        if not isinstance(data, pa.Table):
            if not hasattr(data, "__arrow_c_stream__"):
                raise TypeError(
                    f"SparkContext.fromArrow: data is a {type(data).__name__}; expected a table of Arrow data"
                )
            data = pa.RecordBatchReader.from_stream(data).read_all()
        count = self.defaultParallelism if numSlices is None else int(numSlices)
        if count < 1:
            raise ValueError(f"SparkContext.fromArrow: numSlices is {numSlices}; expected 1 or more")
        bounds = [place * len(data) // count for place in range(count + 1)]
        slices = [
            [batch_of_rows(part) for part in data.slice(start, end - start).to_batches(BATCH_ROWS)]
            for start, end in itertools.pairwise(bounds)
        ]
        return RDD(Given(self._next_id(), slices, "fromArrow"), self)  # type: ignore[arg-type]

    def fromDelta(self, path: str, version: int | None = None, columns: Sequence[str] | None = None) -> RDD:
        """An RDD of the rows of a version of a Delta table, as tuples; a partition for each of its files.

        Tasks read their files in batches, when they need them.

        Parameters
        ----------
        path : str
            The directory of the table.
        version : int, optional
            The version; the newest one by default.
        columns : sequence of str, optional
            The columns; all by default.

        Raises
        ------
        FileNotFoundError
            There is no such table.
        ValueError
            It has no such version or columns, or needs a feature that is not known.

        Examples
        --------
        >>> sc.fromDelta("lake/sales", columns=["item", "pieces"]).collect()
        [('fig', 7), ('kiwi', 2)]
        """
        from ironlake.lakehouse.snapshot import open_snapshot

        from .deltafiles import DeltaFiles
        from .rdd import RDD

        snapshot = open_snapshot(path, version, "SparkContext.fromDelta: ")
        names = list(snapshot.schema.names if columns is None else columns)
        if unknown := [name for name in names if name not in snapshot.schema.names]:
            raise ValueError(
                f"SparkContext.fromDelta: the table {path!r} has no column {unknown[0]!r}; it has "
                f"{', '.join(snapshot.schema.names)}"
            )
        node = DeltaFiles(self._next_id(), snapshot.storage.root, snapshot.version, len(snapshot.files), names)
        return RDD(node, self)  # type: ignore[arg-type]


def _alone(element: Any) -> tuple[Any]:
    return (element,)
