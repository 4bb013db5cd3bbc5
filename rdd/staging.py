"""A stage on its way to tasks: its lineage as a pickle, and what its functions change."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .closures import dumps, origins
from .lineage import Narrow
from .tiers.sharing import changed_by

if TYPE_CHECKING:
    from .lineage import Node
    from .task import ResultWork, ShuffleWork


def dump_stage(node: Node, work: ResultWork | ShuffleWork) -> bytes:
    """A stage for its tasks: what it does, and the lineage up to sources and shuffles, node by node.

    Lineage may be thousands of steps long, which nested pickles could not be.

    Raises
    ------
    pickle.PicklingError
        A function refers to something that cannot leave the driver.
    """
    order: dict[int, Node] = {}
    visits: list[tuple[Node, bool]] = [(node, False)]
    while visits:
        current, is_ready = visits.pop()
        if is_ready:
            order.setdefault(current.id, current)
        elif current.id not in order:
            visits.append((current, True))
            visits += [(each.parent, False) for each in current.dependencies if isinstance(each, Narrow)]
    places = {id_: place for place, id_ in enumerate(order)}
    steps = []
    for each in order.values():
        state = each.__getstate__()
        links = [
            (places[link.parent.id], link.parents_of) for link in state["dependencies"] if isinstance(link, Narrow)
        ]
        steps.append(_Step(type(each), {**state, "dependencies": links}))
    try:
        return dumps((steps, work))
    except Exception as error:
        failure = error if isinstance(error, pickle.PicklingError) else _unpicklable(error)
        failure.add_note(_place_of_failure(steps, work))
        raise failure from (None if failure is error else error)


def _unpicklable(error: Exception) -> pickle.PicklingError:
    return pickle.PicklingError(f"Could not serialize object: {type(error).__name__}: {error}")


def _place_of_failure(steps: list[_Step], work: ResultWork | ShuffleWork) -> str:
    """Which function of a stage cannot be pickled."""
    for step in steps:
        try:
            dumps(step)
        except Exception:
            named = step.state.get("operation", step.type.operation)
            return f"in what was given to {named}: {', '.join(origins(step.state)) or 'see above'}"
    return f"in what was given to the action: {', '.join(origins(vars(work))) or 'see above'}"


def load_stage(binary: bytes) -> tuple[Node, ResultWork | ShuffleWork]:
    """What `dump_stage` made a pickle of."""
    steps, work = pickle.loads(binary)
    nodes: list[Node] = []
    for step in steps:
        node: Node = step.type.__new__(step.type)
        node.__dict__.update(step.state)
        node.dependencies = tuple(Narrow(nodes[place], parents_of) for place, parents_of in step.state["dependencies"])
        nodes.append(node)
    return nodes[-1], work


def changed(root: Node, work: Any) -> frozenset[tuple[int, str]]:
    """What the functions of a stage change."""
    seen: dict[int, Node] = {}
    visits = [root]
    while visits:
        node = visits.pop()
        if node.id not in seen:
            seen[node.id] = node
            visits += [link.parent for link in node.dependencies]
    functions = [value for node in seen.values() for value in vars(node).values() if callable(value)]
    return changed_by([*functions, *vars(work).values()])


@dataclass
class _Step:
    """A node on its way to a task, with the places of its parents; while it is pickled, accumulators know of it."""

    type: type[Node]
    state: dict[str, Any]

    def __reduce__(self) -> tuple[Any, ...]:
        from .accumulators import pickling

        pickling.node = self.state["id"]
        return _Step, (self.type, self.state)
