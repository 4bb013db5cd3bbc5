"""Jobs and their stages, as the scheduler and those who watch it see them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .failures import JobCancelled

if TYPE_CHECKING:
    from .lineage import Node
    from .task import ResultWork, ShuffleWork


@dataclass
class Job:
    """An action that runs.

    Attributes
    ----------
    id : int
        Its number.
    properties : dict of str to str
        Local properties of the thread that started it.
    group : str or None
        Its job group.
    tags : set of str
        Its tags.
    stages : list of int
        The stages that were run for it.
    status : str
        RUNNING, SUCCEEDED or FAILED.
    """

    id: int
    properties: dict[str, str]
    group: str | None = None
    tags: frozenset[str] = frozenset()
    stages: list[int] = field(default_factory=list)
    status: str = "RUNNING"
    cancelled: str | None = None

    def check(self) -> None:
        """Raise what there is to raise if somebody has cancelled the job."""
        if self.cancelled is not None:
            raise JobCancelled(f"Job {self.id} cancelled {self.cancelled}")


@dataclass
class StageStatus:
    """How far a stage is.

    Attributes
    ----------
    id, attempt : int
        Its number, and which try this is.
    name : str
        What it is called.
    tasks, active, completed, failed : int
        How many tasks there are, and how many run, are done, and have failed.
    """

    id: int
    attempt: int
    name: str
    tasks: int
    active: int = 0
    completed: int = 0
    failed: int = 0


@dataclass(eq=False)
class Stage:
    """Tasks that run alike on partitions of a node.

    Attributes
    ----------
    id, attempt, serial : int
        Its number, which try this is, and a number that no other try of any stage has.
    node : Node
        Whose partitions are computed.
    work : ResultWork or ShuffleWork
        What is done with them.
    splits : list of int
        Which partitions.
    binary : bytes
        Node and work, as tasks get them.
    """

    id: int
    attempt: int
    serial: int
    node: Node
    work: ResultWork | ShuffleWork
    splits: list[int]
    job: Job
    binary: bytes = b""
    is_barrier: bool = False

    def __post_init__(self) -> None:
        name = self.node.name or self.node.operation
        self.status = StageStatus(self.id, self.attempt, name, len(self.splits))
