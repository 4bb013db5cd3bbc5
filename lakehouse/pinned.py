"""The deletion vectors that scans hold where compiled code finds them.

They stay for the life of the process: a scan is a text that names them by number, and whoever has the text, as a view,
a prepared statement or a lazy relation has it, may run it at any time. A vector takes a bit for each row of its file up
to the last one that is deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ironlake.udf.engine import machine

from .deletion_vectors import deleted_rows

if TYPE_CHECKING:
    from .storage import Storage

_numbers: dict[tuple[str, str, int], int] = {}


def pinned_rows(storage: Storage, vector: dict[str, Any]) -> int:
    """The number under which compiled code finds the deleted rows of a file: their count of bits, and the bits."""
    key = storage.root, vector["storageType"] + vector["pathOrInlineDv"], vector["offset"] or 0
    if key not in _numbers:
        rows = deleted_rows(storage, vector)
        bits = np.zeros(int(rows[-1]) + 1 if len(rows) else 0, np.uint8)
        bits[rows] = 1
        content = np.packbits(bits, bitorder="little")
        _numbers[key] = machine.pin(np.concatenate([np.array([len(bits)], np.int64).view(np.uint8), content]))
    return _numbers[key]
