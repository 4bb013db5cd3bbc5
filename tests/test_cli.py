"""The command line, as a user sees it."""

import csv
import io
import json
import subprocess
import sys

import pyarrow as pa
import pytest
from typer.testing import CliRunner

import ironlake
from ironlake.cli import app
from ironlake.demo import steps


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    runner = CliRunner()

    def call(*arguments: object, exit_code: int = 0):
        result = runner.invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == exit_code, result.output
        return result

    return call


@pytest.fixture
def lake(tmp_path):
    lake = ironlake.open(tmp_path / "lake")
    lake.write("t", pa.table({"x": [1, 2], "name": ["a", None]}))
    return lake


def fails(run, *arguments: object) -> str:
    """The error line of a call that has to fail: one line, no traceback, nothing on standard output."""
    result = run(*arguments, exit_code=1)
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1
    return result.stderr


class TestSql:
    def test_table(self, run):
        output = run("sql", "SELECT 42 AS answer").stdout
        assert "answer" in output
        assert "42" in output

    def test_lake(self, run, lake):
        assert "│     3 │" in run("sql", "SELECT sum(x)::INT AS total FROM t", "--lake", lake.root).stdout

    def test_csv(self, run):
        query = (
            """SELECT 1 AS n, 'a,"b"' AS text, NULL AS nothing, [1, 2] AS list, {'d': DATE '2020-01-01'} AS struct"""
        )
        assert list(csv.reader(io.StringIO(run("sql", query, "--format", "csv").stdout))) == [
            ["n", "text", "nothing", "list", "struct"],
            ["1", 'a,"b"', "", "[1, 2]", "{'d': 2020-01-01}"],
        ]

    def test_json(self, run, lake):
        output = run("sql", "SELECT *, 'nan'::DOUBLE AS hollow FROM t", "--lake", lake.root, "--format", "json").stdout
        assert json.loads(output) == [{"x": 1, "name": "a", "hollow": None}, {"x": 2, "name": None, "hollow": None}]

    def test_no_rows(self, run):
        assert run("sql", "SELECT 1 AS x WHERE false", "--format", "json").stdout == "[]\n"
        assert run("sql", "SELECT 1 AS x WHERE false", "--format", "csv").stdout == "x\n"

    def test_large_results_are_complete(self, run):
        output = run("sql", "SELECT range AS x FROM range(25_000)", "--format", "csv").stdout
        assert output.splitlines() == ["x", *map(str, range(25_000))]
        output = run("sql", "SELECT range AS x FROM range(25_000)", "--format", "json").stdout
        assert [row["x"] for row in json.loads(output)] == list(range(25_000))

    def test_several_statements(self, run):
        query = (
            "CREATE TABLE t AS SELECT 5 AS x; -- a comment; with a semicolon\nINSERT INTO t VALUES (6);\nFROM t; -- end"
        )
        assert run("sql", query, "--format", "csv").stdout == "x\n5\n6\n"

    def test_explain_is_readable(self, run):
        assert "Projection" in run("sql", "EXPLAIN SELECT 1").stdout.splitlines()[0]

    def test_errors(self, run, lake):
        assert "Parser Error: syntax error" in fails(run, "sql", "SELEC 1")
        assert "Table with name nothing does not exist" in fails(run, "sql", "FROM nothing", "--lake", lake.root)
        assert "does not exist" in fails(run, "sql", "SELECT 1", "--lake", lake.root / "none")
        assert "is a Delta table; open the directory" in fails(run, "sql", "SELECT 1", "--lake", lake.root / "t")
        assert "lake_scan" in fails(run, "sql", "FROM lake_scan('/nowhere')")


class TestRun:
    def test_every_result_is_shown(self, run, lake, tmp_path):
        file = tmp_path / "two.sql"
        file.write_text("SELECT 'first' AS a;\n-- between\nSELECT count(*) AS n FROM t;\n", encoding="utf-8")
        assert run("run", file, "--lake", lake.root, "--format", "csv").stdout == "a\nfirst\nn\n2\n"

    def test_errors_name_the_statement(self, run, tmp_path):
        file = tmp_path / "bad.sql"
        file.write_text("CREATE TABLE t (x INT); FROM missing; SELECT 1", encoding="utf-8")
        assert f"{file}, statement 2: Catalog Error: " in fails(run, "run", file).replace("\n", "")

    def test_missing_file(self, run, tmp_path):
        assert "none.sql" in fails(run, "run", tmp_path / "none.sql")


