"""Values that every task reads, sent once to each process."""

from __future__ import annotations

import pickle
import threading
from pathlib import Path
from typing import Any, Generic, TypeVar

import cloudpickle

from .running import running_task

T = TypeVar("T")

_loaded: dict[str, Any] = {}
_lock = threading.Lock()


class Broadcast(Generic[T]):
    """A value that tasks read through `value`; it is pickled once, and unpickled once in each process.

    Arrays are mapped from the file by all processes of the machine, and are read-only in tasks.
    """

    def __init__(self, path: Path, value: T) -> None:
        self._path, self._value, self._is_destroyed = path, value, False
        with path.open("wb") as file:
            self._dump(value, file)

    @property
    def value(self) -> T:
        """The value."""
        if self._is_destroyed:
            raise RuntimeError(f"the broadcast variable {self._path.name} was destroyed")
        return _load(str(self._path)) if running_task() is not None else self._value

    def unpersist(self, blocking: bool = False) -> None:
        """Let processes forget the value until they need it again."""
        with _lock:
            _loaded.pop(str(self._path), None)

    def destroy(self, blocking: bool = False) -> None:
        """Remove the value; it cannot be used after."""
        self.unpersist()
        self._is_destroyed = True
        self._path.unlink(missing_ok=True)

    def dump(self, value: T, f: Any) -> None:
        """Write a value as broadcasts are, into a file opened for writing."""
        self._dump(value, f)
        f.close()

    def load(self, file: Any) -> T:
        """Read a value from a file opened for reading."""
        with file:
            return _unpickled(memoryview(file.read()))  # type: ignore[no-any-return]

    def load_from_path(self, path: str) -> T:
        """Read a value from a file."""
        return _read(path)  # type: ignore[no-any-return]

    @staticmethod
    def _dump(value: Any, file: Any) -> None:
        buffers: list[pickle.PickleBuffer] = []
        content = cloudpickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        parts = [memoryview(content), *(buffer.raw() for buffer in buffers)]
        file.write(len(parts).to_bytes(8, "little"))
        for part in parts:
            file.write(part.nbytes.to_bytes(8, "little"))
        for part in parts:
            file.write(bytes(-file.tell() % 64))
            file.write(part)

    def __reduce__(self) -> tuple[Any, ...]:
        return InTask, (str(self._path),)


class InTask:
    """A broadcast variable as tasks see it."""

    def __init__(self, path: str) -> None:
        self._path = path

    @property
    def value(self) -> Any:
        """The value."""
        return _load(self._path)

    def __reduce__(self) -> tuple[Any, ...]:
        return InTask, (self._path,)


def _load(path: str) -> Any:
    with _lock:
        if path not in _loaded:
            for other in [other for other in _loaded if not Path(other).exists()]:
                del _loaded[other]
            _loaded[path] = _read(path)
        return _loaded[path]


def _read(path: str) -> Any:
    import pyarrow as pa

    with pa.memory_map(path) as file:
        return _unpickled(memoryview(file.read_buffer()))


def _unpickled(content: memoryview) -> Any:
    count = int.from_bytes(content[:8], "little")
    sizes = [int.from_bytes(content[place : place + 8], "little") for place in range(8, 8 + 8 * count, 8)]
    place, parts = 8 + 8 * count, []
    for size in sizes:
        place += -place % 64
        parts.append(content[place : place + size])
        place += size
    return pickle.loads(parts[0], buffers=parts[1:])
