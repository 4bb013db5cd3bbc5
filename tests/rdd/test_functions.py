"""The SQL functions about jobs of RDDs, against the published figures and independent computations."""

import csv
import json
from pathlib import Path

import duckdb
import numpy as np
import pytest


PUBLISHED = Path(__file__).parents[2] / "docs" / "published" / "rdd.csv"


@pytest.fixture(scope="module")
def con():
    with duckdb.connect() as connection:
        yield connection


def published(function):
    """The rows that a function is held against: what they are, and their values."""
    rows = list(csv.DictReader(PUBLISHED.open()))
    return {row["row"]: float(row["published"]) for row in rows if f"FROM {function}(" in row["ours"]}


def one(con, statement):
    """The only row."""
    [row] = con.sql(statement).fetchall()
    return row


def refused(con, statement, message):
    with pytest.raises(duckdb.Error, match=message):
        con.sql(statement).fetchall()


# ---------------------------------------------------------------------------------------------------------- recovery


def test_recovery_as_in_figure_11(con):
    rows = con.sql("FROM rdd_recovery_simulate()").fetchall()
    figure = list(published("rdd_recovery_simulate").values())
    for (iteration, seconds, recomputed, lost), value in zip(rows, figure, strict=True):
        if iteration == 6:
            assert 70 <= seconds <= 95
            assert recomputed == 6  # 400 partitions on 75 nodes: 5 or 6 each
            assert lost == 6 << 28
        else:
            assert seconds == pytest.approx(value, rel=0.04)
            assert recomputed == lost == 0
    assert rows[5][1] / rows[4][1] <= 2.2
    assert rows[6][1] / rows[4][1] <= 1.15


def simulated(con, **arguments):
    text = ", ".join(f"{name} => {value!r}" for name, value in arguments.items())
    return con.sql(f"FROM rdd_recovery_simulate({text})").fetchall()


SMALL = {"nodes": 4, "cores_per_node": 1, "tasks": 8, "iterations": 6, "task_s": 1.0, "first_task_s": 3.0}


def test_recovery_by_hand(con):
    # 8 tasks on 4 cores take 2 waves. After a failure: 6 tasks on 3 cores, and 2 that load first.
    lineage = simulated(con, **SMALL, fail_iteration=4)
    assert [row[1] for row in lineage] == [6, 2, 2, 5, 3, 3]
    assert [row[2] for row in lineage] == [0, 0, 0, 2, 0, 0]
    # Back to the checkpoint of iteration 2: load (3 waves of 3 s), and once more; then iterations of 3 waves.
    checkpoint = simulated(
        con, **SMALL, fail_iteration=4, strategy="checkpoint", checkpoint_every=2, checkpoint_write_s=10.0
    )
    assert [row[1] for row in checkpoint] == [6, 12, 2, 9 + 3 + 10, 3, 13]
    assert [row[2] for row in checkpoint] == [0, 0, 0, 8 + 2, 0, 0]
    restart = simulated(con, **SMALL, fail_iteration=4, strategy="restart")
    assert [row[1] for row in restart] == [6, 2, 2, 9 + 3 * 3, 3, 3]
    assert [row[2] for row in restart] == [0, 0, 0, 3 * 8 + 2, 0, 0]


def test_recovery_without_a_failure_and_at_the_beginning(con):
    assert [row[1:] for row in simulated(con, **SMALL, fail_iteration=0)] == [(6, 0, 0), *[(2, 0, 0)] * 5]
    first = simulated(con, **SMALL, fail_iteration=1)[0]
    assert first[1:] == (9, 2, 0)  # nothing was held yet


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("nodes => 0", "argument nodes must be at least 1, got 0"),
        ("fail_iteration => 11", "argument fail_iteration must be 0 .none. ... 10"),
        ("failed_nodes => 75", "argument failed_nodes must be less than the 75 nodes"),
        ("tasks => 1000000, iterations => 1000000", "arguments tasks and iterations must be fewer than"),
        ("partition_bytes => 9000000000000000000", "partition_bytes"),
        ("task_s => -1", "argument task_s must be seconds"),
        ("task_s => 'nan'::DOUBLE", "argument task_s must be seconds"),
        ("checkpoint_every => 0", "arguments checkpoint_every"),
        ("strategy => 'hope'", "strategy"),
    ],
)
def test_recovery_refuses(con, arguments, message):
    refused(con, f"FROM rdd_recovery_simulate({arguments})", message)


