"""What is expected of the rows that are written to a table: a condition, and what becomes of rows that break it.

``warn`` takes them and counts them, ``drop`` leaves them out, ``fail`` refuses all. Expectations are properties of the
table, so they have versions and a commit knows which ones it followed; the rows that are there already are not looked
at. Updates and merges cannot leave rows out that the table has: with them ``drop`` is ``fail``.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from ..pruning import check_predicate

if TYPE_CHECKING:
    import pyarrow as pa

    from ..snapshot import Snapshot
    from ..transaction import Transaction

OnViolation = Literal["warn", "drop", "fail"]
#: How the property of an expectation begins; its name follows.
_PREFIX = "ironlake.expectation."
#: How its metric begins.
_METRIC = "expectation."
_KINDS = ("warn", "drop", "fail")


class ExpectationWarning(UserWarning):
    """Rows that break an expectation were written, or left out."""


def expectations(snapshot: Snapshot) -> dict[str, tuple[str, OnViolation]]:
    """For each expectation of a table its condition and what becomes of rows that break it."""
    found = {}
    for key, text in snapshot.configuration.items():
        if key.startswith(_PREFIX):
            said = json.loads(text)
            found[key.removeprefix(_PREFIX)] = (said["predicate"], said["on_violation"])
    return found


def conditions(snapshot: Snapshot, kinds: tuple[OnViolation, ...] = ("warn", "drop", "fail")) -> dict[str, str]:
    """The conditions of some kinds of expectations, by what an error calls them."""
    return {_named(name, each): each for name, (each, kind) in expectations(snapshot).items() if kind in kinds}


def _named(name: str, predicate: str) -> str:
    return f"the expectation {name!r} ({predicate})"


def expect(name: str, predicate: str, on_violation: OnViolation) -> Callable[[Snapshot, Transaction], None]:
    """Expect a condition of rows, instead of one of this name."""

    def edit(snapshot: Snapshot, change: Transaction) -> None:
        if not isinstance(name, str) or not re.fullmatch(r"\w+", name):
            raise ValueError(f"the name {name!r} of an expectation is not valid; expected letters, digits and _")
        if on_violation not in _KINDS:
            raise ValueError(f"on_violation is {on_violation!r}; expected one of {', '.join(map(repr, _KINDS))}")
        check_predicate(snapshot, predicate)
        said = json.dumps({"predicate": predicate, "on_violation": on_violation})
        change.metadata = _with(change.metadata, f"{_PREFIX}{name}", said)
        change.parameters |= {"name": name, "predicate": predicate, "onViolation": on_violation}

    return edit


def drop_expectation(name: str) -> Callable[[Snapshot, Transaction], None]:
    """Expect it no longer."""

    def edit(snapshot: Snapshot, change: Transaction) -> None:
        if name not in (known := expectations(snapshot)):
            raise ValueError(f"there is no expectation {name!r}; there are {', '.join(map(repr, known)) or 'none'}")
        change.metadata = _with(change.metadata, f"{_PREFIX}{name}", None)
        change.parameters["name"] = name

    return edit


def _with(metadata: dict[str, Any], key: str, text: str | None) -> dict[str, Any]:
    properties = {**(metadata.get("configuration") or {}), key: text}
    return {**metadata, "configuration": {key: text for key, text in properties.items() if text is not None}}


def kept(snapshot: Snapshot, rows: pa.RecordBatchReader, counts: dict[str, int]) -> pa.RecordBatchReader:
    """The rows without those that an expectation drops, as a stream that counts these in ``counts`` by its name."""
    import duckdb
    import pyarrow as pa
    import pyarrow.compute as pc

    from ..files import select_rows
    from ..rules import computed_columns
    from ..scan import BATCH_ROWS
    from ..storage import scratch

    dropping = {name: each for name, (each, kind) in expectations(snapshot).items() if kind == "drop"}
    if not dropping:
        return rows
    counts |= dict.fromkeys(dropping, 0)
    schema = snapshot.schema
    connection = scratch()
    connection.execute("SET threads = 1")  # rows keep their order
    connection.register("ironlake_rows", rows)
    values = select_rows(rows.schema.names, schema, False, computed_columns(schema))
    flags = ", ".join(f'({each}) IS TRUE AS "ironlake kept {name}"' for name, each in dropping.items())
    checked = connection.sql(f"SELECT *, {flags} FROM ({values})").to_arrow_reader(BATCH_ROWS)

    def batches() -> Iterator[pa.RecordBatch]:
        with connection:
            for batch in checked:
                passed = None
                for name in dropping:
                    flag = batch.column(f"ironlake kept {name}")
                    counts[name] += batch.num_rows - pc.sum(flag).as_py() if batch.num_rows else 0
                    passed = flag if passed is None else pc.and_(passed, flag)
                yield batch.select(schema.names).filter(passed)

    plain = pa.schema([checked.schema.field(name) for name in schema.names])
    try:
        return pa.RecordBatchReader.from_batches(plain, batches())
    except duckdb.Error:
        connection.close()
        raise


def judge(snapshot: Snapshot, dropped: dict[str, int]) -> dict[str, int]:
    """Warn of rows that break expectations, and count them for the history of the table, once they are written.

    Parameters
    ----------
    snapshot : Snapshot
        The table with only the new files.
    dropped : dict of str to int
        The rows that were left out, by expectation.
    """
    metrics = {}
    for name, (predicate, kind) in expectations(snapshot).items():
        if kind == "drop" and name in dropped:
            count, done = dropped[name], "left out"
        elif kind == "warn":
            count, done = _broken(snapshot, predicate), "written"
        else:
            continue
        metrics[f"{_METRIC}{name}"] = count
        if count:
            rows, table = f"{count} row{'s' * (count > 1)}", snapshot.storage.root.rsplit("/", 1)[-1]
            warnings.warn(
                f"{rows} of the table {table!r} {done} although {_named(name, predicate)} does not hold",
                ExpectationWarning,
                stacklevel=2,
            )
    return metrics


def tell(metrics: dict[str, int]) -> bool:
    """Whether the metrics of a commit tell of rows that broke expectations, even if none was written."""
    return any(count for name, count in metrics.items() if name.startswith(_METRIC))


def _broken(snapshot: Snapshot, predicate: str) -> int:
    """How many rows break a condition."""
    from ..scan import scan_sql
    from ..storage import database

    text = f"SELECT count(*) FROM ({scan_sql(snapshot)}) WHERE ({predicate}) IS NOT TRUE"
    return int(database().sql(text).fetchall()[0][0])
