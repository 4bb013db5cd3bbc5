"""What a table's protocol asks of a reader: whether this one can read it rightly."""

from __future__ import annotations

from typing import Any, Literal

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


#: Writer features whose rules commits made here keep.
WRITABLE = {
    "appendOnly",
    "changeDataFeed",
    "checkConstraints",
    "columnMapping",
    "deletionVectors",
    "domainMetadata",
    "generatedColumns",
    "inCommitTimestamp",
    "invariants",
    "timestampNtz",
    "typeWidening",
    "typeWidening-preview",
    "v2Checkpoint",
    "vacuumProtocolCheck",
}
#: The features that the numbered writer versions brought.
_BROUGHT = {
    2: ("appendOnly", "invariants"),
    3: ("checkConstraints",),
    4: ("changeDataFeed", "generatedColumns"),
    5: ("columnMapping",),
    6: ("identityColumns",),
}
_NEWEST_WRITER = 7


def writer_features(protocol: dict[str, Any]) -> set[str]:
    """The features that a writer has to know, those of a numbered version included."""
    version = protocol.get("minWriterVersion", 2)
    if version >= _NEWEST_WRITER:
        return set(protocol.get("writerFeatures") or ())
    return {name for since, names in _BROUGHT.items() if since <= version for name in names}


def check_writable(
    protocol: dict[str, Any], metadata: dict[str, Any], purpose: Literal["append", "change", "delete"]
) -> None:
    """Refuse a table of which commits made here would not keep the rules.

    Raises
    ------
    FeatureError
        The table is append-only and not just appended to, or needs a writer feature that is not known.
    """
    only = str((metadata.get("configuration") or {}).get("delta.appendOnly", "false")).lower() == "true"
    if only and purpose != "append":
        raise FeatureError("the table is append-only: its property 'delta.appendOnly' forbids to delete rows")
    version = protocol.get("minWriterVersion", 2)
    if version > _NEWEST_WRITER:
        raise FeatureError(f"the table needs writer version {version}")
    unknown = writer_features(protocol) - WRITABLE
    # Rows that go need no identity; and the number of a version stands for features that a table need not use.
    if purpose == "delete" or (version < _NEWEST_WRITER and "delta.identity" not in metadata.get("schemaString", "")):
        unknown.discard("identityColumns")
    if unknown:
        named = ", ".join(map(repr, sorted(unknown)))
        raise FeatureError(f"the table needs the writer feature{'s' * (len(unknown) > 1)} {named}, not known here")


def with_features(protocol: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """The protocol of a table once it has these features; the same one if it has them."""
    supported = writer_features(protocol)
    missing = names - supported
    if not missing:
        return protocol
    since = {name: version for version, brought in _BROUGHT.items() for name in brought}
    if protocol.get("minWriterVersion", 2) < _NEWEST_WRITER and missing <= set(since):
        reader = 2 if "columnMapping" in missing else protocol.get("minReaderVersion", 1)
        return {"minReaderVersion": reader, "minWriterVersion": max(since[name] for name in missing)}
    known = set(protocol.get("readerFeatures") or ())
    if protocol.get("minReaderVersion", 1) == 2:
        known.add("columnMapping")
    known |= missing & READABLE
    named = {"writerFeatures": sorted(supported | missing), "minWriterVersion": _NEWEST_WRITER}
    if known:
        return {"minReaderVersion": _NEWEST_READER, "readerFeatures": sorted(known), **named}
    return {"minReaderVersion": protocol.get("minReaderVersion", 1), **named}
