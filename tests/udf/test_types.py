"""Every SQL type as argument and as result: values at the limits, NULLs, nesting, overloads, kinds of vectors."""

import datetime

import duckdb
import pytest
import typed_functions
from typed_functions import Flat, Nested, as_doubles

from ironlake.udf.engine import scalar

#: Values of each flat type, the limits among them, as SQL casts them from text. A HUGEINT travels in 64 bits.
FLAT = {
    "BOOLEAN": ["true", "false"],
    "TINYINT": ["-128", "0", "127"],
    "SMALLINT": ["-32768", "-1", "32767"],
    "INTEGER": ["-2147483648", "0", "2147483647"],
    "BIGINT": ["-9223372036854775808", "9223372036854775807", "-1"],
    "UTINYINT": ["0", "255"],
    "USMALLINT": ["0", "65535"],
    "UINTEGER": ["0", "4294967295"],
    "UBIGINT": ["0", "9223372036854775808", "18446744073709551615"],
    "HUGEINT": ["-9223372036854775808", "9223372036854775807", "0"],
    "UHUGEINT": ["0", "9223372036854775808", "18446744073709551615"],
    "FLOAT": ["-3.4028235e38", "1e-45", "nan", "inf", "-0.0"],
    "DOUBLE": ["1.7976931348623157e308", "5e-324", "nan", "-inf", "-0.0"],
    "VARCHAR": ["", "a", "twelve bytes", "thirteen byte", "héλ", "😀" * 4, "tail\x00after", "x" * 5000],
    "BLOB": ["", r"\x00", r"\xFF\x00\xFE", "y" * 100],
    "DATE": ["1970-01-01", "0001-01-01", "9999-12-31", "infinity", "-infinity"],
    "TIMESTAMP": ["1969-12-31 23:59:59.999999", "2262-04-12 00:00:00", "infinity", "-infinity"],
    "TIMESTAMPTZ": ["2020-02-29 12:00:00+05", "1900-01-01 00:00:00+00", "infinity"],
}
NESTED = {
    "doubles": ("DOUBLE[]", ["[]", "[1.5]", "['nan'::DOUBLE, 'inf'::DOUBLE, -0.0]", "range(3000)"]),
    "array": ("FLOAT[3]", ["[1, 2, 3]", "['nan'::FLOAT, 1e38, -1e-45]"]),
    "flags": ("BOOLEAN[]", ["[true, false, true]", "[]", "[false]"]),
    "texts": ("VARCHAR[]", ["['', 'aé', '😀 and a long text']", "[]", "[repeat('x', 999)]"]),
    "blobs": ("BLOB[]", [r"['\x00'::BLOB, ''::BLOB]", "[]"]),
    "matrix": ("INTEGER[][]", ["[[1], [], [2, 3]]", "[]", "[[]]"]),
    "pairs": ("INTEGER[2][]", ["[[1, 2], [3, 4]]", "[]"]),
    "point": (
        "STRUCT(x FLOAT, label VARCHAR)",
        ["{'x': 1.5, 'label': ''}", "{'x': 'nan', 'label': 'some long label'}"],
    ),
    "points": ("STRUCT(x FLOAT, label VARCHAR)[]", ["[{'x': 1, 'label': 'a'}, {'x': 2, 'label': 'bé'}]", "[]"]),
}
SIZES = [1, 2, 7, 2047, 2048, 2049, 4097]


def field_of(values, row):
    return values[row % len(values)]


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


def flat_table(con, rows):
    """A table ``flat(row, v)``: STRUCTs that walk through the values of every flat type."""
    types = ", ".join(f'"{name.lower()}" {name}' for name in FLAT)
    con.execute(f"CREATE OR REPLACE TABLE flat (row INTEGER, v STRUCT({types}))")
    for row in range(min(rows, 40)):
        fields = ", ".join(f"{quoted(field_of(texts, row))}::{name}" for name, texts in FLAT.items())
        con.execute(f"INSERT INTO flat VALUES ({row}, row({fields}))")
    if rows > 40:
        con.execute(f"INSERT INTO flat SELECT i, v FROM range(40, {rows}) t(i) JOIN flat ON row = i % 40")


