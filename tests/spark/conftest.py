"""One Spark session for all tests, small and quick to start; without Java they are skipped."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# A cache of its own, which Spark's workers inherit: what one process has compiled, the others load.
os.environ.setdefault("IRONLAKE_CACHE_DIR", tempfile.mkdtemp(prefix="ironlake-test-cache-"))
sys.path.append(str(Path(__file__).parent))  # for inputs.py

#: For tiny data: plans that are always the same, and no code that takes longer to generate than to interpret.
_SETTINGS = {
    "spark.sql.shuffle.partitions": 2,
    "spark.default.parallelism": 2,
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.shuffle.compress": "false",
    "spark.rdd.compress": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.driver.memory": "1g",
}


@pytest.fixture(scope="session")
def spark(tmp_path_factory) -> Iterator:
    """The session; a task may fail twice."""
    pytest.importorskip("pyspark")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    import ironlake.spark as ils

    folder = tmp_path_factory.mktemp("spark")
    settings = {name.replace(".", "__"): value for name, value in _SETTINGS.items()}
    session = ils.session("2,3", **settings, spark__sql__warehouse__dir=folder)
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()
