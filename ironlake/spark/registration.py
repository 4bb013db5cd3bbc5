"""``register``: all declared functions in a Spark session."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ironlake.udf.engine import declarations
from ironlake.udf.engine.declaration import Declaration

from . import aggregates, scalars, source, tables
from .local import check_workers
from .types import spark_type

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: What `sql` calls an aggregate of a list of rows.
LISTS = "__of_lists"


def register(spark: SparkSession) -> SparkSession:
    """Make the declared functions known to a Spark session, and its tables: ``spark.read.format('ironlake')``.

    Functions declared later are known after another call. Spark keeps functions by session: ``spark.newSession()`` does
    not have them.

    Parameters
    ----------
    spark : pyspark.sql.SparkSession
        Any session.

    Returns
    -------
    pyspark.sql.SparkSession
        The same session.

    Raises
    ------
    RuntimeError
        Spark's workers run another Python, which does not have the package.

    Examples
    --------
    >>> spark = ils.register(SparkSession.builder.getOrCreate())
    >>> spark.sql("SELECT logistic_fit(label, features) AS model FROM rows")
    """
    if spark.sparkContext.pythonExec != sys.executable:
        check_workers(spark)
    for declaration in list(declarations.values()):
        _register(spark, declaration)
    source.register(spark)
    return spark


def _register(spark: SparkSession, declaration: Declaration) -> None:
    if declaration.kind == "table":
        spark.udtf.register(declaration.name, tables.registered(declaration))
    elif declaration.kind == "scalar":
        for name, type_ in scalars.results(declaration):
            spark.udf.register(name, scalars.registered(declaration, type_))
    else:
        assert declaration.result is not None
        spark.udf.register(declaration.name, aggregates.registered(declaration))
        lists = scalars.of_lists(declaration, spark_type(declaration.result))
        spark.udf.register(declaration.name + LISTS, lists)
