"""Merge rows into a table: one join decides for each row of the table and of the source what becomes of it.

The source is kept in a scratch database, the join is DuckDB's, and only the rows that change are held, where they are
stored and with their new values; all of that goes to the disk when memory is short. Of the table only those files are
read whose statistics leave room for a key of the source.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .delete import complete, new_values
from .errors import telling
from .protocol import check_writable
from .pruning import kept_files
from .row_changes import apply, marks_rows
from .scan import FILE, ROW, scan_sql
from .schema import quote_name, quote_text
from .snapshot import Snapshot, open_snapshot
from .storage import Storage, database, scratch
from .transaction import Transaction
from .write import arrow_rows

if TYPE_CHECKING:
    import duckdb

#: The column that tells rows of the source from those that the join makes up.
_SOURCE = '"ironlake source"'
#: With up to so many keys, the files are looked for by each of them; with more, by the smallest and the largest.
_MOST_KEYS = 200
_MATCHED = f"{FILE} IS NOT NULL AND {_SOURCE} IS NOT NULL"
_NOT_MATCHED = f"{FILE} IS NULL"
_NOT_MATCHED_BY_SOURCE = f"{_SOURCE} IS NULL"


@dataclass(frozen=True)
class _Clause:
    """What becomes of a row: when the join finds it so, and the condition holds.

    ``values`` is None for a deletion; columns that it does not name stay (``target``), or are NULL in a new row.
    """

    found: str
    condition: str | None
    kind: str
    values: Mapping[str, str] | None


class Merge:
    """Rows to merge into a table and what to do with them; `Table.merge` makes one, `execute` does it.

    Of the clauses that fit a row the first counts, as they were added. Conditions and values are SQL over ``target``
    and ``source``.
    """

    def __init__(self, storage: Storage, source: Any, on: str | Sequence[str], where: str) -> None:
        self._storage, self._where = storage, where
        self._source, self._on = source, on
        self._clauses: list[_Clause] = []

    def when_matched_update(self, values: Mapping[str, str] | None = None, condition: str | None = None) -> Merge:
        """Change a row of the table that a row of the source matches.

        Parameters
        ----------
        values : mapping of str to str, optional
            The new value of each column; by default all columns become those of the source.
        condition : str, optional
            Only the rows for which this is true.
        """
        return self._add(_MATCHED, condition, "update", {} if values is None else values, values is None)

    def when_matched_delete(self, condition: str | None = None) -> Merge:
        """Delete a row of the table that a row of the source matches."""
        return self._add(_MATCHED, condition, "delete", None)

    def when_not_matched_insert(self, values: Mapping[str, str] | None = None, condition: str | None = None) -> Merge:
        """Insert a row of the source that matches no row of the table; columns that are not named are NULL."""
        return self._add(_NOT_MATCHED, condition, "insert", {} if values is None else values, values is None)

    def when_not_matched_by_source_update(self, values: Mapping[str, str], condition: str | None = None) -> Merge:
        """Change a row of the table that no row of the source matches."""
        return self._add(_NOT_MATCHED_BY_SOURCE, condition, "update", values)

    def when_not_matched_by_source_delete(self, condition: str | None = None) -> Merge:
        """Delete a row of the table that no row of the source matches."""
        return self._add(_NOT_MATCHED_BY_SOURCE, condition, "delete", None)

    def execute(self, *, deletion_vectors: bool | None = None) -> dict[str, int]:
        """Do it, in one atomic commit.

        Parameters
        ----------
        deletion_vectors : bool, optional
            True marks changed rows as deleted and adds their new values; False rewrites the files that hold them. By
            default the table's property ``delta.enableDeletionVectors`` decides.

        Returns
        -------
        dict of str to int
            ``version``, and the numbers ``rows_updated``, ``rows_deleted``, ``rows_inserted``, ``files_marked``,
            ``files_removed`` and ``files_added``.

        Raises
        ------
        ValueError
            A clause is not valid, a row of the table is matched by several rows of the source, or a row breaks a rule
            of the table.
        ironlake.lakehouse.ConflictError
            Another writer changed the same rows meanwhile.
        """
        with telling(self._where), scratch(self._storage) as connection:
            snapshot = open_snapshot(self._storage, None, "")
            check_writable(snapshot.state.protocol, snapshot.state.metadata, "change")
            if not self._clauses:
                raise ValueError("there is no clause; expected one such as when_matched_update()")
            rows = arrow_rows(self._source)
            connection.register("given", rows)
            connection.execute(f"CREATE TABLE source AS SELECT *, row_number() OVER () AS {_SOURCE} FROM given")
            connection.unregister("given")
            predicate = self._predicate(connection, snapshot)
            self._find(connection, snapshot, predicate)
            self._check_matches(connection)
            given = {name for each in self._clauses for name in each.values or ()}
            complete(connection, snapshot, given)
            parameters = {"predicate": [self._condition(connection, snapshot)]}
            with Transaction(snapshot, "MERGE", predicate, parameters) as change:
                told = apply(change, connection, marks_rows(snapshot, deletion_vectors))
                return {"version": change.commit(), **told}

    def expressions(self) -> list[str]:
        """All SQL that it was given."""
        given = [self._on] if isinstance(self._on, str) else []
        for clause in self._clauses:
            given += [*([] if clause.condition is None else [clause.condition]), *(clause.values or {}).values()]
        return given

    def _add(
        self, found: str, condition: str | None, kind: str, values: Mapping[str, str] | None, whole: bool = False
    ) -> Merge:
        if any(each.found == found and each.condition is None for each in self._clauses):
            raise ValueError(
                f"{self._where}a clause without a condition fits all such rows already; expected it after this one"
            )
        self._clauses.append(_Clause(found, condition, kind, _Whole() if whole else values))
        return self

    def _condition(self, connection: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> str:
        """When rows match, in SQL."""
        names = [self._on] if isinstance(self._on, str) else list(self._on)
        present = _columns(connection)
        if isinstance(self._on, str) and not (self._on in snapshot.schema.names and self._on in present):
            return self._on
        for name in names:
            if name not in snapshot.schema.names or name not in present:
                side, columns = (
                    ("source", present) if name in snapshot.schema.names else ("table", snapshot.schema.names)
                )
                raise ValueError(
                    f"on names {name!r}, but the columns of the {side} are {', '.join(map(repr, columns))}"
                )
        return " AND ".join(f"target.{quote_name(name)} = source.{quote_name(name)}" for name in names)

    def _predicate(self, connection: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> str:
        """The rows of the table that the merge looks at: those that may have a key of the source."""
        if any(clause.found == _NOT_MATCHED_BY_SOURCE for clause in self._clauses):
            return "true"
        present, parts = _columns(connection), []
        for name, key in _equal(self._condition(connection, snapshot)):
            if name in snapshot.schema.names and key in present:
                parts += _range(connection, quote_name(name), quote_name(key))
        return " AND ".join(parts) or "true"

    def _find(self, connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, predicate: str) -> None:
        """Make the table ``changed``."""
        present = set(_columns(connection))
        columns: dict[str, list[str]] = {name: [] for name in snapshot.schema.names}
        actions, kinds = [], []
        for number, clause in enumerate(self._clauses):
            actions.append(f"WHEN {clause.found} AND ({clause.condition or 'true'}) THEN {number}")
            kinds.append(f"WHEN {number} THEN {quote_text(clause.kind)}")
            if clause.values is None:
                continue
            values = dict(clause.values)
            if isinstance(clause.values, _Whole):
                values = {name: f"source.{quote_name(name)}" for name in snapshot.schema.names if name in present}
            new_values(snapshot, values)  # names that are not there
            for name, cases in columns.items():
                other = "NULL" if clause.kind == "insert" else f"target.{quote_name(name)}"
                cases.append(f"WHEN {number} THEN {values.get(name, other)}")
        needs_target = any(clause.found == _NOT_MATCHED_BY_SOURCE for clause in self._clauses)
        needs_source = any(clause.found == _NOT_MATCHED for clause in self._clauses)
        join = {(True, True): "FULL", (True, False): "LEFT", (False, True): "RIGHT", (False, False): "INNER"}
        scan = scan_sql(snapshot, kept_files(snapshot, predicate), positions=True, lasting=False)
        condition = self._condition(connection, snapshot)
        given = {
            name: f"CASE action {' '.join(cases)} END" if cases else f"target.{quote_name(name)}"
            for name, cases in columns.items()
        }
        connection.execute(
            f"CREATE TABLE changed AS SELECT {FILE}, {ROW}, {_SOURCE}, CASE action {' '.join(kinds)} END AS kind, "
            f"{new_values(snapshot, given, 'target.')} FROM (FROM ({scan})) AS target "
            f"{join[needs_target, needs_source]} JOIN source ON ({condition}), "
            f"LATERAL (SELECT CASE {' '.join(actions)} END AS action) WHERE action IS NOT NULL"
        )

    def _check_matches(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Refuse rows of the table that several rows of the source would change."""
        (several, most) = connection.execute(
            f"SELECT count(*), max(n) FROM (SELECT count(*) AS n FROM changed WHERE {FILE} IS NOT NULL "
            f"GROUP BY {FILE}, {ROW} HAVING n > 1)"
        ).fetchall()[0]
        if not several:
            return
        only = [clause for clause in self._clauses if clause.found == _MATCHED]
        if len(only) == 1 and only[0].kind == "delete" and only[0].condition is None:
            connection.execute(
                "CREATE OR REPLACE TABLE changed AS FROM changed "
                f"QUALIFY {FILE} IS NULL OR row_number() OVER (PARTITION BY {FILE}, {ROW}) = 1"
            )
            return
        raise ValueError(
            f"{several} row{'s' * (several > 1)} of the table {'are' if several > 1 else 'is'} matched by several rows "
            f"of the source, up to {most}; expected one each: make the keys of the source different"
        )