def nested_table(con, rows):
    """A table ``nested(row, v)``: STRUCTs that walk through the values of every nested type."""
    types = ", ".join(f'"{name}" {type_}' for name, (type_, _) in NESTED.items())
    con.execute(f"CREATE OR REPLACE TABLE nested (row INTEGER, v STRUCT({types}))")
    for row in range(min(rows, 12)):
        fields = ", ".join(f"{field_of(values, row)}::{type_}" for type_, values in NESTED.values())
        con.execute(f"INSERT INTO nested VALUES ({row}, row({fields}))")
    if rows > 12:
        con.execute(f"INSERT INTO nested SELECT i, v FROM range(12, {rows}) t(i) JOIN nested ON row = i % 12")


def differing(con, function, source):
    """How many of the rows a function does not give back as they are, and how many rows there are."""
    query = f"SELECT count(*) FILTER ({function}(v) IS DISTINCT FROM v), count(*) FROM {source}"
    return con.execute(query).fetchall()[0]


# ---------------------------------------------------------------------------------------------------- values come back


@pytest.fixture
def flat(con):
    flat_table(con, 5000)
    return con


@pytest.fixture
def nested(con):
    nested_table(con, 5000)
    return con


def test_every_flat_type_comes_back(flat):
    assert differing(flat, "same_flat", "flat") == (0, 5000)


def test_every_nested_type_comes_back(nested):
    assert differing(nested, "same_nested", "nested") == (0, 5000)
    assert differing(nested, "same_arrow", "nested WHERE row < 50") == (0, 50)


@pytest.mark.parametrize(("function", "table"), [("same_flat", "flat"), ("same_nested", "nested")])
@pytest.mark.parametrize("rows", SIZES)
def test_at_the_boundaries_of_vectors(request, function, table, rows):
    con = request.getfixturevalue(table)
    assert differing(con, function, f"(FROM {table} LIMIT {rows})") == (0, rows)


VECTORS = {
    "filtered": "(FROM {} WHERE row % 3 = 1)",
    "sorted": "(FROM {} ORDER BY hash(row))",
    "dictionary": "(SELECT b.v FROM range(5000) t(i) JOIN {} b ON b.row = i % 10)",
    "constant": "(SELECT (SELECT v FROM {} WHERE row = 3) AS v FROM range(5000))",
    "chosen": "(SELECT CASE WHEN row % 2 = 0 THEN v ELSE (SELECT v FROM {} WHERE row = 1) END AS v FROM {})",
    "unnested": "(SELECT unnest(list) AS v FROM (SELECT list(v) AS list FROM {} GROUP BY row % 7))",
    "null rows": "(SELECT CASE WHEN row % 3 = 0 THEN v END AS v FROM {})",
    "no rows": "(FROM {} WHERE row < 0)",
    "union": "(SELECT v FROM {0} UNION ALL SELECT v FROM {0} WHERE row % 5 = 0)",
}


@pytest.mark.parametrize("vector", VECTORS)
@pytest.mark.parametrize(("function", "table"), [("same_flat", "flat"), ("same_nested", "nested")])
def test_kinds_of_vectors(request, function, table, vector):
    con = request.getfixturevalue(table)
    wrong, rows = differing(con, function, VECTORS[vector].format(table, table))
    assert wrong == 0
    assert (rows == 0) == (vector == "no rows")


def test_a_stored_table(tmp_path):
    """Columns that DuckDB has compressed: constant, dictionary, run-length and bit-packed segments."""
    with duckdb.connect(str(tmp_path / "types.duckdb")) as con:
        flat_table(con, 30000)
        con.execute("CHECKPOINT")
    with duckdb.connect(str(tmp_path / "types.duckdb")) as con:
        assert differing(con, "same_flat", "flat") == (0, 30000)


# --------------------------------------------------------------------------------------------------------------- NULLs


def test_null_arguments_and_null_fields_of_results(flat):
    """Each column is NULL in other rows; with `nulls=True` they arrive as None and leave as NULL fields."""
    names = [name.lower() for name in FLAT]
    columns = ", ".join(
        f'CASE WHEN row % {2 + at} = 0 THEN NULL ELSE v."{name}" END AS "{name}"' for at, name in enumerate(names)
    )
    arguments = ", ".join(f'"{name}"' for name in names)
    fields = ", ".join(f'"{name}" := "{name}"' for name in names)
    query = (
        f"SELECT count(*) FILTER (pack({arguments}) IS DISTINCT FROM struct_pack({fields})), count(boolean), count(*) "
        f"FROM (SELECT {columns} FROM flat)"
    )
    assert flat.execute(query).fetchall() == [(0, 2500, 5000)]


