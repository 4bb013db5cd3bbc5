"""What errors say first: what was called."""

from __future__ import annotations

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
        raise ValueError(f"{where}{str(error).splitlines()[0]}") from error
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        if len(error.args) != 1:
            raise  # an error of the system, which has its own form
        raise type(error)(f"{where}{error}") from error.__cause__
