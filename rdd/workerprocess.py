"""A worker process, as the driver sees it."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import time
from collections import deque
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

#: Seconds that a process that was killed may take to end.
_LONGEST = 5.0


@dataclass(eq=False)
class Worker:
    """A process, and the connection to it."""

    name: str
    pid: int
    connection: Connection
    stages: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=16))
    files: int = 0
    heard: float = field(default_factory=time.monotonic)

    def send(self, *message: Any) -> None:
        """Send a message; that the worker is gone is noticed when it does not answer."""
        content = pickle.dumps(message)
        with contextlib.suppress(OSError):
            self.connection.send_bytes(content)

    def receive(self) -> Any:
        """The next message; None if the worker is gone. That it is alive is noted."""
        try:
            message = pickle.loads(self.connection.recv_bytes())
            self.heard = time.monotonic()
            return message
        except (EOFError, OSError):
            return None

    def kill(self) -> None:
        """End the process, whatever it does."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def end(self) -> None:
        """End the process, and wait until it is gone, and with it the files that it was writing."""
        self.kill()
        with contextlib.suppress(OSError):
            while self.connection.poll(_LONGEST) and self.receive() is not None:
                pass
