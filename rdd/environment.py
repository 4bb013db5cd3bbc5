"""What a context finds: how many tasks a master stands for, where the program made it, properties of the process."""

from __future__ import annotations

import os
import re
import traceback

#: Properties of the process; programs ask for the one that there is to know that they run on Spark.
properties: dict[str, str] = {"SPARK_SUBMIT": "true"}


def parse_master(master: str) -> tuple[int, int]:
    """The tasks at the same time and the tries of each that a master stands for.

    Raises
    ------
    ValueError
        It is none that runs on one machine.
    """
    if master == "local":
        return 1, 1
    found = re.fullmatch(r"local\[\s*(\d+|\*)\s*(?:,\s*(\d+)\s*)?\]", master)
    if not found or found[1] == "0" or found[2] == "0":
        raise ValueError(f"SparkContext: master is {master!r}; expected local, local[4], local[*] or local[4,2]")
    slots = len(os.sched_getaffinity(0)) if found[1] == "*" else int(found[1])
    return slots, int(found[2] or 1)


def call_site() -> str:
    """Where the program made the context."""
    for frame in reversed(traceback.extract_stack()[:-2]):
        return f"{frame.name} at {frame.filename}:{frame.lineno}"
    return "unknown"
