"""Aggregates that a user writes as a class: right in every place where SQL allows an aggregate."""

import math
import zlib
from typing import NamedTuple

import duckdb
import numpy as np
import pytest
from declared_functions import geo_mean, sql

from ironlake.udf import engine
from ironlake.udf.engine import aggregate
from ironlake.udf.engine.declaration import DeclarationError

GEO = "exp(avg(ln(x::DOUBLE)))"
ROWS = "(SELECT i, i % 7 AS k, (1 + (i * 37) % 101)::DOUBLE AS x FROM range(200000) t(i))"


def same(con, mine, theirs, rest):
    """Two expressions agree on every row of a query, NULLs included."""
    query = (
        f"SELECT count(*) FILTER ((a IS NULL) <> (b IS NULL) OR abs(a - b) > 1e-9 * abs(b)), count(b) "
        f"FROM (SELECT {mine} AS a, {theirs} AS b {rest})"
    )
    differing, told = con.execute(query).fetchall()[0]
    assert differing == 0
    assert told > 0 or "500" in mine


# ----------------------------------------------------------------------------------------------- where SQL aggregates


@pytest.mark.parametrize(
    ("mine", "theirs", "rest"),
    [
        ("geo_mean(x)", GEO, f"FROM {ROWS}"),
        ("geo_mean(x)", GEO, f"FROM {ROWS} GROUP BY k"),
        ("geo_mean(x)", GEO, f"FROM {ROWS} GROUP BY i % 50000"),
        ("geo_mean(x) FILTER (x > 50)", "exp(avg(ln(x)) FILTER (x > 50))", f"FROM {ROWS} GROUP BY k"),
        ("geo_mean(x) FILTER (x > 500)", "exp(avg(ln(x)) FILTER (x > 500))", f"FROM {ROWS} GROUP BY k"),
        ("geo_mean(DISTINCT x)", "exp(avg(DISTINCT ln(x)))", f"FROM {ROWS} GROUP BY k"),
        ("geo_mean(x ORDER BY i DESC)", GEO, f"FROM {ROWS} GROUP BY k"),
        ("geo_mean(x)", GEO, f"FROM {ROWS} GROUP BY ROLLUP (k, i % 3)"),
        ("geo_mean(x)", GEO, f"FROM {ROWS} WHERE x > 99 AND i % 5 = 0 GROUP BY k"),
        ("geo_mean(x)", GEO, f"FROM {ROWS} GROUP BY k HAVING geo_mean(x) > 1"),
    ],
)
def test_geometric_mean_like_sql(threaded, mine, theirs, rest):
    same(threaded, mine, theirs, rest)


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "PARTITION BY k",
        "ORDER BY i",
        "PARTITION BY k ORDER BY i",
        "ORDER BY i ROWS BETWEEN 5 PRECEDING AND CURRENT ROW",
        "ORDER BY i ROWS BETWEEN 3 FOLLOWING AND 7 FOLLOWING",
        "PARTITION BY k ORDER BY i ROWS BETWEEN UNBOUNDED PRECEDING AND 2 PRECEDING",
        "ORDER BY x RANGE BETWEEN 2 PRECEDING AND 2 FOLLOWING",
        "ORDER BY x GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW",
        "ORDER BY i ROWS BETWEEN 9 PRECEDING AND 9 FOLLOWING EXCLUDE CURRENT ROW",
        "ORDER BY x ROWS BETWEEN 9 PRECEDING AND 9 FOLLOWING EXCLUDE TIES",
        "ORDER BY i ROWS BETWEEN i % 10 PRECEDING AND i % 4 FOLLOWING",
    ],
)
def test_windows_like_sql(threaded, frame):
    rows = f"FROM (SELECT * FROM {ROWS} WHERE i < 6000)"
    same(threaded, f"geo_mean(x) OVER ({frame})", f"exp(avg(ln(x)) OVER ({frame}))", rows)


