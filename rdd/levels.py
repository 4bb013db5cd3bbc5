"""Where the partitions of an RDD are kept between jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, repr=False)
class StorageLevel:
    """Where the partitions of an RDD are kept: in memory, on disk, in either; and in how many copies.

    The constants are PySpark's. On one machine a second copy of a partition would be lost with the first, so
    `replication` is kept but has no effect.
    """

    useDisk: bool
    useMemory: bool
    useOffHeap: bool
    deserialized: bool
    replication: int = 1

    NONE: ClassVar[StorageLevel]
    DISK_ONLY: ClassVar[StorageLevel]
    DISK_ONLY_2: ClassVar[StorageLevel]
    DISK_ONLY_3: ClassVar[StorageLevel]
    MEMORY_ONLY: ClassVar[StorageLevel]
    MEMORY_ONLY_2: ClassVar[StorageLevel]
    MEMORY_AND_DISK: ClassVar[StorageLevel]
    MEMORY_AND_DISK_2: ClassVar[StorageLevel]
    OFF_HEAP: ClassVar[StorageLevel]
    MEMORY_AND_DISK_DESER: ClassVar[StorageLevel]

    @property
    def keeps(self) -> bool:
        """Whether partitions are kept at all."""
        return self.useMemory or self.useDisk

    def __repr__(self) -> str:
        flags = self.useDisk, self.useMemory, self.useOffHeap, self.deserialized, self.replication
        return f"StorageLevel({', '.join(map(str, flags))})"

    def __str__(self) -> str:
        places = {"Disk": self.useDisk, "Memory": self.useMemory, "OffHeap": self.useOffHeap}
        words = [place for place, used in places.items() if used]
        words += ["Deserialized" if self.deserialized else "Serialized", f"{self.replication}x Replicated"]
        return " ".join(words)


StorageLevel.NONE = StorageLevel(False, False, False, False)
StorageLevel.DISK_ONLY = StorageLevel(True, False, False, False)
StorageLevel.DISK_ONLY_2 = StorageLevel(True, False, False, False, 2)
StorageLevel.DISK_ONLY_3 = StorageLevel(True, False, False, False, 3)
StorageLevel.MEMORY_ONLY = StorageLevel(False, True, False, False)
StorageLevel.MEMORY_ONLY_2 = StorageLevel(False, True, False, False, 2)
StorageLevel.MEMORY_AND_DISK = StorageLevel(True, True, False, False)
StorageLevel.MEMORY_AND_DISK_2 = StorageLevel(True, True, False, False, 2)
StorageLevel.OFF_HEAP = StorageLevel(True, True, True, False, 1)
StorageLevel.MEMORY_AND_DISK_DESER = StorageLevel(True, True, False, True)
