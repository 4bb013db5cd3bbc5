"""Cancelled queries, errors at bad moments, databases closed too early, many threads: no crash, no hang, no leak.

Whatever could take the process with it runs in a process of its own; a hang there is a `TimeoutExpired`.
"""

from pathlib import Path

import duckdb
import pytest
from frontdoor import survives

#: Run a query in a thread, interrupt it once ``running`` is set, and let it go on; what it raised.
INTERRUPT = """
running, go_on = threading.Event(), threading.Event()

@scalar(form="arrow", volatile=True)
def signal(x: int) -> int:
    running.set()
    return x

@relation
def wait(x: int) -> int:
    running.set()
    go_on.wait()
    return len(x)

@table
def endless(wait: bool = False):
    while True:
        running.set()
        if wait:
            go_on.wait()
        yield pa.record_batch({"i": np.arange(2048)})

def interrupted(con, query):
    raised = []
    def execute():
        try: con.execute(query).fetchall()
        except BaseException as error: raised.append(type(error).__name__)
    thread = threading.Thread(target=execute)
    running.clear(); go_on.clear()
    thread.start()
    running.wait()
    con.interrupt()
    go_on.set()
    thread.join()
    return raised

con = duckdb.connect(config={"threads": 2})
con.execute("SET enable_progress_bar = false")
"""


@pytest.mark.parametrize(
    "query",
    [
        "SELECT collect(signal(i)) FROM range(1000000000000) t(i)",
        "SELECT k, failing(x) FROM (SELECT signal(i) % 7 AS k, i::DOUBLE AS x FROM range(1000000000000) t(i)) GROUP BY k",
        "SELECT max(add_one(signal(i))) FROM range(1000000000000) t(i)",
        "SELECT max(scaled(signal(i))) FROM range(1000000000000) t(i)",
        "SELECT rows_as_text(signal(i), 'a', [i]) FROM range(1000000000000) t(i)",
        "SELECT sum(i) FROM endless()",
        "SELECT geo_mean(a.i + b.i + 1) FROM endless() a, range(100) b(i)",
    ],
)
def test_an_interrupted_query_stops(query):
    output = survives(
        INTERRUPT
        + f"print(interrupted(con, {query!r}))\n"
        + "print(con.execute('SELECT add_one(1), (SELECT count(*) FROM squares(0))').fetchall())\n"
        + "con.close(); gc.collect(); print(engine.live_arrays(), 'arrays left')\n"
    )
    assert output.splitlines() == ["['InterruptException']", "[(2.0, 5)]", "0 arrays left"]


def test_interrupts_while_python_works():
    """The interrupt arrives while a body is running; the query ends after the body."""
    output = survives(
        INTERRUPT
        + "print(interrupted(con, 'SELECT sum(i) FROM endless(wait := true)'))\n"
        + "print(interrupted(con, 'SELECT sum(n) FROM (SELECT wait(i) AS n FROM range(100000) t(i) GROUP BY i)'))\n"
        + "print(con.execute('SELECT wait(1)').fetchall())\n"
    )
    assert output.splitlines() == ["['InterruptException']", "['InterruptException']", "[(1,)]"]


# --------------------------------------------------------------------------------------------------- errors in callbacks


@pytest.mark.parametrize("where", [1, 2, 3, 4])
def test_errors_in_every_method_of_an_aggregate(where):
    """`where` is update, merge, finish or init; the data is large enough for several threads to have states."""
    output = survives(
        "con = duckdb.connect(config={'threads': 4})\n"
        "con.execute('SET enable_progress_bar = false')\n"
        "con.execute('CREATE TABLE t AS SELECT i::DOUBLE AS x, i % 3 AS k FROM range(1000000) t(i)')\n"
        "told = set()\n"
        "for _ in range(10):\n"
        f"    try: con.execute(\"SELECT failing(x, {{'where': {where}}}) FROM t\").fetchall()\n"
        "    except duckdb.InvalidInputException as error: told.add(str(error).split(' on purpose')[0])\n"
        "print(told)\n"
        "con.execute('SELECT failing(x) FROM t GROUP BY k').fetchall()\n"
        "con.close(); gc.collect(); print(engine.live_arrays(), 'arrays left')\n"
    )
    method = ["update", "merge", "finish", "init"][where - 1]
    assert output.splitlines() == ["{'Invalid Input Error: failing: " + method + " failed'}", "0 arrays left"]


