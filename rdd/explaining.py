"""Which steps are done on whole columns, and why others are not."""

from __future__ import annotations

from dataclasses import dataclass

from .base import Base
from .lineage import Elementwise, Node, Reduced

_WHAT = {"T0": "columns as they are", "T1": "compiled loop", "T2": "Python"}


@dataclass(frozen=True)
class CompiledStep:
    """How one step is done.

    Attributes
    ----------
    id : int
        The number of the RDD that the step makes.
    operation : str
        What the step is called.
    tier : str
        T0: columns are passed on as they are; T1: a compiled loop; T2: Python, element by element.
    reason : str
        Why it is not a better one; empty for T0 and T1.
    """

    id: int
    operation: str
    tier: str
    reason: str


class CompiledSteps(tuple[CompiledStep, ...]):
    """The steps of an RDD, the first one first; printed as a table."""

    __slots__ = ()

    def __repr__(self) -> str:
        from rich.console import Console
        from rich.table import Table

        table = Table("RDD", "step", "tier", "done by", "why not compiled")
        for step in self:
            table.add_row(str(step.id), step.operation, step.tier, _WHAT[step.tier], step.reason)
        console = Console(width=120, record=True, quiet=True, color_system=None)
        with console.capture() as capture:
            console.quiet = False
            console.print(table)
        return capture.get().rstrip()


class Explaining(Base):
    """The part of `RDD` that says how its elements are computed."""

    def compiled(self) -> CompiledSteps:
        """How each step with a function of elements is done: on whole columns or in Python, and why.

        How they are done shows with the elements: the first partition is computed, and what it needs of others.

        Returns
        -------
        CompiledSteps
            A tuple of `CompiledStep`.

        Examples
        --------
        >>> steps = sc.parallelize(range(100_000), 2).map(lambda x: x * x).filter(lambda x: str(x) > "5").compiled()
        >>> [(step.operation, step.tier) for step in steps]
        [('map', 'T1'), ('filter', 'T2')]
        >>> steps[1].reason
        "it refers to 'str'"
        """
        if self.getNumPartitions():
            self._count_each([0])
        found, nothing = self.context._scheduler.tiers, ("T2", "there are no elements, or they are kept")
        return CompiledSteps(
            CompiledStep(node.id, node.operation, *found.get(node.id, nothing)) for node in _steps(self._node)
        )


def _steps(node: Node) -> list[Node]:
    """The steps with functions that may be compiled, in the lineage of a node, the first one first."""
    found: dict[int, Node] = {}
    visits = [node]
    while visits:
        current = visits.pop()
        if current.id not in found:
            found[current.id] = current
            visits += [link.parent for link in current.dependencies]
    return [found[id_] for id_ in sorted(found) if isinstance(found[id_], Elementwise | Reduced)]
