"""A version of a table as a lazy DuckDB relation that also feeds training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from duckdb import DuckDBPyRelation

from .batches import Batches, Format, Shuffle, fitting, made
from .errors import telling
from .pruning import PredicateError, check_predicate, kept_files
from .reader import SCAN
from .scan import scan_sql
from .schema import quote_name

if TYPE_CHECKING:
    import duckdb

    from .snapshot import Snapshot

#: What a query consists of that tells for each row by itself whether and how it is part of the result.
_ROW_BY_ROW = {"PROJECTION", "FILTER", "READ_PARQUET", "UNION", "EMPTY_RESULT", "DUMMY_SCAN"}


class Source(NamedTuple):
    """Where the rows of a frame come from.

    Attributes
    ----------
    name : of the table.
    snapshot : its version.
    files : the places of the files that may have rows of the frame.
    connection : what the frame was made with.
    stored : whether the columns are those of the table, so that a condition on them tells which files to read.
    whole : whether all rows of the files are rows of the frame.
    """

    name: str
    snapshot: Snapshot
    files: list[int]
    connection: duckdb.DuckDBPyConnection
    stored: bool
    whole: bool = True

    @property
    def scan(self) -> str:
        """The SELECT of all rows of the files."""
        return scan_sql(self.snapshot, self.files)


class Frame(DuckDBPyRelation):
    """A lazy DuckDB relation over one version of a Delta table; what `Lake.table` gives.

    It is used as any relation. A `filter` on it leaves out the files in which no row can meet the condition, and
    `batches` reads its rows for training. What `filter`, `select` and `project` give is a frame again; other methods
    give plain relations.
    """

    __slots__ = ("_source",)

    _source: Source

    @classmethod
    def of(cls, relation: DuckDBPyRelation, source: Source) -> Frame:
        """A relation that is made of a source, as a frame."""
        frame = object.__new__(cls)
        for name in DuckDBPyRelation.__slots__:
            if name != "__weakref__":
                object.__setattr__(frame, name, getattr(relation, name))
        frame._source = source
        return frame

    def filter(self, filter_expr: object) -> Frame:
        """The rows that meet a condition, SQL or an expression; files in which there are none are left out."""
        relation, source = super().filter(filter_expr), self._source._replace(whole=False)
        if not source.stored:
            return Frame.of(relation, source)
        try:
            fitting = set(kept_files(source.snapshot, str(filter_expr)))
        except PredicateError:  # the condition is more than one on the table's columns
            return Frame.of(relation, source)
        kept = source._replace(files=[index for index in source.files if index in fitting])
        if len(kept.files) == len(source.files):
            return Frame.of(relation, source)
        text = relation.sql_query().replace(source.scan, kept.scan)
        return Frame.of(source.connection.sql(text).set_alias(self.alias), kept)

    def project(self, *args: object, groups: str = "") -> Frame:
        """Some columns, or values of SQL expressions."""
        return self._selected(super().project(*args, groups=groups), args)

    def select(self, *args: object, groups: str = "") -> Frame:
        """Some columns, or values of SQL expressions."""
        return self._selected(super().select(*args, groups=groups), args)

    def _selected(self, relation: DuckDBPyRelation, args: tuple[object, ...]) -> Frame:
        items = args[0].split(",") if len(args) == 1 and isinstance(args[0], str) else args
        names = {name.lower() for name in self.columns}
        plain = all(isinstance(item, str) and item.strip().lower() in names for item in items)
        return Frame.of(relation, self._source._replace(stored=self._source.stored and plain))

    def batches(
        self,
        batch_rows: int = 1024,
        *,
        shuffle: Shuffle = "block",
        columns: str | Sequence[str] | None = None,
        format: Format = "numpy",  # noqa: A002 - as other libraries call it
        seed: int = 0,
        buffer_rows: int | None = None,
        buffer_mb: float = 64.0,
        shard: tuple[int, int] = (0, 1),
    ) -> Batches:
        """The rows in batches, an epoch for each time that one goes over them.

        Parameters
        ----------
        batch_rows : int
            Rows of a batch; the last one of an epoch may have fewer.
        shuffle : {'block', 'full', 'stored'}
            ``'block'``: row groups of all files in random order, their rows shuffled inside a buffer of many row groups
            (CorgiPile); ``'full'``: all rows in random order, which sorts them, on disk if they are too many;
            ``'stored'``: as they are stored.
        columns : str or sequence of str, optional
            The columns; by default all.
        format : {'numpy', 'arrow', 'torch'}
            Dictionaries of NumPy arrays, Arrow record batches, or dictionaries of torch tensors. Lists of one length
            become arrays of two axes. With ``'torch'`` the result is also a data set for a ``DataLoader`` with
            ``batch_size=None``, whose worker processes share the row groups.
        seed : int
            What the order of an epoch follows from, together with the epoch's number and the version of the table.
        buffer_rows : int, optional
            Rows that the buffer holds at most, if no row group is larger; by default as many as ``buffer_mb`` holds.
            Two buffers are in memory: one is filled while the other is read.
        buffer_mb : float
            Megabytes of rows in a buffer.
        shard : tuple of int
            ``(rank, size)``: only the row groups of one of ``size`` readers, which together read each row once.

        Returns
        -------
        Batches

        Raises
        ------
        ValueError
            An argument is not valid, or the frame is more than filters and columns, such as a window over rows.
        ModuleNotFoundError
            `format` is 'torch', and that is not installed.

        References
        ----------
        Xu et al.: In-Database Machine Learning with CorgiPile, SIGMOD 2022, https://arxiv.org/abs/2206.05830.

        Examples
        --------
        >>> for batch in lake.table("sales").filter("pieces > 1").batches(512, columns=["pieces"]):
        ...     batch["pieces"].mean()
        """
        source, text = self._source, self.sql_query()
        with telling(f"Frame.batches({source.name!r}): "):
            if columns is not None:
                names = [columns] if isinstance(columns, str) else list(columns)
                _check_columns(names, self.columns)
                text = f"SELECT {', '.join(map(quote_name, names))} FROM (\n{text}\n)"
            _check_rows(source.connection, text)
            ((zone,),) = source.connection.sql("SELECT current_setting('TimeZone')").fetchall()
            text, snapshot, files = text.replace(source.scan, SCAN), source.snapshot, source.files
            if buffer_rows is None:
                buffer_rows = fitting(snapshot, text, files, zone, buffer_mb)
            return made(
                Batches(
                    snapshot.storage.root, snapshot.version, text, source.stored and source.whole, files, zone,
                    batch_rows, shuffle, format, seed, buffer_rows, shard,
                )
            )  # fmt: skip


def open_frame(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, name: str, where: str | None = None) -> Frame:
    """The frame of a version of a table, with the rows that meet a condition."""
    source = Source(name, snapshot, list(range(len(snapshot.files))), connection, True)
    if where is not None:
        check_predicate(snapshot, where)
        source = source._replace(files=kept_files(snapshot, where), whole=False)
    frame = Frame.of(connection.sql(source.scan), source)
    return frame if where is None else Frame.of(DuckDBPyRelation.filter(frame, where), source)


def source_of(frame: Frame) -> Source:
    """Where the rows of a frame come from; the attributes of a frame are its columns."""
    return frame._source


def _check_columns(names: list[str], known: list[str]) -> None:
    lower = {name.lower() for name in known}
    for name in names:
        if not isinstance(name, str) or name.lower() not in lower:
            raise ValueError(f"there is no column {name!r}; the columns are {', '.join(map(repr, known))}")
    if not names:
        raise ValueError("argument columns names none; expected some, or None for all")


def _check_rows(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    """Refuse a query that cannot be answered from some of the rows at a time."""
    plan = connection.sql(f"EXPLAIN (FORMAT json) {text}").fetchall()[0][1]
    nodes = json.loads(plan)
    while nodes:
        node: dict[str, Any] = nodes.pop()
        if (name := node["name"].strip()) not in _ROW_BY_ROW:
            raise ValueError(
                f"the frame is more than filters and expressions on single rows (DuckDB plans a {name}); write it to a "
                "table, and take the batches from there"
            )
        nodes += node["children"]
