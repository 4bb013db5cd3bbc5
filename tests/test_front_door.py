"""``import ironlake``: what it gives, and what it does not cost."""

import subprocess
import sys

import duckdb
import pytest

import ironlake


def python(program: str) -> str:
    """Run a program in a new process; what it prints."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_any_database_knows_the_functions():
    for connection in (duckdb.connect(), ironlake.connect(), ironlake.connect(threads=1)):
        assert connection.execute("SELECT count(*) > 0 FROM ironlake_functions()").fetchall() == [(True,)]


def test_connect(tmp_path):
    file = tmp_path / "a.duckdb"
    with ironlake.connect(file, threads=1, memory_limit="1GB") as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS x")
        assert connection.execute("SELECT current_setting('threads')").fetchall() == [(1,)]
    with ironlake.connect(file, read_only=True) as connection, pytest.raises(duckdb.Error, match="read-only"):
        connection.execute("CREATE TABLE u (x INT)")
    with pytest.raises(duckdb.Error, match="no_such_setting"):
        ironlake.connect(no_such_setting=1)


def test_load_gives_the_connection_back():
    connection = duckdb.connect()
    assert ironlake.load(connection) is connection


def test_load_explains_a_database_opened_too_early():
    output = python(
        "import duckdb\n"
        "connection = duckdb.connect()\n"
        "import ironlake\n"
        "try:\n"
        "    ironlake.load(connection)\n"
        "except RuntimeError as error:\n"
        "    print(error)\n"
    )
    assert "opened before `import ironlake`" in output
    assert "open it again" in output


def test_functions_are_attributes():
    assert ironlake.lake_scan is ironlake.functions["lake_scan"]
    assert "logistic_fit" in dir(ironlake)
    with pytest.raises(AttributeError, match="no attribute or function 'logistic_fitt'"):
        ironlake.logistic_fitt  # noqa: B018


def test_heavy_libraries_are_imported_only_when_needed():
    heavy = {"numpy", "numba", "duckdb", "pyarrow", "deltalake", "rich", "typer", "pandas", "sklearn", "cloudpickle"}
    output = python("import sys, ironlake; print(*sorted(name for name in sys.modules if '.' not in name))")
    assert not heavy & set(output.split())


def test_functions_are_declared_when_the_first_databases_are_opened():
    output = python(
        "import duckdb, ironlake, threading\n"
        "def ask():\n"
        "    print(duckdb.connect().execute('SELECT fold(7, 5) < 5').fetchone()[0])\n"
        "threads = [threading.Thread(target=ask) for _ in range(4)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
    )
    assert output.split() == ["True"] * 4


def test_functions_of_users_come_after_those_of_the_package():
    output = python(
        "from ironlake.udf.engine import functions, scalar\n"
        "@scalar\n"
        "def twice(x: float) -> float:\n"
        "    return 2 * x\n"
        "print(*list(functions)[-1:], len(functions) > 50)\n"
    )
    assert output.split() == ["twice", "True"]


def test_exports_exist():
    for name in ironlake.__all__:
        assert hasattr(ironlake, name)
