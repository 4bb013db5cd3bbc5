"""Contexts that leave nothing behind: no process, and no file."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ironlake.rdd import SparkConf, SparkContext, execution

sys.path.append(str(Path(__file__).parent))  # for disturbed.py


def children_of(pid: int) -> set[int]:
    """The processes below one."""
    try:
        found = {int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    except FileNotFoundError:
        return set()
    return found.union(*(children_of(child) for child in found))


def is_running(pid: int) -> bool:
    """Whether a process is there, and not just waiting to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def folders_of(context: SparkContext) -> list[Path]:
    """The directories of a context."""
    return [context._folder, context._segments]


def stop_and_check(context: SparkContext) -> None:
    """Stop a context; nothing of it is left."""
    process = context._pool._server._process
    pids = {process.pid, *children_of(process.pid)} if process is not None else set()
    context.stop()
    assert not [pid for pid in pids if is_running(pid)]
    assert not [str(folder) for folder in folders_of(context) if os.path.lexists(folder)]


def new_context(master: str = "local[2,4]", **settings: object) -> SparkContext:
    """A context with settings, whose names have __ for points."""
    conf = SparkConf().setAll((name.replace("__", "."), value) for name, value in settings.items())
    return SparkContext(master, "tests", conf=conf)


@pytest.fixture(scope="session", autouse=True)
def patient() -> Iterator[None]:
    """Where a job runs does not depend on how busy the machine is."""
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(execution, "_PATIENCE", 1e9)
        yield


@pytest.fixture(scope="module")
def sc() -> Iterator[SparkContext]:
    """The context of a module of tests: two workers, and four tries for each task."""
    context = new_context(spark__executorEnv__ANSWER=42)
    yield context
    stop_and_check(context)


@pytest.fixture
def context_with() -> Iterator[Callable[..., SparkContext]]:
    """Makes the context of a test."""
    made: list[SparkContext] = []

    def new(master: str = "local[2,4]", **settings: object) -> SparkContext:
        made.append(new_context(master, **settings))
        return made[-1]

    yield new
    for context in made:
        stop_and_check(context)
