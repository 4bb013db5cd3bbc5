"""Names in a lake: schemas, views, lakes in other databases, and lakes that stay at their versions."""

import datetime as dt

import duckdb
import pyarrow as pa
import pytest

import ironlake
from ironlake.lakehouse.errors import sentence


@pytest.fixture
def lake(tmp_path):
    lake = ironlake.open(tmp_path / "lake")
    lake.write("sales", rows(1))
    lake.write("finance.sales", rows(2))
    return lake


def rows(*values: int) -> pa.Table:
    return pa.table({"x": pa.array(values, pa.int64())})


class TestSchemas:
    def test_tables_of_both_kinds(self, lake):
        assert lake.tables() == ["finance.sales", "sales"]
        assert (lake.root / "finance" / "sales" / "_delta_log").is_dir()
        assert lake.sql("SELECT s.x, f.x FROM sales s, finance.sales f").fetchall() == [(1, 2)]
        assert lake.table("finance.sales").fetchall() == lake.connect().sql("FROM finance.sales").fetchall() == [(2,)]
        assert lake.write("finance.sales", rows(3), mode="append") == lake["finance.sales"].version == 1
        assert lake["main.sales"].path == lake["sales"].path

    def test_other_directories_are_none(self, lake):
        for name in ("empty", "_hidden/t/_delta_log", "main/t/_delta_log", "finance/deeper/t/_delta_log"):
            (lake.root / name).mkdir(parents=True)
        assert lake.tables() == ["finance.sales", "sales"]

    def test_directories_of_others_with_dots(self, lake):
        (lake.root / "sales").rename(lake.root / "sales.delta")
        assert lake.table("sales.delta").fetchall() == lake.sql('FROM "sales.delta"').fetchall() == [(1,)]

    @pytest.mark.parametrize(
        ("name", "told"),
        [
            ("sales.x", "'sales' is a table, and no schema"),
            ("Finance.costs", "has a schema 'finance', and SQL does not tell the two names apart"),
            ("finance.Sales", "has a table 'finance.sales', and SQL does not tell the two names apart"),
            ("finance", "'finance' is a schema; expected another name"),
            ("temp.x", "the schema 'temp' is DuckDB's own; expected another name"),
            ("_ironlake.x", "the name is not valid"),
        ],
    )
    def test_names_that_are_taken(self, lake, name, told):
        for make in (lambda: lake.write(name, rows(1)), lambda: lake.create_view(name, "SELECT 1 AS x")):
            with pytest.raises(ValueError, match=rf"^Lake\.\w+\('{name}'\): .*{told}"):
                make()

    @pytest.mark.parametrize(("name", "meant"), [("costs", ""), ("finanse.sales", "sales"), ("other.sales", "sales")])
    def test_close_names_in_all_schemas(self, lake, name, meant):
        with pytest.raises(
            FileNotFoundError, match=f"did you mean '(finance.)?{meant}'" if meant else "its tables are"
        ):
            lake.table(name)


class TestViews:
    def test_views_follow_the_newest_version(self, lake):
        lake.create_view("finance.doubled", "SELECT 2 * x AS x FROM sales")
        lake.create_view("all_of_them", "FROM sales UNION ALL FROM finance.doubled")
        assert lake.views() == ["all_of_them", "finance.doubled"]
        other = ironlake.open(lake.root)
        assert other.sql("FROM all_of_them").fetchall() == [(1,), (4,)]
        lake.write("finance.sales", rows(5), mode="overwrite")
        assert other.sql("FROM all_of_them").fetchall() == other.connect().sql("FROM all_of_them").fetchall()
        assert other.sql("FROM finance.doubled").fetchall() == [(10,)]
        lake.create_view("finance.doubled", "SELECT 3 * x AS x FROM sales", replace=True)
        assert other.sql("FROM all_of_them").fetchall() == [(1,), (15,)]
        lake.drop_view("finance.doubled")
        with pytest.raises(duckdb.Error, match="doubled"):
            other.sql("FROM all_of_them").fetchall()
        assert other.views() == ["all_of_them"]

    def test_what_is_no_view(self, lake):
        frame = rows(1)  # noqa: F841 - DuckDB would find it
        lake.create_view("few", "FROM sales")
        with pytest.raises(FileExistsError, match="the view exists; pass replace=True to change it"):
            lake.create_view("few", "FROM sales")
        with pytest.raises(ValueError, match="has a table 'sales'; expected another name"):
            lake.create_view("sales", "SELECT 1 AS x")
        with pytest.raises(ValueError, match="has a view 'few'; expected another name"):
            lake.write("few", rows(1))
        with pytest.raises(FileNotFoundError, match="'few' is a view, not a table; query it with Lake.sql"):
            lake.table("few")
        with pytest.raises(FileNotFoundError, match="no such view; did you mean 'few'"):
            lake.drop_view("fews")
        for query, told in {
            "FROM nothing": "names the table 'nothing', but the lake has no 'nothing'; its tables are",
            "FROM frame": "names the table 'frame', but the lake has no 'frame'",
            "FROM finance.sale": "names the table 'finance.sale', but the lake has no 'finance.sale'; did you mean 'fin",
            "SELECT y FROM sales": "Referenced column",
            "SELEC": "syntax error",
            "SELECT 1; SELECT 2": "expected one SELECT",
            "DROP TABLE x": "expected one SELECT; Only SELECT",
        }.items():
            with pytest.raises(ValueError, match=rf"^Lake\.create_view\('bad'\): .*{told}"):
                lake.create_view("bad", query)
        with pytest.raises(
            ValueError, match=r"names the table 'few', but the lake has no 'finance.few'; did you mean 'main.few'"
        ):
            lake.create_view("finance.bad", "FROM few")
        lake.create_view("finance.good", "WITH t AS (FROM main.few) SELECT t.x FROM t, sales, range(3)")
        assert lake.views() == ["few", "finance.good"]