class _Whole(dict[str, str]):
    """The values of a clause that takes all columns of the source."""


def _columns(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The columns of the source."""
    return [name for name in connection.sql("FROM source").columns if name != _SOURCE.strip('"')]


def _equal(condition: str) -> list[tuple[str, str]]:
    """The columns of table and source that a condition wants to be equal."""
    (text,) = database().execute("SELECT json_serialize_sql(?)", [f"SELECT 1 WHERE {condition}"]).fetchall()[0]
    tree = json.loads(text)
    if tree["error"]:
        raise ValueError(f"on is not valid: {tree['error_message']}")
    found, nodes = [], [tree["statements"][0]["node"]["where_clause"]]
    while nodes:
        node = nodes.pop()
        if node["type"] == "CONJUNCTION_AND":
            nodes += node["children"]
        elif node["type"] == "COMPARE_EQUAL":
            sides = {}
            for side in (node["left"], node["right"]):
                path = side.get("column_names", ())
                if len(path) == 2:
                    sides[path[0].lower()] = path[1]
            if set(sides) == {"target", "source"}:
                found.append((sides["target"], sides["source"]))
    return found


def _range(connection: duckdb.DuckDBPyConnection, name: str, key: str) -> list[str]:
    """What a column must be to equal a key of the source, in SQL; nothing where keys have no plain text."""
    type_ = str(connection.sql(f"SELECT {key} FROM source").types[0])
    if type_ not in _PLAIN and not type_.startswith("DECIMAL"):
        return []
    (count, low, high) = connection.execute(
        f"SELECT approx_count_distinct({key}), min({key})::VARCHAR, max({key})::VARCHAR FROM source"
    ).fetchall()[0]
    if low is None:
        return ["false"]
    if count > _MOST_KEYS:
        return [f"{name} BETWEEN {_literal(low, type_)} AND {_literal(high, type_)}"]
    keys = connection.execute(
        f"SELECT DISTINCT {key}::VARCHAR FROM source WHERE {key} IS NOT NULL ORDER BY ALL"
    ).fetchall()
    return [f"{name} IN ({', '.join(_literal(text, type_) for (text,) in keys)})"]


#: Types of keys whose texts are constants that `pruning` understands.
_PLAIN = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "VARCHAR", "DATE", "TIMESTAMP"}


def _literal(text: str, type_: str) -> str:
    return (
        f"CAST({quote_text(text)} AS {type_})"
        if type_ in ("DATE", "TIMESTAMP")
        else (quote_text(text) if type_ == "VARCHAR" else text)
    )
