"""The Python and SQL blocks of the documentation, run in order, a session a page."""

import re
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

import ironlake
from ironlake.catalog import reference_page

ROOT = Path(__file__).parent.parent
PAGES = sorted(ROOT.glob("docs/*.md"))


def blocks(text: str) -> list[tuple[str, str]]:
    """(language, code) of the fenced blocks."""
    return re.findall(r"^```(python|sql)\n(.*?)^```", text, re.M | re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_run(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    ironlake.open("ironlake-demo").write("digits", pa.table({"digit": [1, 2, 3]}))
    con = duckdb.connect()
    scope = {}
    for language, code in blocks(page.read_text()):
        if language == "python":
            exec(code, scope)
            con = scope.get("con", con)
        else:
            for statement in code.split(";"):
                if statement.strip():
                    con.sql(statement).fetchall()


def test_the_reference_is_current():
    assert (ROOT / "docs" / "reference.md").read_text().strip() == reference_page().strip()
