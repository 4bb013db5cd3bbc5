"""``sql``: queries of Spark that also take DuckDB's spelling of literals, and calls that Spark cannot plan.

Spark plans an aggregate in Python only alone: not beside built-in aggregates or another one in Python, not over a
window, not with FILTER or DISTINCT. Such a call is rewritten: a built-in aggregate gathers the rows of a group into a
list, which a scalar function then aggregates. The rows of a group have to fit into memory for that.

    logistic_fit(y, x) FILTER (WHERE ok)
    logistic_fit__of_lists(collect_list(named_struct('a0', y, 'a1', x)) FILTER (WHERE ok))
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from ironlake.udf.engine import declarations
from ironlake.udf.engine.declaration import Declaration, closest

from .registration import LISTS

_TOKEN = re.compile(
    r"""\s+|--[^\n]*|/\*.*?\*/|'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.)*"|`(?:[^`]|``)*`|\w+|:=|=>|::|.""", re.S
)
_CLOSING = {"(": ")", "[": "]", "{": "}"}
#: What Spark says of an aggregate in Python that it cannot plan where it stands.
_CANNOT_PLAN = {
    "INVALID_PANDAS_UDF_PLACEMENT", "INVALID_SQL_SYNTAX.FUNCTION_WITH_UNSUPPORTED_SYNTAX", "INTERNAL_ERROR",
}  # fmt: skip

#: A piece of a query: a token, or a list of pieces that starts and ends with brackets.
Piece = Any


def sql(query: str, spark: SparkSession | None = None) -> DataFrame:
    """Run a query in Spark, in its own SQL and some of DuckDB's.

    Beside what ``spark.sql`` takes: STRUCTs, lists and MAPs as ``{'k': 1}``, ``[1, 2]`` and ``MAP {'k': 1}``;
    ``CALL f('x')`` of a table function; options of aggregates by name, ``logistic_fit(y, x, epochs => 5)``; and
    aggregates beside others, with FILTER, DISTINCT or OVER.

    Parameters
    ----------
    query : str
        One statement.
    spark : pyspark.sql.SparkSession, optional
        A session that knows the functions; by default the active one.

    Returns
    -------
    pyspark.sql.DataFrame

    Raises
    ------
    pyspark.errors.PySparkException
        Spark's own error.
    RuntimeError
        There is no session.

    Examples
    --------
    >>> ils.sql("SELECT customer, count(*), logistic_fit(bought, features, {'l2': 0.1}) FROM visits GROUP BY customer")
    """
    spark = spark or SparkSession.getActiveSession()
    if spark is None:
        raise RuntimeError("ironlake.spark.sql: there is no Spark session; make one with ironlake.spark.session()")
    pieces = _parsed(query)
    if ":=" in _tokens(pieces):
        warnings.warn("ironlake.spark.sql: := is read as =>, which Spark and DuckDB both know; use =>", stacklevel=2)
    text = "".join(_tokens(_translated(pieces, gather=False)))
    gathered = "".join(_tokens(_translated(pieces, gather=True)))
    if gathered == text:
        return spark.sql(text)
    try:
        with _quiet():
            result = spark.sql(text)
            planned = _plans(result)
    except PySparkException as error:
        if error.getCondition() not in _CANNOT_PLAN:
            raise
        planned = False
    except Py4JJavaError as error:  # over a window the planner itself fails
        if "[INTERNAL_ERROR]" not in str(error):
            raise
        planned = False
    return result if planned else spark.sql(gathered)


def _plans(result: DataFrame) -> bool:
    """Whether Spark can run a plan: more than one aggregate in Python at a place fails only in the worker."""
    nodes = [result._jdf.queryExecution().sparkPlan()]
    for node in nodes:
        if node.nodeName() == "ArrowAggregatePython" and node.aggExpressions().size() > 1:
            return False
        children = node.children()
        nodes += [children.apply(index) for index in range(children.size())]
    return True


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep PySpark from logging an error that is dealt with."""
    logger = logging.getLogger("SQLQueryContextLogger")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _parsed(query: str) -> list[Piece]:
    """A query as a tree of brackets; brackets that do not match are left to Spark's parser."""
    stack: list[list[Piece]] = [[]]
    for token in _TOKEN.findall(query):
        if token in _CLOSING:
            stack.append([token])
        elif len(stack) > 1 and token == _CLOSING[stack[-1][0]]:
            group = stack.pop()
            stack[-1].append([*group, token])
        else:
            stack[-1].append(token)
    while len(stack) > 1:
        rest = stack.pop()
        stack[-1] += rest
    return stack[0]


def _tokens(pieces: list[Piece]) -> list[str]:
    """The tokens of a tree in their order."""
    return [token for piece in pieces for token in (_tokens(piece) if isinstance(piece, list) else [piece])]


