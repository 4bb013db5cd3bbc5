"""Delta tables as a data source of Spark: ``spark.read.format("ironlake")``, for writing and for streams too.

Spark calls a data source in processes of its own: some plan a query and commit a write (*planners*), others read and
write the rows of a task (*workers*). What they share travels between them by pickle, so it is small: a version of a
table without its list of files, and to each task the files that are its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def register(spark: SparkSession) -> None:
    """Let a Spark session read and write Delta tables by ``format("ironlake")``.

    Parameters
    ----------
    spark : pyspark.sql.SparkSession
        The session.

    Raises
    ------
    ImportError
        The package pyspark is not installed.

    Examples
    --------
    >>> ironlake.spark.source.register(spark)
    >>> spark.read.format("ironlake").load("shop/sales").count()
    2
    """
    try:
        from .datasource import IronlakeSource
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "pyspark":
            raise
        raise ImportError(
            "ironlake.spark needs the package 'pyspark'; install it with: pip install 'ironlake[spark]'"
        ) from None
    spark.dataSource.register(IronlakeSource)
