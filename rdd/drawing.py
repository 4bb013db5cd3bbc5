"""Lineage drawn for people: stages as text, as a graph for Graphviz, and as JSON for `rdd_stage_plan`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .functions.stage_plan import Stage, read_plan, stages_of
from .lineage import Node, Wide

if TYPE_CHECKING:
    from .rdd import RDD


def lineage_plan(rdd: RDD) -> list[dict[str, Any]]:
    """The lineage of an RDD as the argument of `rdd_stage_plan`: a member per RDD, parents first."""
    blocks, outputs = rdd.context._blocks, rdd.context._scheduler.outputs
    members = []
    for node in _parents_first(rdd._node):
        dependencies = [
            {
                "id": each.parent.id, "kind": "wide", "shuffle_id": each.shuffle_id,
                "done": len(outputs.get(each.shuffle_id, ())) == each.parent.partitions,
            }
            if isinstance(each, Wide)
            else {"id": each.parent.id, "kind": "narrow"}
            for each in node.dependencies
        ]  # fmt: skip
        kept = len(blocks.kept(node.id))
        member = {"id": node.id, "op": node.operation, "name": node.name, "partitions": node.partitions}
        members.append({**member, "kept": kept, "cached": kept >= node.partitions > 0, "deps": dependencies})
    return members


def _parents_first(root: Node) -> Iterator[Node]:
    """A node and all that it follows from; parents before their children."""
    seen: set[int] = set()
    visits = [(root, False)]
    while visits:
        node, is_ready = visits.pop()
        if is_ready:
            yield node
        elif node.id not in seen:
            seen.add(node.id)
            visits.append((node, True))
            visits += [(each.parent, False) for each in reversed(node.dependencies)]


def explain(rdd: RDD, form: str) -> str:
    """The lineage of an RDD as text, JSON, a graph in the language DOT, or a picture of it.

    Raises
    ------
    ValueError
        If the form is none of these.
    ModuleNotFoundError
        If Graphviz is needed and not installed.
    """
    members = lineage_plan(rdd)
    plan = json.dumps(members)
    if form == "json":
        return plan
    stages = stages_of(read_plan(plan))
    by_id = {member["id"]: member for member in members}
    if form == "text":
        return _text(stages, by_id)
    if form == "dot":
        return _dot(stages, by_id)
    if form == "svg":
        return _svg(_dot(stages, by_id))
    raise ValueError(f"RDD.explainLineage: form is {form!r}; expected 'text', 'json', 'dot' or 'svg'")


def _title(stage: Stage) -> str:
    if stage.skipped:
        return f"Stage {stage.id}: skipped, nothing needs it to run"
    after = f", after {', '.join(map(str, stage.parents))}" if stage.parents else ""
    return f"Stage {stage.id}: {stage.tasks} task{'s' * (stage.tasks != 1)}{after}"


def _step(member: dict[str, Any]) -> str:
    name = f" {member['name']}" if member["name"] else ""
    return f"[{member['id']}] {member['op']}{name}"


def _text(stages: list[Stage], by_id: dict[int, dict[str, Any]]) -> str:
    """The stages in the order in which they run, each with its steps."""
    width = max(len(_step(member)) for member in by_id.values())
    lines = []
    for stage in stages:
        lines.append(_title(stage))
        for member in (by_id[rdd] for rdd in stage.rdds):
            reads = [f"shuffle {each['shuffle_id']}" for each in member["deps"] if each["kind"] == "wide"]
            notes = [f"{member['partitions']} partition{'s' * (member['partitions'] != 1)}"]
            notes += [f"{member['kept']} kept"] if member["kept"] else []
            notes += [f"reads {' and '.join(reads)}"] if reads else []
            lines.append(f"  {_step(member):{width}}  {', '.join(notes)}")
        if stage.shuffle_id is not None:
            lines.append(f"  writes shuffle {stage.shuffle_id}")
    return "\n".join(lines)


def _dot(stages: list[Stage], by_id: dict[int, dict[str, Any]]) -> str:
    """A graph: a box per stage, dashed if it is skipped; filled steps are kept, bold arrows are shuffles."""
    lines = ["digraph lineage {", '  node [shape=box, fontname="sans-serif"];', '  graph [fontname="sans-serif"];']
    drawn: set[int] = set()
    for stage in stages:
        lines += [f"  subgraph cluster_{stage.id} {{", f"    label={_quoted(_title(stage))};"]
        lines += ["    style=dashed;"] if stage.skipped else []
        for rdd in stage.rdds:
            if rdd not in drawn:
                drawn.add(rdd)
                member = by_id[rdd]
                kept = f"\n{member['kept']} of {member['partitions']} kept" if member["kept"] else ""
                filled = ', style=filled, fillcolor="#b7e1cd"' if member["kept"] else ""
                lines.append(f"    r{rdd} [label={_quoted(_step(member) + kept)}{filled}];")
        lines.append("  }")
    for member in by_id.values():
        for each in member["deps"]:
            shuffle = f' [label="shuffle {each["shuffle_id"]}", style=bold]' if each["kind"] == "wide" else ""
            lines.append(f"  r{each['id']} -> r{member['id']}{shuffle};")
    return "\n".join([*lines, "}"])


def _quoted(text: str) -> str:
    """A text as DOT has it; a new line is written as two characters."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _svg(dot: str) -> str:
    try:
        import graphviz
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "RDD.explainLineage: a picture needs Graphviz; install it with `pip install 'ironlake[draw]'` and its "
            "program `dot` from https://graphviz.org, or draw the text of explainLineage('dot') elsewhere"
        ) from None
    try:
        return str(graphviz.Source(dot).pipe(format="svg", encoding="utf-8"))
    except graphviz.ExecutableNotFound:
        raise ModuleNotFoundError(
            "RDD.explainLineage: Graphviz's program `dot` is not found; install it from https://graphviz.org, or draw "
            "the text of explainLineage('dot') elsewhere"
        ) from None