# ------------------------------------------------------------------------------------------------------------- caches


def test_cache_sweep_as_in_figure_12(con):
    figure = published("cache_sweep_simulate")
    fractions = [float(row.split("%")[0]) / 100 for row in figure]
    ours = [row[2] for row in con.sql(f"FROM cache_sweep_simulate({fractions})").fetchall()]
    assert ours == pytest.approx(list(figure.values()), rel=0.16)  # the paper's distance from its straight line
    sweep = [row[2] for row in con.sql("FROM cache_sweep_simulate([i / 20 for i in range(21)])").fetchall()]
    assert sweep == sorted(sweep, reverse=True)


def reads(policy, partitions, iterations, capacity):
    """The hits of a cache, by looking ahead in the list of all reads."""
    order, kept, hits = list(range(partitions)) * iterations, [], 0
    for time, partition in enumerate(order):
        if partition in kept:
            hits += time >= partitions
            if policy == "lru":
                kept.remove(partition)
                kept.append(partition)
            continue
        if len(kept) == capacity:
            if policy == "rdd_lru" or not kept:
                continue
            ahead = order[time + 1 :]
            last = max(kept, key=lambda each: ahead.index(each) if each in ahead else len(order) + each)
            kept.remove(last if policy == "belady" else kept[0])
        kept.append(partition)
    return hits / (partitions * (iterations - 1))


@pytest.mark.parametrize("policy", ["rdd_lru", "lru", "fifo", "belady"])
def test_cache_policies(con, policy):
    fractions = [i / 9 for i in range(10)]
    statement = f"SELECT hit_ratio FROM cache_sweep_simulate({fractions}, policy => '{policy}', partitions => 9)"
    ours = [ratio for (ratio,) in con.sql(statement).fetchall()]
    # the last scan has no reads after it, where any choice is as good
    assert ours == pytest.approx([reads(policy, 9, 10, i) for i in range(10)], abs=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("[1.5]", "argument memory_fraction must be numbers between 0 and 1, got 1.5"),
        ("[-0.1]", "argument memory_fraction"),
        ("[0.5], hit_s => -1", "arguments hit_s and miss_s"),
        ("[0.5], iterations => 1", "arguments partitions and iterations"),
        ("[0.5], policy => 'mru'", "policy"),
    ],
)
def test_cache_sweep_refuses(con, arguments, message):
    refused(con, f"FROM cache_sweep_simulate({arguments})", message)


# ------------------------------------------------------------------------------------------------------------- stages


def plan(*rdds):
    names = ("id", "op", "partitions", "deps")
    return json.dumps([dict(zip(names, rdd[:4], strict=True)) | (rdd[4] if len(rdd) > 4 else {}) for rdd in rdds])


def stages(con, text):
    return con.execute("FROM rdd_stage_plan(?)", [text]).fetchall()


def figure_5(kept):
    """The job of the paper's figure 5: B = groupBy(A), F = union(map(C), E), G = join(B, F)."""
    by_key = {"partitioner": "hash 3"}
    return plan(
        (0, "A", 3, []), (1, "groupBy", 3, [0], by_key | {"cached": kept}), (2, "C", 2, []), (3, "map", 2, [2]),
        (4, "E", 2, []), (5, "union", 4, [3, 4]), (6, "join", 3, [1, 5], by_key),
    )  # fmt: skip


