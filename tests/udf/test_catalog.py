"""The other faces of a declaration: the catalog in SQL, and the Python function with its help."""

import inspect
import pydoc
from typing import Literal, NamedTuple

import duckdb
import ironlake
import numpy as np
import pyarrow as pa
import pytest
from declared_functions import (
    add_one,
    batches,
    echo_options,
    fit_line,
    geo_mean,
    run_query,
    scaled,
    squares,
    weighted_total,
)
from typed_functions import as_doubles

from ironlake.udf import engine
from ironlake.udf.engine import aggregate, scalar


class Span(NamedTuple):
    low: float
    high: float


@aggregate
class documented:
    """The least and the greatest value,
    in one pass.

    Parameters
    ----------
    x : metres.

    Returns
    -------
    STRUCT
        ``low`` and ``high`` in metres.

    References
    ----------
    Somebody: A paper, section 3,
    equation 4.

    Examples
    --------
    SELECT documented(x) FROM range(3) t(x);
    SELECT documented(x, {'mode': 'far'}) FROM range(3) t(x);
    """

    low: float = np.inf
    high: float = -np.inf

    def init(self, k: int = 3, mode: Literal["near", "far"] = "near", weights: list[float] = (1.0, 0.5)):
        pass

    def update(self, x: float):
        self.low, self.high = min(self.low, x), max(self.high, x)

    def merge(self, other):
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    def finish(self) -> Span:
        return Span(self.low, self.high)


@scalar
def scale_text(text: str, times: int = 2) -> str:
    """A text, repeated."""
    return text * times


SIGNATURE = (
    "documented(x DOUBLE, {k BIGINT := 3, mode VARCHAR := 'near', weights DOUBLE[] := [1.0, 0.5]}) "
    "-> STRUCT(low DOUBLE, high DOUBLE)"
)

# --------------------------------------------------------------------------------------------------------------- in SQL


def test_the_columns_of_the_catalog(con):
    described = con.execute("DESCRIBE FROM ironlake_functions()").fetchall()
    names = ["name", "kind", "signature", "description", "source", "example"]
    assert [(name, type_) for name, type_, *_ in described] == [(name, "VARCHAR") for name in names]


def test_a_declared_function_is_a_row(con):
    query = "FROM ironlake_functions() WHERE name = 'documented'"
    assert con.execute(query).fetchall() == [
        (
            "documented",
            "aggregate",
            SIGNATURE,
            "The least and the greatest value, in one pass.",
            "Somebody: A paper, section 3, equation 4.",
            "SELECT documented(x) FROM range(3) t(x);\nSELECT documented(x, {'mode': 'far'}) FROM range(3) t(x);",
        )
    ]
    for statement in documented.declaration.documentation.statements():
        assert con.execute(statement).fetchall() == [({"low": 0.0, "high": 2.0},)]


@pytest.mark.parametrize(
    ("name", "kind", "signature"),
    [
        ("add_one", "scalar", "add_one(x DOUBLE) -> DOUBLE"),
        ("scale_text", "scalar", "scale_text(text VARCHAR, times BIGINT := 2) -> VARCHAR"),
        ("geo_mean", "aggregate", "geo_mean(x DOUBLE) -> DOUBLE"),
        ("weighted_total", "aggregate", "weighted_total(x DOUBLE, weight DOUBLE := 10.0) -> STRUCT(value DOUBLE, lost BIGINT)"),
        ("fit_line", "relation", "fit_line(x DOUBLE, y DOUBLE, {digits BIGINT := 6}) -> STRUCT(slope DOUBLE, intercept DOUBLE, residuals DOUBLE[])"),
        ("squares", "table", "squares(start BIGINT, stop BIGINT := 5, step BIGINT := 1) -> TABLE"),
        ("run_query", "table", "run_query(query VARCHAR := 'SELECT 42 AS x') -> TABLE"),
        ("as_doubles", "scalar", "as_doubles(values FLOAT[] | DOUBLE[] | FLOAT[n] | DOUBLE[n] | INTEGER[n] | BIGINT[n]) -> DOUBLE[]"),
    ],
)  # fmt: skip
def test_kinds_and_signatures(con, name, kind, signature):
    query = f"SELECT kind, signature FROM ironlake_functions() WHERE name = '{name}'"
    assert con.execute(query).fetchall() == [(kind, signature)]


def test_the_catalog_is_sorted_and_complete(con):
    listed = [name for (name,) in con.execute("SELECT name FROM ironlake_functions()").fetchall()]
    assert listed == sorted(engine.declarations)
    query = "SELECT count(DISTINCT function_name) FROM duckdb_functions() WHERE function_name IN (SELECT name FROM ironlake_functions())"
    assert con.execute(query).fetchall() == [(len(listed),)]


def test_functions_declared_later_appear(con):
    @scalar
    def declared_later(x: float) -> float:
        """Later."""
        return x

    query = "SELECT description FROM ironlake_functions() WHERE name = 'declared_later'"
    assert con.execute(query).fetchall() == [("Later.",)]
    assert con.execute("SELECT declared_later(1)").fetchall() == [(1.0,)]


# ------------------------------------------------------------------------------------------------------------ in Python


def test_attributes_of_the_package():
    assert ironlake.geo_mean is geo_mean is engine.functions["geo_mean"]
    assert "documented" in dir(ironlake)


