"""Costs of collective operations: the formulas, against messages counted one by one."""

import duckdb
import numpy as np
import pytest
from numba import njit

import ironlake
from ironlake.kernels.distributed_training import collectives


def seconds(call):
    [(value,)] = duckdb.sql(f"SELECT collective_time({call})").fetchall()
    return value


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("'all_reduce', 8e9, 4, 1e9, 1", 2 * 3 * (2 + 1)),
        ("'all_gather', 8e9, 4, 1e9, 1", 3 * (2 + 1)),
        ("'reduce_scatter', 8e9, 4, 1e9, 1", 3 * (2 + 1)),
        ("'all_to_all', 8e9, 8, 1e9, 0", 8),  # bytes * G / 8 / link
        ("'broadcast', 8e9, 4, 1e9, 1", 8 + 3),
        ("'p2p', 8e9, 2, 1e9, 1", 9),
        ("'all_reduce', 8e9, 8, 1e9, 1, 'tree'", 2 * 3 + 14),
        ("'all_gather', 8e9, 5, 1e9, 1, 'tree'", 3 + 6.4),
        ("'all_to_all', 8e9, 8, 1e9, 1, 'tree'", 3 * (4 + 1)),
        ("'broadcast', 8e9, 8, 1e9, 1, 'tree'", 3 * 9),
        ("'all_reduce', 8e9, 8, 1e9, 1, 'direct'", 2 * 7 + 2),
        ("'all_to_all', 8e9, 8, 1e9, 1, 'direct'", 7 + 1),
        ("'all_reduce', 8e9, 8, 1e9, 1, 'hierarchical', 4, 1e8", 2 * (3 * (2 + 1) + 1 * (10 + 1))),
        ("'all_to_all', 8e9, 8, 1e9, 1, 'hierarchical', 4, 1e8", 6 + 1 + 40 + 1),
        ("'broadcast', 8e9, 8, 1e9, 1, 'hierarchical', 4, 1e8", 80 + 1 + 8 + 3),
        ("'p2p', 8e9, 8, 1e9, 1, 'hierarchical', 4, 1e8", 81),
        ("'p2p', 8e9, 4, 1e9, 1, 'hierarchical', 4", 9),
        ("'all_reduce', 8e9, 4, 1e9, 1, 'hierarchical'", 2 * 3 * (2 + 1)),
    ],
)
def test_formulas(call, expected):
    assert seconds(call) == pytest.approx(expected)


@pytest.mark.parametrize("devices", [2, 3, 4, 5, 8, 9])
def test_a_ring_exchanges_along_the_shorter_way(devices):
    loads = np.zeros((devices, 2))  # of the link from each device, clockwise and back
    for source in range(devices):
        for distance in range(1, devices):
            ways = [(distance, 0), (devices - distance, 1)]
            shortest = min(length for length, _ in ways)
            chosen = [way for way in ways if way[0] == shortest]
            for length, direction in chosen:
                for hop in range(length):
                    link = (source + hop) % devices if direction == 0 else (source - hop) % devices
                    loads[link, direction] += 1 / devices / len(chosen)
    assert loads.max() == pytest.approx(loads.min())
    assert collectives.ring_all_to_all(1.0, devices, 1.0, 0.0) == pytest.approx(loads.max())


def test_one_device_alone_costs_nothing():
    for algorithm in ("ring", "tree", "direct", "hierarchical"):
        for op in ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "p2p", "broadcast"):
            assert seconds(f"'{op}', 1e9, 1, 1e9, 1e-3, '{algorithm}'") == 0, (op, algorithm)


def test_columns_and_nulls():
    got = duckdb.sql("""
        SELECT collective_time(op, bytes, n, 1e9, 0, algorithm)
        FROM (VALUES ('all_reduce', 4e9, 4, 'ring'), ('all_gather', 4e9, 4, 'tree'), (NULL, 1, 1, 'ring')) t(op, bytes, n, algorithm)
    """).fetchall()
    assert got == [(6.0,), (3.0,), (None,)]
    assert ironlake.collective_time("p2p", 1e9, 2, 1e9, latency=0.5) == 1.5


def test_compiled_code_can_call_them():
    @njit
    def fastest(size):
        return min(
            collectives.ring_all_reduce(size, 8, 1e9, 1e-6),
            collectives.hierarchical_all_reduce(size, 16, 1e9, 1e-6, 8, 1e8),
        )

    assert fastest(8e6) == pytest.approx(14 * (1e-3 + 1e-6))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("'all_sum', 1, 2, 1", "argument op is 'all_sum'; expected one of all_reduce, all_gather"),
        ("'p2p', 1, 2, 1, 0, 'star'", "argument algorithm is 'star'; expected one of ring, tree, direct, hierarchical"),
        ("'p2p', -1, 2, 1", "argument bytes must be at least 0, got -1.0"),
        ("'p2p', 'nan'::DOUBLE, 2, 1", "argument bytes must be at least 0, got nan"),
        ("'p2p', 1, 0, 1", "argument devices must be at least 1, got 0"),
        ("'p2p', 1, 2, 0", "argument bandwidth must be above 0, got 0.0"),
        ("'p2p', 1, 16, 1, 0, 'hierarchical'", "argument inter_bandwidth is missing"),
        (
            "'p2p', 1, 12, 1, 0, 'hierarchical', 8, 1",
            "argument devices is 12, which is no multiple of devices_per_node, 8",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(duckdb.InvalidInputException, match=f"collective_time: {message}"):
        seconds(call)