def test_windows_with_filter_and_distinct(threaded):
    rows = f"FROM (SELECT * FROM {ROWS} WHERE i < 3000)"
    frame = "ORDER BY i ROWS BETWEEN 5 PRECEDING AND CURRENT ROW"
    same(threaded, f"geo_mean(x) FILTER (k = 1) OVER ({frame})", f"exp(avg(ln(x)) FILTER (k = 1) OVER ({frame}))", rows)
    same(threaded, f"geo_mean(DISTINCT x) OVER ({frame})", f"exp(avg(DISTINCT ln(x)) OVER ({frame}))", rows)


def test_order_inside_the_aggregate(threaded):
    query = "SELECT collect(x::DOUBLE ORDER BY i DESC) FROM range(50000) t(i), (SELECT 3 AS three) s, LATERAL (SELECT i % three AS x)"
    assert threaded.execute(query).fetchall() == [([float((49999 - i) % 3) for i in range(50000)],)]


def test_all_values_reach_the_state_once(threaded):
    threaded.execute("CREATE TABLE t AS SELECT i::DOUBLE AS x, i % 1000 AS k FROM range(500000) t(i)")
    query = "SELECT count(*), bool_and(list_sort(a) = b) FROM (SELECT collect(x) AS a, list(x ORDER BY x) AS b FROM t GROUP BY k)"
    assert threaded.execute(query).fetchall() == [(1000, True)]
    assert threaded.execute("SELECT list_sort(collect(x)) = (SELECT list(x ORDER BY x) FROM t) FROM t").fetchall() == [
        (True,)
    ]


def test_a_million_groups(threaded):
    query = "SELECT sum(g) FROM (SELECT geo_mean(x) AS g FROM (SELECT 1 + i % 3 AS x, i % 1000000 AS k FROM range(2000000) t(i)) GROUP BY k)"
    want = "SELECT sum(g) FROM (SELECT exp(avg(ln(x))) AS g FROM (SELECT 1 + i % 3 AS x, i % 1000000 AS k FROM range(2000000) t(i)) GROUP BY k)"
    assert threaded.execute(query).fetchall()[0][0] == pytest.approx(threaded.execute(want).fetchall()[0][0])


def test_reservoir_sample_is_the_k_best_rows(threaded):
    threaded.execute("CREATE TABLE t AS SELECT i AS id, 1 + i % 10 AS w, i % 5 AS k FROM range(300000) t(i)")
    got = dict(threaded.execute("SELECT k, weighted_sample(id, w, {'k': 20}) FROM t GROUP BY k").fetchall())
    ids = np.arange(300000)
    u = ((ids * 2654435761) % 4294967296 + 0.5) / 4294967296
    keys = np.log(u) / (1 + ids % 10)
    for group in range(5):
        mine = ids[ids % 5 == group]
        assert got[group] == sorted(mine[np.argsort(keys[mine])[-20:]].tolist())


def test_hyper_log_log_counts(threaded):
    threaded.execute("CREATE TABLE t AS SELECT i % 40000 AS x, i % 3 AS k FROM range(400000) t(i)")
    exact = dict(threaded.execute("SELECT k, count(DISTINCT x) FROM t GROUP BY k").fetchall())
    for group, estimate in threaded.execute("SELECT k, hyper_log_log(x) FROM t GROUP BY k").fetchall():
        assert estimate == pytest.approx(exact[group], rel=0.12)
    (over,) = threaded.execute("SELECT hyper_log_log(x) OVER () FROM t LIMIT 1").fetchall()[0]
    assert over == threaded.execute("SELECT hyper_log_log(x) FROM t").fetchall()[0][0]  # merging loses nothing


@pytest.mark.parametrize("name", ["geo_mean", "weighted_sample", "hyper_log_log"])
def test_empty_groups_are_null(con, name):
    arguments = "1, 1" if name == "weighted_sample" else "1"
    assert con.execute(f"SELECT {name}({arguments}) WHERE false").fetchall() == [(None,)]
    assert con.execute(f"SELECT {name}({arguments.replace('1', 'NULL')})").fetchall() == [(None,)]


