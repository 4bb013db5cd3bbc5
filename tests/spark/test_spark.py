"""Spark's own ways of a call: by name, by value, beside others, in parallel; and what is refused."""

import doctest
import logging
import math
import os
import runpy
import sys
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

import ironlake
import ironlake.spark as ils
from ironlake.rdd import programs

pytest.importorskip("pyspark")
from pyspark.errors import PySparkException

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def silent():
    """Spark's errors that a test expects are not logged."""
    logger = logging.getLogger("SQLQueryContextLogger")
    logger.disabled = True
    yield
    logger.disabled = False


def test_workers_are_forked_from_a_process_that_has_the_package(spark):
    def parent(_):
        return Path(f"/proc/{os.getppid()}/cmdline").read_text().split("\0")

    [command] = spark.sparkContext.parallelize([0], 1).map(parent).collect()
    assert "ironlake.spark.daemon" in command


@pytest.fixture(scope="module")
def table(spark):
    draw = np.random.default_rng(5)
    x = draw.normal(size=(600, 2))
    made = pa.table({"g": np.arange(600) % 3, "x": pa.array(list(x)), "y": x[:, 0] - x[:, 1] > 0.2, "z": x[:, 0]})
    spark.createDataFrame(made).coalesce(1).createOrReplaceTempView("t")
    return made


@pytest.mark.parametrize(
    "query",
    [
        "SELECT g, count(*) AS n, regression_metrics(z, g) AS m FROM t GROUP BY g ORDER BY g",
        "SELECT g, regression_metrics(z, g) FILTER (WHERE z > 0) AS m FROM t GROUP BY g ORDER BY g",
        "SELECT g, regression_metrics(z, g) FILTER (WHERE z > 99) AS m FROM t GROUP BY g ORDER BY g",
        "SELECT g, regression_metrics(DISTINCT g, 1) AS m FROM t GROUP BY g ORDER BY g",
        "SELECT z, regression_metrics(z, g) OVER (PARTITION BY g ORDER BY z ROWS 3 PRECEDING) AS m FROM t ORDER BY z",
        "SELECT g, logistic_fit(y, x) AS a, logistic_fit(y, x, {'epochs': 2}) AS b FROM t GROUP BY g ORDER BY g",
        "SELECT fold(g, 5) AS a, prox(x, 'l1', 0.25) AS b, morton_index([g, 1], 2) AS c FROM t ORDER BY z LIMIT 9",
    ],
)
def test_the_same_text_in_both_engines(query, table):
    mine = duckdb.connect().register("t", table).sql(query)
    its = ils.sql(query).toArrow()
    for one, other in zip(mine.to_arrow_table().to_pylist(), its.to_pylist(), strict=True):
        for left, right in zip(flat(one), flat(other), strict=True):
            assert left == right or math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-12) or left != left


def flat(value):
    """The numbers and texts of a nested value."""
    if isinstance(value, dict):
        return [item for each in value.values() for item in flat(each)]
    return [item for each in value for item in flat(each)] if isinstance(value, list) else [value]


def test_names_of_arguments(spark, table):
    with pytest.warns(UserWarning, match="use =>"):
        assert ils.sql("SELECT count(*) FROM cache_sweep_simulate([0.5], policy := 'lru')").first()[0] == 1
    assert ils.sql("SELECT logistic_fit(y, x, epochs => 2).epochs AS n FROM t").first().n == 2
    with pytest.raises(TypeError, match="unknown option 'epoch'; did you mean 'epochs'"):
        ils.sql("SELECT logistic_fit(y, x, epoch => 2) FROM t")
    with pytest.raises(PySparkException, match="Spark loses arguments given by name"):
        spark.sql("SELECT logistic_fit(y, x, epochs => 2) FROM t").collect()
    assert spark.sql("SELECT fold(7, folds => 5, seed => 3) AS f").first().f == ironlake.fold(7, 5, 3)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            "SELECT * FROM cache_sweep_simulate(array(0.5), policie => 'lru')",
            "unknown argument 'policie'; did you mean",
        ),
        ("SELECT * FROM t, LATERAL cache_sweep_simulate(array(z))", "argument 'memory_fraction' must be a constant"),
        ("SELECT logistic_fit(y, x, named_struct('l2', 'much')) FROM t", "option 'l2' must be a number, got 'much'"),
        ("SELECT prox(x, 'l7', 1.0) FROM t", "prox: argument kind"),
    ],
)
def test_mistakes(query, message, spark, table):
    with pytest.raises(PySparkException, match=message):
        spark.sql(query).collect()


