"""Where the embedding tables of a recommendation model go: the plan as a table, and what it comes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ironlake.udf.engine import Database, table
from ironlake.udf.engine.declaration import closest

from ..checks import above_zero, at_least
from ..clusters import find_cluster
from .costs import PARTS, Costs, Topology, own_costs, torchrec_costs
from .placement import KINDS, ROW_STATE_BYTES, Memory, Plan, choose_tiers, parts_of, plan
from .tables import EmbeddingTables, read_tables

if TYPE_CHECKING:
    import pyarrow as pa

_GIB = 1 << 30
_MOST_DEVICES, _MOST_ROWS = 16_384, 10_000_000
CostModel = Literal["auto", "torchrec"]


@table
def embedding_shard_plan(
    tables: str,
    devices: int,
    batch: int,
    database: Database,
    devices_per_node: int = 8,
    hbm_gib: float | None = None,
    ddr_gib: float = 128.0,
    kinds: list[str] | None = None,
    cost_model: Literal["auto", "torchrec"] = "auto",
    time_limit_s: float = 1.0,
    cluster: str = "selene_a100",
) -> pa.Table:
    """Place embedding tables on devices so that the slowest device of a training step is as fast as can be.

    Parameters
    ----------
    tables : a relation with a row per table, or a query: ``name``, ``rows``, ``dim`` (numbers in a row), ``pooling``
        (rows looked up per sample), ``bytes`` (of a number), as the trace table ``embedding_tables`` has them.
    devices : how many; full nodes, or part of one.
    batch : samples of a step, on all devices together.
    devices_per_node : devices of a node.
    hbm_gib, ddr_gib : [GiB] of a device, by default the cluster's, and its part of the CPU's memory. Tables that are
        read least for their size go there if not all fit the devices.
    kinds : how tables may be cut, by default in any way: ``table_wise`` (whole), ``column_wise``, ``row_wise``,
        ``table_row_wise`` (rows over the devices of a node, which add up their sums before they send them),
        ``grid`` (columns and rows), ``data_parallel`` (a copy on each device).
    cost_model : ``auto`` counts the bytes that move over the cluster's memories and links; ``torchrec`` estimates what
        the planner of TorchRec 1.9 does.
    time_limit_s : seconds of computing for which a plan is improved; most are done long before.
    cluster : whose memories and links; see `training_clusters`.

    Returns
    -------
    TABLE
        A row per shard: ``table_name`` VARCHAR, ``shard`` INTEGER (of the table, from 0 on), ``kind`` VARCHAR,
        ``device`` INTEGER (from 0 on), ``tier`` VARCHAR (``hbm`` or ``ddr``), ``rows_from``, ``rows_to`` BIGINT,
        ``dim_from``, ``dim_to`` INTEGER (from 0 on, the end not included), ``bytes`` BIGINT (with row-wise Adagrad's
        state), ``fwd_ms``, ``bwd_ms``, ``comm_ms`` DOUBLE (of a step). Rows are taken to be looked up evenly.

    Raises
    ------
    ValueError
        If the relation cannot be read or has wrong values, a number is too small, a kind or cluster is unknown, or
        the tables do not fit.

    References
    ----------
    Naumov and others: Deep Learning Training in Facebook Data Centers, arXiv 2003.09518 (2020); Mudigere and others:
    ZionEX, arXiv 2104.05158 (2021); the planner of TorchRec (BSD) for its cost model.

    Examples
    --------
    SELECT device, sum(bytes) / 1024**3 AS gib, sum(fwd_ms + bwd_ms + comm_ms) AS milliseconds
    FROM embedding_shard_plan('FROM dlrm_tables()', 8, 65536, hbm_gib := 40) GROUP BY device ORDER BY device;
    """
    import pyarrow as pa

    problem = Problem.of(
        tables, devices, batch, devices_per_node, hbm_gib, ddr_gib, kinds, cost_model, time_limit_s, cluster, database
    )
    found, shards = problem.solve(), _Rows()
    copies = np.flatnonzero(found.copied)
    if len(found.shards) + len(copies) * devices > _MOST_ROWS:
        raise ValueError(f"argument devices is {devices}, which gives more than {_MOST_ROWS} rows; expected fewer")
    parts = parts_of(found.shards, found.groups, problem.costs, problem.tables.rows)
    is_pieces = problem.kind_of(found)
    order = np.lexsort([found.shards[:, 3], found.shards[:, 1], found.shards[:, 0]])
    for index in order:
        shards.add(found.shards[index], is_pieces[index], found.devices[index], parts[index])
    for index in copies:
        whole = (index, 0, problem.tables.rows[index], 0, problem.tables.dims[index])
        for device in range(devices):
            shards.add(whole, "data_parallel", device, problem.costs.replicated[index])
    return shards.table(problem.tables, problem.far, pa)


@table
def embedding_shard_summary(
    tables: str,
    devices: int,
    batch: int,
    database: Database,
    devices_per_node: int = 8,
    hbm_gib: float | None = None,
    ddr_gib: float = 128.0,
    kinds: list[str] | None = None,
    cost_model: Literal["auto", "torchrec"] = "auto",
    time_limit_s: float = 1.0,
    cluster: str = "selene_a100",
) -> pa.Table:
    """Tell what a plan of `embedding_shard_plan` comes to, and how much better any plan could be.

    Parameters
    ----------
    tables, devices, batch, devices_per_node, hbm_gib, ddr_gib, kinds, cost_model, time_limit_s, cluster : as there.

    Returns
    -------
    TABLE
        One row: ``max_device_ms``, ``mean_device_ms`` DOUBLE (of a step), ``imbalance`` DOUBLE (their ratio),
        ``lower_bound_ms`` DOUBLE (no plan is faster), ``max_device_gib`` DOUBLE (in HBM), ``shards`` INTEGER (without
        copies), ``copied_tables`` INTEGER.

    Raises
    ------
    ValueError
        As there.

    References
    ----------
    Naumov and others: Deep Learning Training in Facebook Data Centers, arXiv 2003.09518 (2020); Mudigere and others:
    ZionEX, arXiv 2104.05158 (2021); the planner of TorchRec (BSD) for its cost model.

    Examples
    --------
    SELECT imbalance, max_device_ms / lower_bound_ms AS ratio
    FROM embedding_shard_summary('FROM dlrm_tables()', 8, 65536, hbm_gib := 40);
    """
    import pyarrow as pa

    problem = Problem.of(
        tables, devices, batch, devices_per_node, hbm_gib, ddr_gib, kinds, cost_model, time_limit_s, cluster, database
    )
    found = problem.solve()
    held, _ = problem.held(found)
    numbers = {
        "max_device_ms": found.load.max(),
        "mean_device_ms": found.load.mean(),
        "imbalance": found.load.max() / found.load.mean(),
        "lower_bound_ms": found.lower_bound,
        "max_device_gib": held.max() / _GIB,
    }
    columns = {name: pa.array([float(number)], pa.float64()) for name, number in numbers.items()}
    columns["shards"] = pa.array([len(found.shards)], pa.int32())
    columns["copied_tables"] = pa.array([int(found.copied.sum())], pa.int32())
    return pa.table(columns)


@dataclass(frozen=True)
class Problem:
    """What a call asks."""

    tables: EmbeddingTables
    costs: Costs
    devices: int
    per_node: int
    memory: Memory
    far: Any
    kinds: list[str]
    time_limit_s: float

    @classmethod
    def of(
        cls,
        relation: str,
        devices: int,
        batch: int,
        per_node: int,
        hbm_gib: float | None,
        ddr_gib: float,
        kinds: list[str] | None,
        cost_model: CostModel,
        time_limit_s: float,
        cluster: str,
        database: Database,
    ) -> Problem:
        """The problem of a call's arguments."""
        at_least(1, devices=devices, batch=batch, devices_per_node=per_node)
        at_least(0, ddr_gib=ddr_gib)
        above_zero(time_limit_s=time_limit_s)
        if devices > _MOST_DEVICES:
            raise ValueError(f"argument devices must be at most {_MOST_DEVICES}, got {devices}")
        if devices > per_node and devices % per_node:
            raise ValueError(f"argument devices is {devices}; expected full nodes of {per_node}, or part of one")
        for kind in kinds or []:
            if kind not in KINDS:
                raise ValueError(f"argument kinds has {kind!r}{closest(str(kind), KINDS)}")
        if kinds is not None and not kinds:
            raise ValueError(f"argument kinds is empty; expected some of {', '.join(KINDS)}")
        machine = find_cluster(cluster, database)
        if hbm_gib is None:
            hbm_gib = machine.need("hbm_gib")
        above_zero(hbm_gib=hbm_gib)
        tables, memory = read_tables(relation, database), Memory(hbm_gib * _GIB, ddr_gib * _GIB)
        far = choose_tiers(tables, devices, memory)
        if cost_model == "torchrec":
            costs = torchrec_costs(tables, devices, per_node, batch, far)
        else:
            topology = Topology.of(machine, devices, per_node, bool(far.any()))
            costs = own_costs(tables, topology, batch, far)
        return cls(tables, costs, devices, per_node, memory, far, list(kinds or KINDS), time_limit_s)

    def solve(self) -> Plan:
        """Find a plan."""
        return plan(
            self.tables, self.costs, self.devices, self.per_node, self.memory, self.far, self.kinds, self.time_limit_s
        )

    def bytes_of(self, shards: Any) -> Any:
        """Bytes of each shard."""
        table = shards[:, 0]
        width = (shards[:, 4] - shards[:, 3]) * self.tables.number_bytes[table]
        return (shards[:, 2] - shards[:, 1]) * (width + ROW_STATE_BYTES)

    def held(self, found: Plan) -> tuple[Any, Any]:
        """Bytes of each device in its own memory, and in its part of the CPU's."""
        far, sizes = self.far[found.shards[:, 0]], self.bytes_of(found.shards)
        near, away = (np.bincount(found.devices[each], sizes[each], self.devices) for each in (~far, far))
        copies = self.tables.bytes + ROW_STATE_BYTES * self.tables.rows
        return near + copies[found.copied & ~self.far].sum(), away + copies[found.copied & self.far].sum()

    def parts(self, found: Plan) -> Any:
        """[ms] of each device's forward pass, backward pass and communication; (devices, 3)."""
        of_shards = parts_of(found.shards, found.groups, self.costs, self.tables.rows)
        parts = np.tile(self.costs.replicated[found.copied].sum(0), (self.devices, 1))
        np.add.at(parts, found.devices, of_shards)
        return parts

    def kind_of(self, found: Plan) -> list[str]:
        """How the table of each shard is cut."""
        table = found.shards[:, 0]
        cut_rows, cut_dims = np.zeros(len(self.tables), np.bool_), np.zeros(len(self.tables), np.bool_)
        np.logical_or.at(cut_rows, table, found.shards[:, 2] - found.shards[:, 1] < self.tables.rows[table])
        np.logical_or.at(cut_dims, table, found.shards[:, 4] - found.shards[:, 3] < self.tables.dims[table])
        names = {(0, 0): "table_wise", (0, 1): "column_wise", (1, 0): "row_wise", (1, 1): "grid"}
        return [
            "table_row_wise" if group >= 0 and not cut_dims[each] else names[int(cut_rows[each]), int(cut_dims[each])]
            for each, group in zip(table, found.groups, strict=True)
        ]


