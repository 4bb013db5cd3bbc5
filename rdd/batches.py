"""Elements of a partition as Arrow data: typed where that gives back exactly what went in, pickled otherwise.

A batch of Python objects becomes a column if all of them have one type: integers of 64 bits, floats, booleans, texts,
bytes (any of them with None between), tuples of such columns, lists of one scalar type, arrays of one shape. Whatever
else there is - mixed types, subclasses, large integers, dictionaries - is a column of pickles, each of up to a
thousand elements. What kind of column it is stands beside it, since Arrow does not tell a tuple from a record.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from .resultiterable import ResultIterable

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

#: Elements of a batch.
BATCH_ROWS = 65_536
#: Elements of a pickle in a column of such.
_PICKLED = 1024
#: The longest tuple that is a record of columns.
_WIDEST = 32

#: What a column holds: a name, or for tuples, lists and arrays a name with what is inside.
Kind = str | tuple[Any, ...]

OBJECT = "object"
#: Kinds of many elements each: lists, and the values of a key as `groupByKey` has them.
LISTS = ("list", "grouped")
#: The kinds of scalars with the names of their Arrow types, and of those that NumPy has, of its.
_SCALARS = {int: ("int", "int64"), float: ("float", "float64"), bool: ("bool", "bool"), str: ("str", "string"),
            bytes: ("bytes", "binary")}  # fmt: skip
_NUMBERS = {"int": "int64", "float": "float64", "bool": "bool"}
#: Elements that become a column when somebody asks for one: small jobs need neither Arrow nor NumPy.
FEW = 1024
_PLAIN = {int, float, bool, str, bytes, type(None)}


class Batch:
    """Elements as an Arrow array of a kind; the Python objects that it was made of are kept while they are shared."""

    __slots__ = ("_array", "_kind", "_objects", "_rows")

    def __init__(self, kind: Kind, array: pa.Array, rows: int, objects: list[Any] | None = None) -> None:
        self._kind, self._array, self._rows = kind, array, rows
        self._objects = objects if is_immutable(kind) else None

    @classmethod
    def of(cls, objects: Sequence[Any]) -> Batch:
        """The batch of some elements."""
        objects = objects if isinstance(objects, list) else list(objects)
        if len(objects) <= FEW and _are_plain(objects):
            batch = cls("", None, len(objects))
            batch._objects = objects
            return batch
        return cls(*_column(objects), len(objects), objects)

    @property
    def is_small(self) -> bool:
        """Whether the elements are few, and no column so far."""
        return self._array is None

    @property
    def kind(self) -> Kind:
        """What the elements are."""
        self._to_column()
        return self._kind

    @property
    def array(self) -> pa.Array:
        """The column."""
        self._to_column()
        return self._array

    def _to_column(self) -> None:
        if self._array is None:
            assert self._objects is not None
            self._kind, self._array = _column(self._objects)

    @classmethod
    def typed(cls, objects: list[Any]) -> Batch | None:
        """The batch of some elements, if these are not few, and can be a column of numbers, texts and such."""
        if len(objects) <= FEW:
            return None
        kind, array = _encode(objects)
        return None if array is None else cls(kind, array, len(objects), objects)

    def __len__(self) -> int:
        return self._rows

    def forget(self) -> None:
        """Keep the column only."""
        self._to_column()
        self._objects = None

    def objects(self) -> list[Any]:
        """The elements; a list that nobody else may change."""
        if self._objects is not None:
            return self._objects
        if self.kind == OBJECT:
            return [element for blob in self.array for element in pickle.loads(blob.as_buffer())]
        objects = _decode(self.kind, self.array)
        if is_immutable(self.kind):
            self._objects = objects
        return objects

    @property
    def nbytes(self) -> int:
        """Bytes of the column; of few elements about as many."""
        if self._array is None:
            return 8 * sum(len(each) if isinstance(each, str | bytes | tuple) else 1 for each in self._objects or ())
        return int(self._array.get_total_buffer_size())

    def record_batch(self) -> pa.RecordBatch:
        """The column as a table for Arrow's IPC, its kind and number of elements in the metadata."""
        import pyarrow as pa

        metadata = {"kind": json.dumps(self.kind), "rows": str(self._rows)}
        return pa.record_batch([self.array], schema=pa.schema([("elements", self.array.type)], metadata))

    @classmethod
    def from_record_batch(cls, batch: pa.RecordBatch, kind: Kind | None = None) -> Batch:
        """The batch that `record_batch` made a table of."""
        metadata = batch.schema.metadata
        return cls(_frozen(json.loads(metadata[b"kind"])), batch.column(0), int(metadata[b"rows"]))

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self.to_bytes(),)

    def to_bytes(self) -> pa.Buffer:
        """The batch as a stream of Arrow's IPC."""
        import pyarrow as pa

        sink = pa.BufferOutputStream()
        table = self.record_batch()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_batch(table)
        return sink.getvalue()

    @classmethod
    def from_bytes(cls, content: Any) -> Batch:
        """The batch of a stream of Arrow's IPC, without copying."""
        import pyarrow as pa

        with pa.ipc.open_stream(content) as reader:
            return cls.from_record_batch(reader.read_next_batch())


