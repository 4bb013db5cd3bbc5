"""Hadoop's sequence files: pairs of writables, in records or in compressed blocks of records.

A file begins with ``SEQ``, its version, the classes of keys and values, whether it is compressed and how, some metadata
and sixteen random bytes. These come again, after a length of -1, before a record every hundred thousand bytes and
before each block, so that a reader who begins anywhere finds where a record begins.

Source: org.apache.hadoop.io.SequenceFile of Hadoop 3, version 6 of the format.
"""

from __future__ import annotations

import bz2
import gzip
import itertools
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .writables import Reader, Writable, text, variable, writable, written

_MAGIC = b"SEQ\x06"
_ESCAPE = b"\xff\xff\xff\xff"
#: Bytes between two places where a reader may begin.
_SYNC_INTERVAL = 100 * 1024
#: Bytes of keys and values in a compressed block.
_BLOCK = 1_000_000
_PACKAGE = "org.apache.hadoop.io.compress."
_CODECS: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    "DefaultCodec": (zlib.compress, zlib.decompress),
    "DeflateCodec": (zlib.compress, zlib.decompress),
    "GzipCodec": (lambda content: gzip.compress(content, mtime=0), gzip.decompress),
    "BZip2Codec": (bz2.compress, bz2.decompress),
}


def codec(name: str) -> tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]:
    """How a compression of Hadoop's compresses and uncompresses.

    Raises
    ------
    NotImplementedError
        It is not known.
    """
    short = name.removeprefix(_PACKAGE)
    if short not in _CODECS:
        raise NotImplementedError(f"the codec {name} is not known; expected {_PACKAGE}: {', '.join(_CODECS)}")
    return _CODECS[short]


@dataclass(frozen=True)
class _Header:
    key: Writable
    value: Writable
    uncompress: Callable[[bytes], bytes] | None
    has_blocks: bool
    sync: bytes
    end: int


def _header(content: Any, path: str) -> _Header:
    reader = Reader(content)
    if bytes(reader.content[:4]) != _MAGIC:
        raise ValueError(f"{path} is no sequence file of version 6")
    reader.place = 4
    key, value = writable(reader.text()), writable(reader.text())
    is_compressed, has_blocks = reader.number(">?"), reader.number(">?")
    uncompress = codec(reader.text())[1] if is_compressed else None
    for _ in range(reader.number(">i")):
        reader.text(), reader.text()
    return _Header(key, value, uncompress, has_blocks, reader.take(16), reader.place)


def read_pairs(path: str, start: int, end: int) -> Iterator[tuple[Any, Any]]:
    """The pairs of the sections of a sequence file that begin within some of its bytes.

    Raises
    ------
    ValueError
        It is no sequence file, or ends too early.
    NotImplementedError
        It has writables or a compression that need a JVM.
    """
    import mmap

    if not Path(path).stat().st_size:
        return
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        header = _header(content[: 1 << 20], path)
        place = header.end if start <= header.end < end else content.find(_ESCAPE + header.sync, max(start, header.end))
        size = len(content)
        while 0 <= place < min(end, size):
            limit = content.find(_ESCAPE + header.sync, place + 20)
            section = content[place : size if limit < 0 else limit]
            reader = Reader(section, 20 if section.startswith(_ESCAPE + header.sync) else 0)
            yield from (_block if header.has_blocks else _records)(reader, header)
            place = limit


def _records(reader: Reader, header: _Header) -> Iterator[tuple[Any, Any]]:
    while reader.place < len(reader.content):
        length, key_length = reader.number(">i"), reader.number(">i")
        key, value = reader.take(key_length), reader.take(length - key_length)
        value = header.uncompress(value) if header.uncompress else value
        yield header.key.read(Reader(key)), header.value.read(Reader(value))


def _block(reader: Reader, header: _Header) -> Iterator[tuple[Any, Any]]:
    if reader.place >= len(reader.content):
        return
    assert header.uncompress is not None
    count = reader.variable()
    # lengths of keys, keys, lengths of values, values; each value begins where the one before it ends
    _, keys, _, values = (Reader(header.uncompress(reader.take(reader.variable()))) for _ in range(4))
    for _ in range(count):
        yield header.key.read(keys), header.value.read(values)


def write_pairs(
    file: Any, pairs: Iterator[tuple[Any, Any]], key: Writable, value: Writable, codec_name: str | None
) -> None:
    """Write pairs as a sequence file, in compressed blocks if there is a codec."""
    sync = os.urandom(16)
    head = _MAGIC + text(key.full_name) + text(value.full_name)
    head += struct.pack(">??", codec_name is not None, codec_name is not None)
    head += (text(codec_name) if codec_name else b"") + struct.pack(">i", 0) + sync
    file.write(head)
    encoded = ((written(key, one), written(value, other)) for one, other in pairs)
    if codec_name is not None:
        _write_blocks(file, encoded, sync, codec(codec_name)[0])
        return
    place, last = len(head), 0
    for one, other in encoded:
        if place >= last + _SYNC_INTERVAL:
            file.write(_ESCAPE + sync)
            last, place = place, place + 20
        record = struct.pack(">ii", len(one) + len(other), len(one)) + one + other
        place += len(record)
        file.write(record)


def _write_blocks(
    file: Any, pairs: Iterator[tuple[bytes, bytes]], sync: bytes, compress: Callable[[bytes], bytes]
) -> None:
    for first in pairs:
        block, size = [first], 0
        for pair in pairs:
            block.append(pair)
            size += len(pair[0]) + len(pair[1])
            if size >= _BLOCK:
                break
        columns = list(zip(*block, strict=True))
        parts = itertools.chain.from_iterable((map(variable, map(len, column)), column) for column in columns)
        packed = [compress(b"".join(part)) for part in parts]
        file.write(_ESCAPE + sync + variable(len(block)) + b"".join(variable(len(each)) + each for each in packed))


def file_suffix(codec_name: str | None) -> str:
    """What the name of a file of text ends in that is compressed."""
    return {"GzipCodec": ".gz", "BZip2Codec": ".bz2"}.get(Path(codec_name or "").suffix[1:], "")
