"""What a principal sees of a lake, and what it cannot find out."""

import json
import random

import duckdb
import pyarrow as pa
import pytest

import ironlake
from ironlake.lakehouse.governance.session_scan import redeem

VISIBLE = [i for i in range(90) if i % 3 == 0]


# ------------------------------------------------------------------------------------------------------ what is there


def test_only_granted_tables_are_there(lake, ann):
    assert ann.tables() == ["people"]
    assert ann.sql("SELECT table_name FROM duckdb_views() WHERE NOT internal".replace("table_name", "view_name")).fetchall() == [
        ("people",)
    ]  # fmt: skip
    assert ironlake.open(lake.root, principal="bob").tables() == []


@pytest.mark.parametrize("name", ["secret", "nothing", "_ironlake/grants", "../lake/people", "people/../secret"])
def test_one_message_for_tables_not_granted_and_tables_that_are_not_there(ann, name):
    told = f"'ann' has no privilege SELECT on a table '{name}'"
    for ask in (lambda: ann.table(name), lambda: ann[name], lambda: ann.sql(f'FROM "{name}"')):
        with pytest.raises(PermissionError) as refused:
            ask()
        assert str(refused.value).startswith(told)


def test_a_grant_on_all_tables_is_one_on_tables_of_the_lake(tmp_path):
    ironlake.open(tmp_path / "other").write("t", pa.table({"x": [1]}))
    lake = ironlake.open(tmp_path / "lake")
    lake.write("t", pa.table({"x": [1]}))
    lake.grant("SELECT", on="*", to="ann")
    session = lake.as_principal("ann")
    assert session.tables() == ["t"]
    for name in ("_ironlake/grants", "../other/t", "./t", "t/"):
        with pytest.raises(PermissionError, match="no privilege SELECT"):
            session.table(name)
        with pytest.raises(duckdb.Error, match="no privilege SELECT"):
            session.sql(f"FROM {session._scan(name)})")


def test_rows_are_filtered_and_columns_masked(ann):
    rows = ann.sql("SELECT id, region, salary, note FROM people ORDER BY id").fetchall()
    assert rows == [(i, "north", -1, "ann") for i in VISIBLE]
    assert ann.sql("SELECT count(*), min(salary), max(salary) FROM people").fetchall() == [(30, -1, -1)]


def test_groups_decide(lake):
    eve = ironlake.open(lake.root, principal="eve", groups=["readers", "staff"])
    assert eve.sql("SELECT count(*), max(salary), any_value(note) FROM people").fetchall() == [(90, 890, "eve")]


def test_a_rule_applies_to_whom_it_says(tmp_path):
    lake = ironlake.open(tmp_path)
    lake.write("t", pa.table({"x": [1, 2, None]}))
    for name in ("ann", "bob"):
        lake.grant("SELECT", on="*", to=name)
    lake["t"].set_row_filter("x > 1", applies_to=["bob", "others"])
    seen = {name: lake.as_principal(name).table("t").fetchall() for name in ("ann", "bob")}
    assert seen == {"ann": [(1,), (2,), (None,)], "bob": [(2,)]}  # a NULL drops the row
    assert lake.as_principal("cid", ["others"]).tables() == []


def test_names_in_expressions_are_only_replaced_where_they_are_calls(tmp_path):
    lake = ironlake.open(tmp_path)
    lake.write("t", duckdb.sql("SELECT 'current_principal()' AS \"current_principal\""))
    lake.grant("SELECT", on="t", to="o'hara")
    mask = "\"current_principal\" || ' is_member(''x'') ' || CURRENT_PRINCIPAL() /* current_principal() */"
    lake["t"].set_column_mask("current_principal", mask)
    assert lake.as_principal("o'hara").table("t").fetchall() == [("current_principal() is_member('x') o'hara",)]


def test_what_is_revoked_is_refused_at_once(tmp_path):
    lake = ironlake.open(tmp_path)
    lake.write("t", pa.table({"x": [1]}))
    lake.grant("SELECT", on="t", to="ann")
    session = lake.as_principal("ann")
    connection, relation = session.connect(), session.table("t")
    assert lake.revoke("SELECT", on="t", to="ann") is True
    for ask in (lambda: connection.execute("FROM t"), relation.fetchall, lambda: session.table("t")):
        with pytest.raises((PermissionError, duckdb.Error), match="'ann' has no privilege SELECT on a table 't'"):
            ask()
    assert lake.revoke("SELECT", on="t", to="ann") is False