@pytest.mark.parametrize("call", ["failing(x, {'where': 3})", "relation_fails(x, 'value')"])
@pytest.mark.parametrize("over", ["", "OVER (ORDER BY x ROWS 3 PRECEDING)"])
def test_states_whose_results_fail_are_released(con, call, over):
    """DuckDB does not destroy the states of a batch of results that ended in an error; the fixture counts them.

    On one thread: on more, DuckDB forgets the groups of the batches that it did not come to (docs/functions.md, limits).
    """
    con.execute("SET threads = 1")
    with pytest.raises(duckdb.InvalidInputException, match="failed on purpose"):
        con.execute(f"SELECT {call} {over} FROM range(500) t(x) {'' if over else 'GROUP BY x % 70'}")


ROWS = "(SELECT i::DOUBLE AS x, i % 3 AS k FROM range(20000) t(i))"
WINDOW = "OVER (PARTITION BY k ORDER BY x ROWS 90 PRECEDING)"


@pytest.mark.parametrize(
    "query",
    [
        f"SELECT failing(x, {{'where': 1}}) FROM {ROWS} GROUP BY k",
        f"SELECT failing(x, {{'where': 4}}) FROM {ROWS} GROUP BY k",
        f"SELECT failing(x, {{'where': 1}}) FROM {ROWS} GROUP BY ROLLUP (k, x % 2)",
        f"SELECT failing(x, {{'where': 1}} ORDER BY x DESC) FROM {ROWS}",
        f"SELECT failing(x, {{'where': 3}} ORDER BY x DESC) FROM {ROWS}",
        f"SELECT failing(x, {{'where': 1}}) {WINDOW} FROM {ROWS}",
        f"SELECT failing(x, {{'where': 2}}) {WINDOW} FROM {ROWS}",
        f"SELECT failing(x, {{'where': 4}}) {WINDOW} FROM {ROWS}",
    ],
)
def test_errors_in_groups_and_windows(threaded, query):
    """The fixture asserts that nothing stays allocated."""
    with pytest.raises(duckdb.InvalidInputException, match="failing: .* failed on purpose"):
        threaded.execute(query).fetchall()
    assert threaded.execute(f"SELECT failing(x) FROM {ROWS}").fetchall() == [(20000.0,)]


def test_exceptions_that_leave_python_alone():
    """SystemExit and KeyboardInterrupt in a body are errors of the query, not the end of the process or a wrong result."""
    output = survives(
        "con = duckdb.connect()\n"
        "@table\n"
        "def leaves(where: str):\n"
        "    if where == 'bind': raise SystemExit('out')\n"
        "    def batches():\n"
        "        yield pa.record_batch({'i': [1]})\n"
        "        raise KeyboardInterrupt\n"
        "    return batches()\n"
        "for query in (\"SELECT misbehave(1, 'exit')\", \"SELECT relation_fails(1, 'exit')\",\n"
        "              \"SELECT relation_fails(1, 'interrupt')\", \"FROM leaves('bind')\", \"FROM leaves('run')\"):\n"
        "    try: print(con.execute(query).fetchall())\n"
        "    except duckdb.Error as error: print(str(error).splitlines()[0].split(': ', 1)[1])\n"
    )
    assert output.splitlines() == [
        "misbehave: SystemExit: out",
        "relation_fails: SystemExit: out",
        "relation_fails: KeyboardInterrupt: KeyboardInterrupt",
        "leaves: SystemExit: out",
        "leaves: KeyboardInterrupt: KeyboardInterrupt",
    ]


def test_a_body_that_closes_or_uses_the_connection():
    output = survives(
        "con = duckdb.connect()\n"
        "other = con.cursor()\n"
        "@scalar(form='arrow', volatile=True)\n"
        "def ask(x: int) -> int:\n"
        "    return pa.array([other.execute('SELECT add_one(?)', [n]).fetchone()[0] for n in x.to_pylist()], pa.float64()).cast(pa.int64())\n"
        "print(con.execute('SELECT sum(ask(i)) FROM range(10) t(i)').fetchall())\n"
        "@table\n"
        "def closes(n: int = 1):\n"
        "    other.close()\n"
        "    return pa.table({'n': [n]})\n"
        "print(con.execute('FROM closes()').fetchall())\n"
    )
    assert output.splitlines() == ["[(55,)]", "[(1,)]"]


# ------------------------------------------------------------------------------------------------- databases that close


