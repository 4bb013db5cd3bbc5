"""Which files of a table a predicate can be true in, by what the log knows of each file.

A predicate is taken apart along AND, OR and NOT down to comparisons of a column with a constant. For each part two
conditions on a file are made, as SQL over the file's statistics: that the part *may be true* for some row, and that it
*may be false*; NOT exchanges them, AND and OR combine them. Whatever is not understood may be both. A file is skipped
where the predicate cannot be true, so all that is not known must lean to keeping it:

- A bound that is missing, or that does not fit the column's type, says nothing.
- A text's bounds may be cut off: the lower one is not above any value as it is, and no value that starts with the upper
  one is excluded by it.
- The bounds of timestamps are whole milliseconds: the upper one may be up to a millisecond too low.
- NaN is above all numbers for DuckDB, and in no bound: the upper bound of floats counts only beside a comparison that
  NaN does not meet.
- Bounds that are not tight (``tightBounds`` false: rows were deleted) are still bounds; the number of NULLs counts then
  only as none or all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import index
from .schema import quote_name, quote_text, sql_type
from .snapshot import Snapshot
from .statistics import of_column, of_files, over
from .storage import database

if TYPE_CHECKING:
    import pyarrow as pa

#: Types to which a constant may be cast: those of which the result does not depend on a session.
_CASTS = {"DATE", "TIMESTAMP", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "FLOAT", "DOUBLE", "BOOLEAN", "VARCHAR"}
_COMPARISONS = {
    "COMPARE_EQUAL": "=",
    "COMPARE_NOTEQUAL": "<>",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
}
_MIRRORED = {"=": "=", "<>": "<>", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
#: Functions of a text and how it begins.
_PREFIXES = {"prefix", "starts_with", "^@"}
_OPPOSITE = {"=": "<>", "<>": "=", "<": ">=", ">": "<=", "<=": ">", ">=": "<"}


class PredicateError(ValueError):
    """A predicate that is no SQL condition on the columns of the table."""


@dataclass(frozen=True)
class _Condition:
    """SQL over the statistics of a file: whether a part may be true, and whether it may be false, for some row."""

    true: str
    false: str

    def __invert__(self) -> _Condition:
        return _Condition(self.false, self.true)

    def __and__(self, other: _Condition) -> _Condition:
        return _Condition(f"({self.true} AND {other.true})", f"({self.false} OR {other.false})")

    def __or__(self, other: _Condition) -> _Condition:
        return ~(~self & ~other)


_UNKNOWN = _Condition("true", "true")


def kept_files(snapshot: Snapshot, predicate: str) -> list[int]:
    """The places of the files that may have rows for which a predicate is true.

    Parameters
    ----------
    snapshot : Snapshot
        The version of a table.
    predicate : str
        A SQL condition on its columns.

    Raises
    ------
    PredicateError
        The predicate cannot be parsed.
    """
    return kept_by(snapshot, _parsed(predicate), predicate)


def kept_by(snapshot: Snapshot, tree: dict[str, Any], told: str) -> list[int]:
    """The places of the files that may have rows for which a predicate is true, given as DuckDB's syntax tree.

    `told` is what error messages call it.
    """
    plan = _Plan(snapshot, tree, told)
    if plan.condition.true == "true":
        return list(range(len(snapshot.state.files)))
    places: list[int] = plan.query(f"SELECT place FROM facts WHERE {plan.condition.true} ORDER BY place")[0].to_pylist()
    return places


def check_predicate(snapshot: Snapshot, predicate: str) -> None:
    """Refuse what is no SQL condition on the columns of a table.

    Raises
    ------
    PredicateError
        The predicate cannot be parsed, or not be applied to the columns.
    """
    import duckdb

    _parsed(predicate)
    columns = ", ".join(f"NULL::{sql_type(field.type)} AS {quote_name(field.name)}" for field in snapshot.schema)
    try:
        database().execute(f"EXPLAIN SELECT 1 FROM (SELECT {columns} FROM range(1)) WHERE ({predicate})")
    except duckdb.Error as error:
        told = str(error).splitlines()[0]
        names = ", ".join(map(repr, snapshot.schema.names))
        raise PredicateError(f"the predicate {predicate!r} is not valid: {told} The columns are {names}") from None


def decisions(snapshot: Snapshot, predicate: str) -> pa.Table:
    """For each file the decision, ``skip``, ``scan`` or ``all`` (every row meets the predicate), and why."""
    check_predicate(snapshot, predicate)
    plan = _Plan(snapshot, _parsed(predicate), predicate)
    told = "format('{{}}: {{}} to {{}}, NULLs {{}}', {name}, coalesce(lower_{n}::VARCHAR, '?'), "
    told += "coalesce(upper_{n}::VARCHAR, '?'), coalesce(nulls_{n}::VARCHAR, '?'))"
    bounds = [told.format(name=quote_text(name), n=n) for name, n in plan.numbers.items()]
    reason = " || '; ' || ".join(bounds) if bounds else "'no column of the predicate has statistics'"
    for (name, value), number in plan.filters.items():
        told = quote_text(f"; its Bloom filter has no {name} = {value}")
        reason += f" || CASE WHEN filter_{number} IS FALSE THEN {told} ELSE '' END"
    never_null = " AND ".join([f"coalesce(nulls_{n} = 0, false)" for n in plan.numbers.values()] or ["false"])
    return plan.query(
        f"SELECT path AS file, CASE WHEN NOT {plan.condition.true} THEN 'skip' "
        f"WHEN NOT {plan.condition.false} AND {never_null} THEN 'all' ELSE 'scan' END AS decision, "
        f"{reason} AS reason, rows, size FROM facts ORDER BY place"
    )


class _Plan:
    """A predicate turned into conditions on the statistics of the files of a snapshot."""

    def __init__(self, snapshot: Snapshot, tree: dict[str, Any], predicate: str) -> None:
        self.snapshot, self.predicate = snapshot, predicate
        self.fields = {field.name.lower(): field for field in snapshot.schema}
        self.numbers: dict[str, int] = {}
        self.filters: dict[tuple[str, str], int] = {}
        self.answers: list[list[bool | None]] = []
        self.condition = self._condition(tree, frozenset())

    def query(self, text: str) -> pa.Table:
        """The rows of a query over the table ``facts``: place, path, rows, size, bounds and NULLs of columns used."""
        import duckdb
        import pyarrow as pa

        columns = dict(of_files(self.snapshot))
        for name, number in self.numbers.items():
            columns |= {
                f"{part}_{number}": values for part, values in of_column(self.snapshot, self.fields[name]).items()
            }
        columns |= {f"filter_{number}": pa.array(each, pa.bool_()) for number, each in enumerate(self.answers)}
        try:
            return over(pa.table(columns), text)
        except duckdb.Error as error:
            told = str(error).splitlines()[0]
            raise PredicateError(f"the predicate {self.predicate!r} fails: {told}") from None

    # --------------------------------------------------------------------------------------------- from the syntax tree

    def _condition(self, node: dict[str, Any], numbers: frozenset[str]) -> _Condition:
        """The conditions of a part; ``numbers`` are float columns that are known not to be NaN where it matters."""
        kind, type_ = node["class"], node["type"]
        if kind == "CONJUNCTION":
            conjunction = type_ == "CONJUNCTION_AND"
            if conjunction:
                numbers = numbers | {name for child in node["children"] for name in self._below(child)}
            parts = [self._condition(child, numbers if conjunction else frozenset()) for child in node["children"]]
            whole = parts[0]
            for part in parts[1:]:
                whole = whole & part if conjunction else whole | part
            return whole
        if type_ == "OPERATOR_NOT":
            return ~self._condition(node["children"][0], frozenset())
        if type_ in ("OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL"):
            return self._null(node["children"][0], type_ == "OPERATOR_IS_NULL")
        if type_ in ("COMPARE_IN", "COMPARE_NOT_IN"):
            column, *values = node["children"]
            whole = self._compared(column, "=", values[0])
            for value in values[1:]:
                whole = whole | self._compared(column, "=", value)
            return whole if type_ == "COMPARE_IN" else ~whole
        if kind == "BETWEEN":
            numbers = numbers | set(self._floats(node["input"], node["upper"]))
            return self._compared(node["input"], ">=", node["lower"], numbers) & self._compared(
                node["input"], "<=", node["upper"], numbers
            )
        if kind == "FUNCTION":
            arguments = node.get("children") or [each["expression"] for each in node.get("arguments", ())]
            return self._prefixed(node["function_name"], *arguments) if len(arguments) == 2 else _UNKNOWN
        if type_ in _COMPARISONS:
            sign = _COMPARISONS[type_]
            if node["left"]["class"] == "COLUMN_REF":
                return self._compared(node["left"], sign, node["right"], numbers)
            return self._compared(node["right"], _MIRRORED[sign], node["left"], numbers)
        return _UNKNOWN

    def _below(self, node: dict[str, Any]) -> Iterator[str]:
        """The float column that a comparison keeps from being NaN."""
        sign = _COMPARISONS.get(node["type"])
        if sign and node["left"]["class"] == "COLUMN_REF" and sign in ("<", "<=", "="):
            yield from self._floats(node["left"], node["right"])
        elif sign and node["right"]["class"] == "COLUMN_REF" and sign in (">", ">=", "="):
            yield from self._floats(node["right"], node["left"])
        elif node["class"] == "BETWEEN":
            yield from self._floats(node["input"], node["upper"])

    def _floats(self, column: dict[str, Any], constant: dict[str, Any]) -> Iterator[str]:
        name, value = self._name(column), _constant(constant)
        if name and value and "nan" not in value.lower() and _is_float(self.fields[name].type):
            yield name

    def _name(self, node: dict[str, Any]) -> str | None:
        """The column that a node is, if the log may know something of it."""
        if node["class"] != "COLUMN_REF":
            return None
        name = node["column_names"][0].lower()
        return (
            name
            if len(node["column_names"]) == 1 and name in self.fields and not _is_nested(self.fields[name].type)
            else None
        )

    def _number(self, name: str) -> int:
        return self.numbers.setdefault(name, len(self.numbers))

    def _null(self, node: dict[str, Any], wanted: bool) -> _Condition:
        name = self._name(node)
        if name is None:
            return _UNKNOWN
        nulls = f"nulls_{self._number(name)}"
        null = _Condition(f"coalesce({nulls} > 0, true)", f"coalesce({nulls} < rows, true)")
        return null if wanted else ~null

    def _prefixed(self, function: str, column: dict[str, Any], constant: dict[str, Any]) -> _Condition:
        """That texts begin with a constant, or match one by LIKE, which says how they begin."""
        name, text = self._name(column), (constant.get("literal") or {}).get("text")
        if function == "~~" and text is not None:
            text = re.split("[%_]", text, maxsplit=1)[0]
        elif function not in _PREFIXES:
            return _UNKNOWN
        if name is None or not text or not _is_text(self.fields[name].type):
            return _UNKNOWN
        number, prefix = self._number(name), quote_text(text)
        lower, upper = f"lower_{number}", f"upper_{number}"
        below = f"coalesce({lower} <= {prefix} OR starts_with({lower}, {prefix}), true)"
        above = f"coalesce({upper} >= {prefix} OR starts_with({prefix}, {upper}), true)"
        return _Condition(f"(coalesce(nulls_{number} < rows, true) AND {below} AND {above})", "true")

    def _compared(
        self, column: dict[str, Any], sign: str, constant: dict[str, Any], numbers: frozenset[str] = frozenset()
    ) -> _Condition:
        name, value = self._name(column), _constant(constant)
        if name is None or value is None or not _comparable(self.fields[name].type, value):
            return _UNKNOWN
        number, type_ = self._number(name), self.fields[name].type
        exact = not _is_float(type_) or name in numbers
        true = _possible(sign, number, value, type_, exact or sign == "=")
        if sign == "=" and (filter_ := self._filter(name, value)) is not None:
            true = f"({true} AND coalesce(filter_{filter_}, true))"
        return _Condition(
            true,
            _possible(_OPPOSITE[sign], number, value, type_, not _is_float(type_)),
        )

    def _filter(self, name: str, value: str) -> int | None:
        """The number under which filters answer whether a file may have a value; None if there are none."""
        if not _is_exact(self.fields[name].type, value):
            return None
        if (name, value) not in self.filters:
            answers = index.possible(self.snapshot, self.fields[name], value)
            if answers is None:
                return None
            self.filters[name, value] = len(self.answers)
            self.answers.append(answers)
        return self.filters[name, value]


def _possible(sign: str, number: int, value: str, type_: pa.DataType, upper_counts: bool) -> str:
    """That some value between the bounds stands in this relation to a constant; NULL bounds leave it open."""
    import pyarrow.types as is_

    lower, upper = f"lower_{number}", f"upper_{number}"
    below = {"<": f"{lower} < {value}", "<=": f"{lower} <= {value}", "=": f"{lower} <= {value}"}.get(sign)
    above = {">": f"{upper} > {value}", ">=": f"{upper} >= {value}", "=": f"{upper} >= {value}"}.get(sign)
    if above and is_.is_string(type_):
        above = f"({above} OR starts_with({value}, {upper}))"
    if sign == "<>":
        text = is_.is_string(type_)
        same = "false" if text or not upper_counts else f"{lower} = {value} AND {upper} = {value}"
        parts = [f"NOT ({same})"]
    else:
        parts = [part for part in (below, above if upper_counts else None) if part]
    nulls = f"coalesce(nulls_{number} < rows, true)"
    return f"({' AND '.join([nulls, *[f'coalesce({part}, true)' for part in parts]])})"


def _parsed(predicate: str) -> dict[str, Any]:
    """The syntax tree of a predicate, as DuckDB parses it."""
    (text,) = database().execute("SELECT json_serialize_sql(?)", [f"SELECT 1 WHERE {predicate}"]).fetchall()[0]
    tree = json.loads(text)
    if tree["error"]:
        raise PredicateError(f"the predicate {predicate!r} is not valid: {tree['error_message']}")
    statements = tree["statements"]
    node = statements[0]["node"] if len(statements) == 1 else {}
    others = ("modifiers", "group_expressions", "having", "qualify")
    if node.get("where_clause") is None or any(node.get(part) for part in others):
        raise PredicateError(f"the predicate {predicate!r} is not valid; expected one SQL condition")
    where: dict[str, Any] = node["where_clause"]
    return where


def _constant(node: dict[str, Any]) -> str | None:
    """A constant as SQL; None where it is no plain constant."""
    if node["class"] == "CAST":
        inner, type_ = _constant(node["child"]), node["type_expr"].get("type_name")
        return f"CAST({inner} AS {type_})" if inner and type_ in _CASTS else None
    if node["class"] == "FUNCTION" and node["function_name"] == "-" and len(arguments(node)) == 1:
        inner = _constant(arguments(node)[0])
        return f"(-{inner})" if inner and inner[0].isdigit() else None
    literal = node.get("literal") or {}
    if literal.get("kind") == "STRING":
        return quote_text(literal["text"])
    return literal["text"] if literal.get("kind") in ("INTEGER", "NUMERIC", "BOOLEAN") else None


def arguments(node: dict[str, Any]) -> list[dict[str, Any]]:
    """The arguments of a call, which versions of DuckDB tell of in different ways."""
    return [each.get("expression", each) for each in node.get("arguments", node.get("children", []))]


def _comparable(type_: pa.DataType, value: str) -> bool:
    """Whether a constant is compared in the type of the column, in any session."""
    import pyarrow.types as is_

    text = value.startswith("'") or (value.startswith("CAST('") and value.endswith(" AS VARCHAR)"))
    if is_.is_string(type_):
        return text
    if is_.is_timestamp(type_) and type_.tz is not None:
        return text and value.rstrip("'").endswith(("Z", "+00", "+00:00"))
    if is_.is_binary(type_) or (_is_float(type_) and "nan" in value.lower()):
        return False
    return not is_.is_boolean(type_) or not text


def _is_exact(type_: pa.DataType, value: str) -> bool:
    """Whether a constant is equal to no other value of the column's type than the one that it is cast to."""
    import pyarrow.types as is_

    return not is_.is_integer(type_) or value.strip("(-)").isdigit()


def _is_float(type_: pa.DataType) -> bool:
    import pyarrow.types as is_

    return bool(is_.is_floating(type_))


def _is_text(type_: pa.DataType) -> bool:
    import pyarrow.types as is_

    return bool(is_.is_string(type_))


def _is_nested(type_: pa.DataType) -> bool:
    import pyarrow.types as is_

    return bool(is_.is_nested(type_) or is_.is_null(type_))