def _translated(pieces: list[Piece], gather: bool) -> list[Piece]:
    """A query in Spark's SQL, with aggregates of gathered rows or as they are."""
    made: list[Piece] = []
    place = 0
    while place < len(pieces):
        piece = pieces[place]
        place += 1
        before = _last(made)
        if piece in (":=", "=>"):
            if isinstance(before, str) and before.startswith('"'):  # a name for DuckDB, a text for Spark
                made[_index_of_last(made)] = f"`{before[1:-1]}`"
            made.append("=>")
        elif not isinstance(piece, list):
            made.append(piece)
        elif piece[0] == "[" and not (isinstance(before, list) or re.fullmatch(r"\w+|`.*`", before or "", re.S)):
            made.append(["array(", *_translated(piece[1:-1], gather), ")"])
        elif piece[0] == "{":
            is_map = isinstance(before, str) and before.upper() == "MAP"
            if is_map:
                made = made[: _index_of_last(made)]
            fields = _fields(_translated(piece[1:-1], gather), quoted=not is_map)
            made.append(["map(" if is_map else "named_struct(", *fields, ")"])
        elif piece[0] == "(" and isinstance(before, str) and before.lower() in declarations:
            declaration = declarations[before.lower()]
            start = _index_of_last(made)
            if declaration.kind == "table" and (_last(made[:start]) or "").upper() == "CALL":
                made[_index_of_last(made[:start])] = "SELECT * FROM"
            inner = _translated(piece[1:-1], gather)
            if declaration.kind in ("aggregate", "relation"):
                inner = _with_options(declaration, inner)
                if gather:
                    tail, place = _tail(pieces, place, gather)
                    made[start:] = [[f"{declaration.name}{LISTS}(", *_gathered(inner), *tail, ")"]]
                    continue
            made.append(["(", *inner, ")"])
        else:
            made.append([piece[0], *_translated(piece[1:-1], gather), piece[-1]])
    return made


def _tail(pieces: list[Piece], place: int, gather: bool) -> tuple[list[Piece], int]:
    """What FILTER (...) and OVER (...) follow a call, and where the rest starts."""
    end = place
    while True:
        ahead = [index for index in range(end, len(pieces)) if not _is_blank(pieces[index])][:2]
        word = pieces[ahead[0]] if len(ahead) == 2 else ""
        if not isinstance(word, str) or word.upper() not in ("FILTER", "OVER"):
            return _translated(pieces[place:end], gather), end
        end = ahead[1] + 1


def _gathered(arguments: list[Piece]) -> list[Piece]:
    """The rows of a group as a list of STRUCTs of the arguments."""
    parts = _split(arguments, ",")
    first = [piece for piece in parts[0] if not _is_blank(piece)]
    distinct = bool(first) and isinstance(first[0], str) and first[0].upper() == "DISTINCT"
    if distinct:
        parts[0] = parts[0][parts[0].index(first[0]) + 1 :]
    # Not struct(y AS a0): Spark 4.3 fails to name a column that has a STRUCT under an alias inside a Python function.
    fields = [piece for index, part in enumerate(parts) for piece in (", ", f"'a{index}', ", *part)][1:]
    return ["collect_list(", "DISTINCT " if distinct else "", "named_struct(", *fields, "))"]


def _with_options(declaration: Declaration, arguments: list[Piece]) -> list[Piece]:
    """The arguments of an aggregate, options by name put into a STRUCT where it belongs.

    Raises
    ------
    TypeError
        There is no such option.
    """
    parts = _split(arguments, ",")
    by_position = [part for part in parts if "=>" not in part]
    named = {}
    for part in parts:
        if "=>" in part:
            label, value = _split(part, "=>")
            named["".join(_tokens(label)).strip(" `\n\t")] = value
    if not named:
        return arguments
    known = [option.name for option in declaration.options]
    for name in named:
        if name not in known:
            raise TypeError(f"{declaration.name}: unknown option {name!r}{closest(name, known)}")
    fields = [piece for name, value in named.items() for piece in (", ", f"'{name}', ", *value)][1:]
    by_position.insert(declaration.options_at, [" ", ["named_struct(", *fields, ")"]])
    return [piece for part in by_position for piece in (",", *part)][1:]


def _fields(pieces: list[Piece], quoted: bool) -> list[Piece]:
    """``'k': 1`` as ``'k', 1``; a name without quotes gets them, if it has to be ``quoted``."""
    made: list[Piece] = []
    for part in _split(pieces, ","):
        if ":" in part:
            at = part.index(":")
            name = "".join(_tokens(part[:at])).strip()
            if quoted and re.fullmatch(r"`.*`|[A-Za-z_]\w*", name):
                name = f"'{name.strip('`')}'"
            part = [name, ", ", *part[at + 1 :]]
        made += [", ", *part]
    return made[1:]


def _split(pieces: list[Piece], mark: str) -> list[list[Piece]]:
    parts: list[list[Piece]] = [[]]
    for piece in pieces:
        if piece == mark:
            parts.append([])
        else:
            parts[-1].append(piece)
    return parts


def _is_blank(piece: Piece) -> bool:
    return isinstance(piece, str) and (piece.isspace() or piece.startswith(("--", "/*")))


def _index_of_last(pieces: list[Piece]) -> int:
    return max((index for index, piece in enumerate(pieces) if not _is_blank(piece)), default=0)


def _last(pieces: list[Piece]) -> Piece:
    return pieces[_index_of_last(pieces)] if pieces else None
