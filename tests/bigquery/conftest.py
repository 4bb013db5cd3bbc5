"""Fixtures of the tests of BigQuery ML."""

import duckdb
import pytest

import ironlake  # noqa: F401 - before any database is opened


@pytest.fixture
def con():
    with duckdb.connect() as connection:
        yield connection
