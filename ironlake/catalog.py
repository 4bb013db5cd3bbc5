"""The declared functions as a table, and as a reference page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ironlake.udf.engine import declarations, table
from ironlake.udf.engine.entry import complete

if TYPE_CHECKING:
    import pyarrow as pa


@table
def ironlake_functions() -> pa.Table:
    """All declared functions, one row each.

    Returns
    -------
    TABLE
        ``name``, ``kind`` (scalar, aggregate, relation or table), ``signature``, ``description``, ``source`` (the paper
        and section it follows) and ``example`` (SQL that runs as it is).

    References
    ----------
    The declarations themselves; functions declared by users are among them.

    Examples
    --------
    SELECT name, signature FROM ironlake_functions() WHERE kind = 'aggregate';
    """
    import pyarrow as pa

    known = [declarations[name] for name in sorted(declarations)]
    return pa.table(
        {
            "name": pa.array([each.name for each in known], pa.string()),
            "kind": pa.array([each.kind for each in known], pa.string()),
            "signature": pa.array([each.signature for each in known], pa.string()),
            "description": pa.array([each.documentation.description for each in known], pa.string()),
            "source": pa.array([each.documentation.source for each in known], pa.string()),
            "example": pa.array([each.documentation.example for each in known], pa.string()),
        }
    )


def reference_page() -> str:
    """The reference of all functions of the package in Markdown, made from their docstrings."""
    complete()
    lines = ["# Reference", "", "The functions of the package, as `FROM ironlake_functions()` lists them.", ""]
    own = [
        declarations[name]
        for name in sorted(declarations)
        if (declarations[name].body.__module__ or "").startswith("ironlake.")
    ]
    for declaration in own:
        text = declaration.documentation.text.split("\nExamples\n")[0].strip()
        lines += [f"## {declaration.name}", "", f"`{declaration.signature}` ({declaration.kind})", ""]
        lines += ["```text", text, "```", "", "```sql", declaration.documentation.example, "```", ""]
    return "\n".join(lines)
