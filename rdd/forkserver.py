"""The process that worker processes are forked from: it has imported what they need, and has no threads.

The driver may have threads, so it does not fork itself; and it does not let its `__main__` be imported again, as
multiprocessing would, so that programs need no guard. When the driver ends, however it does, this process ends the
workers and removes the files.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


class ForkServer:
    """The process, as the driver sees it; it starts with the first worker.

    Parameters
    ----------
    folders : list of pathlib.Path
        The directories that are removed when the driver is gone.
    environment : mapping
        Environment variables of the workers, besides those of the driver.
    """

    def __init__(self, folders: list[Path], environment: Mapping[str, str]) -> None:
        self._folders, self._environment = folders, environment
        self._buffer = b""
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._exits: dict[int, int] = {}
        self._lock = threading.Lock()

    def fork(self, name: str) -> tuple[int, Connection]:
        """Start a worker: its process number, and a connection to it."""
        with self._lock:
            if self._socket is None:
                self._start()
            assert self._socket is not None
            ours, theirs = socket.socketpair()
            connection = Connection(ours.detach())
            with theirs:
                try:
                    return self._ask(name, theirs), connection
                except (OSError, EOFError):  # it has ended, and so have all workers
                    self._end()
                    self._start()
                    return self._ask(name, theirs), connection

    def _ask(self, name: str, theirs: socket.socket) -> int:
        """Have a worker forked; its process number."""
        assert self._socket is not None
        socket.send_fds(self._socket, [name.encode()], [theirs.fileno()])
        while True:
            what, pid, told = self._receive()
            if what == "forked" and told == name:  # others are answers that an interrupted program did not wait for
                return pid

    def exit_code(self, pid: int) -> int | None:
        """How a worker that is gone has ended; negative is the signal that ended it."""
        with self._lock:
            if self._socket is None:
                return None
            try:
                self._socket.settimeout(2.0)
                while pid not in self._exits:
                    self._receive()
                return self._exits.pop(pid)
            except (OSError, EOFError):
                return None
            finally:
                self._socket.settimeout(None)

    def _receive(self) -> tuple[str, int, Any]:
        """The next message; what has come of it stays in the buffer if the program is interrupted."""
        assert self._socket is not None
        while (size := int.from_bytes(self._buffer[:4], "little")) == 0 or len(self._buffer) < 4 + size:
            content = self._socket.recv(4096)
            if not content:
                raise EOFError("the process that starts workers has ended")
            self._buffer += content
        message: tuple[str, int, Any] = pickle.loads(self._buffer[4 : 4 + size])
        self._buffer = self._buffer[4 + size :]
        if message[0] == "ended":
            self._exits[message[1]] = message[2]
        return message

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        environment = {**os.environ, **threads, "PYTHONHASHSEED": "0", **self._environment}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        command = [sys.executable, "-c", _PROGRAM, str(theirs.fileno()), *map(str, self._folders)]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment, start_new_session=True)
        theirs.close()
        self._socket = ours

    def stop(self) -> None:
        """End it and the workers."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket, self._buffer = None, b""
        if self._process is not None:
            self._process.wait()
            self._process = None


_PROGRAM = "import sys; from ironlake.rdd.forkserver import serve; serve(int(sys.argv[1]), sys.argv[2:])"


def serve(control_fd: int, folders: list[str]) -> None:
    """Fork workers as the driver asks for them, and tell how each has ended."""
    from . import worker  # what workers need is imported once

    control = socket.socket(fileno=control_fd)
    wake_reader, wake_writer = os.pipe()
    os.set_blocking(wake_writer, False)
    signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides
    children: set[int] = set()
    import select

    sources: list[Any] = [control, wake_reader]
    while True:
        ready, _, _ = select.select(sources, [], [])
        if wake_reader in ready:
            os.read(wake_reader, 4096)
            _reap(children, control)
        if control not in ready:
            continue
        try:
            name, descriptors, _, _ = socket.recv_fds(control, 256, 1)
        except OSError:
            name, descriptors = b"", []
        if not name:
            break
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            control.close()
            os.close(wake_reader)
            os.close(wake_writer)
            os._exit(worker.main(name.decode(), Connection(descriptors[0])))
        os.close(descriptors[0])
        children.add(pid)
        _tell(control, "forked", pid, name.decode())
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in children:  # what they were writing has to be done with
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _reap(children: set[int], control: socket.socket) -> None:
    while children:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        children.discard(pid)
        _tell(control, "ended", pid, os.waitstatus_to_exitcode(status))


def _tell(control: socket.socket, what: str, pid: int, told: object) -> None:
    content = pickle.dumps((what, pid, told))
    with contextlib.suppress(OSError):
        control.sendall(len(content).to_bytes(4, "little") + content)
