"""`RDD`, with all of PySpark's methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from .actions import Actions
from .explaining import Explaining
from .hadoop import HadoopSaving
from .pairs import Pairs
from .sampling import Sampling
from .storing import Storing, lineage_text
from .tables import Tables
from .transformations import Transformations

if TYPE_CHECKING:
    from .barrier import RDDBarrier


class RDD(Transformations, Pairs, Sampling, Actions, Storing, HadoopSaving, Tables, Explaining):
    """A collection in partitions that is described by how it follows from others, and computed when it is asked for.

    Made by the methods of `SparkContext`; the methods of an RDD make others from it (these do nothing by themselves) or
    tell the driver something about its elements (these are actions, and run jobs). Partitions that are lost are
    computed again.
    """

    def toDebugString(self) -> bytes:
        """The lineage, a line for each step."""
        return lineage_text(self).encode()

    def explainLineage(self, form: Literal["text", "json", "dot", "svg"] = "text") -> str:
        """The stages that an action on this RDD is cut into, with their steps, and what is there already.

        Parameters
        ----------
        form : {"text", "json", "dot", "svg"}
            ``text`` is for printing, ``json`` the argument of `rdd_stage_plan`, ``dot`` a graph for Graphviz, ``svg``
            its picture.

        Raises
        ------
        ModuleNotFoundError
            A picture needs Graphviz.

        Examples
        --------
        >>> pairs = sc.parallelize([("a", 1), ("b", 1), ("a", 1)], 2)
        >>> print(pairs.reduceByKey(lambda a, b: a + b).explainLineage().splitlines()[0])
        Stage 0: 2 tasks
        """
        from .drawing import explain

        return explain(self, form)

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(repr(self))}\n{escape(self.explainLineage())}</pre>"

    def barrier(self) -> RDDBarrier:
        """Mark the stage: all of its tasks run at the same time, and can wait for each other."""
        from .barrier import RDDBarrier

        return RDDBarrier(self)

    def withResources(self, profile: Any) -> RDD:
        """Ask for resources; kept and given back by `getResourceProfile`, but one machine has what it has."""
        self._profile = profile
        return self

    def getResourceProfile(self) -> Any:
        """What `withResources` asked for."""
        return getattr(self, "_profile", None)
