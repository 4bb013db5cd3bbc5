"""The test tables of the Delta Lake project: each is read as expected, or refused with the reason."""

from pathlib import Path

import pytest
from golden_tables import check

ARCHIVES = sorted((Path(__file__).parent / "golden").glob("*.tar.zst"))


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda archive: archive.name.removesuffix(".tar.zst"))
def test_golden_table(archive, tmp_path):
    check(archive, tmp_path)