def test_help_and_signature():
    text = pydoc.plain(pydoc.render_doc(documented))
    for part in (
        "documented(x, *, k=3, mode='near', weights=(1.0, 0.5))",
        "documented(x DOUBLE, {k BIGINT",
        "x : metres.",
    ):
        assert part in text
    assert str(inspect.signature(squares)) == "(start, stop=5, step=1)"
    assert str(inspect.signature(run_query)) == "(query='SELECT 42 AS x')"
    assert (geo_mean.__name__, geo_mean.__module__) == ("geo_mean", "ironlake")


def test_scalars_of_scalars():
    assert add_one(1) == add_one(1.0) == add_one(np.float32(1)) == 2.0
    assert add_one(None) is None
    assert scale_text("ab") == "abab"
    assert scale_text("ab", times=3) == scale_text(text="ab", times=3) == "ababab"
    assert as_doubles([1, 2]) == as_doubles(np.array([1.0, 2.0])) == [1.0, 2.0]


def test_scalars_of_columns():
    numbers = add_one(np.arange(3000))
    assert isinstance(numbers, np.ndarray)
    assert numbers.tolist() == list(range(1, 3001))
    column = add_one(pa.array([1.0, None]))
    assert isinstance(column, pa.Array | pa.ChunkedArray)
    assert column.to_pylist() == [2.0, None]
    assert add_one(pa.chunked_array([[1.0], [], [2.0]])).to_pylist() == [2.0, 3.0]
    assert scale_text(pa.array(["a", "b"]), 2).to_pylist() == ["aa", "bb"]
    assert scale_text(pa.array(["a", "b"]), pa.array([0, 3])).to_pylist() == ["", "bbb"]
    assert [row.tolist() for row in as_doubles(np.ones((2, 3), np.float32))] == [[1.0] * 3] * 2
    assert add_one(np.array([])).tolist() == []


def test_scalars_of_tables():
    table = pa.table({"times": [1, 2], "other": [0, 0], "text": ["a", "b"]})
    assert scale_text(table).to_pylist() == ["a", "bb"]
    assert scale_text(table.drop_columns("times")).to_pylist() == ["aa", "bb"]
    assert scale_text(duckdb.sql("SELECT 'x' AS text")).to_pylist() == ["xx"]


def test_aggregates():
    columns = [1, 100], np.array([1.0, 100.0]), pa.array([1.0, None, 100.0]), pa.chunked_array([[1.0], [100.0]])
    for column in (*columns, pa.table({"x": [1, 100]}), duckdb.sql("SELECT unnest([1, 100]) AS x")):
        assert geo_mean(column) == geo_mean(x=[100, 1]) == pytest.approx(10)
    assert geo_mean([]) is None
    assert weighted_total([1, 2], [10, 100]) == {"value": 210.0, "lost": 0}
    assert weighted_total([1, None]) == {"value": 10.0, "lost": 1}
    assert fit_line(x=[0, 1], y=[1, 3], digits=2) == {"slope": 2.0, "intercept": 1.0, "residuals": [0.0, 0.0]}


def test_options_are_keywords():
    told = echo_options([1.0], k=7, mode="slow", rate=0.5, weights=np.array([3.0]), on=np.bool_(False))
    assert told == {"k": 7, "scale": 1.0, "on": False, "mode": "slow", "rate": 0.5, "limit": None, "weights": [3.0]}
    assert scaled(np.array([1.0, 2.0]), by=3).tolist() == [3.0, 6.0]
    assert scaled(2.0, how="down") == 1.0


def test_tables():
    assert squares(2, step=2).to_pydict() == {"i": [2, 4], "square": [4, 16]}
    assert squares(1, 3) == squares(start=1, stop=3)
    assert batches(n=2, rows=2).to_pydict() == {"batch": [0, 0, 1, 1], "row": [0, 1, 0, 1]}
    assert run_query("SELECT 1 AS one, NULL AS none").to_pylist() == [{"one": 1, "none": None}]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: geo_mean(), TypeError, "geo_mean: argument 'x' is missing"),
        (lambda: geo_mean([1], [2]), TypeError, "geo_mean takes 1 column arguments, got 2"),
        (lambda: geo_mean([1], y=2), TypeError, "geo_mean: unknown argument 'y'"),
        (lambda: echo_options([1], scal=2), TypeError, "unknown argument 'scal'; did you mean 'scale'"),
        (lambda: echo_options([1], scale="x"), duckdb.Error, "option 'scale' must be a number, got 'x'"),
        (lambda: geo_mean(pa.table({"y": [1]})), TypeError, "the table has no column 'x'; its columns are 'y'"),
        (lambda: weighted_total([1, 2], [1]), ValueError, "columns of different lengths: 'x' has 2 rows, 'weight' has 1 rows"),
        (lambda: add_one("a"), duckdb.Error, "Could not convert string 'a'"),
        (lambda: squares(), ValueError, "argument 'start' is missing"),
        (lambda: squares(1, 2, 3, 4), TypeError, "squares takes 3 arguments, got 4"),
        (lambda: squares(1, steps=2), ValueError, "unknown argument 'steps'; did you mean 'step'"),
        (lambda: squares("a"), ValueError, "argument 'start' must be an integer, got 'a'"),
    ],
)  # fmt: skip
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call()