def test_views_follow_the_table(tmp_path):
    lake = ironlake.open(tmp_path)
    lake.write("t", pa.table({"x": [1]}))
    lake.grant("SELECT", on="*", to="ann")
    session = lake.as_principal("ann")
    assert session.sql("FROM t").fetchall() == [(1,)]
    lake.write("t", pa.table({"x": [2]}), mode="append")
    lake.write("u", pa.table({"y": [3]}))
    assert session.sql("SELECT sum(x), (SELECT sum(y) FROM u) FROM t").fetchall() == [(3, 3)]


# --------------------------------------------------------------------------------------------- what cannot be found out

#: Queries that tell of people 1 (hidden, salary 10) or of salaries (masked), were they run on rows as they are.
ATTACKS = [
    "SELECT * FROM people WHERE 1 / (id - 1) > 0",
    "SELECT * FROM people WHERE CASE WHEN id = 1 THEN error(name) ELSE true END",
    "SELECT CASE WHEN id = 1 THEN error(name) END FROM people",
    "SELECT * FROM people WHERE error(CASE WHEN region = 'south' THEN name END) IS NULL",
    "SELECT * FROM people WHERE CAST(CASE WHEN id = 1 THEN name ELSE '1' END AS INTEGER) = 1",
    "SELECT * FROM people WHERE region = 'south' AND CAST(name AS INTEGER) > 0",
    "SELECT * FROM people WHERE salary > 0 AND CAST(name AS INTEGER) > 0",
    "SELECT * FROM people WHERE salary = 30 OR salary > 500",
    "SELECT * FROM people WHERE note <> 'ann'",
    "SELECT * FROM people ORDER BY CASE WHEN id = 1 THEN error(name) END LIMIT 1",
    "SELECT max(CASE WHEN id = 1 THEN error(name) END) FROM people",
    "SELECT p.id FROM people p JOIN (SELECT 1 AS id) u ON p.id = u.id AND CASE p.id WHEN 1 THEN error(p.name) END IS NULL",
    "SELECT (SELECT CASE WHEN people.id = 1 THEN error(people.name) END) FROM people",
    "SELECT * FROM people, LATERAL (SELECT CASE WHEN people.id = 1 THEN error(name) END AS e)",
    "SELECT * FROM range(3) r(x) WHERE EXISTS (FROM people WHERE id = x AND id % 3 <> 0)",
    "SELECT list_filter([1], lambda y: error(name) IS NULL) FROM people WHERE id = 1",
    "SELECT sum(1) OVER (ORDER BY CASE WHEN id = 1 THEN CAST(name AS INTEGER) END) FROM people",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r, people WHERE id = n AND n < 4) FROM r WHERE n > 1",
]  # fmt: skip


@pytest.fixture(scope="module")
def visible(lake):
    """A database with what ann may see, and no more."""
    rows = lake.sql("SELECT id, name, region, -1 AS salary, 'ann' AS note FROM people WHERE region = 'north'")
    connection = duckdb.connect()
    connection.register("shown", rows.to_arrow_table())
    connection.execute("CREATE TABLE people AS FROM shown")
    return connection


@pytest.fixture(scope="module")
def connection(ann):
    return ann.connect()


@pytest.mark.parametrize("query", ATTACKS)
def test_nothing_is_evaluated_on_what_is_hidden(lake, ann, visible, query):
    """The query tells, or fails on, what is hidden if an owner runs it; a session gets what is left without it."""

    def told(connection):
        try:
            return sorted(connection.sql(query).fetchall())
        except duckdb.Error as error:
            return str(error).splitlines()[0]

    assert told(ann) == told(visible)
    assert told(ann) != told(lake)


