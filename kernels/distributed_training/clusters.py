"""The machines that training runs on: what a device computes and holds, and what its links carry."""

from __future__ import annotations

import csv
import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ironlake.udf.engine import Database, table

if TYPE_CHECKING:
    import pyarrow as pa

_FILE = Path(__file__).with_name("clusters.csv")


@dataclass(frozen=True)
class Cluster:
    """A kind of machine; a fact that is not known is None.

    Attributes
    ----------
    name, gpu : str
        What it is called, and its device.
    peak_tflops_fp16, achievable_tflops : float or None
        [TFLOP/s] of a device, by its data sheet and by large matrix products.
    hbm_gib, hbm_gbps : float or None
        [GiB] and [GB/s] of a device's own memory.
    gpus_per_node : int
        Devices that share a node.
    intra_gbps, inter_gbps_per_gpu : float or None
        [GB/s] per device and direction inside a node, and between nodes.
    latency_s : float
        [s] of a message.
    cpu_gib, nvme_gib : float or None
        [GiB] of a node.
    cpu_link_gbps, nvme_gbps : float or None
        [GB/s] between a device and the memory or the drives of its node, when all its devices use them.
    price_per_gpu_hour : float or None
        In any currency.
    source : str
        Where the facts are from.
    """

    name: str
    gpu: str
    peak_tflops_fp16: float | None
    achievable_tflops: float | None
    hbm_gib: float | None
    hbm_gbps: float | None
    gpus_per_node: int
    intra_gbps: float | None
    inter_gbps_per_gpu: float | None
    latency_s: float
    cpu_gib: float | None
    cpu_link_gbps: float | None
    nvme_gib: float | None
    nvme_gbps: float | None
    price_per_gpu_hour: float | None
    source: str

    def need(self, column: str) -> float:
        """A fact that a function cannot do without.

        Raises
        ------
        ValueError
            It is not known.
        """
        value = getattr(self, column)
        if value is None:
            raise ValueError(
                f"argument cluster: the cluster {self.name!r} has no {column}; fill it in a table 'training_clusters' "
                "(CREATE TABLE training_clusters AS FROM training_clusters())"
            )
        return float(value)


def find_cluster(name: str, database: Database | None) -> Cluster:
    """The cluster of a name: of the database's own table ``training_clusters``, if it has one, or a built-in one.

    Raises
    ------
    ValueError
        There is none of this name, or the table lacks columns.
    """
    known = {each.name: each for each in _built_in()}
    if database is not None:
        known |= {each.name: each for each in _own(database)}
    if name not in known:
        raise ValueError(f"argument cluster: there is no cluster {name!r}; expected one of {', '.join(sorted(known))}")
    return known[name]


@functools.cache
def _built_in() -> list[Cluster]:
    with _FILE.open(encoding="utf-8", newline="") as file:
        return [_cluster(row) for row in csv.DictReader(file)]


def _own(database: Database) -> list[Cluster]:
    found = database.query("SELECT count(*) AS n FROM duckdb_tables() WHERE table_name = 'training_clusters'")
    if not found["n"][0].as_py():
        return []
    rows = database.query("FROM training_clusters").to_pylist()
    names = [field.name for field in dataclasses.fields(Cluster)]
    if rows and (missing := set(names) - rows[0].keys()):
        raise ValueError(
            f"argument cluster: the table 'training_clusters' has no column {sorted(missing)[0]!r}; expected those of "
            "training_clusters()"
        )
    return [Cluster(**{name: row[name] for name in names}) for row in rows]


def _cluster(row: dict[str, str]) -> Cluster:
    texts = {"name", "gpu", "source"}
    values = {name: text if name in texts else float(text) if text else None for name, text in row.items()}
    return Cluster(**{**values, "gpus_per_node": int(row["gpus_per_node"])})  # type: ignore[arg-type]


@table
def training_clusters() -> pa.Table:
    """Tell the machines that functions on distributed training know by name.

    A table of this name in your database, with these columns, adds machines and overrides facts:
    ``CREATE TABLE training_clusters AS FROM training_clusters()``.

    Returns
    -------
    TABLE
        ``name``, ``gpu`` VARCHAR, ``peak_tflops_fp16``, ``achievable_tflops`` (by the data sheet and by large matrix
        products), ``hbm_gib``, ``hbm_gbps`` (a device's memory), ``gpus_per_node`` INTEGER, ``intra_gbps``,
        ``inter_gbps_per_gpu`` (GB/s per device and direction), ``latency_s``, ``cpu_gib`` (of a node),
        ``cpu_link_gbps`` (per device), ``nvme_gib`` (of a node), ``nvme_gbps`` (per device), ``price_per_gpu_hour``
        DOUBLE, ``source`` VARCHAR. What is not known is NULL.

    References
    ----------
    The papers and data sheets that ``source`` names.

    Examples
    --------
    SELECT name, gpu, peak_tflops_fp16, source FROM training_clusters();
    """
    import pyarrow as pa

    schema = pa.schema(
        [
            (field.name, {"str": pa.string(), "int": pa.int32()}.get(str(field.type), pa.float64()))
            for field in dataclasses.fields(Cluster)
        ]
    )
    return pa.Table.from_pylist([dataclasses.asdict(each) for each in _built_in()], schema)
