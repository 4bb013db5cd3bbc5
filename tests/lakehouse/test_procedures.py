"""Procedures: SQL that changes tables, once per execution and not before."""

import duckdb
import pytest

import ironlake
from ironlake.lakehouse import Table
from ironlake.lakehouse.merge import Merge
from ironlake.lakehouse.merge_clauses import add_clauses


@pytest.fixture
def con(tmp_path, monkeypatch):
    """A database in whose working directory there is a table `t` at version 0."""
    monkeypatch.chdir(tmp_path)
    with duckdb.connect() as con:
        con.execute("CALL delta_write('SELECT range::INT AS id, ''n'' || range AS name FROM range(10)', 't')")
        yield con


def rows(con):
    return con.execute("FROM lake_scan('t') ORDER BY ALL").fetchall()


def told(con, statement):
    """The row of a procedure by the names of its columns."""
    result = con.execute(statement)
    names = [column[0] for column in result.description]
    ((*values,),) = result.fetchall()
    return dict(zip(names, values, strict=True))


def version():
    return Table("t").version


def test_each_procedure(con):
    con.execute("CREATE TABLE news AS SELECT 3::INT AS id, 'three' AS name UNION ALL SELECT 30, 'thirty'")
    assert told(con, "CALL delta_write('news', 't', mode := 'append')") == {"version": 1, "rows_written": 2}
    assert told(con, "CALL delta_delete('t', 'id = 30')")["rows_deleted"] == 1
    assert told(con, "CALL delta_update('t', {'name': 'upper(name)'}, 'id > 7')")["rows_updated"] == 2
    con.execute("CALL delta_delete('t', 'name = ''three''', deletion_vectors := true)")
    merged = told(con, "CALL delta_merge('news', 't', 'id', 'WHEN MATCHED THEN UPDATE WHEN NOT MATCHED THEN INSERT')")
    assert (merged["version"], merged["rows_updated"], merged["rows_inserted"]) == (5, 1, 1)
    assert rows(con)[3:] == [(3, "three"), *[(i, f"n{i}") for i in range(4, 8)], (8, "N8"), (9, "N9"), (30, "thirty")]
    assert told(con, "CALL delta_optimize('t', order_by := ['id'])")["version"] == 6
    assert told(con, "CALL delta_checkpoint('t')") == {"version": 6}
    assert told(con, "CALL delta_restore('t', version := 0)")["version"] == 7
    assert told(con, "CALL delta_add_column('t', 'price', 'DECIMAL(9, 2)')") == {"version": 8}
    assert told(con, "CALL delta_rename_column('t', 'name', 'title')") == {"version": 9}
    assert told(con, "CALL delta_drop_columns('t', ['price'])") == {"version": 10}
    assert told(con, "CALL delta_add_constraint('t', 'positive', 'id >= 0')") == {"version": 11}
    assert told(con, "CALL delta_drop_constraint('t', 'positive')") == {"version": 12}
    assert told(con, "CALL delta_set_properties('t', {'note': 'x', 'delta.appendOnly': true})") == {"version": 13}
    assert told(con, "CALL delta_set_properties('t', {'note': NULL, 'delta.appendOnly': NULL})") == {"version": 14}
    assert Table("t")._snapshot("").configuration.get("note") is None
    assert told(con, "CALL delta_clone('t', 'copy', shallow := true)") == {"version": 0}
    assert con.execute("SELECT count(*) FROM lake_scan('copy')").fetchall() == [(10,)]
    assert con.execute("SELECT count(*) FROM delta_vacuum('t', retain_hours := 0)").fetchall() > [(3,)]
    con.execute("COPY (SELECT 1 AS id, '01' AS day) TO 'files' (FORMAT parquet, PARTITION_BY day)")
    assert told(con, "CALL delta_convert('files', partition_by := {'day': 'INTEGER'})") == {"version": 0}
    assert con.execute("FROM lake_scan('files')").fetchall() == [(1, 1)]
    assert ironlake.delta_delete("t", "id = 5").to_pylist()[0]["rows_deleted"] == 1


@pytest.mark.parametrize(
    "statement",
    ["EXPLAIN FROM {}", "DESCRIBE FROM {}", "PREPARE p AS FROM {}", "FROM {} LIMIT 0", "CREATE VIEW v AS FROM {}"],
)
def test_nothing_happens_before_the_execution(con, statement):
    con.execute(statement.format("delta_delete('t', 'id < 5')")).fetchall()
    con.execute(
        statement.format("delta_write('FROM range(3) t(id)', 'other')").replace(" p ", " q ").replace(" v ", " w ")
    )
    assert version() == 0
    with pytest.raises(FileNotFoundError):
        Table("other")


