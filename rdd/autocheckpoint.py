"""Which kept RDDs are worth a checkpoint: those whose loss would cost more than writing them, times how likely it is.

Sources: Young: A first order approximation to the optimum checkpoint interval, Communications of the ACM 17 (1974);
Zaharia and others: Resilient Distributed Datasets, NSDI (2012), section 5.4: long lineage with shuffles is worth it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .lineage import Node, Wide

if TYPE_CHECKING:
    from .scheduler import Scheduler

#: Bytes that a checkpoint writes in a second, as long as none was measured.
_SPEED = 200e6


class AutoCheckpoint:
    """Chooses RDDs for checkpoints.

    Parameters
    ----------
    mtbf_s : float
        Seconds between two failures, in the mean.

    Attributes
    ----------
    speed : float
        Bytes that a checkpoint writes in a second.
    """

    def __init__(self, mtbf_s: float) -> None:
        self._mtbf = mtbf_s
        self.speed = _SPEED

    def chosen(self, root: Node, scheduler: Scheduler) -> list[Node]:
        """The nodes in a lineage that are worth a checkpoint now, none behind another of them.

        A node is looked at if all of its partitions are kept, so that writing computes nothing, and a shuffle is behind
        it. The time that it would take again is likely to be hit by a failure as exponential times between them say.
        """
        visits, seen = [root], set[int]()
        found = []
        while visits:
            node = visits.pop()
            if node.id in seen or node.is_cut:
                continue
            seen.add(node.id)
            if self._is_worth(node, scheduler):
                found.append(node)
            else:
                visits += [dependency.parent for dependency in node.dependencies]
        return found

    def _is_worth(self, node: Node, scheduler: Scheduler) -> bool:
        kept = scheduler.blocks.kept(node.id) if node.level.keeps and node.checkpoint is None else []
        if len(kept) < node.partitions or not kept:
            return False
        again = self.seconds_again(node, scheduler)
        writing = sum(block.nbytes for block in kept) / self.speed
        return again * -math.expm1(-again / self._mtbf) > writing

    @staticmethod
    def seconds_again(root: Node, scheduler: Scheduler) -> float:
        """Seconds that tasks took to compute a node from where its lineage begins or was cut; 0 without shuffles."""
        shuffles, visits, seen = set[int](), [root], set[int]()
        while visits:
            node = visits.pop()
            if node.id not in seen:
                seen.add(node.id)
                shuffles |= {each.shuffle_id for each in node.dependencies if isinstance(each, Wide)}
                visits += [each.parent for each in node.dependencies]
        spent = scheduler.seconds
        before = sum(sum(spent.get(("shuffle", each), {}).values()) for each in shuffles)
        return before + sum(spent.get(("node", root.id), {}).values()) if shuffles else 0.0
