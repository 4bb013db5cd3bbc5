"""The step-time model on published and measured steps, and its fit."""

from pathlib import Path

import duckdb
import pytest

import ironlake  # noqa: F401 - the functions

DATA = Path(__file__).parent / "data"
COLUMNS = "layers, hidden, heads, seq, global_batch, micro_batch, tp, pp, dp"
FIT = f"training_model_fit(iteration_ms / 1000, {COLUMNS}, {{'cluster': 'vtrain_a100'}})"


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE published AS FROM '{DATA}/published_steps.csv'")
        for name in ("multi_node", "single_node"):
            connection.execute(
                f"CREATE TABLE {name} AS SELECT *, 'vtrain_a100' AS cluster FROM '{DATA}/vtrain/{name}.csv'"
            )
        yield connection


def quality(connection, runs, calibration="NULL"):
    """Mean error, Kendall's tau and regret."""
    query = f"SELECT plan_quality(iteration_ms / 1000, training_step_predict(t, {calibration})) FROM {runs} t"
    [(found,)] = connection.sql(query).fetchall()
    return found


def fitted(connection, runs, call=FIT):
    [(found,)] = connection.sql(f"SELECT {call} FROM {runs}").fetchall()
    return found


def test_rows_to_test_a_fit_with_are_not_shipped(connection):
    for name, rows in (("multi_node", 109), ("single_node", 1440)):
        found = [row for (row,) in connection.sql(f"SELECT row FROM {name} ORDER BY row").fetchall()]
        assert found == [row for row in range(rows) if row % 3 != 2]


def test_the_shipped_constants_are_those_of_the_published_steps(connection):
    call = f"training_model_fit(step_time_s, {COLUMNS}, {{'outlier': 0.1}}, recompute, chunks, seq_parallel)"
    found = fitted(connection, "published", call)
    for name, value, low, high in duckdb.sql("SELECT name, value, low, high FROM step_time_constants()").fetchall():
        assert low <= value <= high
        assert found["constants"][name] == pytest.approx(value, abs=(high - low) * 1e-2), name
    assert found["n"] == 15
    assert found["kept"] == ["launch_s"]


def test_published_steps(connection):
    """One set of constants: tables 1 and 2 of the SC 2021 paper, and table 5 of arXiv 2205.05198."""
    errors = connection.sql(
        "SELECT place, avg(abs(training_step_predict(t) / step_time_s - 1)) FROM published t GROUP BY ALL ORDER BY 1"
    ).fetchall()
    limits = {"SC 2021, table 1": 0.05, "SC 2021, table 2": 0.05, "arXiv 2205.05198, table 5": 0.04}
    assert {place for place, _ in errors} == set(limits)
    for place, error in errors:
        assert error <= limits[place], (place, error)


def test_measured_steps_without_calibration(connection):
    """vTrain's measurements, of which nothing went into the shipped constants."""
    assert quality(connection, "multi_node")["mape"] <= 0.12
    assert quality(connection, "single_node")["mape"] <= 0.20


def test_measured_steps_with_calibration(connection):
    for runs, mean in (("multi_node", 0.06), ("single_node", 0.06)):
        found = fitted(connection, runs)
        assert found["mape"] <= mean
        assert set(found["at_bound"]) <= set(found["fitted"])
        assert quality(connection, runs, found)["mape"] == pytest.approx(found["mape"])
        assert sum(residual["n"] for residual in found["residuals"]) == found["n"]


@pytest.mark.parametrize(("hidden", "mean"), [(3072, 0.11), (6144, 0.08), (8192, 0.08), (12288, 0.06)])
def test_measured_steps_of_a_model_that_was_left_out(connection, hidden, mean):
    found = fitted(connection, f"(FROM multi_node WHERE hidden <> {hidden})")
    assert quality(connection, f"(FROM multi_node WHERE hidden = {hidden})", found)["mape"] <= mean


@pytest.mark.parametrize(("hidden", "tau"), [(3072, 0.9), (6144, 0.55), (8192, 0.55), (12288, 0.65)])
def test_plans_are_ranked(connection, hidden, tau):
    assert quality(connection, f"(FROM multi_node WHERE hidden = {hidden})")["kendall_tau"] >= tau


def test_a_fit_finds_what_made_the_times(connection):
    constants = "{'gemm_efficiency': 0.6, 'intra_efficiency': 0.6, 'step_s': 0.2}"
    made = f"SELECT * EXCLUDE iteration_ms, 1000 * training_step_predict(t, {constants}) AS iteration_ms"
    found = fitted(connection, f"({made} FROM multi_node t)")
    assert found["mape"] <= 0.005
    assert found["constants"]["gemm_efficiency"] == pytest.approx(0.6, abs=0.02)


def test_few_runs_tell_few_constants(connection):
    found = fitted(connection, "(FROM multi_node WHERE row IN (0, 42, 88))")
    assert 1 <= len(found["fitted"]) <= 3
    assert len(found["fitted"]) + len(found["kept"]) == 12
    priors = dict(duckdb.sql("SELECT name, prior FROM step_time_constants()").fetchall())
    for name in found["kept"]:
        assert found["constants"][name] == pytest.approx(priors[name])
    alone = fitted(connection, "(FROM single_node WHERE tp = 1 AND dp = 1 AND pp = 2)")
    assert {"intra_efficiency", "gradient_overlap"} & set(alone["kept"])
    assert fitted(connection, "(FROM multi_node LIMIT 0)") is None


@pytest.mark.parametrize(
    ("seconds", "options", "told"),
    [
        ("iteration_ms", "", "looks like milliseconds: the median run is [0-9]+ times"),
        ("-1", "", "argument step_time_s must be above 0, got -1"),
        ("1", "outlier: 0", "argument outlier must be above 0, got 0"),
        ("1", "cluster: 'here'", "there is no cluster 'here'"),
        ("1", "zero_stage: 4", "zero_stage is 4; expected one of"),
    ],
)
def test_wrong_fits(connection, seconds, options, told):
    call = f"training_model_fit({seconds}, {COLUMNS}, {{{options or 'vocab: 51200'}}})"
    with pytest.raises(duckdb.Error, match=told):
        fitted(connection, "multi_node", call)


def test_plan_quality():
    rows = "(VALUES (1.0, 1.5), (2.0, 1.0), (4.0, 4.0), (NULL, 1.0)) t(measured, predicted)"
    [(found,)] = duckdb.sql(f"SELECT plan_quality(measured, predicted) FROM {rows}").fetchall()
    assert found == pytest.approx({"mape": 1 / 3, "median_ape": 0.5, "kendall_tau": 1 / 3, "top1_regret": 1.0})
    [(one, none)] = duckdb.sql("SELECT plan_quality(2.0, 1.0), plan_quality(NULL::DOUBLE, 1.0)").fetchall()
    assert one == {"mape": 0.5, "median_ape": 0.5, "kendall_tau": None, "top1_regret": 0.0}
    assert none is None
    with pytest.raises(duckdb.Error, match="argument predicted must be times above 0, got 0.0"):
        duckdb.sql("SELECT plan_quality(1.0, 0.0)").fetchall()