def test_null_lists_arrays_and_structs(con):
    query = (
        "SELECT pack_lists(numbers, a, texts, point) IS NOT DISTINCT FROM "
        "{'numbers': numbers, 'array': a, 'texts': texts, 'point': point} AS same, count(*), count(numbers), count(a) "
        "FROM (SELECT CASE WHEN i % 2 = 0 THEN [i, 0.5]::DOUBLE[] END AS numbers, "
        "CASE WHEN i % 3 = 0 THEN [i, 1, 2]::FLOAT[3] END AS a, CASE WHEN i % 5 > 0 THEN [i::VARCHAR, 'é'] END AS texts, "
        "CASE WHEN i % 7 > 0 THEN {'x': i::FLOAT, 'label': repeat('l', i % 20)} END AS point "
        "FROM range(6000) t(i)) GROUP BY ALL"
    )
    assert con.execute(query).fetchall() == [(True, 6000, 3000, 2000)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("as_doubles([1, NULL]::DOUBLE[])", "argument values has a NULL at position 2 of 2"),
        ("as_doubles([NULL, 2]::FLOAT[2])", "argument values has a NULL at position 1 of 2"),
        ("pack_lists(NULL, NULL, ['a', NULL], NULL)", "a list has a NULL at position 2 of 2"),
        ("pack_lists(NULL, NULL, NULL, {'x': 1, 'label': NULL})", "argument point.label is NULL"),
        ("digest(1, '', [], [[1], NULL], [])", "a list has a NULL at position 2 of 2"),
        ("digest(1, '', [], [[1], [2, NULL]], [])", "has a NULL at position 2 of 2"),
        ("digest(1, '', [], [], [{'x': NULL, 'label': ''}])", "x is NULL"),
    ],
)
def test_a_null_inside_is_an_error_that_says_where(con, call, message):
    name = call.partition("(")[0]
    with pytest.raises(duckdb.InvalidInputException, match=f"{name}: .*{message}"):
        con.execute(f"SELECT {call}").fetchall()


# ------------------------------------------------------------------------------------------------------------ overloads


@pytest.mark.parametrize(
    "type_", ["FLOAT[]", "DOUBLE[]", "FLOAT[2]", "DOUBLE[2]", "INTEGER[2]", "BIGINT[2]", "INTEGER[]"]
)
def test_one_body_for_every_type_of_features(con, type_):
    query = f"SELECT as_doubles([i, -i]::{type_}), typeof(as_doubles([i, -i]::{type_})) FROM range(3000) t(i)"
    assert con.execute(query).fetchall() == [([i, -i], "DOUBLE[]") for i in range(3000)]


def test_arrays_of_any_length(con):
    for length in (1, 3, 100):
        assert con.execute(f"SELECT as_doubles(range({length})::DOUBLE[]::FLOAT[{length}])").fetchall() == [
            ([float(i) for i in range(length)],)
        ]
    assert as_doubles([1.0, 2.0]) == [1.0, 2.0]


# ------------------------------------------------------------------------------------------------------------ aggregates


def test_every_type_in_an_aggregate(flat):
    """Argument, state and result of all flat types: the groups are single rows, so the result is the row."""
    names = [name.lower() for name in FLAT]
    arguments = ", ".join(f'v."{name}"' for name in names)
    kept = [name for name in names if name != "varchar"]
    same = " AND ".join(
        f'e.{result} IS NOT DISTINCT FROM v."{name}"'
        for name, result in zip(names, typed_functions.Extremes._fields, strict=True)
        if name in kept
    )
    query = (
        f"SELECT count(*) FILTER ({same} AND e.longest = repeat('ł', length(v.varchar))), count(*) "
        f"FROM (SELECT extremes({arguments}) AS e, any_value(v) AS v FROM flat GROUP BY row)"
    )
    assert flat.execute(query).fetchall() == [(5000, 5000)]


def test_aggregated_extremes(threaded):
    flat_table(threaded, 40)
    names = [name.lower() for name in FLAT]
    arguments = ", ".join(f'v."{name}"' for name in names)
    want = {
        "any_true": True, "least_tinyint": -128, "most_bigint": 2**63 - 1, "most_ubigint": 2**64 - 1,
        "most_uhugeint": 2**64 - 1, "longest": "ł" * 5000, "blob": b"y" * 100,
    }  # fmt: skip
    fields = ", ".join(f"e.{name}" for name in want)
    query = f"SELECT {fields} FROM (SELECT extremes({arguments}) AS e FROM flat, range(5000))"
    assert threaded.execute(query).fetchall() == [tuple(want.values())]


