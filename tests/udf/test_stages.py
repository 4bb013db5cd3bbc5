"""Aggregates in two stages: the states of one query as BLOBs, merged by another."""

import gc

import duckdb
import pytest

from ironlake.udf import engine
from ironlake.udf.engine import declarations
from ironlake.udf.engine.database import newest_cell
from ironlake.udf.engine.stages import Stages


@pytest.fixture
def staged():
    """A database and its two-stage functions; what its states allocated must be gone when it is closed."""
    gc.collect()
    before = engine.live_arrays()
    connection = duckdb.connect(config={"threads": 1})
    yield connection, Stages(newest_cell())
    connection.close()
    assert engine.live_arrays() == before


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("geo_mean", "i + 1"),
        ("echo_options", "i, {'k': 7, 'weights': [2.0, 3.0]}"),
        ("echo_options", "i"),
        ("collect", "i"),
        ("weighted_total", "i"),
        ("fit_line", "i, 2 * i + 1, {'digits': 3}"),
    ],
)
def test_merged_states_give_the_result(staged, name, arguments):
    connection, stages = staged
    declaration = declarations[name]
    partial = stages.partial(declaration)
    connection.execute(
        f"CREATE TABLE states AS SELECT i % 2 AS g, i // 10 AS part, {partial}({arguments}) AS state "
        "FROM range(40) t(i) GROUP BY g, part ORDER BY part, g"
    ).fetchall()
    [(state,)] = connection.execute("SELECT state FROM states LIMIT 1").fetchall()
    merge = stages.merge(declaration, state)
    got = connection.execute(f"SELECT g, {merge}(state) FROM states GROUP BY g ORDER BY g").fetchall()
    want = connection.execute(f"SELECT i % 2 AS g, {name}({arguments}) FROM range(40) t(i) GROUP BY g ORDER BY g")
    assert str(rounded(got)) == str(rounded(want.fetchall()))


def rounded(value):
    """Numbers but for the order of a sum."""
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list | tuple) else value


def test_states_of_nothing(staged):
    connection, stages = staged
    declaration = declarations["geo_mean"]
    partial, merge = stages.partial(declaration), stages.merge(declaration, None)
    assert connection.execute(f"SELECT {partial}(NULL::DOUBLE)").fetchall() == [(None,)]
    assert connection.execute(f"SELECT {merge}(NULL::BLOB)").fetchall() == [(None,)]


def test_foreign_states_are_refused(staged):
    connection, stages = staged
    declaration = declarations["geo_mean"]
    [(state,)] = connection.execute(f"SELECT {stages.partial(declaration)}(2.0)").fetchall()
    merge = stages.merge(declaration, state)
    for damaged, message in (
        (b"abc", "another version"),
        (state[:3] + b"?" + state[4:], "another version"),
        (state + b"x", "damaged"),
        (state[:-4], "damaged"),
    ):
        with pytest.raises(duckdb.Error, match=message):
            connection.execute(f"SELECT {merge}(s) FROM (SELECT ?::BLOB AS s)", [damaged]).fetchall()
    with pytest.raises(ValueError, match="geo_mean: a partial state was made by another version"):
        stages.merge(declaration, b"\xff\xff" + state[2:])