# ----------------------------------------------------------------------------------------------------------- the state


def operate(con, operation, at=0, x=5.0):
    return con.execute(f"SELECT array_operations({x}, {{'operation': {operation}, 'at': {at}}})").fetchall()[0][0]


def test_negative_indices_and_slices(con):
    assert operate(con, 0) == [0.0, 5.0, 5.0, 5.0]


@pytest.mark.parametrize("at", [-4, -1, 0, 3])
def test_indices_inside(con, at):
    assert operate(con, 1, at) == [0.0] * 4
    assert operate(con, 2, at)[at] == 5.0


@pytest.mark.parametrize("operation", [1, 2])
@pytest.mark.parametrize("at", [-5, 4, 10**6, -(10**6), 2**62, -(2**62), 2**63 - 1, -(2**63)])
def test_indices_outside_are_errors(con, operation, at):
    with pytest.raises(duckdb.Error, match="array_operations: index .* is outside an array of length 4"):
        operate(con, operation, at)


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 1000, 100000])
def test_resize(con, length):
    assert operate(con, 3, length) == [0.0] * length
    if length:
        assert operate(con, 4, length) == [7.0] + [0.0] * (length - 1)


@pytest.mark.parametrize("length", [-1, -(2**63), 2**60, 2**61, 2**61 + 1, 2**62, 2**63 - 1])
def test_resize_to_the_impossible_is_an_error(length):
    from frontdoor import survives

    output = survives(
        "con = duckdb.connect()\n"
        f"try: con.execute(\"SELECT array_operations(1, {{'operation': 3, 'at': ({length})::BIGINT}})\").fetchall()\n"
        "except duckdb.Error as error: print('refused:', error)\n"
    )
    assert "refused:" in output


def test_an_array_extended_by_itself(con):
    assert operate(con, 6) == [0.0] * 8


def test_an_array_extended_by_a_view_of_itself(con):
    got = operate(con, 7, 18)
    assert len(got) == 4 * 2**18
    assert got == [5.0, 0.0, 0.0, 0.0] * 2**18


def test_an_array_cannot_be_assigned(con):
    """Assigning an array would share its memory: it is a copy or an error, never a crash."""
    from frontdoor import survives

    output = survives(
        "@aggregate\n"
        "class stolen:\n"
        "    values: list[float]\n"
        "    def update(self, x: float): self.values.append(x)\n"
        "    def merge(self, other): self.values = other.values\n"
        "    def finish(self) -> int: return len(self.values)\n"
        "con = duckdb.connect(config={'threads': 4})\n"
        "con.execute('CREATE TABLE t AS SELECT i::DOUBLE AS x FROM range(1000000) t(i)')\n"
        "try: con.execute('SELECT stolen(x) FROM t').fetchall()\n"
        "except duckdb.Error as error: print(error)\n"
        "con.close()\n"
        "assert engine.live_arrays() == 0\n"
    )
    assert "Traceback" not in output


def test_scalars_constants_defaults_and_helpers(threaded):
    query = "SELECT scalar_attributes(x::DOUBLE) FROM range(5, 12005) t(x)"
    assert threaded.execute(query).fetchall() == [("12000 24100 5 120002 flag started",)]


# --------------------------------------------------------------------------------------------------------------- NULLs


def test_nulls_are_skipped_or_passed_on(threaded):
    rows = "FROM (SELECT CASE WHEN i % 3 = 0 THEN NULL ELSE i::DOUBLE END AS x, CASE WHEN i % 5 = 0 THEN NULL ELSE 1.0::DOUBLE END AS w FROM range(30000) t(i))"
    assert threaded.execute(f"SELECT count_nulls(x) {rows}").fetchall() == [({"rows": 30000, "nulls": 10000},)]
    assert threaded.execute(f"SELECT count_nulls(x, w) {rows}").fetchall() == [({"rows": 30000, "nulls": 14000},)]
    want = sum(i for i in range(30000) if i % 3 and i % 5)
    assert threaded.execute(f"SELECT weighted_total(x, w) {rows}").fetchall() == [({"value": want, "lost": 14000},)]
    want = 10 * sum(i for i in range(30000) if i % 3)
    assert threaded.execute(f"SELECT weighted_total(x) {rows}").fetchall() == [({"value": want, "lost": 10000},)]


