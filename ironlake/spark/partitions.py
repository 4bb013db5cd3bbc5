"""Work on the partitions of a DataFrame as streams of record batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType
from pyspark.sql.udf import UserDefinedFunction
from pyspark.util import PythonEvalType


def map_partitions(
    df: DataFrame, schema: StructType, work: Callable[..., Iterator[pa.RecordBatch]], *arguments: Any
) -> DataFrame:
    """The rows that ``work(*arguments, batches)`` makes of the batches of each partition.

    It does what ``df.mapInArrow`` does, which wants pandas although it needs none.
    """

    def mapped(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        columns = to_arrow_schema(schema)
        for batch in work(*arguments, batches):
            yield batch.rename_columns(columns.names).cast(columns)

    udf = UserDefinedFunction(mapped, schema, evalType=PythonEvalType.SQL_MAP_ARROW_ITER_UDF)
    column = udf(*(df[f"`{name}`"] for name in df.columns))
    return DataFrame(df._jdf.mapInArrow(column._jc, False, None), df.sparkSession)
