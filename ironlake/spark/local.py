"""``session``: a Spark session on this machine that is quick to start and knows the functions."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

#: Java's quick compiler and simplest collector: what a program of seconds or minutes on one machine is best off with.
_JAVA_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


def session(cores: int | str = "*", **settings: Any) -> SparkSession:
    """A session of Spark on this machine, made or found, that knows the functions.

    Parameters
    ----------
    cores : int or str
        How many tasks run at a time; by default one for each core. ``'2,3'`` runs two, and each up to three times.
    **settings
        Settings of Spark, with ``__`` for a point: ``spark__sql__shuffle__partitions=8``.

    Returns
    -------
    pyspark.sql.SparkSession

    Raises
    ------
    RuntimeError
        There is no Java, or it is older than 17; or Spark's workers run another Python than this program.

    Examples
    --------
    >>> spark = ils.session(cores=2, spark__driver__memory="2g")
    """
    from .registration import register

    check_java()
    for variable in ("PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON"):
        os.environ.setdefault(variable, sys.executable)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    defaults = {
        "spark.driver.extraJavaOptions": _JAVA_OPTIONS,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.shuffle.partitions": str(os.cpu_count() or 1),
        "spark.sql.execution.arrow.maxRecordsPerBatch": "65536",
        "spark.python.daemon.module": "ironlake.spark.daemon",
        "spark.sql.warehouse.dir": str(Path(tempfile.gettempdir()) / "spark-warehouse"),
    }
    chosen = {name.replace("__", "."): str(value) for name, value in settings.items()}
    builder = SparkSession.builder.appName("ironlake").master(f"local[{cores}]")
    for name, value in {**defaults, **chosen}.items():
        builder = builder.config(name, value)
    return register(builder.getOrCreate())


def check_java() -> None:
    """Refuse to start Spark without the Java that it needs.

    Raises
    ------
    RuntimeError
        There is no Java, or it is older than 17.
    """
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home) / "bin")) if home else shutil.which("java")
    if java is None:
        place = f"in JAVA_HOME, {home}" if home else "on PATH"
        raise RuntimeError(f"ironlake.spark needs Java 17+: there is no java {place}; install one and set JAVA_HOME")
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(?:1\.)?(\d+)', told)
    if version is None or int(version[1]) < 17:
        found = f"version {version[1]}" if version else "no version"
        raise RuntimeError(f"ironlake.spark needs Java 17+: {java} is {found}; set JAVA_HOME to a newer one")


def check_workers(spark: SparkSession) -> None:
    """Run one task that tells which Python the workers run, and whether it has the package.

    Raises
    ------
    RuntimeError
        A package is missing there.
    """

    def found(_: int) -> tuple[str, str]:  # travels by value, as the package may be missing there
        import importlib.util
        import sys

        wanted = ("ironlake", "duckdb", "numba", "pyarrow")
        return sys.executable, ", ".join(name for name in wanted if importlib.util.find_spec(name) is None)

    [(executable, missing)] = spark.sparkContext.parallelize([0], 1).map(found).collect()
    if missing:
        raise RuntimeError(
            f"ironlake.spark: Spark's workers run {executable}, which does not have {missing}, and this program runs "
            f"{sys.executable}; set PYSPARK_PYTHON to a Python that has it, before Spark starts"
        )
