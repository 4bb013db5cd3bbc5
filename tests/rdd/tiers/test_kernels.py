"""Compiled loops over keys."""

import numpy as np
import pytest

from ironlake.rdd.hashing import portable_hash
from ironlake.rdd.tiers import kernels


@pytest.mark.parametrize("keys", [
    [], [5], [3, 1, 2, 1, 3], [2**63 - 1, -(2**63), 0, -1, 2**63 - 1, -(2**63)], [7] * 10, list(range(5000, 0, -1)),
    [-(2**40), 2**40, -1, 1, 0],
])  # fmt: skip
def test_order_of_integers_is_stable(keys):
    array = np.array(keys, np.int64)
    assert kernels.order_integers(array).tolist() == np.argsort(array, kind="stable").tolist()


def test_partitions_of_integers_are_those_of_their_hash():
    keys = [0, 1, -1, -2, 2**61 - 1, 2**61, -(2**61) + 1, 2**63 - 1, -(2**63), 12345, -12345]
    for count in (1, 2, 7, 200):
        assert kernels.hash_integers(np.array(keys), count).tolist() == [portable_hash(key) % count for key in keys]