class TestFunctions:
    def test_list(self, run):
        output = run("functions").stdout
        for text in ("lake_scan", "table", "logistic_fit", "aggregate", "predict", "scalar"):
            assert text in output

    def test_pattern(self, run):
        output = run("functions", "LAKE_").stdout
        assert "lake_scan_sql" in output
        assert "logistic_fit" not in output

    def test_one_function_is_shown_in_full(self, run):
        assert run("functions", "predict").stdout.startswith("predict(model ")  # although predict_proba matches too
        output = run("functions", "logistic_fit").stdout
        assert output.startswith("logistic_fit(label ")
        assert "Parameters" in output

    def test_no_match(self, run):
        assert "no function has 'zzz' in its name" in fails(run, "functions", "zzz")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    directory = tmp_path_factory.mktemp("demo") / "a lake"
    result = CliRunner().invoke(app, ["demo", str(directory)])
    assert result.exit_code == 0, result.output
    return directory, result.stdout


class TestDemo:
    def test_tables(self, built):
        lake = ironlake.open(built[0])
        assert lake.tables() == ["digits", "evaluation", "models", "predictions"]
        counts = {name: lake.sql(f"SELECT count(*) FROM {name}").fetchall()[0][0] for name in lake.tables()}
        assert counts == {"digits": 1797, "evaluation": 11, "models": 11, "predictions": 359}
        assert dict(zip(lake.table("digits").columns, map(str, lake.table("digits").types), strict=True)) == {
            "id": "INTEGER", "image": "FLOAT[]", "digit": "INTEGER", "split": "VARCHAR",
        }  # fmt: skip

    def test_the_models_are_good(self, built):
        lake = ironlake.open(built[0])
        [(accuracy,)] = lake.sql("SELECT avg((digit = predicted)::INT) FROM predictions").fetchall()
        assert accuracy > 0.94
        [(worst,)] = lake.sql("SELECT min(metrics.roc_auc) FROM evaluation").fetchall()
        assert worst > 0.95

    def test_it_prints_the_statements_that_it_ran(self, built):
        directory, output = built
        for part in ("GROUP BY class", "logistic_fit(", "binary_metrics(", "5/5", f"--lake '{directory}'"):
            assert part in output

    def test_the_statements_can_be_copied(self, built):
        lake = ironlake.open(built[0])
        for step in steps(ironlake.demo.Path("unused"))[1:]:
            assert lake.sql(step.sql).limit(1).fetchall()

    def test_running_again_adds_versions(self, built, run):
        versions = ironlake.open(built[0])["digits"].version
        run("demo", built[0])
        lake = ironlake.open(built[0])
        assert lake["digits"].version == versions + 1
        assert lake.sql("SELECT count(*) FROM models").fetchall() == [(11,)]

    def test_it_keeps_away_from_other_files(self, run, tmp_path):
        (tmp_path / "thesis.txt").write_text("precious")
        assert "holds 'thesis.txt', which is not the demo's" in fails(run, "demo", tmp_path)
        (tmp_path / "thesis.txt").rename(tmp_path / "digits")
        assert "pass --force" in fails(run, "demo", tmp_path)
        run("demo", tmp_path, "--force", exit_code=1)  # a file stands where a table should
        assert (tmp_path / "digits").read_text() == "precious"
        (tmp_path / "digits").rename(tmp_path / "thesis.txt")
        run("demo", tmp_path, "--force")
        assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_version(run):
    assert run("version").stdout.startswith(f"ironlake {ironlake.__version__}, duckdb ")


def test_the_program_in_a_pipe_that_closes_early():
    program = "from ironlake.cli import main; main()"
    query = "SELECT range FROM range(1_000_000)"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "sql", query, "--format", "csv"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"range\n"
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 0
