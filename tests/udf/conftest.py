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


@pytest.fixture
def con():
    """A database on two threads; what its states allocated must be gone when it is closed."""
    gc.collect()
    before = engine.live_arrays()
    connection = duckdb.connect(config={"threads": 2})
    yield connection
    connection.close()
    assert engine.live_arrays() == before


@pytest.fixture(params=[1, 4], ids=lambda n: f"threads{n}")
def threaded(request):
    """A database on 1 and on 4 threads; nothing allocated may be left when it is closed."""
    gc.collect()
    before = engine.live_arrays()
    connection = duckdb.connect(config={"threads": request.param})
    yield connection
    connection.close()
    assert engine.live_arrays() == before


@pytest.fixture
def one():
    """A database on one thread."""
    connection = duckdb.connect(config={"threads": 1})
    yield connection
    connection.close()