def test_closing_the_database_during_a_query():
    """The main connection closes while a cursor's query runs: the query ends, well or with an error."""
    output = survives(
        INTERRUPT
        + "for query in ('SELECT collect(signal(i)) FROM range(3000000) t(i)', 'SELECT rows_as_text(signal(i), NULL, [i]) FROM range(20000) t(i)',\n"
        + "              'SELECT sum(i) FROM (FROM endless() LIMIT 2000000)', 'SELECT wait(i) FROM range(5000) t(i) GROUP BY i % 2'):\n"
        + "    con = duckdb.connect(config={'threads': 2}); cursor = con.cursor()\n"
        + "    running.clear(); go_on.clear(); ended = []\n"
        + "    def execute():\n"
        + "        try: ended.append(len(cursor.execute(query).fetchall()))\n"
        + "        except duckdb.Error as error: ended.append(type(error).__name__)\n"
        + "    thread = threading.Thread(target=execute); thread.start()\n"
        + "    running.wait(); go_on.set()  # closing waits for the cursor's query\n"
        + "    try: con.close()\n"
        + "    except duckdb.Error: pass  # DuckDB may refuse while a query runs\n"
        + "    del con; thread.join()\n"
        + "    print(ended); cursor.close(); del cursor; gc.collect()\n"
        + "print(engine.live_arrays(), 'arrays left')\n"
    )
    assert output.splitlines() == ["[1]", "[1]", "[1]", "[2]", "0 arrays left"]


def test_results_and_generators_outlive_their_connection():
    output = survives(
        "generator_log.clear()\n"
        "con = duckdb.connect()\n"
        "result = con.execute('FROM batches(n := 1000)')\n"
        "print(result.fetchone())\n"
        "con.close(); del con, result; gc.collect()\n"
        "print(generator_log[-1])\n"
        "for _ in range(50):\n"
        "    con = duckdb.connect(); con.execute('SET enable_progress_bar = false')  # compiling may take long\n"
        "    con.execute('SELECT geo_mean(2), count(*) FROM squares(0)').fetchall(); con.close()\n"
        "print(engine.live_arrays(), 'arrays left')\n"
    )
    assert output.splitlines() == ["(0, 0)", "close", "0 arrays left"]


def test_leaving_the_process_with_everything_open():
    output = survives(
        "con = duckdb.connect(); con.execute('CREATE TABLE t AS SELECT geo_mean(i + 1) AS m FROM range(10) t(i)')\n"
        "pending = con.execute('FROM batches(n := 1000)'); pending.fetchone()\n"
        "prepared = con.execute('PREPARE p AS SELECT add_one(?)')\n"
        "print(geo_mean([1.0]))\n"
    )
    assert output.splitlines() == ["1.0"]


# --------------------------------------------------------------------------------------------------------- many threads


def test_many_threads_with_cursors():
    output = survives(
        "con = duckdb.connect(config={'threads': 2})\n"
        "con.execute('CREATE TABLE t AS SELECT i::DOUBLE AS x, i % 5 AS k FROM range(5000) t(i)')\n"
        "queries = ['SELECT k, geo_mean(x + 1), len(collect(x)) FROM t GROUP BY k ORDER BY k',\n"
        "           'SELECT sum(add_one(x)), sum(scaled(x)), count(positive_or_null(x)) FROM t',\n"
        "           'SELECT k, fit_line(x, 2 * x).slope FROM t GROUP BY k ORDER BY k',\n"
        "           'SELECT sum(square) FROM squares(0, stop := 1000)', 'FROM run_query()',\n"
        "           \"SELECT echo_options(x, {'k': 5}) FROM t\"]\n"
        "start, results, errors = threading.Barrier(8), {}, []\n"
        "def work(number):\n"
        "    cursor = con.cursor()\n"
        "    start.wait()\n"
        "    for turn in range(24):\n"
        "        query = queries[(number + turn) % len(queries)]\n"
        "        try: results.setdefault(query, set()).add(repr(cursor.execute(query).fetchall()))\n"
        "        except Exception as error: errors.append(error)\n"
        "        if turn % 6 == 0: geo_mean([1.0, 4.0])\n"
        "threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]\n"
        "[thread.start() for thread in threads]; [thread.join() for thread in threads]\n"
        "con.close(); gc.collect()\n"
        "print(len(results), {len(told) for told in results.values()}, errors, engine.live_arrays())\n"
    )
    assert output.splitlines() == ["6 {1} [] 0"]


