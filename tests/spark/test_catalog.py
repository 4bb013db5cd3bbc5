"""Every function of the catalogue gives the same in DuckDB, in Spark and in Python, on the same random rows."""

import itertools
import math
import re
import shutil
from pathlib import Path

import duckdb
import inputs
import pytest

import ironlake
import ironlake.spark as ils
from ironlake.udf.engine import declarations

pytest.importorskip("pyspark")
from ironlake.spark import rewriting, scalars

OWN = {name: each for name, each in declarations.items() if (each.body.__module__ or "").startswith("ironlake.")}
SCALARS, TABLES = ([name for name in sorted(OWN) if OWN[name].kind == kind] for kind in ("scalar", "table"))
AGGREGATES = [name for name in sorted(OWN) if OWN[name].kind in ("aggregate", "relation")]
#: Columns that tell of a run or a place, not of the data.
_OF_THE_RUN = ("path", "timestamp", "second", "bytes", "size", "id", "engine", "modified", "time")


def call_of(declaration, models, path) -> str:
    """A call of an aggregate in SQL, with the options that it is compiled for anyway."""
    options = inputs.options(declaration)
    arguments = [*inputs.arguments(declaration, models, path), *([str(options)] if options else [])]
    return f"{declaration.name}({', '.join(arguments)})"


@pytest.fixture(scope="module")
def data(spark, tmp_path_factory):
    """The rows in DuckDB and in Spark, with a model of each kind in all of them, and a lake."""
    folder = tmp_path_factory.mktemp("data")
    connection = duckdb.connect(config={"threads": 1})
    table = inputs.rows()
    lake = ironlake.open(folder / "ironlake-demo")
    lake.write("digits", table.select(["digit", "number"]))
    connection.register("rows", table)
    path, models = str(folder / "ironlake-demo" / "digits"), {}
    for name in sorted(AGGREGATES, key="logistic_fit".__ne__):  # a model that gives probabilities
        for each in (OWN[name], *OWN[name].others):
            if str(each.result) not in models and "task" in str(each.result):
                call = call_of(each, models, path)
                model = connection.sql(f"SELECT {call} AS model FROM rows").to_arrow_table().column(0)
                models[str(each.result)] = f"model{len(models)}"
                table = table.append_column(models[str(each.result)], model.take([0] * inputs.ROWS))
                connection.register("rows", table)
    spark.createDataFrame(table).coalesce(1).createOrReplaceTempView("rows")
    return connection, table, models, path


@pytest.fixture(scope="module")
def of_scalars(spark, data):
    """The results of all scalar functions, which are one query."""
    connection, _, models, path = data
    calls = {}
    for name in SCALARS:
        names = {type_: spark_name for spark_name, type_ in scalars.results(OWN[name])}
        for number, each in enumerate((OWN[name], *OWN[name].others)):
            arguments = ", ".join(inputs.arguments(each, models, path))
            calls[f"{name}_{number}"] = (
                f"{name}({arguments})",
                f"{names[scalars.spark_type(each.result)]}({arguments})",
            )
    mine = connection.sql("SELECT " + ", ".join(f"{one} AS {key}" for key, (one, _) in calls.items()) + " FROM rows")
    its = ils.sql("SELECT " + ", ".join(f"{one} AS {key}" for key, (_, one) in calls.items()) + " FROM rows")
    return mine.to_arrow_table(), its.toArrow(), calls


def alike(one, other) -> bool:
    """Whether two values are the same, floating-point numbers but for the order of a sum."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12) or (math.isnan(one) and math.isnan(other))
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, str) and isinstance(other, str):  # the plan of a scan has a number of its process
        one, other = (re.sub(r"(ironlake_(?:filters|part_kept))\(\d+", r"\1(", text) for text in (one, other))
    return one == other


@pytest.mark.parametrize("name", SCALARS)
def test_scalars(name, of_scalars, data):
    mine, its, calls = of_scalars
    _, table, models, path = data
    for number, each in enumerate((OWN[name], *OWN[name].others)):
        key = f"{name}_{number}"
        assert alike(mine.column(key).to_pylist(), its.column(key).to_pylist()), calls[key]
        columns = [
            table.column(text) if text in table.column_names else None for text in inputs.arguments(each, models, path)
        ]
        if all(column is not None for column in columns):
            assert alike(mine.column(key).to_pylist(), getattr(ironlake, name)(*columns).to_pylist())


@pytest.mark.parametrize("name", AGGREGATES)
def test_aggregates(name, data, spark):
    connection, _, models, path = data
    arguments, options = inputs.arguments(OWN[name], models, path), inputs.options(OWN[name])
    query = f"SELECT part, {call_of(OWN[name], models, path)} AS value FROM rows GROUP BY part ORDER BY part"
    mine = connection.sql(query).to_arrow_table().to_pylist()
    assert [row["value"] is None for row in mine] == [False, False]
    assert alike(mine, ils.sql(query).toArrow().to_pylist())
    rows = spark.table("rows").selectExpr("part", *(f"{text} AS a{index}" for index, text in enumerate(arguments)))
    staged = ils.aggregate(rows, name, *rows.columns[1:], by="part", **options).orderBy("part").toArrow()
    assert alike(mine, [{"part": row["part"], "value": row[name]} for row in staged.to_pylist()])
    first = connection.sql(
        f"SELECT {', '.join(f'{text} AS a{index}' for index, text in enumerate(arguments))} FROM rows WHERE part = 0"
    ).to_arrow_table()
    assert alike(mine[0]["value"], getattr(ironlake, name)(*first.columns, **options))


def calls_in(example: str, name: str) -> list[str]:
    """The calls of a function in SQL."""
    pieces = rewriting._parsed(example)
    found = []
    for piece, following in itertools.pairwise(pieces):
        if piece == name and isinstance(following, list):
            found.append("".join(rewriting._tokens([piece, following])))
        elif isinstance(piece, list):
            found += calls_in("".join(rewriting._tokens(piece[1:-1])), name)
    return found


@pytest.mark.parametrize("name", TABLES)
def test_tables(name, data, spark, tmp_path):
    connection, _, _, path = data
    example = OWN[name].documentation.example
    if not calls_in(example, name):
        pytest.skip("its example is not a call: a session of a lake belongs to the process that opened it")
    results = []
    for engine in ("duckdb", "spark"):
        folder = tmp_path / engine
        shutil.copytree(Path(path).parent, folder / "ironlake-demo")
        text = example
        for start in ("market/", "ironlake-demo/", "exports", "app-1", "run.log", "steps.csv", "one_rank.csv"):
            text = text.replace(f"'{start}", f"'{folder}/{start}")
        *before, last = [each for each in duckdb.extract_statements(text) if calls_in(each.query, name)] and [
            each.query for each in duckdb.extract_statements(text)
        ]
        for statement in before:
            connection.execute(statement).fetchall()
        for call in calls_in(last, name):
            query = f"SELECT * FROM {call}"
            made = connection.sql(query).to_arrow_table() if engine == "duckdb" else ils.sql(query).toArrow()
            kept = [
                each for each in made.column_names if each != "file" and not any(word in each for word in _OF_THE_RUN)
            ]
            results.append(([*made.column_names], made.select(kept).to_pylist()))
    half = len(results) // 2
    if name == "ironlake_functions":  # of a process, in which tests declare others
        (_, mine), (_, its) = results
        assert {row["name"] for row in its} == set(OWN)
        assert all(row in mine for row in its)
        return
    assert results[half - 1][1] or name == "delta_vacuum", "an example without rows shows nothing"
    assert all(alike(list(one), list(other)) for one, other in zip(results[:half], results[half:], strict=True))