def test_groups_without_rows(con):
    assert con.execute("SELECT count_nulls(1.0) WHERE false").fetchall() == [({"rows": 0, "nulls": 0},)]
    assert con.execute("SELECT weighted_total(1.0) WHERE false").fetchall() == [(None,)]
    assert con.execute("SELECT count_nulls(1.0) FILTER (false), weighted_total(1.0) FILTER (false)").fetchall() == [
        ({"rows": 0, "nulls": 0}, None)
    ]


# ------------------------------------------------------------------------------------------------------------- options

DEFAULTS = {"k": 3, "scale": 1.0, "on": True, "mode": "fast", "rate": None, "limit": None, "weights": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ("", {}),
        (", {'k': 5}", {"k": 5}),
        (", {'k': 5.0}", {"k": 5}),
        (", {'K': 5}", {"k": 5}),
        (", {'scale': 2}", {"scale": 2.0}),
        (", {'scale': 0.25}", {"scale": 0.25}),
        (", {'on': false}", {"on": False}),
        (", {'mode': 'slow'}", {"mode": "slow"}),
        (", {'rate': 'auto'}", {}),
        (", {'rate': 0.5}", {"rate": 0.5}),
        (", {'limit': 7}", {"limit": 7}),
        (", {'limit': NULL}", {}),
        (", {'weights': [3, 4.5]}", {"weights": [3.0, 4.5]}),
        (", {'weights': []}", {"weights": []}),
        (", {'k': 4, 'scale': 3, 'on': false}", {"k": 4, "scale": 3.0, "on": False}),
        (", MAP {'k': 9}", {"k": 9}),
        (""", '{"k": 9, "scale": 0.5}'""", {"k": 9, "scale": 0.5}),
    ],
)
def test_options(con, options, changed):
    got = con.execute(f"SELECT echo_options(x{options}) FROM range(3) t(x)").fetchall()
    assert got == [({**DEFAULTS, **changed},)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("{'kk': 1}", "unknown option 'kk'; did you mean 'k'"),
        ("{'scal': 1}", "unknown option 'scal'; did you mean 'scale'"),
        ("{'k': 1.5}", "option 'k' must be an integer, got 1.5"),
        ("{'k': 'three'}", "option 'k' must be an integer, got 'three'"),
        ("{'k': NULL}", "option 'k' must be an integer"),
        ("{'k': [1]}", "option 'k' must be an integer"),
        ("{'k': 1e30}", "option 'k'"),
        ("{'on': 1}", "option 'on' must be true or false, got 1"),
        ("{'mode': 'sloww'}", "option 'mode' is 'sloww'; did you mean 'slow'"),
        ("{'rate': 'manual'}", "option 'rate'"),
        ("{'weights': 3}", "option 'weights'"),
        ("{'weights': ['a']}", "option 'weights'"),
        ("{'weights': [NULL]}", "option 'weights'"),
        ("3", "options must be a STRUCT"),
        ("'k=3'", "options must be a STRUCT"),
        ("{'k': date '2020-01-01'}", "option"),
        ("{'k': x}", "the options differ inside one group"),
    ],
)
def test_wrong_options_are_told(con, options, message):
    with pytest.raises(duckdb.Error, match=f"echo_options: .*{message}"):
        con.execute(f"SELECT echo_options(x, {options}) FROM range(3) t(x)").fetchall()