def _unpickled(content: bytes | pa.Buffer) -> Batch:
    return Batch.from_bytes(content)


def _are_plain(objects: list[Any]) -> bool:
    """Whether elements are scalars, or tuples of scalars, that nobody can change."""
    types = set(map(type, objects))
    if tuple in types:
        types.discard(tuple)
        types |= {type(value) for each in objects if type(each) is tuple for value in each}
    return types <= _PLAIN


def _column(objects: list[Any]) -> tuple[Kind, pa.Array]:
    """The kind of some elements and their column, which is one of pickles where there is no better one."""
    kind, array = _encode(objects)
    if array is None:
        import cloudpickle
        import pyarrow as pa

        parts = range(0, len(objects), _PICKLED)
        array = pa.array([cloudpickle.dumps(objects[start : start + _PICKLED]) for start in parts], pa.binary())
    return kind, array


def is_immutable(kind: Kind) -> bool:
    """Whether elements of a kind can be shared between those who might change them."""
    if isinstance(kind, str):
        return kind != OBJECT
    return kind[0] == "tuple" and all(map(is_immutable, kind[1]))


def _encode(objects: list[Any]) -> tuple[Kind, pa.Array | None]:
    """The kind of some elements and their column; none for objects."""
    import numpy as np

    types = set(map(type, objects))
    has_none = type(None) in types and len(types) == 2
    types -= {type(None)} if has_none else set()
    if len(types) != 1:
        return OBJECT, None
    (type_,) = types
    if type_ in _SCALARS:
        return _scalars(objects, *_SCALARS[type_], has_none)
    if has_none:
        return OBJECT, None
    if type_ is tuple:
        return _tuples(objects)
    if type_ is list:
        return _lists(objects)
    if type_ is np.ndarray:
        return _arrays(objects)
    return OBJECT, None


def _scalars(objects: list[Any], kind: str, type_: str, has_none: bool) -> tuple[Kind, pa.Array | None]:
    import numpy as np
    import pyarrow as pa

    try:
        if kind in _NUMBERS and not has_none:
            return kind, pa.array(np.array(objects, _NUMBERS[kind]))
        return kind, pa.array(objects, type_)
    except (OverflowError, pa.ArrowException, UnicodeEncodeError):  # large integers, lone surrogates, 2 GB of text
        return OBJECT, None


def _tuples(objects: list[tuple[Any, ...]]) -> tuple[Kind, pa.Array | None]:
    import pyarrow as pa

    width = len(objects[0])
    if not 1 <= width <= _WIDEST or set(map(len, objects)) != {width}:
        return OBJECT, None
    kinds, columns = [], []
    for place in range(width):
        kind, column = _encode(list(map(itemgetter(place), objects)))
        if column is None:
            return OBJECT, None
        kinds.append(kind)
        columns.append(column)
    return ("tuple", tuple(kinds)), pa.StructArray.from_arrays(columns, [str(place) for place in range(width)])


def _lists(objects: list[list[Any]]) -> tuple[Kind, pa.Array | None]:
    import numpy as np
    import pyarrow as pa

    flat = [value for each in objects for value in each]
    kind, column = _encode(flat) if flat else (OBJECT, None)
    if column is None or not isinstance(kind, str):
        return OBJECT, None
    offsets = np.zeros(len(objects) + 1, np.int32)
    np.cumsum(np.fromiter(map(len, objects), np.int32, len(objects)), out=offsets[1:])
    return ("list", kind), pa.ListArray.from_arrays(pa.array(offsets), column)


def _arrays(objects: list[np.ndarray]) -> tuple[Kind, pa.Array | None]:
    import numpy as np
    import pyarrow as pa

    first = objects[0]
    alike = all(each.dtype == first.dtype and each.shape == first.shape for each in objects)
    if not alike or first.dtype.kind not in "iuf" or first.dtype.itemsize == 16 or first.size == 0:
        return OBJECT, None
    if not first.dtype.isnative or first.dtype == np.float16 or not first.shape:
        return OBJECT, None
    values = pa.array(np.stack(objects).ravel())
    return ("ndarray", first.shape), pa.FixedSizeListArray.from_arrays(values, first.size)


def _decode(kind: Kind, array: pa.Array) -> list[Any]:
    if isinstance(kind, str):
        if kind in _NUMBERS and array.null_count == 0:
            return array.to_numpy(zero_copy_only=False).tolist()  # type: ignore[no-any-return]
        return array.to_pylist()  # type: ignore[no-any-return]
    if kind[0] == "tuple":
        columns = [_decode(inner, array.field(place)) for place, inner in enumerate(kind[1])]
        return list(zip(*columns, strict=True))
    if kind[0] in LISTS:
        flat = _decode(kind[1], array.flatten())
        import numpy as np

        ends = np.cumsum(array.value_lengths().to_numpy(zero_copy_only=False)).tolist()
        lists = [flat[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        return lists if kind[0] == "list" else list(map(ResultIterable, lists))
    matrix = array.flatten().to_numpy(zero_copy_only=False).reshape(len(array), *kind[1])
    return list(matrix.copy())  # elements may be changed


def _frozen(kind: Any) -> Kind:
    return tuple(_frozen(part) for part in kind) if isinstance(kind, list) else kind