class _Rows:
    """The rows of a plan."""

    def __init__(self) -> None:
        self.shards: list[Any] = []
        self.kinds: list[str] = []
        self.devices: list[int] = []
        self.parts: list[Any] = []

    def add(self, shard: Any, kind: str, device: int, parts: Any) -> None:
        self.shards.append(shard)
        self.kinds.append(kind)
        self.devices.append(device)
        self.parts.append(parts)

    def table(self, tables: EmbeddingTables, far: Any, pa: Any) -> pa.Table:
        """All of them."""
        shards = np.array(self.shards, np.int64).reshape(-1, 5)
        order = np.argsort(shards[:, 0], kind="stable")
        shards, parts = shards[order], np.array(self.parts).reshape(-1, 3)[order]
        table = shards[:, 0]
        starts = np.searchsorted(table, table)
        sizes = (shards[:, 2] - shards[:, 1]) * (
            (shards[:, 4] - shards[:, 3]) * tables.number_bytes[table] + ROW_STATE_BYTES
        )
        columns = {
            "table_name": pa.array([tables.names[each] for each in table], pa.string()),
            "shard": pa.array(np.arange(len(table)) - starts, pa.int32()),
            "kind": pa.array([self.kinds[index] for index in order], pa.string()),
            "device": pa.array(np.array(self.devices, np.int64)[order], pa.int32()),
            "tier": pa.array(["ddr" if far[each] else "hbm" for each in table], pa.string()),
            "rows_from": pa.array(shards[:, 1], pa.int64()),
            "rows_to": pa.array(shards[:, 2], pa.int64()),
            "dim_from": pa.array(shards[:, 3], pa.int32()),
            "dim_to": pa.array(shards[:, 4], pa.int32()),
            "bytes": pa.array(sizes.astype(np.int64), pa.int64()),
            **{f"{name}_ms": pa.array(parts[:, index], pa.float64()) for index, name in enumerate(PARTS)},
        }
        return pa.table(columns)
