"""Change what a table is rather than its rows: its columns, its constraints, its properties.

Columns are renamed and dropped without touching a file: from then on the table maps its columns, each to the name that
it has in the files.

Source: Delta protocol, "Column Mapping", "CHECK Constraints", "Table Properties".
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .errors import telling
from .governance.expectations import conditions
from .protocol import FeatureError, check_writable, with_features
from .pruning import check_predicate
from .rules import CONSTRAINT, ConstraintError, check_rows, expressions
from .schema import quote_name, schema_text, stored_schema
from .snapshot import Snapshot, open_snapshot
from .storage import Storage, database
from .transaction import Transaction

if TYPE_CHECKING:
    import pyarrow as pa

_MODE, _MOST = "delta.columnMapping.mode", "delta.columnMapping.maxColumnId"
_NAME, _ID = "delta.columnMapping.physicalName", "delta.columnMapping.id"
#: What a property that is set to true needs.
_NEEDS = {
    "delta.appendOnly": "appendOnly",
    "delta.enableChangeDataFeed": "changeDataFeed",
    "delta.enableDeletionVectors": "deletionVectors",
    "delta.enableInCommitTimestamps": "inCommitTimestamp",
}
#: Properties that stand for features which commits made here do not keep.
_REFUSED = ("delta.enableRowTracking", "delta.enableIcebergCompatV1", "delta.enableIcebergCompatV2")


def alter(storage: Storage, operation: str, where: str, edit: Callable[[Snapshot, Transaction], None]) -> int:
    """Commit a change of a table's metadata; the version made, or the newest if nothing changed."""
    with telling(where):
        snapshot = open_snapshot(storage, None, "")
        check_writable(snapshot.state.protocol, snapshot.state.metadata, "append")
        # All rows were looked at: a constraint holds for those that another writer adds meanwhile, too.
        with Transaction(snapshot, operation, "true") as change:
            edit(snapshot, change)
            return change.commit()


def add_columns(schema: pa.Schema) -> Callable[[Snapshot, Transaction], None]:
    """Add columns, which are NULL in the rows that there are."""

    def edit(snapshot: Snapshot, change: Transaction) -> None:
        added = stored_schema(schema)
        if twins := {name.lower() for name in added.names} & {name.lower() for name in snapshot.schema.names}:
            raise ValueError(f"the table has a column {min(twins)!r}")
        change.parameters["columns"] = added.names
        change.metadata = _with_fields(change.metadata, lambda old: [*old, *_fields(schema_text(added))])
        if snapshot.mapping != "none":
            change.metadata = with_mapping(change.metadata, snapshot.mapping)
        if "timestamp_ntz" in schema_text(added):
            change.protocol = with_features(change.protocol, {"timestampNtz"})

    return edit


def rename_column(old: str, new: str) -> Callable[[Snapshot, Transaction], None]:
    """Rename a column; the files keep its former name."""

    def edit(snapshot: Snapshot, change: Transaction) -> None:
        _check_column(snapshot, old)
        if new.lower() != old.lower() and new.lower() in {name.lower() for name in snapshot.schema.names}:
            raise ValueError(f"the table has a column {new!r}")
        if not new:
            raise ValueError("the new name is empty")
        _check_unused(snapshot, old)
        _map(snapshot, change)
        change.parameters |= {"oldColumnPath": old, "newColumnPath": new}
        change.metadata = _with_fields(
            change.metadata, lambda fields: [{**each, "name": new} if each["name"] == old else each for each in fields]
        )
        partitions = [new if name == old else name for name in snapshot.partition_columns]
        change.metadata = {**change.metadata, "partitionColumns": partitions}

    return edit


def drop_columns(*names: str) -> Callable[[Snapshot, Transaction], None]:
    """Drop columns; the files keep their values."""

    def edit(snapshot: Snapshot, change: Transaction) -> None:
        for name in names:
            _check_column(snapshot, name)
            if name in snapshot.partition_columns:
                raise ValueError(f"the table is partitioned by the column {name!r}")
            _check_unused(snapshot, name)
        if not set(snapshot.schema.names) - {*names, *snapshot.partition_columns}:
            raise ValueError("no column would be left in the files")
        _map(snapshot, change)
        change.parameters["columns"] = list(names)
        change.metadata = _with_fields(
            change.metadata, lambda fields: [each for each in fields if each["name"] not in names]
        )

    return edit


def add_constraint(name: str, condition: str) -> Callable[[Snapshot, Transaction], None]:
    """Let a condition hold for all rows, those that there are included."""

    def edit(snapshot: Snapshot, change: Transaction) -> None:
        if not re.fullmatch(r"\w+", name):
            raise ValueError(f"the name {name!r} of a constraint is not valid; expected letters, digits and _")
        if f"{CONSTRAINT}{name}".lower() in {key.lower() for key in snapshot.configuration}:
            raise ValueError(f"the table has a constraint {name!r}")
        check_predicate(snapshot, condition)
        check_rows(snapshot, {f"the constraint {name!r} ({condition})": condition})
        change.parameters |= {"name": name, "expr": condition}
        change.protocol = with_features(change.protocol, {"checkConstraints"})
        change.metadata = _with_properties(change.metadata, {f"{CONSTRAINT}{name}": condition})

    return edit


