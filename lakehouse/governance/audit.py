"""The audit log: who read and wrote what, a row each in a small commit of its own.

A read is written down before its first row is given out, a write as soon as it is committed. Where the log cannot be
written, reading fails. Every hundredth entry packs the files of the log together.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .policy import Principal
from .tables import AUDIT_LOG, Governance, lake_of, small_file, table_of

if TYPE_CHECKING:
    import pyarrow as pa

    from ..storage import Storage

#: So many entries become one file.
_PACKED = 100


@dataclass(frozen=True)
class Actor:
    """A session of a principal.

    Attributes
    ----------
    principal : Principal
        Whoever it acts for.
    session : str
        What the audit log calls the session.
    """

    principal: Principal
    session: str


_acting: ContextVar[Actor | None] = ContextVar("acting", default=None)


@contextlib.contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """Commits of this thread are those of a session meanwhile."""
    token = _acting.set(actor)
    try:
        yield
    finally:
        _acting.reset(token)


def record(governance: Governance, actor: Actor | None, action: str, table: str, **told: Any) -> None:
    """Write an entry, if the lake keeps the log; an owner is an actor of None.

    Raises
    ------
    PermissionError
        The log cannot be written.
    """
    if not governance.audits:
        return
    entry = {
        "event_time": dt.datetime.now(dt.UTC),
        "principal": actor.principal.name if actor else None,
        "session_id": actor.session if actor else None,
        "action": action,
        "table": table,
        "status": "ok",
        **told,
    }
    try:
        version = _append(governance.path(AUDIT_LOG), table_of(AUDIT_LOG, entry))
        if version % _PACKED == 0:
            _pack(governance.path(AUDIT_LOG))
    except (OSError, ValueError, RuntimeError) as error:
        raise PermissionError(
            f"the audit log of the lake {governance.root.root!r} cannot be written: {error}"
        ) from None


def _append(storage: Storage, rows: pa.Table) -> int:
    """Add rows to the log; the version made.

    It is what `write` does, in a few milliseconds: no database is opened, and nothing of the log is read but its newest
    number, since there are no rules to keep.
    """
    from ..checkpoint import checkpoint_if_due
    from ..log import FOLDER, Log
    from ..transaction import MOST_RETRIES, add_action, lines, provenance

    added = add_action(small_file(storage, rows))
    told = {"commitInfo": {**provenance("WRITE", {"mode": "Append"}, {"numFiles": 1}), "isBlindAppend": True}}
    for _ in range(10 * MOST_RETRIES):
        log = Log(storage)
        if log.is_empty:
            raise ValueError("it has no commits")
        if storage.create(f"{FOLDER}/{log.newest + 1:020}.json", lines([told, added])):
            checkpoint_if_due(storage, log.newest + 1, {})
            return log.newest + 1
    raise RuntimeError("other sessions write it all the time")


def _pack(path: Storage) -> None:
    from ..optimize import optimize
    from ..transaction import ConflictError

    with contextlib.suppress(ConflictError):  # another session does it
        optimize(path, None, None, "hilbert", 128_000_000, "")


def record_commit(path: Storage, operation: str, version: int, predicate: str | None) -> None:
    """Write an entry for a commit to a table, if its lake keeps the log.

    Raises
    ------
    PermissionError
        The log cannot be written; the message says that the commit stands.
    """
    governance, table = lake_of(path)
    if path == governance.path(AUDIT_LOG):
        return
    try:
        record(governance, _acting.get(), operation, table, version=version, predicate=predicate)
    except PermissionError as error:
        raise PermissionError(f"version {version} of the table {table!r} is committed, but {error}") from None


@contextlib.contextmanager
def failures(governance: Governance, actor: Actor, action: str, table: str) -> Iterator[None]:
    """Write an entry for what a session was denied or failed to do."""
    try:
        yield
    except Exception as error:
        status = "denied" if isinstance(error, PermissionError) else "error"
        record(governance, actor, action, table, status=status, error=str(error))
        raise
