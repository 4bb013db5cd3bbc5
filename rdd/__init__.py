"""Resilient distributed datasets over Arrow partitions: PySpark's RDD programs on one machine, without a JVM.

>>> from ironlake.rdd import SparkContext
"""

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
