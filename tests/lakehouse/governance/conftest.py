import duckdb
import pytest

import ironlake

#: 90 people of three regions in three files; 10 of each region have a salary that is a multiple of 100.
PEOPLE = (
    "SELECT i AS id, 'person ' || i AS name, ['north', 'south', 'west'][i % 3 + 1] AS region, i * 10 AS salary, "
    "CASE WHEN i % 5 = 0 THEN NULL ELSE 'x' || i END AS note FROM range({}, {}) t(i)"
)


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """A lake in which ann sees people of the north, with masked salaries and notes; tests of a module share it."""
    lake = ironlake.open(tmp_path_factory.mktemp("governed") / "lake")
    for start in (0, 30, 60):
        lake.write("people", duckdb.sql(PEOPLE.format(start, start + 30)), mode="append" if start else "error")
    lake.write("secret", duckdb.sql("SELECT 42 AS answer"))
    lake.grant("SELECT", on="people", to="readers")
    people = lake["people"]
    people.set_row_filter("region = 'north' OR is_member('staff')")
    people.set_column_mask("salary", "CASE WHEN is_member('staff') THEN salary ELSE -1 END", applies_to=["readers"])
    people.set_column_mask("note", "current_principal()")
    return lake


@pytest.fixture(scope="module")
def ann(lake):
    return ironlake.open(lake.root, principal="ann", groups=["readers"])
