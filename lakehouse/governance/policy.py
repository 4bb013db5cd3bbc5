"""What one principal gets of one table: the rows that the filter leaves, in the columns that the masks leave.

Expressions of owners may ask ``current_principal()`` and ``is_member('group')``; both are replaced by constants before
anything runs, so a query carries its principal with it and no setting of a session decides.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..pruning import PredicateError, arguments, check_predicate, kept_files
from ..scan import scan_sql
from ..schema import physical_name, quote_name, sql_type
from ..snapshot import Snapshot, open_snapshot
from ..storage import Storage, database
from .tables import COLUMN_MASKS, GRANTS, ROW_FILTERS, Governance

#: What may be granted: to read rows, to add rows, to change and delete rows.
PRIVILEGES = ("SELECT", "INSERT", "MODIFY")
#: The object of a grant that speaks of all tables, future ones included.
ALL_TABLES = "*"


@dataclass(frozen=True)
class Principal:
    """Whoever a session acts for.

    Attributes
    ----------
    name : str
        The name.
    groups : tuple of str
        The groups that it is a member of.
    """

    name: str
    groups: tuple[str, ...] = ()

    @property
    def names(self) -> set[str]:
        """What a grant or a rule may call it."""
        return {self.name, *self.groups}

    def granted(self, privilege: str, governance: Governance) -> set[str]:
        """The tables that it has a privilege on; `ALL_TABLES` may be among them."""
        grants = [grant for grant in governance.rows(GRANTS) if grant["principal"] in self.names]
        return {grant["object"] for grant in grants if grant["privilege"] == privilege}

    def may(self, privilege: str, governance: Governance, table: str) -> bool:
        """Whether it has a privilege on a table."""
        return bool({table, ALL_TABLES} & self.granted(privilege, governance))


@dataclass(frozen=True)
class Policy:
    """The rules of a table that apply to a principal, as SQL over the columns of the table.

    Attributes
    ----------
    filter : str or None
        The rows are those for which it is true.
    masks : dict of str to str
        What columns show in the place of their values.
    """

    filter: str | None
    masks: dict[str, str]

    @property
    def restricts(self) -> bool:
        """Whether there is anything that the principal does not get to see."""
        return self.filter is not None or bool(self.masks)

    def files(self, snapshot: Snapshot, where: str | None = None) -> list[int]:
        """The files that may hold rows of the principal's for which a condition of its own is true.

        A condition that speaks of masked columns leaves no file out: it means their masks, not what the log knows.
        """
        kept = set(range(len(snapshot.files))) if self.filter is None else set(kept_files(snapshot, self.filter))
        if where is not None and not names_of(where) & {name.lower() for name in self.masks}:
            kept &= set(kept_files(snapshot, where))
        return sorted(kept)

    def select(self, snapshot: Snapshot, files: Sequence[int], columns: Sequence[str]) -> str:
        """The SELECT of some columns as the principal sees them."""
        shown = []
        for name in columns:
            mask = self.masks.get(name)
            type_ = sql_type(snapshot.schema.field(name).type)
            shown.append(quote_name(name) if mask is None else f"CAST(({mask}) AS {type_}) AS {quote_name(name)}")
        rows = f"FROM ({scan_sql(snapshot, files)})"
        if self.filter is not None:
            rows = f"FROM (SELECT * {rows} WHERE ({self.filter}))"
        return f"SELECT {', '.join(shown)} {rows}"


def policy_of(principal: Principal, governance: Governance, table: str, snapshot: Snapshot) -> Policy:
    """The rules that apply to a principal.

    Raises
    ------
    PermissionError
        A rule does not fit the columns of the table any more, so nobody can tell what it was to hide.
    """

    def applying(name: str) -> list[dict[str, Any]]:
        rules = [rule for rule in governance.rows(name) if rule["table"] == table]
        return [rule for rule in rules if rule["applies_to"] is None or principal.names & set(rule["applies_to"])]

    try:
        filters = tuple(bound(rule["predicate_sql"], principal) for rule in applying(ROW_FILTERS))
        masks = tuple((rule["column"], bound(rule["expression_sql"], principal)) for rule in applying(COLUMN_MASKS))
        _check(snapshot.storage, snapshot.state.metadata["id"], snapshot.version, filters, masks)
    except ValueError:
        raise PermissionError(
            f"a row filter or column mask does not fit the table {table!r} at version {snapshot.version}; "
            "an owner has to set it anew"
        ) from None
    return Policy(filters[0] if filters else None, dict(masks))


@functools.lru_cache(256)
def _check(
    path: Storage, identity: str, version: int, filters: tuple[str, ...], masks: tuple[tuple[str, str], ...]
) -> None:
    """Refuse rules that do not fit a version of a table; ``identity`` tells it from one that had the path before."""
    snapshot = open_snapshot(path, version, "")
    for predicate in filters:
        check_predicate(snapshot, predicate)
    for column, expression in masks:
        check_mask(snapshot, column, expression)


def check_mask(snapshot: Snapshot, column: str, expression: str) -> None:
    """Refuse a mask that is no expression of the type of its column.

    Raises
    ------
    ValueError
        There is no such column, the expression is not valid, or it has another type.
    """
    import duckdb

    if column not in snapshot.schema.names:
        raise ValueError(
            f"there is no column {column!r}; the columns are {', '.join(map(repr, snapshot.schema.names))}"
        )
    wanted = sql_type(snapshot.schema.field(column).type)
    columns = ", ".join(f"NULL::{sql_type(field.type)} AS {quote_name(field.name)}" for field in snapshot.schema)
    try:
        (type_,) = database().sql(f"SELECT ({expression}) FROM (SELECT {columns}) LIMIT 0").types
    except duckdb.Error as error:
        raise ValueError(f"the mask {expression!r} is not valid: {str(error).splitlines()[0]}") from None
    (expected,) = database().sql(f"SELECT NULL::{wanted}").types
    if type_ != expected and str(type_) != '"NULL"':
        raise ValueError(
            f"the mask {expression!r} is of type {type_}, the column {column!r} of type {expected}; "
            f"expected CAST(... AS {expected})"
        )


def same_columns(before: Snapshot, now: Snapshot) -> bool:
    """Whether two versions have the same columns, so that rules made for one mean the same in the other."""

    def told(snapshot: Snapshot) -> list[tuple[str, str, str]]:
        mapped = snapshot.mapping != "none"
        return [(each.name, str(each.type), physical_name(each) if mapped else each.name) for each in snapshot.schema]

    return told(before) == told(now)


@functools.lru_cache(256)
def bound(expression: str, principal: Principal) -> str:
    """An expression with what it asks of the principal replaced by constants.

    Raises
    ------
    ValueError
        It is no SQL expression, or it asks for the membership of what is no constant.
    """

    def replaced(node: dict[str, Any]) -> dict[str, Any] | None:
        name = str(node.get("function_name", "")).lower()
        if name not in ("current_principal", "is_member"):
            return None
        given = arguments(node)
        if name == "current_principal":
            if given:
                raise ValueError("current_principal() takes no argument")
            return constant({"kind": "STRING", "text": principal.name})
        if len(given) != 1 or (given[0].get("literal") or {}).get("kind") != "STRING":
            raise ValueError("is_member takes one argument, a constant text such as is_member('analysts')")
        member = given[0]["literal"]["text"] in principal.groups
        return constant({"kind": "BOOLEAN", "text": str(member).lower()})

    tree = expression_tree(expression)
    (text,) = database().execute("SELECT json_deserialize_sql(?)", [json.dumps(_mapped(tree, replaced))]).fetchall()[0]
    return str(text).removeprefix("SELECT ")


def constant(literal: dict[str, str]) -> dict[str, Any]:
    """A constant as a syntax tree has it."""
    place = {"alias": "", "query_location": 0, "query_location_length": 0}
    return {"class": "CONSTANT", "type": "VALUE_CONSTANT", **place, "literal": literal}


def expression_tree(expression: str) -> dict[str, Any]:
    """The syntax tree of ``SELECT (expression)``.

    Raises
    ------
    ValueError
        It is not one SQL expression.
    """
    (text,) = database().execute("SELECT json_serialize_sql(?)", [f"SELECT ({expression})"]).fetchall()[0]
    tree: dict[str, Any] = json.loads(text)
    if tree["error"]:
        raise PredicateError(f"the expression {expression!r} is not valid: {tree['error_message']}")
    nodes = [each["node"] for each in tree["statements"]]
    others = ("modifiers", "where_clause", "group_expressions", "having", "qualify", "sample")
    one = len(nodes) == 1 and nodes[0]["type"] == "SELECT_NODE" and len(nodes[0]["select_list"]) == 1
    if not one or nodes[0]["from_table"]["type"] != "EMPTY" or any(nodes[0].get(part) for part in others):
        raise PredicateError(f"the expression {expression!r} is not valid; expected one SQL expression")
    return tree


def check_own_columns(expression: str) -> None:
    """Refuse an expression of a principal that could look elsewhere than into the row.

    Raises
    ------
    PermissionError
        It has a subquery, or calls a function of the lakehouse.
    """

    def look(node: dict[str, Any]) -> None:
        name = str(node.get("function_name", "")).lower()
        if node.get("class") == "SUBQUERY" or name.startswith(("lake_", "delta_")):
            told = f"the function {name}" if name else "a subquery"
            raise PermissionError(f"the expression {expression!r} looks further than the row, with {told}")

    _mapped(expression_tree(expression), look)


def names_of(expression: str) -> set[str]:
    """The names, in lower case, that an expression uses for columns and their fields."""
    found: set[str] = set()

    def look(node: dict[str, Any]) -> None:
        found.update(name.lower() for name in node.get("column_names", ()))

    _mapped(expression_tree(expression), look)
    return found


def _mapped(node: Any, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Any:
    """A syntax tree in which some parts are replaced."""
    if isinstance(node, list):
        return [_mapped(each, change) for each in node]
    if not isinstance(node, dict):
        return node
    new = change(node)
    return {key: _mapped(value, change) for key, value in node.items()} if new is None else new