def test_stages_of_figure_5(con):
    assert stages(con, figure_5(kept=False)) == [
        (0, [0], 3, [], False, 0),
        (1, [2, 3, 4, 5], 4, [], False, 1),
        (2, [1, 6], 3, [0, 1], False, None),
    ]
    # "B is kept, so stage 1 of the figure does not run"
    assert stages(con, figure_5(kept=True)) == [
        (0, [0], 0, [], True, 0),
        (1, [2, 3, 4, 5], 4, [], False, 1),
        (2, [1, 6], 3, [0, 1], False, None),
    ]


def test_stages_whose_outputs_are_there(con):
    done = {"id": 0, "kind": "wide", "shuffle_id": 7, "done": True}
    text = plan((0, "textFile", 4, []), (1, "reduceByKey", 2, [done]), (2, "sortByKey", 2, [1]))
    assert stages(con, text) == [(0, [0], 0, [], True, 7), (1, [1], 2, [0], False, 8), (2, [2], 2, [1], False, None)]


def test_one_shuffle_with_two_readers(con):
    once = {"id": 0, "kind": "wide", "shuffle_id": 0}
    text = plan((0, "textFile", 4, []), (1, "groupByKey", 2, [once]), (2, "map", 2, [1]), (3, "union", 4, [1, 2]))
    assert stages(con, text) == [(0, [0], 4, [], False, 0), (1, [1, 2, 3], 4, [0], False, None)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "argument plan is no JSON"),
        ("[]", "argument plan must be a JSON list of RDDs"),
        ('[{"id": 0}]', "is no object with an id"),
        ('[{"id": 0, "op": "map", "deps": []}]', "has no number of partitions"),
        ('[{"id": 0, "op": "map", "partitions": 1}]', "has no list of deps"),
        (plan((0, "map", 1, [1]), (1, "map", 1, [])), "depends on 1, which does not stand before it"),
        (plan((0, "map", 1, []), (0, "map", 1, [])), "has an id that another one has"),
        (plan((0, "map", 1, []), (1, "map", 1, [{"id": 0, "kind": "thin"}])), "expected narrow or wide"),
        (plan((0, "map", 1, []), (1, "map", 1, [{"id": 0, "shuffle_id": "x"}])), "shuffle_id that is no number"),
    ],
)
def test_stage_plan_refuses(con, text, message):
    with pytest.raises(duckdb.Error, match=message):
        stages(con, text)


# ----------------------------------------------------------------------------------------------------------- pagerank


@pytest.mark.parametrize("normalized", [True, False])
def test_pagerank_with_matrices(con, normalized):
    draw = np.random.default_rng(11)
    links = np.unique(draw.integers(0, 30, (70, 2)), axis=0)
    links[:, 1] *= 3  # pages without links, and pages without links to them
    matrix = np.zeros((90, 90))
    matrix[links[:, 0], links[:, 1]] = 1
    is_page = np.zeros(90, bool)
    is_page[links.ravel()] = True
    out = matrix.sum(axis=1)
    share = np.divide(matrix, out[:, None], out=np.zeros_like(matrix), where=out[:, None] > 0)
    pages = is_page.sum()
    rank = np.where(is_page, 1 / pages, 0) if normalized else (out > 0).astype(float)
    there = is_page if normalized else out > 0
    for _ in range(4):
        before, sums = rank, rank @ share
        there = is_page if normalized else (matrix[there].sum(axis=0) > 0)
        rank = np.where(there, (0.2 / pages if normalized else 0.2) + 0.8 * sums, 0)
    con.register("links", {"src": np.r_[links[:, 0], links[:5, 0]], "dst": np.r_[links[:, 1], links[:5, 1]]})
    flag = str(normalized).lower()
    call = f"pagerank_fit(src, dst, {{'damping': 0.8, 'iterations': 4, 'normalized': {flag}}})"
    (found,) = one(con, f"SELECT {call} FROM links")
    assert found["id"] == np.flatnonzero(there).tolist()
    assert found["rank"] == pytest.approx(rank[there].tolist(), rel=1e-12)
    assert found["delta"] == pytest.approx(np.abs(rank - before).sum(), rel=1e-9)