def test_each_execution_happens_once(con):
    con.execute("PREPARE p AS FROM delta_write('SELECT 1::INT AS id, ''x'' AS name', 't', mode := 'append')")
    for number in (1, 2, 3):
        assert con.execute("EXECUTE p").fetchall() == [(number, 1)]
    con.execute("FROM delta_update('t', {'id': 'id + 1'}, 'id = 9') SELECT count(*)").fetchall()
    assert version() == 4
    twice = "WITH d AS MATERIALIZED (FROM delta_delete('t', 'id = 2')) FROM d a, d b"
    assert len(con.execute(twice).fetchall()) == 1
    assert version() == 5
    con.execute("EXPLAIN ANALYZE FROM delta_delete('t', 'id = 3')").fetchall()  # executes, as of any statement
    assert version() == 6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("delta_delete('t', 'nope = 3')", "delta_delete: the predicate 'nope = 3' is not valid"),
        ("delta_delete('missing', 'id = 3')", "delta_delete: .*missing' does not exist"),
        ("delta_write('SELECT nope', 'u')", 'delta_write: .*column "nope" was not found'),
        ("delta_write('SELECT error(''late'')::INT AS x FROM range(3)', 'u')", "delta_write: .*late"),
        ("delta_write('SELECT 1 AS id', 't')", "delta_write: .*the table exists, at version 0"),
        ("delta_write('SELECT 1 AS id', 't', mode := 'replace')", "argument 'mode' is 'replace'; .*'error', 'append'"),
        ("delta_write('SELECT 1 AS id', 't', mode := 'append')", "does not fit the table: missing column 'name'"),
        ("delta_write('SELECT 1 AS id', 't', predicate := 'id = 1')", "argument predicate says which rows"),
        ("delta_update('t', 3, NULL)", "delta_update: argument values is 3; expected a STRUCT or a MAP"),
        (
            "delta_merge('FROM range(2) t(id)', 't', 'id', 'MATCHED')",
            "the clauses are 'MATCHED'; expected a text such as",
        ),
        ("delta_merge('FROM range(2) t(id)', 't', 'id', 'WHEN MATCHED')", "the clause 'WHEN MATCHED' is not valid"),
        ("delta_add_column('t', 'x', 'NUMBER(1')", r"'NUMBER\(1' is no SQL type"),
        ("delta_add_column('t', 'x', 'UTINYINT')", "column 'x' has type uint8, .* cast it to int16"),
        ("delta_vacuum('t', retain_hours := 1, dry_run := false)", "the table keeps files for 168 hours"),
        ("delta_restore('t', version := 9)", "has no version 9; available are 0 to 0"),
        ("delta_convert('t')", "t' is a Delta table already"),
    ],
)
def test_calls_that_fail(con, call, message):
    with pytest.raises(duckdb.Error, match=message):
        con.execute(f"FROM {call}").fetchall()
    assert version() == 0
    with pytest.raises(FileNotFoundError):
        Table("u")


# -------------------------------------------------------------------------------------------------------- merge clauses


def parsed(text):
    merge = add_clauses(Merge(None, None, "id", ""), text)
    return [(each.found, each.kind, each.condition, each.values and dict(each.values)) for each in merge._clauses]


def test_clauses_are_taken_apart():
    found = parsed(
        '''WHEN MATCHED AND CASE WHEN source.x IN (1, 2) THEN true END AND target.name <> 'WHEN, THEN'
        THEN UPDATE SET "a ""b""" = f(1, [2, 3]), c=source.c -- THEN DELETE
        when not matched by target and source.a > 0 then insert (a, "B") values (source.a, CASE WHEN true THEN 1 ELSE 2 END)
        WHEN NOT MATCHED BY SOURCE AND target.y = 1 THEN DELETE WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *'''
    )
    _, insert, purge, *whole = [(kind, condition, values) for _, kind, condition, values in found]
    condition = "CASE WHEN source.x IN (1, 2) THEN true END AND target.name <> 'WHEN, THEN'"
    assert found[0][1:] == ("update", condition, {'a "b"': "f(1, [2, 3])", "c": "source.c"})
    assert insert == ("insert", "source.a > 0", {"a": "source.a", "B": "CASE WHEN true THEN 1 ELSE 2 END"})
    assert purge == ("delete", "target.y = 1", None)
    assert [kind for kind, *_ in whole] == ["update", "insert"]


@pytest.mark.parametrize(
    "text",
    [
        "", "WHEN", "DELETE", "WHEN MATCHED DELETE", "WHEN MATCHED THEN", "WHEN MATCHED AND THEN DELETE",
        "WHEN MATCHED x THEN DELETE", "WHEN MATCHED THEN INSERT", "WHEN NOT MATCHED THEN UPDATE", "WHEN SEEN THEN DELETE",
        "WHEN MATCHED THEN DELETE now", "WHEN MATCHED THEN UPDATE SET", "WHEN MATCHED THEN UPDATE SET a",
        "WHEN MATCHED THEN UPDATE SET a = 1,", "WHEN NOT MATCHED THEN INSERT (a, b) VALUES (1)", "WHEN MATCHED THEN (DELETE)",
        "WHEN NOT MATCHED THEN INSERT (a)", "WHEN NOT MATCHED THEN INSERT (a) VALUES", "WHEN NOT MATCHED BY SOURCE THEN INSERT",
    ],
)  # fmt: skip
def test_clauses_that_are_none(text):
    with pytest.raises(ValueError, match="^the clause"):
        parsed(text)
