"""Resilient distributed datasets over Arrow partitions: PySpark's RDD programs on one machine, without a JVM.

>>> from ironlake.rdd import SparkContext
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .accumulators import Accumulator, AccumulatorParam
    from .addedfiles import SparkFiles
    from .approximate import BoundedFloat
    from .barrier import RDDBarrier
    from .broadcast import Broadcast
    from .conf import SparkConf
    from .context import SparkContext
    from .hashing import portable_hash
    from .jobs import InheritableThread, inheritable_thread_target
    from .levels import StorageLevel
    from .lineage import Partitioner
    from .rdd import RDD
    from .resultiterable import ResultIterable
    from .statcounter import StatCounter
    from .status import SparkExecutorInfo, SparkJobInfo, SparkStageInfo, StatusTracker
    from .taskcontext import BarrierTaskContext, BarrierTaskInfo, TaskContext

__all__ = [
    "SparkContext", "SparkConf", "RDD", "StorageLevel", "Broadcast", "Accumulator", "AccumulatorParam", "SparkFiles",
    "TaskContext", "BarrierTaskContext", "BarrierTaskInfo", "RDDBarrier", "StatusTracker", "SparkJobInfo",
    "SparkStageInfo", "StatCounter", "ResultIterable", "Partitioner", "portable_hash",
    "SparkExecutorInfo", "BoundedFloat", "InheritableThread", "inheritable_thread_target",
]  # fmt: skip

#: The modules of the names; they are imported when one is used, since `import ironlake` needs the SQL functions alone.
_MODULES = {
    "Accumulator": "accumulators", "AccumulatorParam": "accumulators", "SparkFiles": "addedfiles",
    "BoundedFloat": "approximate", "RDDBarrier": "barrier", "Broadcast": "broadcast", "SparkConf": "conf",
    "SparkContext": "context", "portable_hash": "hashing", "InheritableThread": "jobs",
    "inheritable_thread_target": "jobs", "StorageLevel": "levels", "Partitioner": "lineage", "RDD": "rdd",
    "ResultIterable": "resultiterable", "StatCounter": "statcounter",
    "SparkExecutorInfo": "status", "SparkJobInfo": "status", "SparkStageInfo": "status", "StatusTracker": "status",
    "BarrierTaskContext": "taskcontext", "BarrierTaskInfo": "taskcontext", "TaskContext": "taskcontext",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
