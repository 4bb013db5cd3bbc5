"""What a worker process does: one task after the other."""

from __future__ import annotations

import pickle
import sys
from collections import OrderedDict
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle

from . import addedfiles, context, task  # noqa: F401 - imported once, before workers are forked
from .failures import described
from .task import Assignment, Task

#: Stages whose functions a worker keeps.
_STAGES = 16


def main(name: str, connection: Connection) -> int:
    """Run tasks until the driver says that there are no more; the exit status."""
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
            connection.send_bytes(_answer(stages[key], assignment, connection))
            sys.stdout.flush()


def _answer(binary: bytes, assignment: Assignment, connection: Connection) -> bytes:
    """Run a task: what came of it, pickled."""
    running = Task(assignment)

    def gather(message: str | None) -> list[str]:
        connection.send_bytes(pickle.dumps(("barrier", message)))
        kind, messages = pickle.loads(connection.recv_bytes())
        if kind == "timeout":
            raise RuntimeError(messages)
        found: list[str] = messages
        return found

    if "ironlake.barrier.tasks" in assignment.properties:
        running.barrier = gather
    try:
        outcome: Any = running.run(binary)
        return cloudpickle.dumps(("done", outcome))  # type: ignore[no-any-return]
    except BaseException as error:
        return described(error, assignment)
