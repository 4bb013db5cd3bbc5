"""What a failure costs a job that iterates over data in memory, by how the job recovers."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from ironlake.udf.engine import table

if TYPE_CHECKING:
    import pyarrow as pa

#: Tasks, iterations, and bytes of a partition.
_MOST, _MOST_BYTES = 1_000_000, 1 << 40


@table
def rdd_recovery_simulate(
    nodes: int = 75,
    cores_per_node: int = 4,
    tasks: int = 400,
    iterations: int = 10,
    task_s: float = 28.5,
    first_task_s: float = 59.5,
    fail_iteration: int = 6,
    failed_nodes: int = 1,
    strategy: Literal["lineage", "checkpoint", "restart"] = "lineage",
    checkpoint_every: int = 5,
    checkpoint_write_s: float = 13.3,
    partition_bytes: int = 268_435_456,
) -> pa.Table:
    """Simulate the iterations of a job over data in memory in which nodes fail, by how the job recovers.

    Every core runs a task at a time. The first iteration loads the data, later ones find it in memory. The failed nodes
    take with them the tasks that they run and the partitions that they hold; both are run again on the nodes that are
    left, after the tasks that were waiting. The defaults are the job of figure 11 of the paper.

    Parameters
    ----------
    nodes, cores_per_node : the cluster; the cores are the tasks that run at the same time.
    tasks : of an iteration, one for each partition, spread evenly over the nodes.
    iterations : of the job.
    task_s, first_task_s : seconds of a task over a partition in memory, and over one that has to be loaded or computed
        first.
    fail_iteration : the iteration at whose start nodes fail, from 1 on; 0 for none.
    failed_nodes : how many fail.
    strategy : ``lineage`` computes the lost partitions again, and nothing else. ``checkpoint`` loads the last
        checkpoint, with all partitions, and repeats the iterations after it. ``restart`` begins again.
    checkpoint_every : iterations from one checkpoint to the next, for ``checkpoint`` alone, as is
    checkpoint_write_s : the seconds that writing one takes; by default 100 GB to the disks of 75 nodes, 100 MB/s each.
    partition_bytes : of a partition in memory.

    Returns
    -------
    TABLE
        A row per iteration: ``iteration`` INTEGER, ``seconds`` DOUBLE (with what is repeated, and with the checkpoint),
        ``recomputed_tasks`` INTEGER (tasks that would not have run without the failure), ``lost_bytes`` BIGINT (of the
        partitions that failed nodes held).

    Raises
    ------
    ValueError
        If a count is below 1, all nodes fail, the iteration is not one of the job's, or seconds are negative.

    References
    ----------
    Zaharia and others: Resilient Distributed Datasets, NSDI (2012), section 6.3 and figure 11. That lost partitions
    begin in the second wave of tasks is this function's reading of the figure, not the paper's.

    Examples
    --------
    SELECT strategy, sum(seconds) AS total
    FROM (SELECT 'lineage' AS strategy, seconds FROM rdd_recovery_simulate()
          UNION ALL SELECT 'restart', seconds FROM rdd_recovery_simulate(strategy => 'restart')) GROUP BY strategy;
    """
    import pyarrow as pa

    job = _Job(nodes, cores_per_node, tasks, iterations, task_s, first_task_s, failed_nodes, fail_iteration)
    job.check()
    if checkpoint_every < 1 or not 0 <= checkpoint_write_s < float("inf") or not 0 <= partition_bytes <= _MOST_BYTES:
        raise ValueError(
            "arguments checkpoint_every, checkpoint_write_s and partition_bytes must be at least 1, seconds, and 0 ... "
            f"{_MOST_BYTES}, got {checkpoint_every}, {checkpoint_write_s} and {partition_bytes}"
        )
    writing = (checkpoint_every, checkpoint_write_s) if strategy == "checkpoint" else None
    rows = list(job.run(strategy, writing))
    columns = {
        "iteration": pa.array(range(1, iterations + 1), pa.int32()),
        "seconds": pa.array([row.seconds for row in rows], pa.float64()),
        "recomputed_tasks": pa.array([row.recomputed_tasks for row in rows], pa.int32()),
        "lost_bytes": pa.array([row.lost_partitions * partition_bytes for row in rows], pa.int64()),
    }
    return pa.table(columns)


class _Iteration(NamedTuple):
    seconds: float
    recomputed_tasks: int = 0
    lost_partitions: int = 0


@dataclass(frozen=True)
class _Job:
    nodes: int
    cores_per_node: int
    tasks: int
    iterations: int
    task_s: float
    first_task_s: float
    failed_nodes: int
    fail_iteration: int

    def check(self) -> None:
        for name in ("nodes", "cores_per_node", "tasks", "iterations", "failed_nodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"argument {name} must be at least 1, got {getattr(self, name)}")
        for name in ("tasks", "iterations"):
            if getattr(self, name) > _MOST:
                raise ValueError(f"argument {name} must be at most {_MOST}, got {getattr(self, name)}")
        if self.tasks * self.iterations >= 2**31:
            raise ValueError(
                f"arguments tasks and iterations must be fewer than {2**31} tasks in all, got {self.tasks} and "
                f"{self.iterations}"
            )
        for name in ("task_s", "first_task_s"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"argument {name} must be seconds, 0 or more, got {getattr(self, name)}")
        if not 0 <= self.fail_iteration <= self.iterations:
            raise ValueError(
                f"argument fail_iteration must be 0 (none) ... {self.iterations}, the iterations of the job, got "
                f"{self.fail_iteration}"
            )
        if self.fail_iteration and self.failed_nodes >= self.nodes:
            raise ValueError(f"argument failed_nodes must be less than the {self.nodes} nodes, got {self.failed_nodes}")

    def run(self, strategy: str, writing: tuple[int, float] | None) -> Iterator[_Iteration]:
        """The iterations in their order."""
        slots = self.nodes * self.cores_per_node
        for iteration in range(1, self.iterations + 1):
            done = _Iteration(self._waves(slots) * self._seconds(iteration))
            if iteration == self.fail_iteration:
                slots -= self.failed_nodes * self.cores_per_node
                done = self._failing(iteration, strategy, writing, slots)
            if writing and iteration % writing[0] == 0:
                done = done._replace(seconds=done.seconds + writing[1])
            yield done

    def _waves(self, slots: int) -> int:
        """How often all slots begin a task, if all take equally long."""
        return -(-self.tasks // slots)

    def _seconds(self, iteration: int) -> float:
        return self.first_task_s if iteration == 1 else self.task_s

    def _failing(self, iteration: int, strategy: str, writing: tuple[int, float] | None, slots: int) -> _Iteration:
        lost = sum(partition % self.nodes < self.failed_nodes for partition in range(self.tasks))
        held = lost if iteration > 1 else 0
        if strategy == "lineage" or iteration == 1:
            durations = [self._seconds(iteration)] * (self.tasks - lost) + [self.first_task_s] * lost
            return _Iteration(makespan(durations, slots), lost, held)
        saved = (iteration - 1) // writing[0] * writing[0] if writing else 0
        loading = self._waves(slots) * self.first_task_s  # the first of the repeated iterations loads
        repeated = iteration - saved
        again = self._waves(slots) * self.task_s * (repeated - 1)
        return _Iteration(loading + again, self.tasks * (repeated - 1) + lost, held)


def makespan(durations: list[float], slots: int) -> float:
    """When the last of tasks ends that are begun in their order, each in the slot that is free first."""
    ends = durations[:slots]
    heapq.heapify(ends)
    for duration in durations[slots:]:
        heapq.heapreplace(ends, ends[0] + duration)
    return max(ends)
