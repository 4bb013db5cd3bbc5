"""`SparkContext`: where RDDs come from, and what runs their jobs."""

from __future__ import annotations

import atexit
import getpass
import itertools
import os
import pickle
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from .accumulators import Accumulator
from .addedfiles import AddedFiles
from .autocheckpoint import AutoCheckpoint
from .blocks import Blocks
from .conf import SparkConf
from .environment import call_site, properties
from .events import EventLog
from .execution import Execution
from .forkserver import ForkServer
from .hadoop import HadoopReading
from .jobs import JobControl
from .pool import Pool
from .progress import showing
from .rdd import RDD
from .reading import Reading
from .scheduler import Scheduler
from .segments import segment_folder
from .settings import Settings
from .sources import Empty, Parallelized, slices_of
from .status import StatusTracker
from .streams import Listed
from .tables import TableReading
from .transformations import union
from .variables import Variables

if TYPE_CHECKING:
    import pyarrow as pa

    from .page import StatusPage

#: The version of PySpark whose interface this is.
VERSION = "4.3.0"
#: Seconds that a context that is stopped waits for the jobs of other threads to notice.
_PATIENCE = 10.0


class SparkContext(Reading, HadoopReading, TableReading, JobControl, AddedFiles, Variables):
    """A place to run RDD programs: this process, and worker processes on this machine, without a JVM.

    Workers start when a job is large, or could harm the process that it runs in; small jobs run in the driver. A
    process has one context at a time; as a context manager it is stopped at the end.

    Parameters
    ----------
    master : str, optional
        ``local``, ``local[4]`` or ``local[*]`` with the number of tasks at the same time; ``local[4,3]`` tries a task
        three times, where the others try it once. All cores by default.
    appName : str, optional
        The name of the program.
    conf : SparkConf, optional
        Settings.
    environment : dict, optional
        Environment variables of the workers.
    sparkHome, batchSize, serializer, gateway, jsc, profiler_cls, udf_profiler_cls, memory_profiler_cls
        Accepted for PySpark's sake.
    pyFiles : list of str, optional
        As for `addPyFile`.

    Raises
    ------
    ValueError
        There is a context already, or `master` is not one of those.

    Examples
    --------
    >>> with SparkContext("local[2]", "squares") as sc:
    ...     sc.parallelize([1, 2, 3]).map(lambda x: x * x).collect()
    [1, 4, 9]
    """

    _active_spark_context: ClassVar[SparkContext | None] = None
    _lock: ClassVar[threading.RLock] = threading.RLock()
    _is_stopped = False
    PACKAGE_EXTENSIONS: ClassVar[tuple[str, ...]] = (".zip", ".egg", ".jar")

    def __init__(
        self,
        master: str | None = None,
        appName: str | None = None,
        sparkHome: str | None = None,
        pyFiles: list[str] | None = None,
        environment: dict[str, Any] | None = None,
        batchSize: int = 0,
        serializer: Any = None,
        conf: SparkConf | None = None,
        gateway: Any = None,
        jsc: Any = None,
        profiler_cls: Any = None,
        udf_profiler_cls: Any = None,
        memory_profiler_cls: Any = None,
    ) -> None:
        self._callsite = call_site()
        with SparkContext._lock:
            self._check_alone()
            self._conf = (conf or SparkConf()).copy()
            if master:
                self._conf.setMaster(master)
            if appName:
                self._conf.setAppName(appName)
            self._conf.setIfMissing("spark.master", "local[*]").setIfMissing("spark.app.name", "ironlake")
            for name, value in (environment or {}).items():
                self._conf.set(f"spark.executorEnv.{name}", value)
            settings = Settings.of(self._conf)
            self.master, self.appName = self._conf.get("spark.master"), self._conf.get("spark.app.name")
            self.sparkHome = sparkHome or self._conf.get("spark.home")
            self.environment = dict(environment or {})
            self.startTime = int(time.time() * 1000)
            self.applicationId = f"local-{self.startTime}"
            self._conf.set("spark.app.id", self.applicationId).setIfMissing("spark.executor.id", "driver")
            self._conf.set("spark.app.startTime", self.startTime)
            self._defaults = settings.partitions
            self._events = EventLog(self.applicationId, settings.events, settings.log)
            self._folder = Path(tempfile.mkdtemp(prefix="ironlake-rdd-", dir=self._conf.get("spark.local.dir")))
            self._segments = segment_folder(self._folder)
            self._checkpoints: str | None = None
            self._auto: AutoCheckpoint | None = None
            self._page: StatusPage | None = None
            self._ids, self._shuffles, self._accumulator_ids = itertools.count(), itertools.count(), itertools.count()
            self._accumulators: dict[int, Accumulator[Any]] = {}
            self._blocks = Blocks(settings.memory, self._folder / "spilled")
            server = ForkServer([self._folder, self._segments], settings.variables)
            self._pool = Pool(settings, server, self._events, self._blocks.remove_worker, self._files_of_tasks)
            execution = Execution(self._pool, self._events, settings.tries)
            self._scheduler = Scheduler(
                settings,
                self._blocks,
                execution,
                self._count,
                self._events,
                str(self._segments),
                showing(settings.has_bars),
            )
            self._begin_files()
            self._local = threading.local()
            SparkContext._active_spark_context = self
            atexit.register(self.stop)
        try:
            for path in pyFiles or ():
                self.addPyFile(path)
        except BaseException:
            self.stop()
            raise

    def killWorker(self, i: int) -> None:
        """End a worker process, as a machine that fails would; what it kept is computed again when it is needed."""
        self._pool.kill(i)

    def events(self) -> pa.Table:
        """What each try of each task did, the latest last: a table with the columns of ``rdd_task_trace``.

        With ``spark.eventLog.enabled``, rows are also appended to the table ``rdd_task_trace``, and the RDDs of jobs to
        ``rdd_lineage_trace``, of the lake in the directory ``spark.eventLog.dir`` when the context stops.
        """
        return self._events.table()

    @staticmethod
    def _check_alone() -> None:
        active = SparkContext._active_spark_context
        if active is not None:
            raise ValueError(
                f"Cannot run multiple SparkContexts at once; existing SparkContext(app={active.appName}, "
                f"master={active.master}) created by {active._callsite}"
            )

    @classmethod
    def getOrCreate(cls, conf: SparkConf | None = None) -> SparkContext:
        """The context that there is, or a new one."""
        with cls._lock:
            return cls._active_spark_context or cls(conf=conf or SparkConf())

    def __enter__(self) -> SparkContext:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the workers and remove all files; the context cannot be used after."""
        with SparkContext._lock:
            if SparkContext._active_spark_context is self:
                SparkContext._active_spark_context = None
            atexit.unregister(self.stop)
            if self._is_stopped:
                return
            if self._page is not None:
                self._page.close()
                self._page = None
            self._is_stopped = True
            self._scheduler.cancel(lambda job: True, "because SparkContext was shut down")
            self._pool.stop()
            self._scheduler.wait_for_others(_PATIENCE)
            for folder in (self._folder, self._segments):
                shutil.rmtree(folder, ignore_errors=True)
            self._events.save()

    @property
    def version(self) -> str:
        """The version of PySpark whose interface this is."""
        return VERSION

    @property
    def uiWebUrl(self) -> str | None:
        """The address of a page that shows jobs and stages, served on this machine from when it is first asked for.

        None if the setting ``spark.ui.enabled`` is false.
        """
        if self._conf.get("spark.ui.enabled") == "false":
            return None
        from .page import StatusPage

        self._check_usable()
        with SparkContext._lock:
            if self._page is None:
                self._page = StatusPage(self)
            return self._page.url

    @property
    def defaultParallelism(self) -> int:
        """How many partitions there are where nobody says."""
        return self._defaults

    @property
    def defaultMinPartitions(self) -> int:
        """How many partitions a file has at least where nobody says."""
        return min(self._defaults, 2)

    @property
    def resources(self) -> dict[str, Any]:
        """Resources of the machine beside cores: none."""
        return {}

    def getConf(self) -> SparkConf:
        """The settings; changing them changes nothing."""
        return self._conf.copy()

    def sparkUser(self) -> str:
        """Who runs this."""
        return os.environ.get("SPARK_USER") or getpass.getuser()

    def setLogLevel(self, logLevel: str) -> None:
        """Accepted for PySpark's sake, if it is a level."""
        levels = ("ALL", "DEBUG", "ERROR", "FATAL", "INFO", "OFF", "TRACE", "WARN")
        if logLevel.upper() not in levels:
            raise ValueError(f"setLogLevel: the level {logLevel!r} is not known; expected one of {', '.join(levels)}")

    @classmethod
    def setSystemProperty(cls, key: str, value: str) -> None:
        """Set a property of the process, which `SparkConf` does not look at."""
        properties[key] = value

    @classmethod
    def getSystemProperty(cls, key: str) -> str | None:
        """A property of the process."""
        return properties.get(key)

    def emptyRDD(self) -> RDD:
        """An RDD without partitions."""
        return RDD(Empty(self._next_id()), self)

    def parallelize(self, c: Iterable[Any], numSlices: int | None = None) -> RDD:
        """An RDD of the elements of a collection.

        Parameters
        ----------
        c : iterable
            The elements.
        numSlices : int, optional
            How many partitions.

        Raises
        ------
        TypeError
            `c` is no collection.
        """
        count = int(numSlices) if numSlices is not None else self.defaultParallelism
        if count < 1:
            raise ValueError(f"SparkContext.parallelize: numSlices is {count}; expected 1 or more")
        collection = c if isinstance(c, range) else list(c)
        return RDD(Parallelized(self._next_id(), slices_of(collection, count)), self)

    def range(self, start: int, end: int | None = None, step: int = 1, numSlices: int | None = None) -> RDD:
        """An RDD of integers, as the builtin `range` has them."""
        return self.parallelize(range(0, start, step) if end is None else range(start, end, step), numSlices)

    def union(self, rdds: Sequence[RDD]) -> RDD:
        """The elements of several RDDs.

        Raises
        ------
        ValueError
            There are none.
        """
        if not rdds:
            raise ValueError("SparkContext.union: there are no RDDs; expected one or more")
        for each in rdds[1:]:
            rdds[0]._checked(each, "union")
        return rdds[0] if len(rdds) == 1 else union(rdds[0], list(rdds[1:]))

    def setCheckpointDir(self, dirName: str) -> None:
        """Say where checkpoints are written: a new directory below this one."""
        from .storing import unique_folder

        self._checkpoints = str(unique_folder(dirName))

    def getCheckpointDir(self) -> str | None:
        """The directory of checkpoints."""
        return self._checkpoints

    def setAutoCheckpoint(self, mtbf_s: float | None) -> None:
        """Let kept RDDs be checkpointed where that pays; not one of PySpark's methods.

        After an action an RDD with all partitions kept, and a shuffle in its lineage, is written to the checkpoint
        directory, and its lineage forgotten, if the seconds that it took, times the chance of a failure within as many,
        are more than writing it takes. Without `setCheckpointDir` that is a directory that goes with the context.

        Parameters
        ----------
        mtbf_s : float or None
            Seconds between two failures, in the mean; None ends it.

        Raises
        ------
        ValueError
            `mtbf_s` is not positive.

        Examples
        --------
        >>> sc.setAutoCheckpoint(mtbf_s=3600)
        """
        if mtbf_s is not None and not mtbf_s > 0:
            raise ValueError(f"SparkContext.setAutoCheckpoint: mtbf_s is {mtbf_s}; expected more than 0, or None")
        self._auto = None if mtbf_s is None else AutoCheckpoint(mtbf_s)
        if self._auto is not None and self._checkpoints is None:
            self.setCheckpointDir(str(self._folder / "checkpoints"))

    def runJob(
        self,
        rdd: Any,
        partitionFunc: Callable[[Iterator[Any]], Iterable[Any]],
        partitions: Sequence[int] | None = None,
        allowLocal: bool = False,
    ) -> list[Any]:
        """Apply a function to the elements of partitions.

        Returns
        -------
        list
            All that it makes of the first, of the second, and so on.
        """
        self._check_usable()
        splits = range(rdd.getNumPartitions()) if partitions is None else partitions
        results: dict[int, list[Any]] = {}
        self._run(rdd, Listed(partitionFunc), splits, results.__setitem__)
        rdd._checkpoint_marked()
        return [element for split in splits for element in results[split]]

    def statusTracker(self) -> StatusTracker:
        """What jobs and stages are doing."""
        return StatusTracker(self._scheduler, self._blocks)

    def show_profiles(self) -> None:
        """Nothing: tasks are not profiled."""

    def dump_profiles(self, path: str) -> None:
        """Nothing: tasks are not profiled."""

    def _next_id(self) -> int:
        self._check_usable()
        return next(self._ids)

    def _next_shuffle_id(self) -> int:
        return next(self._shuffles)

    def _check_usable(self) -> None:
        if self._is_stopped:
            raise RuntimeError("the SparkContext was stopped; make a new one")

    def __reduce__(self) -> NoReturn:
        raise pickle.PicklingError(
            "a SparkContext is used inside a function that tasks run, or is to be broadcast; only the driver has one "
            "(SPARK-5063)"
        )

    def __repr__(self) -> str:
        return f"<SparkContext master={self.master} appName={self.appName}>"

    def _repr_html_(self) -> str:
        from html import escape

        rows = {"version": f"ironlake, as PySpark {VERSION}", "master": self.master, "appName": self.appName}
        cells = "".join(f"<tr><th>{name}</th><td>{escape(str(value))}</td></tr>" for name, value in rows.items())
        return f"<table><caption>SparkContext</caption>{cells}</table>"
