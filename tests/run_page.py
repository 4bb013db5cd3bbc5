"""Run the examples of a page, or the statements of a .sql file, as a reader who copies them would.

Usage: run_page.py FILE. It is a process of its own, as pages declare functions that may be named like those of others.
"""

import ast
import linecache
import math
import re
import sys
from pathlib import Path

import duckdb

import ironlake  # noqa: F401 - the functions


def run_page(text: str) -> None:
    """Run the blocks of SQL and Python of a Markdown page in their order."""
    names: dict[str, object] = {"__name__": "page"}
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```", text, flags=re.M | re.S):
        if language == "python":
            run_python(block, names)
        elif language == "sql":
            run_sql(block)


def run_sql(text: str) -> None:
    for statement in duckdb.extract_statements(text):
        duckdb.execute(statement).fetchall()


def run_python(text: str, names: dict[str, object]) -> None:
    """Run a block; a statement with a literal in the comment behind it has to give that value."""
    lines = text.splitlines()
    place = f"<block {len(linecache.cache)}>"
    linecache.cache[place] = (
        len(text),
        None,
        text.splitlines(keepends=True),
        place,
    )  # as notebooks do: code has a source
    for node in ast.parse(text).body:
        code = compile(ast.Module([node], []), place, "exec")
        _, _, comment = lines[node.end_lineno - 1][node.end_col_offset :].partition("#")
        if not isinstance(node, ast.Expr) or not comment:
            exec(code, names)
            continue
        value = eval(compile(ast.Expression(node.value), place, "eval"), names)
        if isinstance(value, duckdb.DuckDBPyRelation):
            [(value,)] = value.fetchall()
        expected = ast.literal_eval(comment.strip())
        alike = math.isclose(value, expected, rel_tol=1e-6) if isinstance(expected, float) else value == expected
        assert alike, f"{ast.unparse(node)} gives {value!r}, the page says {expected!r}"


if __name__ == "__main__":
    file = Path(sys.argv[1])
    run = run_sql if file.suffix == ".sql" else run_page
    run(file.read_text(encoding="utf-8"))
