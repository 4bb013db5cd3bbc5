"""The deletion vectors that scans hold where compiled code finds them.

A scan is a text that names them by number. Whoever has the text, as a view, a prepared statement or a lazy relation has
it, may run it at any time, so a vector stays for the life of the process once such a text was given away. A scan that
is run while its snapshot is held, as those of single statements over views and of changes to tables are, only needs
them as long. A vector takes a bit for each row of its file up to the last one that is deleted.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from ironlake.udf.engine import machine

from .deletion_vectors import deleted_rows

if TYPE_CHECKING:
    from .storage import Storage


class Pin:
    """A vector in memory, for as long as this is.

    Attributes
    ----------
    number : under which compiled code finds it: the count of its bits, and the bits.
    """

    def __init__(self, storage: Storage, vector: dict[str, Any]) -> None:
        rows = deleted_rows(storage, vector)
        bits = np.zeros(int(rows[-1]) + 1 if len(rows) else 0, np.uint8)
        bits[rows] = 1
        content = np.packbits(bits, bitorder="little")
        self.number = machine.pin(np.concatenate([np.array([len(bits)], np.int64).view(np.uint8), content]))
        weakref.finalize(self, machine.unpin, self.number).atexit = False


#: Those that are in memory, by what they are of.
_pins: weakref.WeakValueDictionary[tuple[str, str, int], Pin] = weakref.WeakValueDictionary()
_lasting: set[Pin] = set()
_lock = threading.Lock()


def pinned_rows(storage: Storage, vector: dict[str, Any], held: list[Pin] | None = None) -> int:
    """The number under which compiled code finds the deleted rows of a file.

    They stay as long as the list that holds them, by default for the life of the process.
    """
    key = storage.root, vector["storageType"] + vector["pathOrInlineDv"], vector["offset"] or 0
    pin = _pins.get(key)
    if pin is None:
        made = Pin(storage, vector)
        with _lock:
            pin = _pins.setdefault(key, made)
    if held is None:
        _lasting.add(pin)
    else:
        held.append(pin)
    return pin.number
