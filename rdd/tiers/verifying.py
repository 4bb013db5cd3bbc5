"""What columns give compared with what Python gives, batch by batch, where ``IRONLAKE_RDD_VERIFY=1`` is set."""

from __future__ import annotations

import os
from itertools import zip_longest
from typing import Any

#: Whether all that is done on columns by a user's function is done in Python too, and compared.
is_on = os.environ.get("IRONLAKE_RDD_VERIFY") == "1"


def compare(operation: str, found: list[Any], expected: list[Any]) -> None:
    """Compare what columns and what Python gave.

    Raises
    ------
    AssertionError
        They differ.
    """
    for place, (one, other) in enumerate(zip_longest(found, expected, fillvalue=compare)):
        if type(one) is not type(other) or repr(one) != repr(other):
            raise AssertionError(
                f"{operation} on columns gives {one!r} for result {place} of a batch, where Python gives {other!r}"
            )
