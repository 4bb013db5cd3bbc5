"""What a table's protocol asks of a reader: whether this one can read it rightly."""

from __future__ import annotations

from typing import Any

#: Reader features that are understood.
READABLE = {
    "columnMapping",
    "deletionVectors",
    "timestampNtz",
    "typeWidening",
    "typeWidening-preview",
    "v2Checkpoint",
    "vacuumProtocolCheck",
}
_NEWEST_READER = 3


class FeatureError(ValueError):
    """A table that needs what this reader does not have."""


def check_readable(protocol: dict[str, Any]) -> None:
    """Refuse a table that would be read wrongly.

    Raises
    ------
    FeatureError
        The protocol names a reader version or a reader feature that is not known.
    """
    version = protocol.get("minReaderVersion", 1)
    if version > _NEWEST_READER:
        raise FeatureError(f"the table needs reader version {version}; expected {_NEWEST_READER} at most")
    unknown = sorted(set(protocol.get("readerFeatures") or ()) - READABLE)
    if unknown:
        named = ", ".join(map(repr, unknown))
        known = ", ".join(sorted(READABLE))
        raise FeatureError(f"the table needs the reader feature{'s' * (len(unknown) > 1)} {named}; known are {known}")


def mapping_mode(protocol: dict[str, Any], metadata: dict[str, Any]) -> str:
    """How columns are found in the files: by their own names (``none``), by physical ``name``, or by field ``id``."""
    mode = str((metadata.get("configuration") or {}).get("delta.columnMapping.mode", "none")).lower()
    supported = protocol.get("minReaderVersion", 1) == 2 or "columnMapping" in (protocol.get("readerFeatures") or ())
    return mode if supported else "none"
