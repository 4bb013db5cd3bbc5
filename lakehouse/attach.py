"""A lake in a DuckDB database: a view for each of its tables, and its own views."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from .catalog import MAIN, hint
from .errors import sentence
from .schema import quote_name, quote_text

if TYPE_CHECKING:
    import duckdb

#: What a database shows: the SQL of each view by its schema and its name, those that others need first.
Queries = Mapping[tuple[str, str], str]


def attach(connection: duckdb.DuckDBPyConnection, database: str | None, queries: Queries, root: str) -> None:
    """Let a database of a connection, which is made if there is none, show a lake, and no longer what the lake lost."""
    ((current, names),) = connection.execute(
        "SELECT current_database(), list(database_name) FROM duckdb_databases()"
    ).fetchall()
    database = current if database is None else database
    if database not in names:
        connection.execute(f"ATTACH ':memory:' AS {quote_name(database)}")
    told = f"of the lake {root}"
    before = connection.execute(
        "SELECT schema_name, view_name FROM duckdb_views() WHERE database_name = ? AND comment = ?", [database, told]
    ).fetchall()
    show(connection, database, queries, dict.fromkeys(before, ""))
    for name in queries:
        connection.execute(f"COMMENT ON VIEW {_quoted(database, name)} IS {quote_text(told)}")


def show(connection: duckdb.DuckDBPyConnection, database: str, queries: Queries, shown: Queries) -> Queries:
    """Bring the views of a database from what is shown to what should be; what is shown then.

    One damaged table must not keep the others out of reach: its view then raises the reason when it is queried, and is
    tried again the next time.

    Raises
    ------
    duckdb.CatalogException
        The database has a table of the same name.
    """
    import duckdb

    for name in shown.keys() - queries.keys():
        connection.execute(f"DROP VIEW IF EXISTS {_quoted(database, name)}")
    now = {name: query for name, query in queries.items() if shown.get(name) == query}
    waiting = {name: query for name, query in queries.items() if name not in now}
    for schema in sorted({schema for schema, _ in waiting}):
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quote_name(database)}.{quote_name(schema)}")
    while waiting:
        failed = {}
        for name, query in waiting.items():
            view = f"CREATE OR REPLACE VIEW {_quoted(database, name)} AS"
            try:
                connection.execute(f"{view} {query}")
                now[name] = query
            except duckdb.Error as error:
                connection.execute(f"{view} SELECT error({quote_text(str(error))}) AS unreadable")
                failed[name] = query
        if len(failed) == len(waiting):
            break
        waiting = failed  # a view may need another one
    return now


def check_view(connection: duckdb.DuckDBPyConnection, name: str, query: str, names: Collection[str], told: str) -> None:
    """Refuse what is no query over tables and views of a lake that a connection shows; `told` starts the error message.

    Raises
    ------
    ValueError
        The query is not valid.
    """
    import duckdb

    ((text,),) = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchall()
    tree = json.loads(text)
    if tree["error"] or len(tree["statements"]) != 1:
        reason = f"; {tree['error_message']}" if tree["error"] else ""
        raise ValueError(f"{told}the query {query!r} is not valid; expected one SELECT{reason}")
    schema, _, last = name.rpartition(".")
    # Whatever else this connection finds, such as a data frame, others would not.
    for used in sorted(_tables(tree)):
        own = used if "." in used or not schema else f"{schema}.{used}"
        if own.removeprefix(f"{MAIN}.").lower() not in {each.lower() for each in names}:
            meant = f"did you mean {f'{MAIN}.{used}'!r}?" if used in names else hint(used, names)
            raise ValueError(f"{told}the query names the table {used!r}, but the lake has no {own!r}; {meant}")
    if schema:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quote_name(schema)}")
    # In the schema of the view, which comes first for the names in it.
    trial = _quoted("memory", (schema or MAIN, f"{last} on trial"))
    try:
        connection.execute(f"CREATE OR REPLACE VIEW {trial} AS {query}")
        connection.execute(f"DROP VIEW {trial}")
    except duckdb.Error as error:
        raise ValueError(f"{told}the query {query!r} is not valid: {sentence(error)}") from None


def _tables(tree: Any) -> set[str]:
    """The tables that a syntax tree names, without those that it defines by WITH."""
    found, defined, nodes = set(), set(), [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, list):
            nodes += node
        elif isinstance(node, dict):
            nodes += node.values()
            defined |= {each["key"] for each in (node.get("cte_map") or {}).get("map", ())}
            if node.get("type") == "BASE_TABLE":
                parts = [node["catalog_name"], node["schema_name"], node["table_name"]]
                found.add(".".join(filter(None, parts)))
    return found - defined


def _quoted(database: str, name: tuple[str, str]) -> str:
    return ".".join(map(quote_name, (database, *name)))