def test_mistakes_in_python(spark, table):
    rows = spark.table("t")
    with pytest.raises(ValueError, match="'logistic_fitt' is no aggregate; did you mean 'logistic_fit'"):
        ils.aggregate(rows, "logistic_fitt", "y", "x")
    with pytest.raises(TypeError, match="logistic_fit: argument 'features' is missing"):
        ils.aggregate(rows, "logistic_fit", "y")
    with pytest.raises(TypeError, match="unknown argument 'epoch'; did you mean 'epochs'"):
        ils.functions.logistic_fit("y", "x", epoch=3)
    with pytest.raises(AttributeError, match="has no function 'logistic_fitt'"):
        ils.functions.logistic_fitt  # noqa: B018
    with pytest.raises(ValueError, match="there is no task 'logistics'; did you mean 'logistic'"):
        ils.fit_parallel(rows, "logistics", "y", "x")
    with pytest.raises(ValueError, match="rounds must be at least 1, got 0"):
        ils.fit_parallel(rows, "logistic", "y", "x", rounds=0)


def test_functions_of_columns(spark, table):
    f, rows = ils.functions, spark.table("t")
    model = ironlake.logistic_fit(table["y"], table["x"])
    got = rows.select(f.predict_proba(model, "x").alias("p"), f.fold("g", 5, seed=3).alias("f")).toArrow()
    assert got["p"].to_pylist() == ironlake.predict_proba(model, table["x"]).to_pylist()
    assert got["f"].to_pylist() == ironlake.fold(table["g"], 5, 3).to_pylist()
    assert rows.agg(f.logistic_fit("y", "x", epochs=2).alias("m")).first().m.epochs == 2
    assert f.cache_sweep_simulate([0.5], policy="lru").count() == 1


def test_a_function_of_a_program_travels_by_value(spark, table):
    @ironlake.aggregate
    class spread:
        """The difference between the greatest and the least number."""

        low: float = math.inf
        high: float = -math.inf

        def update(self, x: float):
            self.low, self.high = min(self.low, x), max(self.high, x)

        def merge(self, other):
            self.low, self.high = min(self.low, other.low), max(self.high, other.high)

        def finish(self) -> float:
            return self.high - self.low

    ils.register(spark)
    z = np.array(table["z"])
    assert spark.sql("SELECT spread(z) AS s FROM t").first().s == z.max() - z.min()
    [(staged,)] = ils.aggregate(spark.table("t").repartition(2), "spread", "z").collect()
    assert staged == z.max() - z.min()


def test_two_stages(spark, table):
    rows = spark.table("t").repartition(3)
    exact = {row["g"]: row["m"] for row in duckdb.connect().register("t", table).sql(
        "SELECT g, linear_regression_fit(z, x) AS m FROM t GROUP BY g").to_arrow_table().to_pylist()}  # fmt: skip
    for row in ils.aggregate(rows, "linear_regression_fit", "z", "x", by=["g"]).collect():
        np.testing.assert_allclose(row.linear_regression_fit.coefficients, exact[row.g]["coefficients"], atol=1e-12)
    nothing = rows.where("g > 5")
    assert ils.aggregate(nothing, "logistic_fit", "y", "x", by="g").collect() == []
    assert [tuple(row) for row in ils.aggregate(nothing, "logistic_fit", "y", "x").collect()] == [(None,)]


@pytest.mark.parametrize("average", ["mean", "momentum"])
def test_fit_parallel(average, spark, table):
    rows = spark.table("t").repartition(2)
    model = ils.fit_parallel(rows, "logistic", "y", "x", rounds=4, average=average)
    alone = ironlake.logistic_fit(table["y"], table["x"], epochs=4)
    assert list(model) == list(alone)
    assert (model["n"], model["epochs"], model["stop_reason"]) == (600, 4, "epochs")
    assert model["loss_history"][-1] < model["loss_history"][0]
    chosen = np.array(ironlake.predict(model, table["x"]))
    assert np.mean((chosen == 1) == np.array(table["y"])) > 0.97


@pytest.mark.parametrize("name", programs.__all__)
def test_programs_of_rdds_run_unchanged(name, spark):
    [found] = [
        each for each in doctest.DocTestFinder(recurse=False).find(getattr(programs, name), name) if each.examples
    ]
    found.globs = {**vars(programs), "sc": spark.sparkContext}
    assert doctest.DocTestRunner().run(found).failed == 0


def test_page(spark, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "tests"))
    import run_page

    run_page.run_page((ROOT / "docs" / "spark.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("script", sorted((ROOT / "examples").glob("spark_*.py")), ids=lambda script: script.name)
def test_example(script, spark, capfd):
    runpy.run_path(str(script), run_name="__main__")
    assert "one model for all: loss" in capfd.readouterr().out or script.name != "spark_models.py"


def test_java_is_asked_for(monkeypatch, tmp_path):
    from ironlake.spark import local

    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"needs Java 17\+: there is no java in JAVA_HOME"):
        local.check_java()
    (tmp_path / "bin").mkdir()
    java = tmp_path / "bin" / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    java.chmod(0o755)
    with pytest.raises(RuntimeError, match=r"needs Java 17\+: .*java is version 11; set JAVA_HOME"):
        local.check_java()


def test_pyspark_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark", None)
    monkeypatch.delitem(vars(ils), "fit_parallel", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'ironlake\[spark\]'"):
        ils.fit_parallel  # noqa: B018
