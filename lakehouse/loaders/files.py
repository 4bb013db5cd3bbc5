"""The files of a log, and what stands in them: lines of text, or the elements of a JSON array, in bounded memory."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from ..storage import Storage

if TYPE_CHECKING:
    import pyarrow as pa

#: Bytes that are read at a time.
_CHUNK = 4_194_304
#: The longest line or element; a longer one tells that the file is damaged or no such log.
_LONGEST = 268_435_456
#: How compressed files begin, whatever they are called.
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4", b"BZh": "bz2"}


def log_files(path: str) -> list[str]:
    """The files that a path or URL stands for: a file, those in a directory, or those that a pattern matches.

    They come in the order of their names, in which numbers count as such.

    Raises
    ------
    FileNotFoundError
        There is none.
    """
    if "://" in path:
        found = _objects(path)
    elif not path:
        found = []
    elif (given := Path(path).expanduser()).is_dir():
        found = [str(each) for each in given.iterdir() if each.is_file() and not each.name.startswith((".", "_"))]
    elif given.is_file():
        found = [str(given)]
    else:
        matching = Path(given.anchor).glob(str(given.relative_to(given.anchor)))
        found = [str(each) for each in matching if each.is_file()]
    if not found:
        raise FileNotFoundError(f"there is no file {path!r}, and none that matches it as a pattern")
    return sorted(found, key=lambda name: [part.zfill(20) if part.isdigit() else part for part in _parts(name)])


def _objects(path: str) -> list[str]:
    """The objects that a URL stands for; only behind its last ``/`` it may be a pattern."""
    folder, _, name = path.rstrip("/").rpartition("/")
    if any(character in name for character in "*?["):
        storage = Storage.of(folder)
        return [storage.locate(each.path) for each in storage.entries() if fnmatch.fnmatchcase(each.name, name)]
    storage = Storage.of(path)
    if storage.is_file():
        return [storage.root]
    return [storage.locate(each.path) for each in storage.entries() if not each.name.startswith((".", "_"))]


def _parts(name: str) -> list[str]:
    return re.split(r"(\d+)", name)


def lines(file: str) -> Iterator[pa.RecordBatch]:
    """The lines of a text: ``file`` VARCHAR, ``number`` BIGINT from 1 on, ``text`` VARCHAR without its end.

    Bytes that are no UTF-8 are taken for Latin-1.
    """
    import pyarrow as pa

    number, rest = 1, b""
    with _opened(file) as stream:
        while chunk := stream.read(_CHUNK):
            *whole, rest = (rest + chunk).split(b"\n")
            _check_length(file, f"line {number + len(whole)}", rest)
            if whole:
                yield _batch(file, number, pa.array(whole, pa.binary()))
                number += len(whole)
    if rest:
        yield _batch(file, number, pa.array([rest], pa.binary()))


def elements(file: str, key: str) -> Iterator[pa.RecordBatch]:
    """The elements of a JSON array, as `lines`: of the array that the file is, or that is the value of a key in it.

    A file that breaks off gives the elements that there are; the last one may be no JSON then.

    Raises
    ------
    ValueError
        There is no such array.
    """
    import pyarrow as pa

    state, spans = np.array([0, 0, 0, -1, 0]), np.empty((65_536, 2), np.int64)
    number = 1
    with _opened(file) as stream:
        content = _from_array(file, stream, key)
        at = 0
        while content and not state[_CLOSED]:
            data = np.frombuffer(content, np.uint8)
            while at < len(content) and not state[_CLOSED]:
                count, at = _scan(data, at, state, spans)
                if count:
                    yield _batch(file, number, _cut(data, spans[:count]))
                    number += count
            started = state[_START]
            rest = content[started:] if started >= 0 else b""
            state[_START] = -1 if started < 0 else 0
            _check_length(file, f"element {number}", rest)
            chunk = b"" if state[_CLOSED] else stream.read(_CHUNK)
            if not chunk and rest.strip():
                yield _batch(file, number, pa.array([rest], pa.binary()))
            at, content = len(rest), rest + chunk if chunk else b""


#: Places in the state of a scan: brackets that are open, whether in a text and behind a backslash, where the element
#: began, whether the array has ended.
_DEPTH, _TEXT, _ESCAPED, _START, _CLOSED = range(5)


@njit(cache=True)
def _scan(data: Any, at: int, state: Any, spans: Any) -> tuple[int, int]:
    """Find where elements begin and end: how many were found, and the place up to which was looked."""
    count = 0
    while at < len(data) and count < len(spans):
        byte = data[at]
        if state[_TEXT]:
            if state[_ESCAPED]:
                state[_ESCAPED] = 0
            elif byte == 92:  # backslash
                state[_ESCAPED] = 1
            elif byte == 34:  # "
                state[_TEXT] = 0
        elif state[_DEPTH] == 0 and (byte == 44 or byte == 93):  # , ]
            if state[_START] >= 0:
                spans[count, 0], spans[count, 1] = state[_START], at
                state[_START] = -1
                count += 1
            if byte == 93:
                state[_CLOSED] = 1
                return count, at + 1
        elif byte > 32:
            if state[_START] < 0:
                state[_START] = at
            if byte == 34:
                state[_TEXT] = 1
            elif byte == 123 or byte == 91:  # { [
                state[_DEPTH] += 1
            elif (byte == 125 or byte == 93) and state[_DEPTH] > 0:  # } ]
                state[_DEPTH] -= 1
        at += 1
    return count, at


def _cut(data: np.ndarray[Any, Any], spans: np.ndarray[Any, Any]) -> pa.Array:
    """The bytes of some spans."""
    import pyarrow as pa

    offsets = np.zeros(len(spans) + 1, np.int32)
    np.cumsum(spans[:, 1] - spans[:, 0], out=offsets[1:])
    content = np.empty(offsets[-1], np.uint8)
    _copy(data, spans, content)
    return pa.Array.from_buffers(pa.binary(), len(spans), [None, pa.py_buffer(offsets), pa.py_buffer(content)])


@njit(cache=True)
def _copy(data: Any, spans: Any, content: Any) -> None:
    to = 0
    for index in range(len(spans)):
        for at in range(spans[index, 0], spans[index, 1]):
            content[to] = data[at]
            to += 1


def _from_array(file: str, stream: Any, key: str) -> bytes:
    """The first bytes behind the bracket that opens the array."""
    content = stream.read(_CHUNK).removeprefix(b"\xef\xbb\xbf")
    if content.lstrip()[:1] == b"[":
        return bytes(content[content.index(b"[") + 1 :])
    opening = re.compile(rb'(?<!\\)"' + re.escape(key.encode()) + rb'"\s*:\s*\[')
    while content:
        if found := opening.search(content):
            return bytes(content[found.end() :])
        chunk = stream.read(_CHUNK)
        content = content[-1000:] + chunk if chunk else b""
    raise ValueError(f"{file} is no JSON array, and has no array {key!r}")


def _opened(file: str) -> Any:
    """A stream of the bytes of a file, which may be compressed."""
    import pyarrow as pa

    stored = Storage.of(file.rpartition("/")[0]) if "://" in file else None
    with Path(file).open("rb") if stored is None else stored.open(file) as plain:
        start = plain.read(4)
    compression = next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)
    source = file if stored is None else stored.open(file)
    return pa.input_stream(source, compression=compression, buffer_size=_CHUNK)


def _check_length(file: str, what: str, content: bytes) -> None:
    if len(content) > _LONGEST:
        raise ValueError(f"{what} of {file} is longer than {_LONGEST:,} bytes; is the file a log of this kind?")


def _batch(file: str, first: int, texts: pa.Array) -> pa.RecordBatch:
    import pyarrow as pa

    try:
        decoded = texts.cast(pa.string())
    except pa.ArrowInvalid:
        decoded = pa.array([_decoded(text) for text in texts.to_pylist()], pa.string())
    numbers = pa.array(np.arange(first, first + len(texts)))
    return pa.record_batch({"file": pa.repeat(file, len(texts)), "number": numbers, "text": decoded})


def _decoded(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")
