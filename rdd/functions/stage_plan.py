"""How an action on RDDs is cut into stages, from their lineage as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ironlake.udf.engine import table

if TYPE_CHECKING:
    import pyarrow as pa

#: Steps that shuffle parents which are not spread by the same partitioner.
_SHUFFLING = {
    "aggregateByKey", "cogroup", "combineByKey", "distinct", "foldByKey", "fullOuterJoin", "groupBy", "groupByKey",
    "groupWith", "intersection", "join", "leftOuterJoin", "partitionBy", "reduceByKey", "repartition",
    "repartitionAndSortWithinPartitions", "rightOuterJoin", "sortBy", "sortByKey", "subtract", "subtractByKey",
}  # fmt: skip


@table
def rdd_stage_plan(plan: str) -> pa.Table:
    """Tell into which stages an action on an RDD is cut, and which of them have nothing to do.

    A stage is a chain of steps without a shuffle between them, with a task for each partition. It ends at a shuffle, or
    at the RDD of the action, and does not reach behind partitions that are kept.

    Parameters
    ----------
    plan : the lineage as JSON, which `RDD.explainLineage` gives as ``json``: a list of the RDDs that the action needs,
        parents first, the last one being that of the action. Each is an object with ``id``, ``op`` (the step, such as
        ``map``), ``partitions`` (their number), ``deps`` and, if there is something to say, ``cached`` (true if all
        partitions are kept) and ``partitioner`` (any value; equal ones spread keys alike). A member of ``deps`` is the
        id of a parent, or an object: ``id``, ``kind`` (``narrow`` or ``wide``), ``shuffle_id``, ``done`` (true if the
        outputs of the shuffle are there). Without a kind a dependency is wide if the step is one that shuffles, such as
        ``join``, and the parent has another partitioner, or none.

    Returns
    -------
    TABLE
        A row per stage, in the order in which they run: ``stage_id`` INTEGER, ``rdd_ids`` INTEGER[] (what a task
        computes, in order), ``num_tasks`` INTEGER (0 if it is skipped), ``parent_stages`` INTEGER[], ``skipped``
        BOOLEAN (the outputs are there already, or nothing needs them), ``shuffle_id`` INTEGER (of the shuffle that it
        writes; NULL for the last stage).

    Raises
    ------
    ValueError
        If the plan is no such JSON, or a parent does not stand before its child.

    References
    ----------
    Zaharia and others: Resilient Distributed Datasets, NSDI (2012), section 5.1 and figure 5.

    Examples
    --------
    FROM rdd_stage_plan('[{"id": 0, "op": "textFile", "partitions": 4, "deps": []},
                          {"id": 1, "op": "reduceByKey", "partitions": 2, "deps": [0]}]');
    """
    import pyarrow as pa

    stages = stages_of(read_plan(plan))
    int32 = pa.int32()
    return pa.table(
        {
            "stage_id": pa.array([stage.id for stage in stages], int32),
            "rdd_ids": pa.array([stage.rdds for stage in stages], pa.list_(int32)),
            "num_tasks": pa.array([0 if stage.skipped else stage.tasks for stage in stages], int32),
            "parent_stages": pa.array([stage.parents for stage in stages], pa.list_(int32)),
            "skipped": pa.array([stage.skipped for stage in stages], pa.bool_()),
            "shuffle_id": pa.array([stage.shuffle_id for stage in stages], int32),
        }
    )


@dataclass(frozen=True)
class _Dependency:
    parent: int
    is_wide: bool
    shuffle_id: int
    is_done: bool


@dataclass(frozen=True)
class _Rdd:
    id: int
    partitions: int
    dependencies: tuple[_Dependency, ...]
    is_kept: bool
    partitioner: Any


@dataclass
class Stage:
    """A stage of a plan; the attributes are the columns of `rdd_stage_plan`."""

    id: int
    rdds: list[int]
    tasks: int
    parents: list[int]
    shuffle_id: int | None
    skipped: bool


def stages_of(rdds: dict[int, _Rdd]) -> list[Stage]:
    """The stages of a lineage, in the order in which they run; the action is on the last RDD."""
    stages = _Stages(rdds)
    action = list(rdds)[-1]
    used, visits = {action}, [action]
    while visits:
        parents = {each.parent for each in rdds[visits.pop()].dependencies} - used
        used |= parents
        visits += parents
    for rdd in rdds.values():  # parents first, so that the stages that one needs are there
        for each in rdd.dependencies:
            if rdd.id in used and each.is_wide:
                stages.add(each.parent, each.shuffle_id)
    stages.add(action, None)
    stages.skip()
    return stages.found


class _Stages:
    """The stages of a lineage, numbered as they are added."""

    def __init__(self, rdds: dict[int, _Rdd]) -> None:
        self.rdds = rdds
        self.found: list[Stage] = []
        self._of_shuffle: dict[int, Stage] = {}

    def add(self, last: int, shuffle_id: int | None) -> None:
        """Add the stage that ends with an RDD, unless the shuffle has one."""
        if shuffle_id is not None and shuffle_id in self._of_shuffle:
            return
        chain: set[int] = set()
        parents: set[int] = set()
        visits = [last]
        while visits:
            each = visits.pop()
            if each in chain:
                continue
            chain.add(each)
            for dependency in self.rdds[each].dependencies:
                if dependency.is_wide:
                    parents.add(self._of_shuffle[dependency.shuffle_id].id)
                else:
                    visits.append(dependency.parent)
        order = [rdd for rdd in self.rdds if rdd in chain]
        stage = Stage(len(self.found), order, self.rdds[last].partitions, sorted(parents), shuffle_id, True)
        self.found.append(stage)
        if shuffle_id is not None:
            self._of_shuffle[shuffle_id] = stage

    def skip(self) -> None:
        """Mark the stages that the last one needs as not skipped; what is kept, or written, needs none."""
        needed = [self.found[-1]]
        while needed:
            stage = needed.pop()
            if stage.skipped:
                stage.skipped = False
                needed += self._needed(stage.rdds[-1], {rdd for rdd in stage.rdds if self.rdds[rdd].is_kept})

    def _needed(self, last: int, kept: set[int]) -> list[Stage]:
        """The stages whose outputs a stage reads that are not there."""
        needed: list[Stage] = []
        visits, seen = [last], set(kept)
        while visits:
            each = visits.pop()
            if each in seen:
                continue
            seen.add(each)
            for dependency in self.rdds[each].dependencies:
                if not dependency.is_wide:
                    visits.append(dependency.parent)
                elif not dependency.is_done:
                    needed.append(self._of_shuffle[dependency.shuffle_id])
        return needed


def read_plan(plan: str) -> dict[int, _Rdd]:
    """The RDDs of a plan by id, parents first."""
    try:
        members = json.loads(plan)
    except ValueError as error:
        raise ValueError(f"argument plan is no JSON: {error}") from None
    if not isinstance(members, list) or not members:
        raise ValueError("argument plan must be a JSON list of RDDs, at least one")
    rdds: dict[int, _Rdd] = {}
    shuffles = _ShuffleIds(members)
    for member in members:
        problem = _problem(member, rdds)
        if problem:
            raise ValueError(f"argument plan: the RDD {json.dumps(member)[:100]} {problem}")
        dependencies = tuple(_dependency(given, member, rdds, shuffles) for given in member["deps"])
        kept = member.get("cached") is True
        rdds[member["id"]] = _Rdd(member["id"], member["partitions"], dependencies, kept, member.get("partitioner"))
    return rdds


def _problem(member: Any, rdds: dict[int, _Rdd]) -> str | None:
    """What is wrong with a member of a plan."""
    if not isinstance(member, dict) or not _is_number(member.get("id")) or not isinstance(member.get("op"), str):
        return "is no object with an id, a number, and an op, a text"
    if member["id"] in rdds:
        return "has an id that another one has"
    if not _is_number(member.get("partitions")):
        return "has no number of partitions"
    if not isinstance(member.get("deps"), list):
        return "has no list of deps"
    for given in member["deps"]:
        parent = given.get("id") if isinstance(given, dict) else given
        if not _is_number(parent) or parent not in rdds:
            return f"depends on {json.dumps(parent)}, which does not stand before it"
        if isinstance(given, dict) and given.get("kind") not in (None, "narrow", "wide"):
            return f"has a dependency of kind {json.dumps(given['kind'])}; expected narrow or wide"
        if isinstance(given, dict) and not (given.get("shuffle_id") is None or _is_number(given["shuffle_id"])):
            return "has a shuffle_id that is no number"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


class _ShuffleIds:
    """Numbers for shuffles that have none."""

    def __init__(self, members: list[Any]) -> None:
        lists = [member.get("deps") for member in members if isinstance(member, dict)]
        given = [each for list_ in lists if isinstance(list_, list) for each in list_ if isinstance(each, dict)]
        self._next = max((each["shuffle_id"] + 1 for each in given if _is_number(each.get("shuffle_id"))), default=0)

    def new(self) -> int:
        self._next += 1
        return self._next - 1


def _dependency(given: Any, member: dict[str, Any], rdds: dict[int, _Rdd], shuffles: _ShuffleIds) -> _Dependency:
    details = given if isinstance(given, dict) else {"id": given}
    parent = rdds[details["id"]]
    partitioner = member.get("partitioner")
    spread_alike = partitioner is not None and parent.partitioner == partitioner
    kind = details.get("kind") or ("wide" if member["op"] in _SHUFFLING and not spread_alike else "narrow")
    if kind == "narrow":
        return _Dependency(parent.id, False, -1, False)
    shuffle_id = details.get("shuffle_id")
    return _Dependency(
        parent.id, True, shuffles.new() if shuffle_id is None else shuffle_id, details.get("done") is True
    )
