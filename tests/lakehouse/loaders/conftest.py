"""Reading a text as a log of a kind."""

import pytest

from ironlake.lakehouse.loaders import read_log


@pytest.fixture
def load(tmp_path):
    """Write a log, and give the rows that a loader finds for a trace table, without the values that are NULL."""

    def load(trace, text, loader=None, name="run.log", columns=None, on_malformed="error"):
        content = text if isinstance(text, bytes) else text.encode()
        (tmp_path / name).write_bytes(content)
        return rows_of_log(trace, str(tmp_path / name), loader, columns, on_malformed)

    return load


@pytest.fixture
def rows_of():
    return rows_of_log


def rows_of_log(*arguments):
    found = read_log(*arguments).reader().read_all().to_pylist()
    return [{name: value for name, value in row.items() if value is not None} for row in found]