# ------------------------------------------------------------------------------------------- what 64 bits do not hold


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("HUGEINT", 2**63), ("HUGEINT", -(2**63) - 1), ("HUGEINT", 2**127 - 1), ("HUGEINT", -(2**127)),
        ("UHUGEINT", 2**64), ("UHUGEINT", 2**128 - 1),
    ],
)  # fmt: skip
def test_a_huge_argument_is_an_error(flat, type_, value):
    names = [f"NULL::{name}" if name != type_ else f"{quoted(str(value))}::{name}" for name in FLAT]
    with pytest.raises(duckdb.InvalidInputException, match=f"pack: a {type_} value does not fit into 64 bits"):
        flat.execute(f"SELECT pack({', '.join(names)})").fetchall()


class Narrow(typed_functions.NamedTuple):
    tinyint: typed_functions.TINYINT
    utinyint: typed_functions.UTINYINT
    integer: typed_functions.INTEGER
    uinteger: typed_functions.UINTEGER
    ubigint: typed_functions.UBIGINT
    uhugeint: typed_functions.UHUGEINT
    date: typed_functions.DATE


@scalar
def narrowed(value: int, field: int) -> Narrow:
    """A number as one of several types, 0 as the others."""
    zero = value - value
    return (
        value if field == 0 else zero, value if field == 1 else zero, value if field == 2 else zero,
        value if field == 3 else zero, value if field == 4 else zero, value if field == 5 else zero,
        value if field == 6 else zero,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("field", "low", "high"),
    [
        ("tinyint", -128, 127), ("utinyint", 0, 255), ("integer", -(2**31), 2**31 - 1), ("uinteger", 0, 2**32 - 1),
        ("ubigint", 0, 2**63 - 1), ("uhugeint", 0, 2**63 - 1), ("date", -(2**31), 2**31 - 1),
    ],
)  # fmt: skip
def test_results_that_do_not_fit_are_errors(con, field, low, high):
    at = Narrow._fields.index(field)
    cast = "" if field == "date" else "::HUGEINT"  # days beyond the years that DATE has are not compared
    for fits in (low, high) if field != "date" else (-700000, 2000000):
        got = con.execute(f"SELECT narrowed(({fits})::BIGINT, {at}).{field}{cast}").fetchall()[0][0]
        assert got == (datetime.date(1970, 1, 1) + datetime.timedelta(days=fits) if field == "date" else fits)
    for outside in (low - 1, high + 1):
        if -(2**63) <= outside < 2**63:
            with pytest.raises(duckdb.InvalidInputException, match=f"narrowed: the result {outside} does not fit into"):
                con.execute(f"SELECT narrowed(({outside})::BIGINT, {at})").fetchall()


@scalar
def to_bigint(value: typed_functions.UBIGINT) -> int:
    return value


def test_a_ubigint_that_is_no_bigint(con):
    assert con.execute("SELECT to_bigint(9223372036854775807::UBIGINT)").fetchall() == [(2**63 - 1,)]
    with pytest.raises(duckdb.InvalidInputException, match="the result 9223372036854775808 does not fit into BIGINT"):
        con.execute("SELECT to_bigint(9223372036854775808::UBIGINT)").fetchall()


# --------------------------------------------------------------------------------------------- results made in Python


def test_nested_results_from_python(con):
    typed_functions.examples.update(
        {
            0: {
                "doubles": [1.5, float("inf")], "array": [1.0, 2.0, 3.0], "flags": [True, None], "texts": ["é", None],
                "blobs": [b"\x00", b""], "matrix": [[1, None], None, []], "pairs": [[1, 2], None],
                "point": {"x": 1.0, "label": None}, "points": [None, {"x": None, "label": "a"}],
            },
            1: None,
            2: dict.fromkeys(Nested._fields),
        }
    )  # fmt: skip
    got = dict(con.execute("SELECT k, example(k) FROM range(3) t(k) GROUP BY k").fetchall())
    first = {**typed_functions.examples[0], "array": (1.0, 2.0, 3.0), "pairs": [(1, 2), None]}
    assert got == {0: first, 1: None, 2: typed_functions.examples[2]}


def test_signatures_name_the_types():
    assert f"pack({', '.join(f'{name} {name.upper()}' for name in Flat._fields)}) -> STRUCT" in str(
        typed_functions.pack.__doc__
    )
