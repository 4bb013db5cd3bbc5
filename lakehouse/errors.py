"""What errors say: what was called, and in one sentence what was wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def telling(where: str) -> Iterator[None]:
    """Let errors begin with what was called; those of DuckDB become a ValueError.

    `where` is such as ``"Table.update('sales'): "``.
    """
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise ValueError(f"{where}{sentence(error)}") from error
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        if len(error.args) != 1:
            raise  # an error of the system, which has its own form
        raise type(error)(f"{where}{error}") from error.__cause__


def sentence(error: Exception) -> str:
    """What DuckDB says was wrong, without the query, or what a Python function that it called says."""
    text = str(error)
    if "Traceback (most recent call last)" in text:
        raised: list[str] = re.findall(r"^(?:[\w.]+(?:Error|Exception)): (.*)$", text, re.MULTILINE)
        if raised:
            return raised[-1]
    return text.splitlines()[0]