@pytest.mark.parametrize(
    "statement",
    [
        "FROM lake_scan('{lake}/people')",
        "FROM query(lake_scan_sql('{lake}/people'))",
        "SELECT lake_scan_sql('{lake}/people')",
        "FROM lake_explain('{lake}/people', 'salary > 800')",
        "FROM delta_files('{lake}/people')",
        "FROM delta_history('{lake}/people')",
        "FROM delta_detail('{lake}/people')",
        "FROM delta_schema('{lake}/secret')",
        "FROM delta_clustering_depth('{lake}/people', ['salary'])",
        "CALL delta_drop_row_filter('{lake}/people')",
        "CALL delta_drop_column_mask('{lake}/people', 'salary')",
        "FROM read_parquet('{lake}/people/*.parquet')",
        "FROM '{lake}/people/*.parquet'",
        "FROM parquet_metadata('{lake}/people/*.parquet')",
        "FROM read_text('{lake}/people/_delta_log/*.json')",
        "FROM read_json('{lake}/people/_delta_log/*.json')",
        "FROM glob('{lake}/**')",
        "COPY (FROM people) TO '{lake}/out.csv'",
        "COPY secret FROM '{lake}/out.csv'",
        "EXPORT DATABASE '{lake}/export'",
        "ATTACH '{lake}/other.db'",
        "SET enable_external_access = true",
        "RESET lock_configuration",
        "SET allowed_directories = ['{lake}']",
        "LOAD '{lake}/extension'",
        "FROM train('people', lake := '{lake}')",
        "FROM lake_session_scan('{{}}', 'secret')",
    ],
)
def test_sql_has_no_way_around_the_views(lake, connection, statement):
    with pytest.raises(duckdb.Error) as refused:
        connection.execute(statement.format(lake=lake.root)).fetchall()
    words = ("external access", "disabled by configuration", "locked", "disabled through", "issued", "not exist")
    assert any(word in str(refused.value) for word in words), refused.value
    assert not (lake.root / "out.csv").exists()


def test_every_function_with_a_path_is_closed_to_a_session(lake, connection):
    """Functions that are added later must keep this, too."""
    values = {"VARCHAR": "'salary'", "VARCHAR[]": "['salary']", "BIGINT": "0", "ANY": "{'x': '1'}"}
    closed = 0
    for name, function in ironlake.functions.items():
        declaration = function.declaration
        required = [str(parameter.types[0]) for parameter in declaration.parameters if parameter.required]
        own = declaration.kind == "table" and declaration.body.__module__.startswith("ironlake.")
        names = [parameter.name for parameter in declaration.parameters if parameter.required]
        if not own or "path" not in names:
            continue
        given = [values.get(type_, "NULL") for type_ in required]
        given[names.index("path")] = f"'{lake.root}/people'"
        with pytest.raises(duckdb.Error, match="external access is disabled"):
            connection.execute(f"FROM {name}({', '.join(given)})").fetchall()
        closed += 1
    assert closed >= 16


def test_a_pass_is_good_for_its_principal_only(lake, ann):
    (text,) = ann.connect().sql("SELECT sql FROM duckdb_views() WHERE view_name = 'people'").fetchall()[0]
    passed = text.split("lake_session_scan('", 1)[1].split("', 'people'", 1)[0]
    _, actor = redeem(passed)
    assert actor.principal.name == "ann"
    told = json.loads(passed[64:])
    for change in ({"principal": "eve"}, {"groups": ["readers", "staff"]}, {"lake": "/"}):
        with pytest.raises(PermissionError, match="argument session is no pass"):
            redeem(passed[:64] + json.dumps({**told, **change}))


def test_plans_and_statistics_tell_nothing(ann):
    assert "parquet" not in ann.sql("EXPLAIN SELECT * FROM people WHERE salary > 5").fetchall()[0][1].lower()
    assert ann.sql("SELECT DISTINCT stats(salary) FROM people").fetchall() == [
        ({"has_no_null": True, "has_null": True},)
    ]


def test_a_rule_that_fails_tells_no_values(tmp_path):
    lake = ironlake.open(tmp_path)
    lake.write("t", pa.table({"x": ["1", "hidden"]}))
    lake.grant("SELECT", on="t", to="ann")
    lake["t"].set_row_filter("x::INTEGER = 1")
    with pytest.raises(duckdb.Error, match="fails on a row; an owner has to correct it") as refused:
        lake.as_principal("ann").table("t").fetchall()
    assert "hidden" not in str(refused.value)