def test_pagerank_edges(con):
    rows = "(VALUES (5, 7), (NULL, 1), (7, NULL)) t(a, b)"
    assert one(con, f"SELECT pagerank_fit(a, b, {{'iterations': 0}}) FROM {rows}")[0] == {
        "id": [5, 7], "rank": [0.5, 0.5], "delta": 0.0,
    }  # fmt: skip
    assert one(con, f"SELECT pagerank_fit(a, b) FROM {rows} WHERE a IS NULL") == (None,)
    refused(con, f"SELECT pagerank_fit(a, b, {{'damping': 2}}) FROM {rows}", "options damping and iterations must be")


# ------------------------------------------------------------------------------------------- stragglers, critical path


def test_straggler_score(con):
    con.execute(
        "CREATE OR REPLACE TABLE tasks AS FROM (VALUES (0, 100), (0, 120), (0, 110), (0, 900), (1, 50), (1, NULL)) t(s, ms)"
    )
    (score,) = one(con, "SELECT straggler_score(s, ms, {'quantile': 0.75}) FROM tasks")
    assert score == {"stage_id": 0, "median_ms": 110, "threshold_ms": 330, "n_speculatable": 1, "wasted_ms": 790}
    (score,) = one(con, "SELECT straggler_score(s, ms, {'min_runtime_ms': 1000}) FROM tasks")
    assert (score["n_speculatable"], score["threshold_ms"], score["wasted_ms"]) == (0, 1000, 0)
    assert one(con, "SELECT straggler_score(s, ms) FROM tasks WHERE ms IS NULL") == (None,)
    refused(con, "SELECT straggler_score(s, -ms) FROM tasks", "argument duration_ms must be a number of milliseconds")
    refused(con, "SELECT straggler_score(s, ms, {'quantile': 0}) FROM tasks", "options multiplier, quantile and")


def test_straggler_score_of_two_slow_stages(con):
    rows = "(SELECT i % 2 AS s, CASE WHEN i < 2 THEN 5000 + 1000 * i ELSE 200 END AS ms FROM range(40) t(i))"
    (score,) = one(con, f"SELECT straggler_score(s, ms) FROM {rows}")
    assert score == {
        "stage_id": 1,
        "median_ms": 200,
        "threshold_ms": 600,
        "n_speculatable": 2,
        "wasted_ms": 4800 + 5800,
    }


def test_stage_critical_path(con):
    rows = """(VALUES (0, NULL, 0, 40), (1, NULL, 0, 30), (2, [0], 40, 50), (3, [1, 2], 50, 60), (4, [1], 30, 95),
               (9, [8], 95, 100)) t(s, p, a, b)"""
    (found,) = one(con, f"SELECT stage_critical_path(s, p, a, b) FROM {rows}")
    assert found == {"path": [1, 4], "ms": 95, "fraction": 0.95}
    flat = "(VALUES (7, NULL, 5, 6), (7, NULL, 8, 9), (8, 7, 9, 19), (8, 6, 9, 19), (NULL, 1, 0, 99)) t(s, p, a, b)"
    (found,) = one(con, f"SELECT stage_critical_path(s, p, a, b) FROM {flat}")
    assert found == {"path": [7, 8], "ms": 14, "fraction": 1}
    point = "(VALUES (1, NULL, 5, 5)) t(s, p, a, b)"
    assert one(con, f"SELECT stage_critical_path(s, p, a, b) FROM {point}")[0]["fraction"] == 1
    assert one(con, f"SELECT stage_critical_path(s, p, a, b) FROM {point} WHERE s = 2") == (None,)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("(1, 2, 0, 1), (2, 1, 1, 2)", "in a circle"),
        ("(1, NULL, 3, 2)", "argument end_ms must not be before start_ms; stage 1 is from 3.0 to 2.0"),
        ("(1, NULL, 'nan'::DOUBLE, 2)", "a row of stage 1 has NaN"),
    ],
)
def test_stage_critical_path_refuses(con, rows, message):
    refused(con, f"SELECT stage_critical_path(s, p, a, b) FROM (VALUES {rows}) t(s, p, a, b)", message)
