"""The ``ML`` functions in a statement: taken out before it is parsed, put back as subqueries after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ironlake.udf.engine.declaration import closest

_FUNCTIONS = ("PREDICT", "EVALUATE", "WEIGHTS", "TRAINING_INFO", "FEATURE_INFO", "CONFUSION_MATRIX")


class Call(NamedTuple):
    """An ``ML`` function in a query: its name, its model, and the SQL of its input."""

    function: str
    model: str
    rows: str | None
    threshold: str | None


def without_calls(statement: str) -> tuple[str, list[Call]]:
    """The statement with a name in the place of each call of an ``ML`` function, and the calls."""
    import sqlglot

    calls: list[Call] = []
    while True:
        tokens = sqlglot.tokenize(statement, dialect="bigquery")
        words = [token.text.upper() for token in tokens]
        # The last call first: what stands inside another one is replaced before that one is.
        starts = [at for at in range(len(words) - 3) if words[at : at + 2] == ["ML", "."] and words[at + 3] == "("]
        if not starts:
            return statement, calls
        first = starts[-1]
        depth, ends = 0, []
        parts = [first + 4]
        for at in range(first + 3, len(words)):
            depth += {"(": 1, ")": -1}.get(words[at], 0)
            if depth == 1 and words[at] == ",":
                parts.append(at + 1)
            if depth == 0:
                ends = [part - 1 for part in parts[1:]] + [at]
                break
        if not ends:
            raise ValueError(f"bqml: the parenthesis behind ML.{words[first + 2]} is not closed")
        arguments = [
            statement[tokens[start].start : tokens[end - 1].end + 1] for start, end in zip(parts, ends, strict=True)
        ]
        calls.append(_call(words[first + 2], arguments))
        name = f"ironlake_call_{len(calls) - 1}"
        statement = statement[: tokens[first].start] + name + statement[tokens[ends[-1]].end + 1 :]


def _call(function: str, arguments: list[str]) -> Call:
    if function not in _FUNCTIONS:
        raise ValueError(f"bqml: there is no ML.{function} here{closest(function, map(str.lower, _FUNCTIONS))}")
    words = arguments[0].split(maxsplit=1)
    if len(words) != 2 or words[0].upper() != "MODEL":
        raise ValueError(f"bqml: the first argument of ML.{function} must be MODEL and a name, got {arguments[0]}")
    rows, threshold = None, None
    for argument in arguments[1:]:
        if argument.upper().startswith("STRUCT"):
            threshold = argument[argument.index("(") + 1 :].split()[0]
        else:
            rows = f"SELECT * FROM {argument[5:]}" if argument.upper().startswith("TABLE ") else argument
    if function == "PREDICT" and rows is None:
        raise ValueError("bqml: ML.PREDICT needs rows: (SELECT ...) or TABLE and a name")
    return Call(function, words[1], rows, threshold)


def with_calls(con: Any, tree: Any, calls: list[Call], model_of: Callable[[Any, str], Any]) -> str:
    """A query in DuckDB's dialect, the calls in front of it as named subqueries."""
    text = str(tree.sql(dialect="duckdb"))
    if not calls:
        return text
    queries = []
    for number, call in enumerate(calls):
        rows = None if call.rows is None else _translated(call.rows)
        queries.append(f"ironlake_call_{number} AS ({model_of(con, call.model).query(call, rows)})")
    if text.upper().startswith("WITH "):
        return f"WITH {', '.join(queries)}, {text[5:]}"
    return f"WITH {', '.join(queries)} {text}"


def _translated(query: str) -> str:
    import sqlglot

    return sqlglot.transpile(query, read="bigquery", write="duckdb")[0]


def table_name(table: Any) -> str:
    """A table's name in DuckDB's dialect, from a name in BigQuery's or its syntax tree."""
    from sqlglot import exp

    tree = exp.to_table(table, dialect="bigquery") if isinstance(table, str) else table
    return str(tree.sql(dialect="duckdb"))