class TestAttach:
    def test_as_a_database(self, lake):
        con = ironlake.connect()
        con.execute("CREATE TABLE sales AS SELECT 42 AS x")
        lake.create_view("some", "FROM finance.sales")
        lake.attach(con)
        query = "SELECT a.x, b.x, c.x, d.x FROM sales a, lake.sales b, lake.finance.sales c, lake.some d"
        assert con.sql(query).fetchall() == [(42, 1, 2, 2)]
        lake.write("sales", rows(7), mode="overwrite")
        assert con.cursor().sql("FROM lake.sales").fetchall() == [(7,)]

    def test_again(self, lake):
        con = ironlake.connect()
        lake.attach(con, "shop")
        lake.write("new.one", rows(3))
        (lake.root / "sales").rename(lake.root / "gone")
        lake.attach(con, "shop")
        assert con.sql("FROM shop.new.one").fetchall() == [(3,)]
        with pytest.raises(duckdb.CatalogException):
            con.sql("FROM shop.sales")


class TestAt:
    def test_what_is_newest_now(self, lake):
        fixed = lake.at()
        con = fixed.connect()
        lake.write("sales", rows(9), mode="append")
        lake.write("later", rows(1))
        assert lake.versions() == {"finance.sales": 0, "later": 0, "sales": 1}
        assert fixed.versions() == {"finance.sales": 0, "sales": 0}
        assert fixed.tables() == ["finance.sales", "sales"]
        assert fixed.sql("FROM sales").fetchall() == con.sql("FROM sales").fetchall() == [(1,)]
        assert fixed.table("sales").fetchall() == [(1,)]
        assert fixed["sales"].version == 0
        assert fixed["sales"].history().num_rows == 1
        assert fixed.at() is fixed
        with pytest.raises(FileNotFoundError, match="no such table yet"):
            fixed.table("later")

    def test_versions_and_times(self, lake):
        between = dt.datetime.now(dt.UTC)
        lake.write("sales", rows(9), mode="append")
        lake.write("later", rows(1))
        names = [(f"{lake.root}/{name}/_delta_log/{version:020}.json", age) for name, version, age in
                 (("sales", 0, -9), ("finance/sales", 0, -9), ("sales", 1, 9), ("later", 0, 9))]  # fmt: skip
        import os

        for file, age in names:
            os.utime(file, (between.timestamp() + age,) * 2)
        assert lake.at(between).versions() == {"finance.sales": 0, "sales": 0}
        assert lake.at(str(between)).sql("FROM sales").fetchall() == [(1,)]
        assert lake.at({"main.sales": 0}).versions() == {"finance.sales": 0, "later": 0, "sales": 0}
        with pytest.raises(ValueError, match=r"^Lake\.at: 'sales': .* has no version 7; available are 0 to 1"):
            lake.at({"sales": 7})
        with pytest.raises(FileNotFoundError, match=r"^Lake\.at: .* did you mean 'sales'"):
            lake.at({"sale": 0})
        with pytest.raises(ValueError, match=r"^Lake\.at: timestamp is 'yesterday'; expected one such as"):
            lake.at("yesterday")

    def test_nothing_is_written(self, lake):
        fixed = lake.at()
        for change in (
            lambda: fixed.write("sales", rows(1), mode="append"),
            lambda: fixed.create_view("v", "FROM sales"),
            lambda: fixed.drop_view("v"),
            lambda: fixed["sales"].delete("x = 1"),
            lambda: fixed["sales"].merge(rows(1), on="x"),
            lambda: fixed["sales"].checkpoint(),
        ):
            with pytest.raises(
                PermissionError, match="the lake is fixed by Lake.at; write to the one that it was made"
            ):
                change()
        assert fixed["sales"].clone(lake.root / "copy").version == 0
        assert lake.versions() == {"copy": 0, "finance.sales": 0, "sales": 0}


def test_the_sentence_of_an_error():
    with pytest.raises(duckdb.Error) as error:
        duckdb.sql("SELECT nothing")
    assert sentence(error.value).startswith("Binder Error: Referenced column")
    text = "Traceback (most recent call last):\n  File \"x\", line 1\nFileNotFoundError: the file 'x' is gone"
    assert sentence(duckdb.Error(text)) == "the file 'x' is gone"
