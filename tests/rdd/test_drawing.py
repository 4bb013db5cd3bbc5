"""Lineage as text, JSON, DOT and a picture."""

import json
import sys
import types

import pytest

import ironlake
from ironlake.rdd import SparkContext


@pytest.fixture(scope="module")
def sc():
    with SparkContext("local[2]", "drawing <1>") as context:
        yield context


@pytest.fixture
def counts(sc):
    words = sc.parallelize(["a", "b", "a"], 3)
    return words.map(lambda word: (word, 1)).reduceByKey(lambda a, b: a + b, 2).setName('the "counts"')


def test_text(counts):
    first, second, third = (counts.id() - step for step in (4, 3, 2))
    assert counts.explainLineage().splitlines() == [
        "Stage 0: 3 tasks",
        f"  [{first}] parallelize               3 partitions",
        f"  [{second}] map                       3 partitions",
        f"  [{third}] reduceByKey               3 partitions",
        f"  writes shuffle {shuffle(counts)}",
        "Stage 1: 2 tasks, after 0",
        f"  [{counts.id() - 1}] partitionBy               2 partitions, reads shuffle {shuffle(counts)}",
        f'  [{counts.id()}] reduceByKey the "counts"  2 partitions',
    ]


def shuffle(rdd):
    members = json.loads(rdd.explainLineage("json"))
    return max(each["shuffle_id"] for member in members for each in member["deps"] if "shuffle_id" in each)


def test_what_ran_is_skipped(counts):
    assert "skipped" not in counts.explainLineage()
    counts.collect()
    assert counts.explainLineage().startswith("Stage 0: skipped")
    plan = ironlake.rdd_stage_plan(counts.explainLineage("json"))
    assert plan["skipped"].to_pylist() == [True, False]
    assert plan["num_tasks"].to_pylist() == [0, 2]


def test_what_is_kept_is_marked(counts):
    counts.cache().count()
    doubled = counts.mapValues(lambda count: 2 * count)
    assert "2 partitions, 2 kept" in doubled.explainLineage()
    assert "2 of 2 kept" in doubled.explainLineage("dot")
    assert json.loads(doubled.explainLineage("json"))[-2]["cached"] is True


def test_the_same_stages_as_those_that_run(sc, counts):
    joined = counts.join(sc.parallelize([("a", 5)], 2), 2).filter(lambda pair: pair[1][0] > 1)
    planned = joined.explainLineage().count("Stage ")
    sc.setJobGroup("drawn", "")
    joined.collect()
    [job] = sc.statusTracker().getJobIdsForGroup("drawn")
    sc.setLocalProperty("spark.jobGroup.id", None)
    assert len(sc.statusTracker().getJobInfo(job).stageIds) == planned == 3


def test_dot(counts):
    text = counts.explainLineage("dot")
    assert text.startswith("digraph lineage {")
    assert text.count("subgraph cluster_") == 2
    assert text.count(" -> ") == 4
    assert text.count("style=bold") == 1
    assert '\\"counts\\"' in text
    assert text.count("{") == text.count("}")


def test_svg_is_made_by_graphviz(counts, monkeypatch):
    monkeypatch.setitem(sys.modules, "graphviz", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'ironlake\[draw\]'"):
        counts.explainLineage("svg")
    made = types.ModuleType("graphviz")
    made.ExecutableNotFound = type("ExecutableNotFound", (RuntimeError,), {})

    class Source:
        def __init__(self, dot):
            self.dot = dot

        def pipe(self, format, encoding):
            if "digraph" not in self.dot:
                raise made.ExecutableNotFound
            return f"<{format}/>"

    made.Source = Source
    monkeypatch.setitem(sys.modules, "graphviz", made)
    assert counts.explainLineage("svg") == "<svg/>"
    monkeypatch.setattr("ironlake.rdd.drawing._dot", lambda *_: "")
    with pytest.raises(ModuleNotFoundError, match="program `dot` is not found"):
        counts.explainLineage("svg")


def test_unknown_forms(counts):
    with pytest.raises(ValueError, match="form is 'png'; expected 'text', 'json', 'dot' or 'svg'"):
        counts.explainLineage("png")


def test_in_notebooks(sc, counts):
    assert "the &quot;counts&quot;" in counts._repr_html_()
    assert "drawing &lt;1&gt;" in sc._repr_html_()
