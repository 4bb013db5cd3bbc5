"""A lake for people to read: name, rows, version and size of each table."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from .lake import Lake

_HEADINGS = ("table", "rows", "version", "size")


def rich_table(lake: Lake) -> Table:
    """For a terminal."""
    from rich.table import Table

    table = Table(_HEADINGS[0], title=lake.storage.root, title_justify="left")
    for heading in _HEADINGS[1:]:
        table.add_column(heading, justify="right")
    for row in rows(lake):
        table.add_row(*row)
    return table


def html(lake: Lake) -> str:
    """For a notebook."""
    from html import escape

    heading = "".join(f"<th>{text}</th>" for text in _HEADINGS)
    lines = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows(lake))
    return f"<table><caption>{escape(lake.storage.root)}</caption><tr>{heading}</tr>{lines}</table>"


def rows(lake: Lake) -> list[tuple[str, str, str, str]]:
    """A row for each table."""
    return [_row(lake, name) for name in lake.tables()]


def _row(lake: Lake, name: str) -> tuple[str, str, str, str]:
    try:
        snapshot = lake._snapshot("Lake", name)
    except (OSError, ValueError) as error:
        return name, "unreadable", "", str(error)
    count = "unknown" if snapshot.rows is None else f"{snapshot.rows:,}"
    return name, count, str(snapshot.version), _size(snapshot.size)


def _size(count: float) -> str:
    """A number of bytes for people to read."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