def test_options_from_group_to_group(threaded):
    query = "SELECT k, echo_options(x, {'k': k, 'scale': k / 2}) FROM (SELECT i % 10 AS k, i AS x FROM range(30000) t(i)) GROUP BY k"
    for k, got in threaded.execute(query).fetchall():
        assert got == {**DEFAULTS, "k": k, "scale": k / 2}


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("moved_from(1)", 1),
        ("moved_from(1, {'scale': 3})", 3),
        ("moved_from(1, {'scale': 3}, 2)", 6),
        ("moved_from(1, NULL, 2)", 2),
        ("moved_from(1, {'origin': NULL}, 2)", 2),
        ("moved_from(1, {'origin': {'name': 'half', 'at': 7, 'steps': [1, 2]}})", 2008.5),
        ("moved_from(1, {'origin': {'name': 'x', 'at': 7, 'steps': [], 'more': 3}, 'scale': 2}, 5)", 17),
    ],
)
def test_columns_behind_options_and_structs_among_them(con, call, expected):
    assert con.execute(f"SELECT {call}").fetchall() == [(expected,)]


@pytest.mark.parametrize("origin", ["3", "{'name': 'x'}", "{'name': 'x', 'at': 'y', 'steps': []}"])
def test_structs_of_another_shape_are_refused(con, origin):
    with pytest.raises(duckdb.Error, match="moved_from: option 'origin' must be"):
        con.execute(f"SELECT moved_from(1, {{'origin': {origin}}})").fetchall()


def test_options_of_a_group_without_rows(con):
    """`empty=True` promises finish for a group without rows; its options are those of the declaration."""
    assert con.execute("SELECT echo_options(1) WHERE false").fetchall() == [(DEFAULTS,)]


def test_a_required_option(con):
    @aggregate
    class needs_option:
        k: int

        def init(self, k: int):
            self.k = k

        def update(self, x: float):
            pass

        def merge(self, other):
            pass

        def finish(self) -> int:
            return self.k

    assert con.execute("SELECT needs_option(1, {'k': 7})").fetchall() == [(7,)]
    with pytest.raises(duckdb.Error, match="needs_option: option 'k' is missing"):
        con.execute("SELECT needs_option(1)").fetchall()


def test_an_option_of_two_types(con):
    """int | float: either works as declared, or the declaration is refused; never bits of one read as the other."""

    class two_types:
        k: float

        def init(self, k: int | float = 1):
            self.k = k

        def update(self, x: float):
            pass

        def merge(self, other):
            pass

        def finish(self) -> float:
            return self.k

    try:
        aggregate(two_types)
    except DeclarationError:
        return
    assert con.execute("SELECT two_types(1, {'k': 0.5}), two_types(1, {'k': 2}), two_types(1)").fetchall() == [
        (0.5, 2.0, 1.0)
    ]


# -------------------------------------------------------------------------------------------------------- declarations


def declare(source, name="broken"):
    scope = {"aggregate": aggregate, "sql": sql, "NamedTuple": NamedTuple, "math": math, "np": np}
    exec(source, scope)
    return scope[name]


UPDATE, MERGE, FINISH = (
    "    def update(self, x: float): pass\n",
    "    def merge(self, other): pass\n",
    "    def finish(self) -> float: return 0.0\n",
)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (MERGE + FINISH, "broken: the method update"),
        (UPDATE + FINISH, "broken: the method merge"),
        (UPDATE + MERGE, "broken: the method finish"),
        ("    def update(self): pass\n" + MERGE + FINISH, "broken: update needs column arguments"),
        ("    def update(self, x): pass\n" + MERGE + FINISH, "parameter 'x' needs a type"),
        ("    def update(self, x: dict): pass\n" + MERGE + FINISH, "parameter 'x'"),
        ("    def update(self, *x: float): pass\n" + MERGE + FINISH, r"\*x cannot be called from SQL"),
        (UPDATE + MERGE + "    def finish(self): return 0.0\n", "finish needs a result type"),
        (UPDATE + MERGE + "    def finish(self) -> dict: return 0.0\n", "result of finish"),
        (UPDATE + MERGE + "    def finish(self) -> int | float: return 0.0\n", "result of finish"),
        ("    s: str\n" + UPDATE + MERGE + FINISH, "attribute 's'"),
        ("    s: dict\n" + UPDATE + MERGE + FINISH, "attribute 's'"),
        ("    s: list[list[float]]\n" + UPDATE + MERGE + FINISH, "attribute 's'"),
        ("    def init(self, k: bytes): pass\n" + UPDATE + MERGE + FINISH, "option 'k' is BLOB; an option is a number"),
        ("    def init(self, k: list[str]): pass\n" + UPDATE + MERGE + FINISH, "option 'k' is VARCHAR"),
        ("    def init(self, k): pass\n" + UPDATE + MERGE + FINISH, "parameter 'k' needs a type"),
    ],
)
def test_wrong_declarations_are_told(body, message):
    with pytest.raises(DeclarationError, match=message):
        declare("@aggregate\nclass broken:\n" + body)


