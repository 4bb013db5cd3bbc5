"""The state of a version made from that of an earlier one and the commits in between, without reading the log again."""

from __future__ import annotations

from .log import Segment
from .replay import FILES, NEWEST, State, read_state
from .storage import Storage

#: The files that stay of the table ``known``, and those that the commits add; a file is told apart by its path and its
#: deletion vector.
_FILES = rf"""
WITH touched AS (
    SELECT
        regexp_replace(url_decode(coalesce(add.path, remove.path)), '^file:/+', '/') AS path,
        coalesce(add.deletionVector, remove.deletionVector) AS vector
    FROM ({NEWEST})
)
FROM known WHERE NOT EXISTS (
    FROM touched WHERE touched.path = regexp_replace(known.path, '^file:/+', '/')
    AND touched.vector['storageType'] IS NOT DISTINCT FROM known.vector['storageType']
    AND touched.vector['pathOrInlineDv'] IS NOT DISTINCT FROM known.vector['pathOrInlineDv']
    AND touched.vector['offset'] IS NOT DISTINCT FROM known.vector['offset']
)
UNION ALL BY NAME ({FILES})
ORDER BY modification_time, path
"""


def advance(storage: Storage, segment: Segment, commits: tuple[str, ...], before: State) -> State:
    """The state of a version, from that of an earlier one and all commits behind it.

    Raises
    ------
    LogError
        A commit is damaged.
    """
    return read_state(storage, segment, Segment(segment.version, None, (), commits, segment.timestamp), _FILES, before)
