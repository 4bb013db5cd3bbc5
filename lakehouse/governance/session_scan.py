"""Read a table as a principal sees it: filtered and masked by a database of our own before the session's gets a row.

A session's database has no external access. Its tables are views over the function `lake_session_scan`, behind which
the private database reads the files, applies the rules, and hands over Arrow batches. Nothing that a query of the
session says is evaluated on rows or values that the rules take away: the two databases share no plan.

What the views carry is a pass: the lake, the principal and its groups, signed with a key of this process.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ironlake.udf.engine import running

from ..scan import BATCH_ROWS, scan_sql
from ..snapshot import Snapshot, open_snapshot
from ..storage import Storage, database
from .audit import Actor, failures, record
from .policy import Policy, Principal, policy_of, same_columns
from .tables import Governance

if TYPE_CHECKING:
    import pyarrow as pa

_key = secrets.token_bytes(32)


def issue(root: Storage, actor: Actor) -> str:
    """The pass of a session."""
    told = {"lake": root.root, "principal": actor.principal.name, "groups": actor.principal.groups}
    text = json.dumps({**told, "session": actor.session})
    return f"{_signature(text)}{text}"


def redeem(passed: str) -> tuple[Storage, Actor]:
    """The lake and the session that a pass is of.

    Raises
    ------
    PermissionError
        The pass was not issued by this process.
    """
    signature, text = passed[:64], passed[64:]
    if not hmac.compare_digest(signature.encode(), _signature(text).encode()):
        raise PermissionError("argument session is no pass that this process issued")
    told = json.loads(text)
    with running(True):
        lake = Storage.of(told["lake"])
    return lake, Actor(Principal(told["principal"], tuple(told["groups"])), told["session"])


def _signature(text: str) -> str:
    return hmac.new(_key, text.encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class SessionScan:
    """A version of a table as a principal sees it.

    Attributes
    ----------
    governance : Governance
        Of the lake.
    actor : Actor
        The session.
    table : str
        The table's name.
    snapshot : Snapshot
        The version.
    policy : Policy
        The rules that apply.
    where : str or None
        A condition of the principal's: files that cannot meet it may be left out.
    """

    governance: Governance
    actor: Actor
    table: str
    snapshot: Snapshot
    policy: Policy
    where: str | None

    @classmethod
    def plan(
        cls, root: Storage, actor: Actor, table: str, version: int | None = None, where: str | None = None
    ) -> SessionScan:
        """Check that a principal may read a version of a table, and under which rules.

        Raises
        ------
        PermissionError
            It has no such privilege, or the rules do not fit the version.
        """
        governance = Governance(root)
        with running(True), failures(governance, actor, "SELECT", table):
            check_privilege(governance, actor.principal, "SELECT", table)
            now = open_snapshot(table_path(root, table), None, "")
            snapshot = now if version is None else open_snapshot(now.storage, version, "")
            policy = policy_of(actor.principal, governance, table, snapshot)
            if policy.restricts and not same_columns(snapshot, now):
                raise PermissionError(
                    f"version {version} of the table {table!r} has other columns than version {now.version}, for which "
                    f"the rules were made that apply to {actor.principal.name!r}"
                )
            return cls(governance, actor, table, snapshot, policy, where)

    def schema(self) -> pa.Schema:
        """The columns."""
        return _arrow_schema(self.snapshot.storage, self.snapshot.state.metadata["id"], self.snapshot.version)

    def read(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Stream some columns, once it is written down that they are read."""
        with running(True):
            # What was granted when the query was planned may be revoked.
            again = self.plan(self.governance.root, self.actor, self.table, self.snapshot.version, self.where)
            files = again.policy.files(self.snapshot, self.where)
            text = again._text(files, columns)
            again._record(columns, files)
        try:
            with database().cursor() as cursor:
                yield from cursor.sql(text).to_arrow_reader(BATCH_ROWS)
        except Exception:  # whose message would show values
            raise PermissionError(
                f"a row filter or column mask of the table {self.table!r} fails on a row; an owner has to correct it"
            ) from None

    def _text(self, files: list[int], columns: list[str]) -> str:
        try:
            return self.policy.select(self.snapshot, files, columns)
        except FileNotFoundError:  # whose message would show paths, in which partitions have their values
            raise PermissionError(
                f"version {self.snapshot.version} of the table {self.table!r} needs data files that are gone"
            ) from None

    def _record(self, columns: list[str], files: list[int]) -> None:
        conditions = [f"({each})" for each in (self.policy.filter, self.where) if each is not None]
        rows, size = _extent(self.snapshot, files)
        record(
            self.governance,
            self.actor,
            "SELECT",
            self.table,
            version=self.snapshot.version,
            columns=columns,
            predicate=" AND ".join(conditions) or None,
            rows_read=rows,
            files_read=len(files),
            files_skipped=len(self.snapshot.files) - len(files),
            bytes_read=size,
        )


@functools.lru_cache(256)
def _arrow_schema(path: Storage, identity: str, version: int) -> pa.Schema:
    """The columns of a version of a table as DuckDB hands them over; masks have the types of their columns."""
    with running(True):
        return database().sql(scan_sql(open_snapshot(path, version, ""), [])).to_arrow_table().schema


def check_privilege(governance: Governance, principal: Principal, privilege: str, table: str) -> None:
    """Refuse what was not granted, in the same words whether there is such a table or not."""
    from ..lake import Lake

    if not principal.may(privilege, governance, table) or table not in Lake(governance.root).tables():
        raise PermissionError(f"{principal.name!r} has no privilege {privilege} on a table {table!r}")


def table_path(root: Storage, table: str) -> Storage:
    """Where a table of a lake is."""
    return root.at(table.replace(".", "/"))


def _extent(snapshot: Snapshot, files: list[int]) -> tuple[int | None, int]:
    """The rows and the bytes of some files; no rows where a writer left their number out."""
    chosen = snapshot.state.files.select(["size", "stats"]).take(files)  # noqa: F841 - DuckDB finds it by its name
    (rows, known, count, size) = database().sql(
        "SELECT sum((stats->>'numRecords')::BIGINT), count(stats->>'numRecords'), count(*), sum(size) FROM chosen"
    ).fetchall()[0]  # fmt: skip
    return (int(rows or 0) if known == count else None), int(size or 0)
