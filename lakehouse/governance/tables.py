"""The Delta tables in which a lake keeps its grants, its rules for rows and columns, and its audit log.

They stand in a folder of the lake, so they have versions and travel in time like other tables. All are made together,
by the first grant or rule; from then on each of them must be there, so that losing one closes the lake to principals
instead of opening it.
"""

from __future__ import annotations

import functools
import io
import json
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..alter import alter, set_properties
from ..files import DataFile
from ..scan import read
from ..snapshot import Snapshot, is_table, open_snapshot
from ..storage import Storage
from ..transaction import MOST_RETRIES, ConflictError, Transaction, now
from ..write import create_empty

if TYPE_CHECKING:
    import pyarrow as pa

#: The folder of a lake that holds them.
FOLDER = "_ironlake"
GRANTS, ROW_FILTERS, COLUMN_MASKS, AUDIT_LOG = "grants", "row_filters", "column_masks", "audit_log"
#: In the order in which they are made: a lake with grants has all of them.
NAMES = (AUDIT_LOG, COLUMN_MASKS, ROW_FILTERS, GRANTS)
#: The property of the grants that switches the audit log off.
_AUDIT = "ironlake.audit"


class Governance:
    """What a lake says about who may do what.

    Parameters
    ----------
    root : Storage
        Where the lake is.
    """

    def __init__(self, root: Storage) -> None:
        self.root = root

    @property
    def exists(self) -> bool:
        """Whether anything was said so far."""
        return is_table(self.path(GRANTS))

    @property
    def audits(self) -> bool:
        """Whether the audit log is kept."""
        return self.exists and self._snapshot(GRANTS).configuration.get(_AUDIT) != "false"

    def set_audit(self, on: bool, where: str) -> int:
        """Keep the audit log from now on, or no longer."""
        self.create(where)
        return alter(self.path(GRANTS), "SET TBLPROPERTIES", where, set_properties({_AUDIT: on}))

    def path(self, name: str) -> Storage:
        """Where one of the tables is."""
        return self.root.at(f"{FOLDER}/{name}")

    def create(self, where: str) -> None:
        """Make the tables that are not there yet."""
        for name in NAMES:
            if not is_table(self.path(name)):
                create_empty(self.path(name), _schema(name), where)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The rows of one of the tables, now; none in a lake in which nothing was said.

        Raises
        ------
        PermissionError
            The table cannot be read, so nobody can tell what it says.
        """
        if not self.exists:
            return []
        snapshot = self._snapshot(name)
        return _rows(snapshot.storage, snapshot.state.metadata["id"], snapshot.version)

    def put(self, name: str, keys: list[str], row: dict[str, Any], where: str) -> int:
        """Add a row, in the place of the one with the same keys if there is one; the version made."""
        self.create(where)
        return self._edit(
            name, lambda rows: [each for each in rows if any(each[key] != row[key] for key in keys)] + [row]
        )

    def remove(self, name: str, keys: dict[str, str]) -> bool:
        """Remove the row with these values; whether there was one."""
        there = self.rows(name)
        if len(_others(there, keys)) == len(there):
            return False
        self._edit(name, lambda rows: _others(rows, keys))
        return True

    def _edit(self, name: str, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> int:
        """Commit other rows in the place of those that a table has; the version made."""
        for attempt in range(MOST_RETRIES):
            snapshot = self._snapshot(name)
            rows = table_of(name, *change(self.rows(name)))
            try:
                with Transaction(snapshot, "WRITE", "true", {"mode": "Overwrite"}) as transaction:
                    for index in range(len(snapshot.files)):
                        transaction.remove(index)
                    file = small_file(snapshot.storage, rows)
                    transaction.written.append(file.path)
                    transaction.add(file)
                    return transaction.commit()
            except ConflictError:
                if attempt == MOST_RETRIES - 1:
                    raise
        raise AssertionError

    def _snapshot(self, name: str) -> Snapshot:
        try:
            return open_snapshot(self.path(name), None, "")
        except (OSError, ValueError) as error:
            raise PermissionError(
                f"the table {name!r} of the lake {self.root.root!r} cannot be read, and without it nobody can tell "
                f"who may do what: {error}"
            ) from None


def _others(rows: list[dict[str, Any]], keys: dict[str, str]) -> list[dict[str, Any]]:
    """The rows that do not have all of some values."""
    return [row for row in rows if any(row[key] != value for key, value in keys.items())]


@functools.lru_cache(64)
def _rows(path: Storage, identity: str, version: int) -> list[dict[str, Any]]:
    """The rows of a version of a table; ``identity`` tells it from one that had the path before."""
    rows: list[dict[str, Any]] = read(open_snapshot(path, version, "")).read_all().to_pylist()
    return rows


def table_of(name: str, *rows: dict[str, Any]) -> pa.Table:
    """Rows as one of the tables has them; values that are not given are NULL."""
    import pyarrow as pa

    return pa.Table.from_pylist(list(rows), _schema(name))


def small_file(storage: Storage, rows: pa.Table) -> DataFile:
    """Write a few rows as a data file of a table, which takes no database."""
    import pyarrow.parquet

    name, content = f"part-{uuid.uuid4()}.parquet", io.BytesIO()
    pyarrow.parquet.write_table(rows, content)
    storage.create(name, content.getvalue())
    return DataFile(name, len(content.getvalue()), {}, now(), json.dumps({"numRecords": len(rows)}))


def _schema(name: str) -> pa.Schema:
    """The columns of one of the tables."""
    import pyarrow as pa

    text, number, time = pa.string(), pa.int64(), pa.timestamp("us", "UTC")
    texts = pa.list_(text)
    columns: dict[str, dict[str, Any]] = {
        GRANTS: {"principal": text, "object": text, "privilege": text, "granted_by": text, "granted_at": time},
        ROW_FILTERS: {"table": text, "predicate_sql": text, "applies_to": texts},
        COLUMN_MASKS: {"table": text, "column": text, "expression_sql": text, "applies_to": texts},
        AUDIT_LOG: {
            "event_time": time, "principal": text, "session_id": text, "action": text, "table": text,
            "version": number, "columns": texts, "predicate": text, "rows_read": number, "files_read": pa.int32(),
            "files_skipped": pa.int32(), "bytes_read": number, "status": text, "error": text,
        },
    }  # fmt: skip
    return pa.schema(columns[name])


def lake_of(table: Storage) -> tuple[Governance, str]:
    """The lake that a table belongs to, and the table's name in it.

    It is the nearest directory above the table that has grants; without one, the directory that holds the table.
    """
    parents = table.parents
    lake = next((parent for parent in parents if is_table(parent.at(f"{FOLDER}/{GRANTS}"))), parents[0])
    return Governance(lake), lake.relative(table.root).replace("/", ".")
