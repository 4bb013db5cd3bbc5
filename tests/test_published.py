"""What papers published is reproduced within its tolerance, or a reason is told."""

import csv

import duckdb
import pytest
from typer.testing import CliRunner

from ironlake import published
from ironlake.cli import app


@pytest.mark.parametrize("family", published.families())
def test_published_figures(family):
    results = duckdb.sql(f"FROM published_results('{family}')").fetchall()
    names = ["paper", "place", "row", "unit", "published", "ours", "error", "tolerance", "reason"]
    rows = [dict(zip(names, row, strict=True)) for row in results]
    assert len({(row["paper"], row["place"], row["row"]) for row in rows}) == len(rows)
    for row in rows:
        assert row["ours"] is not None or row["reason"], row
        if row["tolerance"] is not None:
            assert abs(row["ours"] - row["published"]) <= row["tolerance"] * abs(row["published"]), row


def test_a_figure_beyond_its_tolerance_is_red(monkeypatch, tmp_path):
    monkeypatch.setattr(published, "_FOLDER", tmp_path)
    with (tmp_path / "wrong.csv").open("w") as file:
        writer = csv.writer(file)
        writer.writerow(["paper", "place", "row", "published", "unit", "tolerance", "ours", "reason"])
        writer.writerow(["P", "table 1", "sum", "4", "", "0.01", "2 + 3", ""])
        writer.writerow(["P", "table 1", "late", "4", "s", "", "", "needs a cluster"])
    table = published.table_of(duckdb.sql("FROM published_results('wrong')"))
    assert list(table.columns[4].cells) == ["[red]+25.0%[/red]", ""]
    assert list(table.columns[5].cells) == ["", "needs a cluster"]


def test_reproduce_on_the_command_line():
    done = CliRunner().invoke(app, ["reproduce", "rdd", "--format", "csv"])
    assert done.exit_code == 0
    assert done.stdout.startswith("paper,place,row,unit,published,ours,error,tolerance,reason\nNSDI 2012,")
    done = CliRunner().invoke(app, ["reproduce", "nothing"])
    assert done.exit_code == 1
    assert "no published figures of 'nothing'; expected one of " in done.stderr
