"""What a worker process does: one task after the other."""

from __future__ import annotations

import contextlib
import pickle
import signal
import sys
import threading
from collections import OrderedDict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pyarrow  # noqa: F401

from ironlake.udf.engine import machine  # noqa: F401

from . import addedfiles, context, task  # noqa: F401 - imported once, before workers are forked
from .failures import described
from .task import Assignment, Task
from .tiers import kernels

#: Numba loads most of itself with the first loop; after this workers have that before they are forked.
kernels.hash_integers(np.empty(0, np.int64), 1)

#: Stages whose functions a worker keeps.
_STAGES = 16
#: Seconds between two signs of life.
BEAT = 1.0


def main(name: str, connection: Connection) -> int:
    """Run tasks until the driver says that there are no more; the exit status."""
    _end_with_parent()
    beating = Beating(connection)
    stages: OrderedDict[tuple[int, int], bytes] = OrderedDict()
    while True:
        try:
            kind, *content = pickle.loads(connection.recv_bytes())
        except (EOFError, OSError):
            return 0
        if kind == "stop":
            return 0
        if kind == "files":
            addedfiles.SparkFiles._root_directory, paths = content
            addedfiles.SparkFiles._is_running_on_worker = True
            sys.path[:0] = [path for path in paths if path not in sys.path]
        elif kind == "stage":
            key, binary = content
            stages[key] = binary
            while len(stages) > _STAGES:
                stages.popitem(last=False)
        else:
            key, assignment = content
            with beating:
                content = _answer(stages[key], assignment, connection, beating)
            connection.send_bytes(content)
            sys.stdout.flush()


class Beating:
    """Says every second, while a task runs, that this process is alive: as long as Python can run anything in it.

    As a context it begins and ends; after that nothing more is said. Others that send to the driver hold `sending`.

    Parameters
    ----------
    connection : Connection
        To the driver.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.sending = threading.Lock()
        self._changed = threading.Condition(self.sending)
        self._is_running = False
        threading.Thread(target=self._beat, daemon=True).start()

    def __enter__(self) -> None:
        with self._changed:
            self._is_running = True
            self._changed.notify()

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._is_running = False

    def _beat(self) -> None:
        content = pickle.dumps(("alive",))
        with contextlib.suppress(OSError), self._changed:
            while True:
                self._changed.wait(BEAT if self._is_running else None)
                if self._is_running:
                    self._connection.send_bytes(content)


def _end_with_parent() -> None:
    """Let the system end this process if the one that it was forked from ends."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _answer(binary: bytes, assignment: Assignment, connection: Connection, beating: Beating) -> bytes:
    """Run a task: what came of it, pickled."""
    running = Task(assignment)

    def gather(message: str | None) -> list[str]:
        with beating.sending:
            connection.send_bytes(pickle.dumps(("barrier", message)))
        kind, messages = pickle.loads(connection.recv_bytes())
        if kind == "timeout":
            raise RuntimeError(messages)
        found: list[str] = messages
        return found

    if "ironlake.barrier.tasks" in assignment.properties:
        running.barrier = gather
    try:
        forget_peak()
        outcome: Any = running.run(binary)
        running.metrics.peak_mem_bytes, running.metrics.resident_bytes = memory()
        return cloudpickle.dumps(("done", outcome))  # type: ignore[no-any-return]
    except BaseException as error:
        return described(error, assignment)


def forget_peak() -> None:
    """Begin anew to look how much memory the process has at most, where the system can do that."""
    with contextlib.suppress(OSError), Path("/proc/self/clear_refs").open("w") as file:
        file.write("5")


def memory() -> tuple[int | None, int | None]:
    """Bytes of memory that the process had at most, and has now; None where nobody knows."""
    sizes: dict[str, int] = {}
    with contextlib.suppress(OSError), Path("/proc/self/status").open() as file:
        sizes = {
            line.split(":")[0]: int(line.split()[1]) * 1024 for line in file if line.startswith(("VmHWM", "VmRSS"))
        }
    return sizes.get("VmHWM"), sizes.get("VmRSS")
