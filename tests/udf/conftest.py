"""Fixtures of the engine's tests."""

import gc
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import frontdoor  # noqa: F401  - brings up the engine before any database is opened
import declared_functions  # noqa: F401
import duckdb
import hypothesis
import pytest

from ironlake.udf import engine

hypothesis.settings.register_profile(
    "ironlake", derandomize=True, max_examples=25, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
)
hypothesis.settings.load_profile("ironlake")


def _clean_database(threads):
    """A database; what its states allocated must be gone when it is closed."""
    if engine.live_arrays():
        gc.collect()  # what an earlier test left in a cycle
    before = engine.live_arrays()
    connection = duckdb.connect(config={"threads": threads})
    yield connection
    connection.close()
    assert engine.live_arrays() == before


@pytest.fixture
def con():
    """A database on two threads."""
    yield from _clean_database(2)


@pytest.fixture(params=[1, 4], ids=lambda n: f"threads{n}")
def threaded(request):
    """A database on 1 and on 4 threads."""
    yield from _clean_database(request.param)


@pytest.fixture
def one():
    """A database on one thread."""
    connection = duckdb.connect(config={"threads": 1})
    yield connection
    connection.close()
