"""The data source as Spark sees it: it asks for the columns, then for a reader, a writer or a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql.datasource import DataSource

from .options import Options

if TYPE_CHECKING:
    from pyspark.sql.datasource import DataSourceReader, DataSourceStreamReader, DataSourceWriter
    from pyspark.sql.types import StructType

_READ, _WRITE = "spark.read.format('ironlake'): ", "df.write.format('ironlake'): "
_STREAM = "spark.readStream.format('ironlake'): "


class IronlakeSource(DataSource):
    """Delta tables, by their path."""

    #: The version that was the newest, or the one named, when a data frame was made.
    _version: int | None = None

    @classmethod
    def name(cls) -> str:
        """What ``format`` calls it."""
        return "ironlake"

    def schema(self) -> StructType:
        """The columns of the table, or those that the options choose; the version is then that of all reads."""
        from .columns import spark_schema
        from .feed import feed_columns
        from .reading import chosen, opened

        options = Options(self.options, _READ, "read", "stream")
        snapshot = opened(options)
        self._version = snapshot.version
        columns = feed_columns(snapshot) if options.flag("change_feed") else snapshot.schema
        return spark_schema(chosen(options, columns))

    def reader(self, schema: StructType) -> DataSourceReader:
        """Reads rows with the columns of a schema."""
        from .feed import ChangesReader
        from .reading import FilteredReader, TableReader

        options = Options(self.options, _READ, "read")
        if options.flag("change_feed"):
            return ChangesReader(options, schema, self._version)
        return (FilteredReader if options.flag("push_filters") else TableReader)(options, schema, self._version)

    def writer(self, schema: StructType, overwrite: bool) -> DataSourceWriter:
        """Writes rows with the columns of a schema."""
        from .commit import TableWriter

        return TableWriter(Options(self.options, _WRITE, "write"), schema, overwrite)

    def streamReader(self, schema: StructType) -> DataSourceStreamReader:
        """Reads what is added to the table while the stream runs."""
        from .streaming import TableStream

        return TableStream(Options(self.options, _STREAM, "stream"), schema)