# ----------------------------------------------------------------------------------------------------- versions, changes


def test_old_versions_are_read_under_the_rules_of_now(tmp_path):
    lake = ironlake.open(tmp_path)
    lake.write("t", pa.table({"x": [1, 2], "y": [10, 20]}))
    lake.write("t", pa.table({"x": [3], "y": [30]}), mode="append")
    lake.grant("SELECT", on="t", to="ann")
    session = lake.as_principal("ann")
    assert session.table("t", version=0).fetchall() == [(1, 10), (2, 20)]
    lake["t"].set_row_filter("x > 1")
    assert session.table("t", version=0).fetchall() == [(2, 20)]
    lake["t"].rename_column("y", "z")
    lake["t"].set_column_mask("z", "0::BIGINT")
    assert session.sql("FROM t ORDER BY x").fetchall() == [(2, 0), (3, 0)]
    with pytest.raises(duckdb.Error, match="does not fit the table 't' at version 1|has other columns than version"):
        session.table("t", version=1)
    lake["t"].drop_column_mask("z")
    with pytest.raises(duckdb.Error, match=r"version 1 of the table 't' has other columns than version 2"):
        session.table("t", version=1)


def test_a_renamed_column_closes_the_table_until_its_mask_is_set_anew(tmp_path):
    lake = ironlake.open(tmp_path)
    lake.write("t", pa.table({"x": [1], "y": [2]}))
    lake.grant("SELECT", on="t", to="ann")
    lake["t"].set_column_mask("y", "0::BIGINT")
    lake["t"].rename_column("y", "z")
    with pytest.raises(duckdb.Error, match="column mask does not fit the table 't'"):
        lake.as_principal("ann").table("t")
    assert lake["t"].drop_column_mask("y") is True
    assert lake.as_principal("ann").table("t").fetchall() == [(1, 2)]


def test_what_tells_of_hidden_rows_is_refused(lake, ann):
    with pytest.raises(
        PermissionError, match="sees the table 'people' filtered or masked, and so cannot read its hist"
    ):
        ann["people"].history()
    for owner_only in (lambda: ann["people"].vacuum, lambda: ann["people"].optimize, lambda: ann.grant):
        with pytest.raises(AttributeError, match="owners open the lake without"):
            owner_only()
    free = lake.as_principal("staff member", ["staff"])
    lake.grant("SELECT", on="secret", to="staff")
    assert free["secret"].history().num_rows == 1
    lake.revoke("SELECT", on="secret", to="staff")


def test_files_are_left_out_by_conditions_on_columns_without_masks(lake, ann):
    def files(where):
        assert ann.table("people", where=where).fetchall() is not None
        return lake.audit().order("event_time DESC").limit(1).project("files_read, files_skipped").fetchall()[0]

    assert files("id >= 60") == (1, 2)
    assert files("salary >= 600") == (3, 0)
    assert files("salary >= 600 OR id < 30") == (3, 0)
    with pytest.raises(duckdb.Error):
        ann.table("people", where="(SELECT count(*) FROM read_text('/etc/hostname')) > 0").fetchall()


# ------------------------------------------------------------------------------------------------------------ the oracle

COLUMNS = {"id": "BIGINT", "name": "VARCHAR", "region": "VARCHAR", "salary": "BIGINT", "note": "VARCHAR"}
NUMBERS = ["id", "salary", "length(name)", "length(note)", "id % 7", "salary - 10 * id"]
TEXTS = ["name", "region", "note", "upper(region)", "current_principal()"]
QUERIES = [
    "SELECT * FROM people WHERE {0} ORDER BY ALL",
    "SELECT region, count(*), sum(salary), max(note) FROM people WHERE {0} GROUP BY ALL ORDER BY ALL",
    "SELECT count(*), count(note) FROM people",
    "SELECT a.id, b.salary FROM people a JOIN people b ON a.id = b.id + 1 AND a.salary < b.salary ORDER BY ALL",
    "SELECT id, row_number() OVER (PARTITION BY region ORDER BY salary, id) FROM people WHERE {0} ORDER BY ALL",
    "SELECT DISTINCT note FROM people WHERE id IN (SELECT id FROM people WHERE {0}) ORDER BY ALL",
]


