"""The settings of a context that mean something here, read from its `SparkConf`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .conf import SparkConf
from .environment import parse_master
from .speculation import Speculation


@dataclass(frozen=True)
class Settings:
    """What a context was told.

    Attributes
    ----------
    slots, tries : int
        How many tasks run at the same time, and how often each is tried: ``spark.master``.
    partitions : int
        How many partitions there are where nobody says: ``spark.default.parallelism``.
    memory : int
        Bytes for kept partitions: ``spark.driver.memory`` times ``spark.memory.fraction``.
    task_memory : int
        Bytes of elements that a task holds to sort or group them: ``spark.python.worker.memory``.
    most_memory : float
        Bytes beyond which a worker that has done its task is replaced: ``spark.executor.pyspark.memory``.
    resubmissions : int
        How often a stage is tried without any progress: ``spark.stage.maxConsecutiveAttempts``.
    compares : bool
        Whether a lost output of a shuffle is compared with what is computed again: ``ironlake.checksums``.
    barrier_seconds : float
        How long tasks wait for each other: ``spark.barrier.sync.timeout``.
    silence_seconds : float
        How long a worker with a task may say nothing before it counts as hung, and is ended: ``spark.network.timeout``.
    speculation : Speculation
        When slow tasks get twins: ``spark.speculation`` and what begins with that.
    variables : dict of str to str
        Environment variables of the workers: what begins with ``spark.executorEnv.``.
    log : str or None
        The lake to which the event log goes: ``spark.eventLog.enabled`` and ``spark.eventLog.dir``.
    events : int
        How many tries of tasks the event log in memory has: ``ironlake.events``.
    has_bars : bool
        Whether terminals show bars: ``spark.ui.showConsoleProgress``.
    """

    slots: int
    tries: int
    partitions: int
    memory: int
    task_memory: int
    most_memory: float
    resubmissions: int
    compares: bool
    barrier_seconds: float
    silence_seconds: float
    speculation: Speculation
    variables: dict[str, str]
    log: str | None
    events: int
    has_bars: bool

    @classmethod
    def of(cls, conf: SparkConf) -> Settings:
        """What a `SparkConf` says.

        Raises
        ------
        ValueError
            Something is not valid.
        """
        slots, tries = parse_master(conf.get("spark.master") or "")
        number = conf.number
        speculation = Speculation(
            conf.get("spark.speculation") == "true",
            number("spark.speculation.multiplier", 3.0),
            number("spark.speculation.quantile", 0.9),
            number("spark.speculation.minTaskRuntime", 0.1),
        )
        prefix = "spark.executorEnv."
        return cls(
            slots=slots,
            tries=tries,
            partitions=int(number("spark.default.parallelism", slots)),
            memory=int(number("spark.driver.memory", 4 << 30) * number("spark.memory.fraction", 0.6)),
            task_memory=int(number("spark.python.worker.memory", 512 << 20)),
            most_memory=number("spark.executor.pyspark.memory", math.inf),
            resubmissions=int(number("spark.stage.maxConsecutiveAttempts", 4)),
            compares=conf.get("ironlake.checksums") == "true",
            barrier_seconds=number("spark.barrier.sync.timeout", 365 * 86_400),
            silence_seconds=number("spark.network.timeout", 120.0),
            speculation=speculation,
            variables={name[len(prefix) :]: value for name, value in conf.getAll() if name.startswith(prefix)},
            log=_log(conf),
            events=int(number("ironlake.events", 100_000)),
            has_bars=conf.get("spark.ui.showConsoleProgress") != "false",
        )


def _log(conf: SparkConf) -> str | None:
    folder = conf.get("spark.eventLog.dir")
    if conf.get("spark.eventLog.enabled") != "true":
        return None
    if folder is None:
        raise ValueError(
            "SparkContext: spark.eventLog.enabled is true, and spark.eventLog.dir is missing; expected the directory "
            "of a lake"
        )
    return folder
