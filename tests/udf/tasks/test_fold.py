"""Folds, cross-validation and grids of options in single statements."""

import duckdb
import numpy as np
import pytest


@pytest.mark.parametrize("key", ["i", "'k' || i"])
def test_folds_are_of_like_size_and_unlike_their_keys(con, key):
    counts = con.sql(f"SELECT fold({key}, 7) AS f, count(*) FROM range(70000) t(i) GROUP BY f ORDER BY f").fetchall()
    assert [count[0] for count in counts] == list(range(7))
    assert [count[1] for count in counts] == pytest.approx([10_000] * 7, rel=0.05)
    folds = con.sql(
        f"SELECT i, fold({key}, 2) AS f, fold({key}, 2, 1) AS g FROM range(10000) t(i) ORDER BY i"
    ).fetchnumpy()
    assert abs(np.corrcoef(folds["f"], folds["g"])[0, 1]) < 0.05
    assert abs(np.corrcoef(folds["f"][:-1], folds["f"][1:])[0, 1]) < 0.05


def test_folds_stay_the_same(con):
    assert (
        con.sql("SELECT [fold(i, 10) FOR i IN range(8)]").fetchall()
        == con.sql("SELECT [fold(i, 10) FOR i IN range(8)]").fetchall()
    )
    assert (
        con.sql("SELECT fold(3, 10), fold('é', 10), fold('', 10), fold(-1, 10), fold(NULL::INT, 2)").fetchall()[0][4]
        is None
    )
    with pytest.raises(duckdb.Error, match="fold: argument folds must be at least 1, got 0"):
        con.execute("SELECT fold(1, 0)").fetchall()


def test_cross_validation_of_a_grid_in_one_statement(con):
    con.execute(
        "CREATE TABLE rows AS SELECT i, sin(i) + sin(7 * i) / 2 > 0.2 AS y, [sin(i), cos(i)] AS x FROM range(2000) t(i)"
    )
    found = con.sql(
        """
        WITH grid(l2) AS (VALUES (0.0001), (10.0)),
             models AS (SELECT l2, held_out, logistic_fit(y, x, {'l2': l2}) AS m
                        FROM rows, grid, range(4) f(held_out) WHERE fold(i, 4) <> held_out GROUP BY l2, held_out)
        SELECT l2, held_out, binary_metrics(y, predict_proba(m, x)).log_loss AS loss, count(*) AS n
        FROM rows JOIN models ON fold(i, 4) = held_out GROUP BY l2, held_out ORDER BY l2, held_out
        """
    ).fetchall()
    assert len(found) == 8
    assert sum(row[3] for row in found) == 4000
    assert max(row[2] for row in found[:4]) < min(row[2] for row in found[4:])
