"""How the filters of a statement choose the files of a table, whatever statement it is.

A lake's tables are views over `lake_view_sql`, so each statement gets a SELECT of its own, in which a `Watch` tells
which filters DuckDB has pushed down to the table. They come as bound expressions, and go to `pruning` as the syntax
tree that the same predicate has when it is written out.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ironlake.udf.engine import supported
from ironlake.udf.engine.filters import Filter, Watch, watched

from .pruning import PredicateError, kept_by
from .scan import check_files, groups, scan_sql
from .schema import quote_name, sql_type
from .snapshot import Snapshot

#: Stands for the number of the statement's `Watch` in the text that all statements share.
_NUMBER = "/*number*/"
_UNKNOWN: dict[str, Any] = {"class": "UNKNOWN", "type": "UNKNOWN"}
_OPERATORS = {
    "NOT": "OPERATOR_NOT", "IS_NULL": "OPERATOR_IS_NULL", "IS_NOT_NULL": "OPERATOR_IS_NOT_NULL", "IN": "COMPARE_IN",
    "NOT_IN": "COMPARE_NOT_IN",
}  # fmt: skip
_COMPARISONS = {
    "=": "COMPARE_EQUAL", "<>": "COMPARE_NOTEQUAL", "<": "COMPARE_LESSTHAN", ">": "COMPARE_GREATERTHAN",
    "<=": "COMPARE_LESSTHANOREQUALTO", ">=": "COMPARE_GREATERTHANOREQUALTO",
}  # fmt: skip
_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")


def view_sql(snapshot: Snapshot) -> str:
    """The SELECT that reads one version of a table for one statement, and of it only the files that it needs."""
    if not supported.filters() or not snapshot.files:
        return scan_sql(snapshot)
    everything = range(len(snapshot.files))
    if "view" in snapshot.plans and snapshot.storage.is_local:
        check_files(snapshot, everything)
    if "view" not in snapshot.plans:
        snapshot.plans["view"] = scan_sql(snapshot, watch=_NUMBER, lasting=False)
        snapshot.plans["groups"] = list(groups(snapshot, everything).values())
        snapshot.plans["columns"] = [(field.name, sql_type(field.type)) for field in snapshot.schema]
    watch = Watch(snapshot.plans["columns"], functools.partial(_needed, snapshot), snapshot.plans["groups"])
    names = [quote_name(field.name) for field in snapshot.schema]
    return watched(_NUMBER, names, snapshot.plans["view"]).replace(_NUMBER, str(watch.number))


def _needed(snapshot: Snapshot, filters: list[Filter]) -> np.ndarray[Any, Any]:
    """For each file whether rows of it may meet all filters."""
    needed = np.zeros(len(snapshot.files), bool)
    tree = {"class": "CONJUNCTION", "type": "CONJUNCTION_AND", "children": [*map(_tree, filters), _UNKNOWN]}
    try:
        needed[kept_by(snapshot, tree, "of the statement")] = True
    except PredicateError:  # the statement will tell, if it comes to that
        needed[:] = True
    return needed


def _tree(part: Filter) -> dict[str, Any]:
    """The syntax tree of a filter; what `pruning` does not look at is unknown."""
    children = [_tree(child) for child in part.children]
    if part.kind in ("AND", "OR"):
        return {"class": "CONJUNCTION", "type": f"CONJUNCTION_{part.kind}", "children": children}
    if part.kind in _OPERATORS:
        return {"class": "OPERATOR", "type": _OPERATORS[part.kind], "children": children}
    if part.kind in _COMPARISONS:
        return _comparison(part.kind, *children)
    if part.kind == "BETWEEN":  # that it is false says less: DuckDB makes it of < and > as well
        value, low, high = children
        parts = [_comparison(">=", value, low), _comparison("<=", value, high), _UNKNOWN]
        return {"class": "CONJUNCTION", "type": "CONJUNCTION_AND", "children": parts}
    if part.kind == "COLUMN":
        return {"class": "COLUMN_REF", "type": "COLUMN_REF", "column_names": [part.text]}
    if part.kind == "CONSTANT":
        return _constant(part)
    if part.kind == "CAST" and _keeps_order(part.children[0].type, part.type):
        return children[0]
    if part.kind == "FUNCTION":
        return {"class": "FUNCTION", "type": "FUNCTION", "function_name": part.text, "children": children}
    return _UNKNOWN


def _comparison(sign: str, left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    return {"class": "COMPARISON", "type": _COMPARISONS[sign], "left": left, "right": right}


def _constant(part: Filter) -> dict[str, Any]:
    if part.text is None:
        return _UNKNOWN
    if part.type in _INTEGERS or part.type.startswith("DECIMAL"):
        return {"class": "CONSTANT", "type": "VALUE_CONSTANT", "literal": {"kind": "NUMERIC", "text": part.text}}
    text = {"class": "CONSTANT", "type": "VALUE_CONSTANT", "literal": {"kind": "STRING", "text": part.text}}
    if part.type in ("VARCHAR", "TIMESTAMP WITH TIME ZONE"):
        return text
    return {"class": "CAST", "type": "CAST", "child": text, "type_expr": {"type_name": part.type}}


def _keeps_order(source: str, target: str) -> bool:
    """Whether values compare after a cast as before it, when the other side is of the type that it casts to."""
    if source in _INTEGERS:
        wider = target in _INTEGERS[_INTEGERS.index(source) :]
        return wider or target == "DOUBLE" or target.startswith("DECIMAL")
    if source.startswith("DECIMAL"):
        return target == "DOUBLE"
    return (source, target) in (("FLOAT", "DOUBLE"), ("DATE", "TIMESTAMP"))