def test_threads_that_compile_and_declare_at_once():
    """Eight threads use a new function for the first time at once, each in a database of its own, and declare others."""
    output = survives(
        "@scalar\n"
        "def fresh(x: float) -> float: return x * 3\n"
        "start, told = threading.Barrier(8), []\n"
        "def work(number):\n"
        "    start.wait()\n"
        "    con = duckdb.connect()\n"
        "    exec(f'@scalar(form=\"numpy\")\\ndef own_{number}(x: float) -> float: return x + {number}', {'scalar': scalar})\n"
        "    told.append(con.execute(f'SELECT fresh(2), own_{number}(1)').fetchone())\n"
        "threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]\n"
        "[thread.start() for thread in threads]; [thread.join() for thread in threads]\n"
        "print(sorted(told) == [(6.0, 1.0 + number) for number in range(8)])\n"
    )
    assert output.splitlines() == ["True"]


def test_a_cache_that_is_broken_or_cannot_be_written(tmp_path):
    """Rubbish in the cache is compiled anew; a cache that is no folder is done without."""
    (tmp_path / "file").write_text("not a folder")
    source = (
        "import os, pathlib; os.environ['IRONLAKE_CACHE_DIR'] = {!r}\n"
        "con = duckdb.connect(); print(con.execute('SELECT add_one(1)').fetchall())\n"
    )
    cache = tmp_path / "cache"
    assert survives(source.format(str(cache))).splitlines() == ["[(2.0,)]"]
    entries = list(cache.glob("*.pickle"))
    assert entries
    for entry, content in zip(entries, (b"", b"rubbish", b"\x80\x04N."), strict=False):
        entry.write_bytes(content)
    assert survives(source.format(str(cache))).splitlines() == ["[(2.0,)]"]
    assert survives(source.format(str(tmp_path / "file"))).splitlines() == ["[(2.0,)]"]


def test_what_one_process_compiles_others_wait_for(tmp_path, monkeypatch):
    monkeypatch.setenv("IRONLAKE_CACHE_DIR", str(tmp_path))
    query = "duckdb.sql('SELECT add_one(1)').fetchall()"
    other = (
        f"import sys, duckdb; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import frontdoor, declared_functions\n"
        "from ironlake.udf.engine import machine\n"
        "machine._compile = lambda *function: sys.exit('compiled here, too')\n"
        f"print('asks', flush=True); print({query})\n"
    )
    output = survives(
        "import subprocess\n"
        "from ironlake.udf.engine import machine\n"
        "compile_ = machine._compile\n"
        "def with_another(*function):\n"
        "    global other\n"
        f"    other = subprocess.Popen([sys.executable, '-c', {other!r}], stdout=subprocess.PIPE, text=True)\n"
        "    print(other.stdout.readline(), end='')\n"
        "    return compile_(*function)\n"
        "machine._compile = with_another\n"
        f"{query}\n"
        "print(other.communicate()[0], end='')\n"
    )
    assert output.splitlines() == ["asks", "[(2.0,)]"]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_who_waits_for_the_compiler_is_told(tmp_path, monkeypatch, is_terminal):
    monkeypatch.setenv("IRONLAKE_CACHE_DIR", str(tmp_path))
    output = survives(
        "from ironlake.udf.engine import machine\n"
        "machine._PATIENCE = 0.0\n"
        f"sys.stderr.isatty = lambda: {is_terminal}\n"
        "sys.stderr.write = sys.stdout.write\n"
        "con = duckdb.connect(); con.sql('SELECT add_one(1)').fetchall()\n"
        "con.sql('SELECT add_one(1)').fetchall()\n"
    )
    assert output == (f"ironlake: compiling add_one; it is kept in {tmp_path}\n" if is_terminal else "")


def test_a_helper_that_sql_compiled_first_can_be_called_from_python(tmp_path, monkeypatch):
    """Code of helpers that is linked into a callback has no machine code of its own."""
    monkeypatch.setenv("IRONLAKE_CACHE_DIR", str(tmp_path))
    output = survives(
        "import numba\n"
        "from ironlake.udf.tasks.loss import _exact_sigmoid\n"
        "@numba.njit\n"
        "def helper(x):\n"
        "    return _exact_sigmoid(x) + 1\n"
        "def helped(x: float) -> float:\n"
        "    return helper(x) * 2\n"
        "scalar(helped)\n"
        "con = duckdb.connect()\n"
        "print(con.sql('SELECT helped(0.0)').fetchall(), _exact_sigmoid(0.0), helper(0.0))\n"
        "def again(x: float) -> float:\n"
        "    return helper(x) * 3\n"
        "scalar(again)\n"
        "print(con.sql('SELECT again(0.0)').fetchall())\n"
    )
    assert output.splitlines() == ["[(3.0,)] 0.5 1.5", "[(4.5,)]"]
