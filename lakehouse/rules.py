"""The rules that rows of a table keep: columns that forbid NULL, CHECK constraints, invariants, generated columns.

They are checked on the files of a commit, once these are written and before the commit is.

Source: Delta protocol, "Column Invariants", "CHECK Constraints", "Generated Columns".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .errors import sentence
from .schema import quote_name, sql_type
from .storage import database

if TYPE_CHECKING:
    import pyarrow as pa

    from .snapshot import Snapshot

#: How the property of a constraint begins; its name follows.
CONSTRAINT = "delta.constraints."
#: In a column's metadata: the expression that generates it.
GENERATED = b"delta.generationExpression"
_INVARIANTS = b"delta.invariants"
#: Rows that an error shows.
_SHOWN = 5


class ConstraintError(ValueError):
    """Rows that break a rule of their table."""


def computed_columns(schema: pa.Schema) -> dict[str, str]:
    """The expressions of the columns that a table computes where rows lack them."""
    return {field.name: field.metadata[GENERATED].decode() for field in schema if GENERATED in (field.metadata or {})}


def expressions(snapshot: Snapshot) -> dict[str, str]:
    """What users have said about the rows, in SQL, by what an error calls it."""
    said = {
        f"the constraint {name.removeprefix(CONSTRAINT)!r} ({expression})": expression
        for name, expression in snapshot.configuration.items()
        if name.startswith(CONSTRAINT)
    }
    for field in snapshot.schema:
        if _INVARIANTS in (field.metadata or {}):
            expression = json.loads(field.metadata[_INVARIANTS])["expression"]["expression"]
            said[f"the invariant of {field.name!r} ({expression})"] = expression
    for name, expression in computed_columns(snapshot.schema).items():
        said[f"the generated column {name!r} ({expression})"] = expression
    return said


def _conditions(snapshot: Snapshot) -> dict[str, str]:
    """What must be true for every row, in SQL, by what an error calls it."""
    computed = computed_columns(snapshot.schema)
    rules = {told: rule for told, rule in expressions(snapshot).items() if rule not in computed.values()}
    for name, expression in computed.items():
        value = f"CAST(({expression}) AS {sql_type(snapshot.schema.field(name).type)})"
        told = f"the generated column {name!r} ({expression})"
        rules[told] = f"{quote_name(name)} IS NOT DISTINCT FROM {value}"
    for field in snapshot.schema:
        rules |= _not_null(field, quote_name(field.name), field.name)
    return rules


def _not_null(field: pa.Field, value: str, name: str) -> dict[str, str]:
    """The columns that forbid NULL, fields of a STRUCT included."""
    import pyarrow.types as is_

    rules = {} if field.nullable else {f"NOT NULL of the column {name!r}": f"{value} IS NOT NULL"}
    if is_.is_struct(field.type):
        for child in field.type:
            inner = _not_null(child, f"{value}.{quote_name(child.name)}", f"{name}.{child.name}")
            rules |= {told: f"{value} IS NULL OR ({rule})" for told, rule in inner.items()}
    return rules


def check_rows(snapshot: Snapshot, more: Mapping[str, str]) -> None:
    """Check the rows of all files against the rules of the table, and more of the same form.

    Raises
    ------
    ConstraintError
        Some rows break a rule; the message counts them and shows a few.
    """
    import duckdb

    from .scan import scan_sql

    rules = _conditions(snapshot) | dict(more)
    if not rules or not snapshot.files:
        return
    scan = scan_sql(snapshot)
    broken = [f"({rule}) IS NOT TRUE" for rule in rules.values()]
    try:
        counts = database().sql(
            f"SELECT {', '.join(f'count(*) FILTER (WHERE {each})' for each in broken)} FROM ({scan})"
        ).fetchall()[0]  # fmt: skip
    except duckdb.Error as error:
        told = ", ".join(rules)
        raise ConstraintError(f"{told} cannot be checked: {sentence(error)}") from None
    for count, condition, told in zip(counts, broken, rules, strict=True):
        if count:
            rows = database().sql(f"FROM ({scan}) WHERE {condition} LIMIT {_SHOWN}").to_arrow_table().to_pylist()
            shown = ", ".join(map(str, rows))
            such = ", such as" if count > _SHOWN else ":"
            raise ConstraintError(f"{told} does not hold for {count} row{'s' * (count > 1)}{such} {shown}")