@pytest.mark.parametrize("text", ["FLOAT[]", "DOUBLE[3]", "STRUCT(a INTEGER, b VARCHAR[])", "DOUBLE | FLOAT[]"])
def test_types_as_sql_text(text):
    declared = declare(
        f"@aggregate\nclass as_text:\n    def update(self, x: '{text}'): pass\n{MERGE}{FINISH}", "as_text"
    )
    assert text.split(" | ")[0] in declared.declaration.signature


@pytest.mark.parametrize("name", ["geometric_mean", "sum", "count", "quantile", "abs", "lower"])
def test_a_name_that_duckdb_owns(name):
    with pytest.raises((ValueError, DeclarationError), match=name):
        declare(f"@aggregate(name={name!r})\nclass broken:\n{UPDATE}{MERGE}{FINISH}")
    assert name not in engine.functions


@pytest.mark.parametrize(
    "body",
    [
        "    n: int\n    def update(self, x: float): self.m += 1\n" + MERGE + FINISH,
        "    n: int\n    def update(self, x: float): self.n = 'text'\n" + MERGE + FINISH,
        "    n: int\n    def update(self, x: float): self.help(x)\n" + MERGE + FINISH,
        "    n: int\n    def update(self, x: float): open('/tmp/x')\n" + MERGE + FINISH,
        "    n: list[float]\n    def update(self, x: float): self.n.add(x)\n" + MERGE + FINISH,
        UPDATE + MERGE + "    def finish(self) -> float: return 'text'\n",
        UPDATE + MERGE + "    def finish(self) -> list[float]: return 1.0\n",
        UPDATE + "    def merge(self): pass\n" + FINISH,
    ],
)
def test_a_class_that_does_not_compile(con, body):
    name = f"broken_{zlib.crc32(body.encode())}"
    declare(f"@aggregate(name={name!r})\nclass broken:\n{body}")
    for _ in range(2):
        with pytest.raises(duckdb.Error, match=f"{name}: it cannot be compiled") as error:
            con.execute(f"SELECT {name}(1)").fetchall()
        assert len(str(error.value)) < 1500
        assert "intrinsic guarded" not in str(error.value), "the message speaks of the engine, not of the user's code"
    assert con.execute("SELECT geo_mean(4)").fetchall()[0][0] == pytest.approx(4)


def test_numba_exceptions_keep_their_message(con):
    with pytest.raises(duckdb.Error, match=r"failing: update failed on purpose at 5.0"):
        con.execute("SELECT failing(x::DOUBLE, {'where': 1}) FROM range(10) t(x)").fetchall()
    with pytest.raises(duckdb.Error, match=r"failing: finish failed on purpose with 10"):
        con.execute("SELECT failing(x::DOUBLE, {'where': 3}) FROM range(10) t(x)").fetchall()
    with pytest.raises(duckdb.Error, match=r"failing: init failed on purpose"):
        con.execute("SELECT failing(x::DOUBLE, {'where': 4}) FROM range(10) t(x)").fetchall()