def condition(chance: random.Random, depth: int = 2) -> str:
    kind = chance.choice(["number", "text", "null", "in", "member"] + ["and", "or", "not"] * (depth > 0))
    if kind == "number":
        return f"{chance.choice(NUMBERS)} {chance.choice(['<', '>=', '=', '<>'])} {chance.randint(-2, 100)}"
    if kind == "text":
        return f"{chance.choice(TEXTS)} {chance.choice(['<', '=', '>='])} {chance.choice(TEXTS)}"
    if kind == "null":
        return f"{chance.choice(['note', 'salary'])} IS {chance.choice(['', 'NOT '])}NULL"
    if kind == "in":
        return f"region IN ({chance.choice(['NULL', chr(39) + 'north' + chr(39)])}, 'west')"
    if kind == "member":
        return f"is_member('{chance.choice(['readers', 'staff'])}')"
    if kind == "not":
        return f"(NOT {condition(chance, depth - 1)})"
    return f"({condition(chance, depth - 1)} {kind.upper()} {condition(chance, depth - 1)})"


def mask(chance: random.Random, type_: str) -> str:
    numbers = ["0", "id + salary", "length(name)", "NULL", "hash(id) % 5"]
    texts = ["'***'", "left(name, 3)", "note || region", "current_principal()", "NULL"]
    value = chance.choice(numbers if type_ == "BIGINT" else texts)
    chosen = value if chance.random() < 0.5 else f"CASE WHEN {condition(chance, 0)} THEN {value} END"
    return f"CAST({chosen} AS {type_})"


def for_ann(text: str) -> str:
    """An expression with what it asks of the principal answered by hand."""
    for call, answer in {
        "current_principal()": "'ann'",
        "is_member('staff')": "false",
        "is_member('readers')": "true",
    }.items():
        text = text.replace(call, answer)
    return text


@pytest.mark.parametrize("seed", range(8))
def test_a_session_sees_what_a_filtered_and_masked_copy_has(people, seed):
    lake, plain = people
    chance = random.Random(seed)
    rule = condition(chance)
    masks = {column: mask(chance, COLUMNS[column]) for column in chance.sample(list(COLUMNS), chance.randrange(4))}
    table = lake["people"]
    table.set_row_filter(rule)
    for column in COLUMNS:
        if column in masks:
            table.set_column_mask(column, masks[column])
        else:
            table.drop_column_mask(column)
    shown = ", ".join(f"{for_ann(masks.get(column, column))} AS {column}" for column in COLUMNS)
    plain.execute(f"CREATE OR REPLACE TABLE people AS SELECT {shown} FROM (FROM given WHERE {for_ann(rule)})")
    session = lake.as_principal("ann", ["readers"])
    for query in QUERIES:
        text = for_ann(query.format(condition(chance)))
        assert session.sql(text).fetchall() == plain.sql(text).fetchall(), (rule, masks, text)
    asked = for_ann(condition(chance))
    kept = session.table("people", where=asked).order("ALL").fetchall()
    assert kept == plain.sql(f"FROM people WHERE {asked} ORDER BY ALL").fetchall(), (rule, masks, asked)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """A lake with people in several files, of which some have no salary, and a database with the same rows."""
    lake = ironlake.open(tmp_path_factory.mktemp("oracle") / "lake")
    chance = random.Random(4)
    rows = [
        {
            "id": i,
            "name": f"n{chance.randrange(100)}",
            "region": chance.choice(["north", "south", "west"]),
            "salary": chance.choice([None, chance.randrange(100)]),
            "note": chance.choice([None, "ann", "north"]),
        }
        for i in range(60)
    ]
    for start in range(0, 60, 20):
        lake.write("people", pa.Table.from_pylist(rows[start : start + 20]), mode="append" if start else "error")
    lake.grant("SELECT", on="people", to="ann")
    lake.set_audit(False)
    plain = duckdb.connect()
    plain.register("rows", pa.Table.from_pylist(rows))
    plain.execute("CREATE TABLE given AS FROM rows")
    return lake, plain
