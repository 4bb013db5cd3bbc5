"""``CREATE MODEL``: options, the split of the rows, columns as numbers, and the query that trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb

from ironlake.lakehouse.schema import quote_name, quote_text
from ironlake.udf.engine.declaration import closest, sql_literal

from .calls import table_name
from .model import Model

if TYPE_CHECKING:
    from sqlglot import exp

_KINDS = ("LINEAR_REG", "LOGISTIC_REG")
#: Options, with their defaults; those of BigQuery's gradient descent change nothing here.
_OPTIONS: dict[str, Any] = {
    "MODEL_TYPE": None, "INPUT_LABEL_COLS": None, "L1_REG": 0.0, "L2_REG": 0.0, "FIT_INTERCEPT": True,
    "AUTO_CLASS_WEIGHTS": False, "DATA_SPLIT_METHOD": "AUTO_SPLIT", "DATA_SPLIT_EVAL_FRACTION": 0.2,
    "DATA_SPLIT_COL": None, "CATEGORY_ENCODING_METHOD": "ONE_HOT_ENCODING", "MAX_ITERATIONS": 20,
    "OPTIMIZE_STRATEGY": None, "LEARN_RATE_STRATEGY": None, "LEARN_RATE": None, "LS_INIT_LEARN_RATE": None,
    "EARLY_STOP": None, "MIN_REL_PROGRESS": None,
}  # fmt: skip
_SPLITS = ("AUTO_SPLIT", "NO_SPLIT", "RANDOM", "SEQ", "CUSTOM")
_ENCODINGS = ("ONE_HOT_ENCODING", "DUMMY_ENCODING")
#: AUTO_SPLIT holds nothing out below the first number of rows, and 10,000 rows above the second.
_FEW, _MANY, _MOST_HELD_OUT = 500, 50_000, 10_000
_ITERATIONS = 200
_NUMBERS = ("INT", "DOUBLE", "FLOAT", "REAL", "DECIMAL", "HUGEINT")


def create(con: duckdb.DuckDBPyConnection, tree: exp.Create, query: str) -> None:
    """Train a model, and keep it in a table of its name."""
    name, given = table_name(tree.this), _options(tree)
    if tree.args.get("exists") and _exists(con, name):
        return
    con.execute(f"CREATE OR REPLACE TEMP TABLE ironlake_rows AS {query}")
    try:
        types = {row[0]: row[1] for row in con.execute("DESCRIBE ironlake_rows").fetchall()}
        label = _label(types, given)
        _split(con, types, given)
        inputs = [column for column in types if column not in (label, given["DATA_SPLIT_COL"])]
        features = [_feature(con, column, types[column], given) for column in inputs]
        _train(con, name, label, types[label], features, given, bool(tree.args.get("replace")))
    finally:
        con.execute("DROP TABLE IF EXISTS ironlake_rows")


def _options(tree: exp.Create) -> dict[str, Any]:
    given = dict(_OPTIONS)
    properties = tree.args.get("properties")
    for each in properties.expressions if properties else []:
        name = each.this.name.upper()
        if name not in _OPTIONS:
            raise ValueError(f"bqml: unknown option {name}{closest(name, map(str.lower, _OPTIONS))}")
        value = each.args["value"]
        given[name] = [item.name for item in value.expressions] if value.key == "array" else value.to_py()
    for name, choices in (
        ("MODEL_TYPE", _KINDS), ("DATA_SPLIT_METHOD", _SPLITS), ("CATEGORY_ENCODING_METHOD", _ENCODINGS),
    ):  # fmt: skip
        given[name] = str(given[name] or "").upper()
        if given[name] not in choices:
            raise ValueError(f"bqml: option {name} is {given[name]!r}; expected one of {', '.join(choices)}")
    if given["DATA_SPLIT_METHOD"] in ("SEQ", "CUSTOM") and not given["DATA_SPLIT_COL"]:
        raise ValueError(f"bqml: DATA_SPLIT_METHOD {given['DATA_SPLIT_METHOD']} needs the option DATA_SPLIT_COL")
    for name in ("L1_REG", "L2_REG"):
        given[name] = float(given[name])
        if not given[name] >= 0:
            raise ValueError(f"bqml: option {name} is {given[name]}; expected at least 0")
    if given["L1_REG"] > 0 and given["MODEL_TYPE"] == "LOGISTIC_REG":
        raise ValueError("bqml: L1_REG is for LINEAR_REG here; logistic_fit takes it as its option l1")
    return given


def _exists(con: duckdb.DuckDBPyConnection, name: str) -> bool:
    try:
        con.execute(f"SELECT 1 FROM {name} LIMIT 0")
    except duckdb.CatalogException:
        return False
    return True


def _label(types: dict[str, str], given: dict[str, Any]) -> str:
    """The label column: the one that is named, or ``label``."""
    named = given["INPUT_LABEL_COLS"] or ["label"]
    if isinstance(named, str) or len(named) != 1:
        raise ValueError("bqml: INPUT_LABEL_COLS must name one column, as in ['y']")
    found = [column for column in types if column.lower() == named[0].lower()]
    if not found:
        raise ValueError(f"bqml: the rows have no label column {named[0]!r}; their columns are {', '.join(types)}")
    return found[0]


def _split(con: duckdb.DuckDBPyConnection, types: dict[str, str], given: dict[str, Any]) -> None:
    """Mark the rows that are held out to evaluate the model."""
    method, column = given["DATA_SPLIT_METHOD"], given["DATA_SPLIT_COL"]
    if column is not None and column not in types:
        raise ValueError(f"bqml: the rows have no column {column!r}, which DATA_SPLIT_COL names")
    count = _value(con, "SELECT count(*) FROM ironlake_rows")
    if count == 0:
        raise ValueError("bqml: there are no rows to train on")
    fraction = float(given["DATA_SPLIT_EVAL_FRACTION"])
    if not 0 <= fraction < 1:
        raise ValueError(f"bqml: DATA_SPLIT_EVAL_FRACTION is {fraction}; expected at least 0 and below 1")
    if method == "AUTO_SPLIT":
        fraction = 0.0 if count < _FEW else min(0.2, _MOST_HELD_OUT / count) if count > _MANY else 0.2
    if method == "NO_SPLIT":
        fraction = 0.0
    held_out = "false"
    if method == "CUSTOM":
        held_out = f"coalesce({quote_name(column)}, false)"
    elif method == "SEQ":
        held_out = f"percent_rank() OVER (ORDER BY {quote_name(column)}) >= {1 - fraction}"
    elif fraction > 0:
        held_out = f"hash(rowid) % 1000000 < {fraction * 1e6}"
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE ironlake_rows AS SELECT *, {held_out} AS ironlake_held_out FROM ironlake_rows"
    )
    if _value(con, "SELECT count(*) FILTER (NOT ironlake_held_out) FROM ironlake_rows") == 0:
        raise ValueError("bqml: all rows are held out; there are none to train on")


def _value(con: duckdb.DuckDBPyConnection, query: str) -> Any:
    row = con.execute(query).fetchone()
    assert row is not None
    return row[0]


class _Feature(NamedTuple):
    """An input column: its categories (None for a number), and the SQL of the numbers it becomes."""

    column: str
    categories: list[str | None] | None
    sql: list[str]


def _feature(con: duckdb.DuckDBPyConnection, column: str, type_: str, given: dict[str, Any]) -> _Feature:
    name = quote_name(column)
    rows = "FROM ironlake_rows WHERE NOT ironlake_held_out"
    if type_.startswith(_NUMBERS) or type_.endswith("INT"):
        mean = _value(con, f"SELECT coalesce(avg({name}), 0) {rows}")
        return _Feature(column, None, [f"coalesce({name}, {mean!r})::DOUBLE"])
    if type_ not in ("VARCHAR", "BOOLEAN") and not type_.startswith("ENUM"):
        raise ValueError(f"bqml: the column {column!r} is of type {type_}; expected numbers, text or booleans")
    found = con.execute(f"SELECT DISTINCT {name}::VARCHAR AS c {rows} ORDER BY c NULLS LAST").fetchall()
    categories = [row[0] for row in found]
    used = categories[1:] if given["CATEGORY_ENCODING_METHOD"] == "DUMMY_ENCODING" else categories
    sql = [f"({name}::VARCHAR IS NOT DISTINCT FROM {sql_literal(category)})::INT::DOUBLE" for category in used]
    return _Feature(column, used, sql)


def _train(
    con: duckdb.DuckDBPyConnection,
    name: str,
    label: str,
    label_type: str,
    features: list[_Feature],
    given: dict[str, Any],
    replace: bool,
) -> None:
    vector = "[" + ", ".join(term for feature in features for term in feature.sql) + "]::DOUBLE[]"
    target, rows = quote_name(label), "FROM ironlake_rows WHERE NOT ironlake_held_out"
    missing = _value(con, f"SELECT count(*) - count({target}) {rows}")
    if missing:
        raise ValueError(f"bqml: the label column {label!r} is NULL in {missing} rows")
    options = {"l2": given["L2_REG"], "fit_intercept": bool(given["FIT_INTERCEPT"])}
    classes: list[str] = []
    if given["MODEL_TYPE"] == "LINEAR_REG":
        fit = f"newton_fit({target}::DOUBLE, {vector}, {sql_literal({'task': 'least_squares', **options})})"
        if given["L1_REG"] > 0:
            fit = f"elastic_net_fit({target}::DOUBLE, {vector}, {sql_literal({'l1': given['L1_REG'], **options})})"
    else:
        counts = con.execute(
            f"SELECT {target}::VARCHAR, count(*) {rows} GROUP BY {target} ORDER BY {target}"
        ).fetchall()
        classes = [row[0] for row in counts]
        if len(classes) < 2:
            raise ValueError(f"bqml: all rows are of the class {classes[0]!r}; there is nothing to tell apart")
        weight = ""
        if given["AUTO_CLASS_WEIGHTS"]:
            total = sum(row[1] for row in counts)
            cases = " ".join(
                f"WHEN {sql_literal(each)} THEN {total / len(classes) / count!r}" for each, count in counts
            )
            weight = f", CASE {target}::VARCHAR {cases} END::DOUBLE"
        settings = sql_literal({**options, "iterations": _ITERATIONS})
        if len(classes) == 2:
            positive = f"{target}::VARCHAR = {sql_literal(classes[1])}"
            fit = f"newton_fit({positive}, {vector}, {settings}{weight})"
        else:
            fit = f"lbfgs_fit({target}::VARCHAR, {vector}, {settings}{weight})"
    if "." in name:
        con.execute(f"CREATE SCHEMA IF NOT EXISTS {name.rsplit('.', 1)[0]}")
    described = [{"column": each.column, "categories": each.categories} for each in features]
    columns = {
        "model_type": quote_text(given["MODEL_TYPE"]),
        "label": quote_text(label),
        "label_type": quote_text(label_type),
        "classes": f"{sql_literal(classes)}::VARCHAR[]",
        "features": quote_text(vector),
        "inputs": f'{sql_literal(described)}::STRUCT("column" VARCHAR, categories VARCHAR[])[]',
        "model": fit,
    }
    made = ", ".join(f"{value} AS {column}" for column, value in columns.items())
    con.execute(f"CREATE {'OR REPLACE ' if replace else ''}TABLE {name} AS SELECT {made} {rows}")
    model = Model.load(con, name)
    held_out = _value(con, "SELECT count(*) FILTER (ironlake_held_out) FROM ironlake_rows")
    where = "WHERE ironlake_held_out" if held_out else ""
    evaluation = model.evaluation(f"SELECT * EXCLUDE ironlake_held_out FROM ironlake_rows {where}", "0.5")
    con.execute(f"ALTER TABLE {name} ADD COLUMN evaluation STRUCT({model.evaluation_type()})")
    con.execute(f"UPDATE {name} SET evaluation = (SELECT e FROM ({evaluation}) e)")