TOTAL = """
@aggregate
class redeclared{base}:
    value: float
    def update(self, x: float): self.value += {factor} * x
    def merge(self, other): self.value += other.value
    def finish(self) -> float: return self.value
"""


def test_redeclaring_in_an_open_database(con):
    for factor in (1, 2, 3):
        declare(TOTAL.format(base="", factor=factor), "redeclared")
        assert con.execute("SELECT redeclared(x) FROM range(5) t(x)").fetchall() == [(10.0 * factor,)]
        assert duckdb.connect().execute("SELECT redeclared(x) FROM range(5) t(x)").fetchall() == [(10.0 * factor,)]


def test_redeclaring_a_base_class(con):
    for factor in (1, 2):
        declare(
            "class Base:\n    value: float\n"
            f"    def update(self, x: float): self.value += {factor} * x\n"
            "    def merge(self, other): self.value += other.value\n"
            "@aggregate\nclass derived(Base):\n    def finish(self) -> float: return self.value\n",
            "derived",
        )
        assert con.execute("SELECT derived(x) FROM range(5) t(x)").fetchall() == [(10.0 * factor,)]


def test_a_helper_with_a_default(con):
    declare(
        "@aggregate\nclass helped:\n    n: int\n"
        "    def add(self, by=2): self.n += by\n"
        "    def update(self, x: float): self.add()\n"
        "    def merge(self, other): self.n += other.n\n"
        "    def finish(self) -> int: return self.n\n",
        "helped",
    )
    assert con.execute("SELECT helped(x) FROM range(5) t(x)").fetchall() == [(10,)]


@pytest.mark.filterwarnings("ignore:First-class function type")
def test_functions_as_values(con):
    declare(
        "import numba\n"
        "@numba.njit\ndef plus(x, y): return x + y\n"
        "@numba.njit\ndef larger(x, y): return max(x, y)\n"
        "@aggregate\nclass chosen:\n    total: float\n    n: int\n"
        "    def update(self, x: float):\n"
        "        step = plus\n"
        "        if self.n == 2:\n            step = larger\n"
        "        self.total = step(self.total, x)\n"
        "        self.n += 1\n"
        "    def merge(self, other): self.total += other.total\n"
        "    def finish(self) -> float: return self.total\n",
        "chosen",
    )
    assert con.execute("SELECT chosen(x) FROM unnest([1.0, 2.0, 7.0]::DOUBLE[]) t(x)").fetchall() == [(7.0,)]


def test_a_truth_value_of_a_number(con):
    """`-> bool` gives true for any number but 0, as in Python."""
    declare(
        "@aggregate\nclass any_rows:\n    n: int\n"
        "    def update(self, x: float): self.n += 1\n"
        "    def merge(self, other): self.n += other.n\n"
        "    def finish(self) -> bool: return self.n\n",
        "any_rows",
    )
    for rows in (1, 2, 255, 256, 512):
        assert con.execute(f"SELECT any_rows(x), any_rows(x) = true FROM range({rows}) t(x)").fetchall() == [
            (True, True)
        ]


def test_the_face(con):
    assert geo_mean(np.array([1.0, 4.0])) == pytest.approx(2.0)
    assert con.execute("SELECT geo_mean(x) FROM (VALUES (1), (4)) t(x)").fetchall()[0][0] == pytest.approx(2.0)


def test_the_last_store_of_a_method_is_kept(con):
    """A view of a growable array is the state's memory, also where nothing reads it later in the method."""

    @aggregate
    class last_store:
        numbers: list[float]

        def room(self):
            self.numbers.resize(len(self.numbers) + 1)
            return self.numbers[len(self.numbers) - 1 :]

        def update(self, x: list[float]):
            place = self.room()
            place[len(x) - 1] = x[0]

        def merge(self, other):
            self.numbers.extend(other.numbers)

        def finish(self) -> list[float]:
            return self.numbers[:]

    assert con.execute("SELECT list_sort(last_store([i])) FROM range(5) t(i)").fetchall() == [([0, 1, 2, 3, 4],)]