def drop_constraint(name: str) -> Callable[[Snapshot, Transaction], None]:
    """Take a constraint away."""

    def edit(snapshot: Snapshot, change: Transaction) -> None:
        if f"{CONSTRAINT}{name}" not in snapshot.configuration:
            found = [key.removeprefix(CONSTRAINT) for key in snapshot.configuration if key.startswith(CONSTRAINT)]
            raise ValueError(f"the table has no constraint {name!r}; it has {', '.join(found) or 'none'}")
        change.parameters["name"] = name
        change.metadata = _with_properties(change.metadata, {f"{CONSTRAINT}{name}": None})

    return edit


def set_properties(properties: Mapping[str, Any]) -> Callable[[Snapshot, Transaction], None]:
    """Set properties of the table; None takes one away."""

    def edit(snapshot: Snapshot, change: Transaction) -> None:
        texts = {key: None if value is None else _property(value) for key, value in properties.items()}
        for key, text in texts.items():
            if key in _REFUSED and text == "true":
                raise FeatureError(f"the property {key!r} needs a feature that is not known here")
            if key.startswith(CONSTRAINT):
                raise ValueError(f"the property {key!r} is a constraint; use add_constraint or drop_constraint")
            if key == _MODE and text != snapshot.mapping:
                if snapshot.mapping != "none" or text != "name":
                    raise ValueError(f"the property {key!r} is {snapshot.mapping!r}, and cannot become {text!r}")
                _map(snapshot, change)
        needed = {_NEEDS[key] for key, text in texts.items() if text == "true" and key in _NEEDS}
        change.parameters["properties"] = texts
        change.protocol = with_features(change.protocol, needed)
        change.metadata = _with_properties(change.metadata, texts)

    return edit


def with_mapping(metadata: dict[str, Any], mode: str) -> dict[str, Any]:
    """Metadata in which every column, and every field inside one, has a number and a name in the files."""
    schema = json.loads(metadata["schemaString"])
    configuration = metadata.get("configuration") or {}
    fields = list(_all_fields(schema))
    most = max([int(configuration.get(_MOST, 0)), *(each["metadata"].get(_ID, 0) for each in fields)])
    started = _MODE in configuration
    for each in fields:
        if _ID not in each["metadata"]:
            most += 1
            # Files that were written before have the columns under their names.
            each["metadata"] |= {_ID: most, _NAME: f"col-{uuid.uuid4()}" if started else each["name"]}
    properties = {**configuration, _MODE: mode, _MOST: str(most)}
    return {**metadata, "schemaString": json.dumps(schema), "configuration": properties}


def _map(snapshot: Snapshot, change: Transaction) -> None:
    """Let the table map its columns, if it does not yet."""
    if snapshot.mapping == "none":
        change.protocol = with_features(change.protocol, {"columnMapping"})
        change.metadata = with_mapping(change.metadata, "name")


def _check_column(snapshot: Snapshot, name: str) -> None:
    if name not in snapshot.schema.names:
        raise ValueError(f"there is no column {name!r}; the columns are {', '.join(map(repr, snapshot.schema.names))}")


def _check_unused(snapshot: Snapshot, name: str) -> None:
    """Refuse to touch a column that a rule of the table speaks of."""
    others = ", ".join(f"NULL AS {quote_name(each)}" for each in snapshot.schema.names if each != name) or "1"
    for told, rule in (expressions(snapshot) | conditions(snapshot)).items():
        if _needs(rule, others):
            raise ConstraintError(f"{told} needs the column {name!r}")


def _needs(rule: str, others: str) -> bool:
    """Whether an expression is not valid over these columns alone."""
    import duckdb

    try:
        database().execute(f"EXPLAIN SELECT {rule} FROM (SELECT {others})")
    except duckdb.BinderException as error:
        return "not found" in str(error)
    return False


def _with_fields(metadata: dict[str, Any], edit: Callable[[list[Any]], list[Any]]) -> dict[str, Any]:
    schema = json.loads(metadata["schemaString"])
    return {**metadata, "schemaString": json.dumps({**schema, "fields": edit(schema["fields"])})}


def _with_properties(metadata: dict[str, Any], properties: Mapping[str, str | None]) -> dict[str, Any]:
    after = {**(metadata.get("configuration") or {}), **properties}
    return {**metadata, "configuration": {key: value for key, value in after.items() if value is not None}}


def _fields(text: str) -> list[Any]:
    fields: list[Any] = json.loads(text)["fields"]
    return fields


def _all_fields(type_: Any) -> Iterator[dict[str, Any]]:
    """The fields of a type, outer ones first."""
    if isinstance(type_, dict):
        for field in type_.get("fields", ()):
            yield field
            yield from _all_fields(field["type"])
        for part in ("elementType", "keyType", "valueType"):
            yield from _all_fields(type_.get(part))


def _property(value: Any) -> str:
    """A property as the log has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
