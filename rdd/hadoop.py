"""Hadoop's files without a JVM: sequence files, and texts as Hadoop's formats read and write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .files import Saving, Split, open_compressed, placed_lines, placed_parts, text_splits
from .sequencefiles import codec, file_suffix, read_pairs, write_pairs
from .writables import Writable, java_text, writable, writable_of

if TYPE_CHECKING:
    from .rdd import RDD

_OLD, _NEW = "org.apache.hadoop.mapred.", "org.apache.hadoop.mapreduce.lib."
_SEQUENCE_INPUTS = {f"{_OLD}SequenceFileInputFormat", f"{_NEW}input.SequenceFileInputFormat"}
_TEXT_INPUTS = {f"{_OLD}TextInputFormat", f"{_NEW}input.TextInputFormat"}
_SEQUENCE_OUTPUTS = {f"{_OLD}SequenceFileOutputFormat", f"{_NEW}output.SequenceFileOutputFormat"}
_TEXT_OUTPUTS = {f"{_OLD}TextOutputFormat", f"{_NEW}output.TextOutputFormat"}
#: The settings that say what is read and written, as Hadoop calls them and as it called them before.
_INPUT = ("mapreduce.input.fileinputformat.inputdir", "mapred.input.dir")
_OUTPUT = ("mapreduce.output.fileoutputformat.outputdir", "mapred.output.dir")
_FORMAT = ("mapreduce.job.outputformat.class", "mapred.output.format.class", "mapreduce.outputformat.class")
_KEY = ("mapreduce.job.output.key.class", "mapred.output.key.class")
_VALUE = ("mapreduce.job.output.value.class", "mapred.output.value.class")
_COMPRESS = ("mapreduce.output.fileoutputformat.compress", "mapred.output.compress")
_CODEC = ("mapreduce.output.fileoutputformat.compress.codec", "mapred.output.compression.codec")
_DELIMITER = ("textinputformat.record.delimiter",)

Conf = dict[str, str] | None


class HadoopReading:
    """The part of `SparkContext` that reads Hadoop's files.

    Keys and values come as the Python values of what the files have; `keyClass` and `valueClass` are PySpark's, and are
    not needed. Other formats, and converters, are classes of a JVM, and raise NotImplementedError.
    """

    @property
    def defaultMinPartitions(self) -> int:
        raise NotImplementedError

    _lazily: Callable[..., RDD]

    def sequenceFile(
        self,
        path: str,
        keyClass: str | None = None,
        valueClass: str | None = None,
        keyConverter: str | None = None,
        valueConverter: str | None = None,
        minSplits: int | None = None,
        batchSize: int = 0,
    ) -> RDD:
        """An RDD of the pairs of sequence files, in at least `minSplits` partitions if the files are large enough.

        Parameters
        ----------
        path : str
            The files.
        keyClass, valueClass, batchSize
            Accepted for PySpark's sake.
        keyConverter, valueConverter : None
            Classes of a JVM, which there is not.
        minSplits : int, optional
            At least how many partitions.
        """
        _refuse(keyConverter, valueConverter)
        return self._sequences(path, minSplits or self.defaultMinPartitions, f"sequenceFile {path}")

    def newAPIHadoopFile(
        self,
        path: str,
        inputFormatClass: str,
        keyClass: str,
        valueClass: str,
        keyConverter: str | None = None,
        valueConverter: str | None = None,
        conf: Conf = None,
        batchSize: int = 0,
    ) -> RDD:
        """An RDD of the pairs of files in a format of Hadoop's: that of sequence files or of texts.

        Parameters
        ----------
        path : str
            The files.
        inputFormatClass : str
            Hadoop's name of the format, such as org.apache.hadoop.mapreduce.lib.input.TextInputFormat.
        keyClass, valueClass, batchSize
            Accepted for PySpark's sake.
        keyConverter, valueConverter : None
            Classes of a JVM, which there is not.
        conf : dict, optional
            Settings; ``textinputformat.record.delimiter`` says what texts are cut at.

        Raises
        ------
        NotImplementedError
            The format is another.
        """
        _refuse(keyConverter, valueConverter)
        if inputFormatClass in _SEQUENCE_INPUTS:
            return self._sequences(path, self.defaultMinPartitions, f"newAPIHadoopFile {path}")
        if inputFormatClass not in _TEXT_INPUTS:
            raise _unknown(inputFormatClass, _SEQUENCE_INPUTS | _TEXT_INPUTS)
        delimiter, count = _setting(conf, _DELIMITER), self.defaultMinPartitions
        if delimiter is None:
            return self._lazily(path, lambda paths: text_splits(paths, count), placed_lines, f"newAPIHadoopFile {path}")
        separator = delimiter.encode("utf-8")
        return self._lazily(
            path,
            lambda paths: [[Split(each, 0, 0)] for each in paths],
            lambda split: placed_parts(split, separator),
            f"newAPIHadoopFile {path}",
        )

    def newAPIHadoopRDD(
        self,
        inputFormatClass: str,
        keyClass: str,
        valueClass: str,
        keyConverter: str | None = None,
        valueConverter: str | None = None,
        conf: Conf = None,
        batchSize: int = 0,
    ) -> RDD:
        """As `newAPIHadoopFile`, of the files that ``mapreduce.input.fileinputformat.inputdir`` of `conf` names."""
        path = _setting(conf, _INPUT)
        if path is None:
            raise ValueError(f"newAPIHadoopRDD: conf does not say what to read; expected {_INPUT[0]}")
        return self.newAPIHadoopFile(
            path, inputFormatClass, keyClass, valueClass, keyConverter, valueConverter, conf, batchSize
        )

    # Those of org.apache.hadoop.mapred are read alike.
    hadoopFile = newAPIHadoopFile
    hadoopRDD = newAPIHadoopRDD

    def _sequences(self, path: str, count: int, operation: str) -> RDD:
        return self._lazily(
            path,
            lambda paths: text_splits(paths, count, compressed=False),
            lambda split: read_pairs(split.path, split.start, split.end),
            operation,
        )


class HadoopSaving(Saving):
    """The part of `RDD` that writes Hadoop's files.

    The classes of keys and values are those of the first pair, unless they are named; a pair that they do not hold
    fails the job. Other formats, and converters, are classes of a JVM, and raise NotImplementedError.
    """

    def saveAsSequenceFile(self, path: str, compressionCodecClass: str | None = None) -> None:
        """Write pairs as sequence files.

        Parameters
        ----------
        path : str
            A directory that does not exist.
        compressionCodecClass : str, optional
            Hadoop's name of a compression: its DefaultCodec, GzipCodec or BZip2Codec.

        Raises
        ------
        FileExistsError
            The directory exists.
        TypeError
            There is no writable for a key or a value.
        """
        self._save_sequences(path, None, None, compressionCodecClass, "part-")

    def saveAsHadoopFile(
        self,
        path: str,
        outputFormatClass: str,
        keyClass: str | None = None,
        valueClass: str | None = None,
        keyConverter: str | None = None,
        valueConverter: str | None = None,
        conf: Conf = None,
        compressionCodecClass: str | None = None,
    ) -> None:
        """Write pairs in a format of Hadoop's: sequence files, or lines of keys and values with a tab between.

        Parameters
        ----------
        path : str
            A directory that does not exist.
        outputFormatClass : str
            Hadoop's name of the format, such as org.apache.hadoop.mapred.TextOutputFormat.
        keyClass, valueClass : str, optional
            The writables of sequence files; those of the first pair by default.
        keyConverter, valueConverter : None
            Classes of a JVM, which there is not.
        conf : dict, optional
            Settings; those of compression count.
        compressionCodecClass : str, optional
            Hadoop's name of a compression.
        """
        _refuse(keyConverter, valueConverter)
        if (_setting(conf, _COMPRESS) or "").lower() == "true" and compressionCodecClass is None:
            compressionCodecClass = _setting(conf, _CODEC) or "org.apache.hadoop.io.compress.DefaultCodec"
        prefix = "part-r-" if outputFormatClass.startswith(_NEW) else "part-"
        if outputFormatClass in _SEQUENCE_OUTPUTS:
            self._save_sequences(path, keyClass, valueClass, compressionCodecClass, prefix)
        elif outputFormatClass in _TEXT_OUTPUTS:
            self._save_lines(path, compressionCodecClass, prefix)
        else:
            raise _unknown(outputFormatClass, _SEQUENCE_OUTPUTS | _TEXT_OUTPUTS)

    def saveAsNewAPIHadoopFile(
        self,
        path: str,
        outputFormatClass: str,
        keyClass: str | None = None,
        valueClass: str | None = None,
        keyConverter: str | None = None,
        valueConverter: str | None = None,
        conf: Conf = None,
    ) -> None:
        """As `saveAsHadoopFile`, for formats of org.apache.hadoop.mapreduce."""
        self.saveAsHadoopFile(path, outputFormatClass, keyClass, valueClass, keyConverter, valueConverter, conf)

    def saveAsHadoopDataset(
        self, conf: dict[str, str], keyConverter: str | None = None, valueConverter: str | None = None
    ) -> None:
        """As `saveAsHadoopFile`, with the format, the directory and the classes in `conf`."""
        path, name = _setting(conf, _OUTPUT), _setting(conf, _FORMAT)
        if path is None or name is None:
            raise ValueError(
                f"saveAsHadoopDataset: conf does not say where and how; expected {_OUTPUT[0]}, {_FORMAT[0]}"
            )
        self.saveAsHadoopFile(
            path, name, _setting(conf, _KEY), _setting(conf, _VALUE), keyConverter, valueConverter, conf
        )

    saveAsNewAPIHadoopDataset = saveAsHadoopDataset

    def _save_sequences(
        self, path: str, keyClass: str | None, valueClass: str | None, codec_name: str | None, prefix: str
    ) -> None:
        self._folder_of(path)
        if codec_name is not None:
            codec(codec_name)
        kinds = [None if name is None else writable(name) for name in (keyClass, valueClass)]
        key, value = self._kinds(*kinds)

        def write(file: Any, pairs: Iterator[tuple[Any, Any]]) -> None:
            write_pairs(file, pairs, writable(key), writable(value), codec_name)

        self._save(path, "", open, write, prefix)

    def _kinds(self, key: Writable | None, value: Writable | None) -> tuple[str, str]:
        """The names of the classes of keys and values: those given, or those of the first pair."""
        if key is None or value is None:
            first = self.take(1)  # type: ignore[attr-defined]
            if first and not (isinstance(first[0], tuple) and len(first[0]) == 2):
                raise TypeError(f"saveAsSequenceFile: expected pairs of key and value, found {first[0]!r:.200}")
            one, other = first[0] if first else (None, None)
            key, value = key or writable_of(one), value or writable_of(other)
        return key.full_name, value.full_name

    def _save_lines(self, path: str, codec_name: str | None, prefix: str) -> None:
        def write(file: Any, pairs: Iterator[tuple[Any, Any]]) -> None:
            for pair in pairs:
                if parts := [java_text(each) for each in pair if each is not None]:
                    file.write("\t".join(parts).encode("utf-8") + b"\n")

        if codec_name is not None and not file_suffix(codec_name):
            raise NotImplementedError(f"saveAsHadoopFile: texts cannot be compressed by {codec_name}")
        self._save(path, file_suffix(codec_name), open_compressed(file_suffix(codec_name)), write, prefix)


def _setting(conf: Conf, names: tuple[str, ...]) -> str | None:
    return next((conf[name] for name in names if name in (conf or {})), None) if conf else None


def _refuse(*converters: str | None) -> None:
    for each in converters:
        if each is not None:
            raise NotImplementedError(f"the converter {each} is a class of a JVM, and there is none; convert with map")


def _unknown(name: str, known: set[str]) -> NotImplementedError:
    return NotImplementedError(f"the format {name} needs a JVM; without one there are {', '.join(sorted(known))}")
