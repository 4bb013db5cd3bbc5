"""Makespans, memory and bubbles of schedules: the published ones, closed forms, brute force, and all of them at random."""

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ironlake.kernels.distributed_training.pipelines.catalogue import SCHEDULES, Request, build
from ironlake.kernels.distributed_training.pipelines.costs import Costs
from ironlake.kernels.distributed_training.pipelines.functions import Result, operations
from ironlake.kernels.distributed_training.pipelines.schedule import Kind
from ironlake.kernels.distributed_training.pipelines.simulator import DeadlockError, simulate
from ironlake.kernels.distributed_training.pipelines.validation import Operation, validate


def simulated(name, stages, micro_batches, backward=1.0, *, chunks=1, pipelines=2, weight=None, comm=0.0):
    request = Request(stages, micro_batches, chunks, pipelines)
    parts = SCHEDULES[name].chunks_of(request)
    costs = Costs.of(stages * parts, parts, 1.0, backward, weight, comm)
    return simulate(build(name, request, costs), costs)


def rows_of(simulation):
    table = operations(Result("", None, None, simulation, []))
    names = ["worker", "op", "stage", "pipeline", "micro_batch", "start_time", "end_time"]
    return [Operation(*row) for row in zip(*(table[name].to_pylist() for name in names), strict=True)]


# -------------------------------------------------------------------------------------------------------------- Chimera


@pytest.mark.parametrize(
    ("stages", "micro_batches", "pipelines", "makespans"),
    [
        (4, 4, 2, (10, 16, 22)),
        (6, 6, 2, (16, 26, 36)),
        (8, 8, 2, (22, 36, 50)),
        (8, 8, 4, (18, 28, 38)),
        (8, 8, 8, (16, 24, 32)),
        (16, 16, 2, (46, 76, 106)),
        (4, 8, 2, (18, 30)),
        (4, 16, 2, (34, 58)),
        (8, 16, 2, (38, 66)),
        (8, 32, 2, (70, 126)),
        (16, 64, 2, (142, 262)),
        (8, 2, 2, (16,)),
        (8, 4, 2, (18,)),
        (16, 4, 2, (34,)),
    ],
)
def test_makespans_of_chimera(stages, micro_batches, pipelines, makespans):
    for backward, makespan in enumerate(makespans, 1):
        found = simulated("chimera", stages, micro_batches, backward, pipelines=pipelines)
        assert found.makespan == makespan
        if micro_batches % stages == 0:
            low = stages - stages / pipelines + 1
            assert (found.peak_activations.min(), found.peak_activations.max()) == (low, stages)


@pytest.mark.parametrize("half", [1, 2, 4])
@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_closed_forms_of_chimera(half, blocks):
    stages, count = 8, 8 * blocks
    ratio = (stages - 2 * half) / (2 * half * count + stages - 2 * half)
    assert simulated("chimera", stages, count, pipelines=2 * half).bubble_ratio == pytest.approx(ratio, abs=1e-12)
    for backward in (1, 2, 3):
        span = stages + stages / half - 2
        makespan = stages + (blocks - 1) * (stages - stages / half + 2) + blocks * span * backward
        assert simulated("chimera", stages, count, backward, pipelines=2 * half).makespan == makespan


def test_critical_path_of_the_paper():
    found = simulated("chimera", 6, 6, 2)
    assert (found.on_critical_path(Kind.F), found.on_critical_path(Kind.B)) == (6, 10)


@pytest.mark.parametrize(
    ("stages", "micro_batches", "backward", "reference"), [(4, 8, 2, 28), (8, 16, 2, 64), (8, 16, 3, 82)]
)
def test_doubling_and_halving(stages, micro_batches, backward, reference):
    direct = simulated("chimera", stages, micro_batches, backward)
    doubled = simulated("chimera_forward_doubling", stages, micro_batches, backward)
    assert doubled.makespan <= min(reference, direct.makespan)
    assert doubled.peak_activations.max() <= 2 * stages
    halved = simulated("chimera_backward_halving", stages, micro_batches, backward)
    assert halved.makespan <= direct.makespan
    assert halved.peak_activations.max() <= stages


def least_slots(stages, micro_batches):
    """By brute force: the least time in which workers can compute micro-batches that go down or up, in any order."""
    found = []
    for down in range(micro_batches + 1):
        chains = [list(range(stages))[:: 1 if unit < down else -1] for unit in range(micro_batches)]
        chains = [chain + chain[::-1] for chain in chains]
        states, time, goal = {(0,) * micro_batches}, 0, (2 * stages,) * micro_batches
        while goal not in states:
            after = set()
            for state in states:
                waiting = {}
                for unit, at in enumerate(state):
                    if at < 2 * stages:
                        waiting.setdefault(chains[unit][at], []).append(unit)
                for chosen in itertools.product(*waiting.values()):
                    moved = [at + (unit in chosen) for unit, at in enumerate(state)]
                    after.add((*sorted(moved[:down]), *sorted(moved[down:])))
            states, time = after, time + 1
        found.append(time)
    return min(found)


@pytest.mark.parametrize(("stages", "micro_batches"), [(2, 1), (2, 2), (2, 4), (4, 1), (4, 2), (4, 3), (4, 4)])
def test_chimera_is_optimal(stages, micro_batches):
    assert simulated("chimera", stages, micro_batches).makespan == least_slots(stages, micro_batches)


# --------------------------------------------------------------------------------------------------------- other papers


@pytest.mark.parametrize("stages", [1, 2, 4, 7])
@pytest.mark.parametrize("micro_batches", [1, 4, 16])
def test_flushing_schedules(stages, micro_batches):
    for name in ("gpipe", "1f1b"):
        found = simulated(name, stages, micro_batches, 2)
        assert found.makespan == (micro_batches + stages - 1) * 3
        assert found.bubble_ratio == pytest.approx((stages - 1) / (micro_batches + stages - 1), abs=1e-12)
    assert list(simulated("gpipe", stages, micro_batches).peak_activations) == [micro_batches] * stages
    expected = [min(micro_batches, stages - worker) for worker in range(stages)]
    assert list(simulated("1f1b", stages, micro_batches).peak_activations) == expected


@pytest.mark.parametrize("chunks", [1, 2, 3])
def test_interleaving(chunks):
    found = simulated("interleaved_1f1b", 4, 8, 2, chunks=chunks)
    assert found.makespan == pytest.approx(8 * 3 + 3 * 3 / chunks)
    # The first worker: 1 + (p - 1) / (p v) of the pipeline's depth.
    assert found.peak_activations[0] == (4 if chunks == 1 else pytest.approx(4 * (1 + 3 / (4 * chunks))))


def test_gems():
    assert simulated("gems", 8, 400, 2).bubble_ratio == pytest.approx(7 / 8.5, abs=2e-3)
    assert set(simulated("gems", 8, 16, 2).peak_activations) == {1}


@pytest.mark.parametrize(
    ("stages", "micro_batches", "name", "makespan", "peak", "span_bubble"),
    [
        (4, 8, "1f1b", 33, 4, None),
        (4, 8, "zb_h1", 27, 4, None),
        (4, 8, "zb_h2", 27, 7.5, 0),
        (4, 8, "zb_v", 51 / 2, 4, 0),
        (4, 8, "interleaved_1f1b", 57 / 2, 5.5, None),
        (4, 8, "v_half", 53 / 2, 3, None),
        (4, 8, "v_min", 59 / 2, 2, None),
        (8, 16, "1f1b", 69, 8, 0.3043),
        (8, 16, "zb_h1", 55, 8, 0.1273),
        (8, 16, "zb_h2", 55, 15.5, 0),
        (8, 16, "zb_v", 103 / 2, 8, 0),
        (8, 16, "interleaved_1f1b", 117 / 2, 11.5, 0.1795),
        (8, 16, "v_half", 113 / 2, 5, 0.1504),
        (8, 16, "v_min", 123 / 2, 4, 0.2195),
    ],
)
def test_no_worse_than_the_zero_bubble_schedulers(stages, micro_batches, name, makespan, peak, span_bubble):
    # What the authors' own programs give, with F = I = W, in units of one of them on both chunks.
    found = simulated(name, stages, micro_batches, 2, chunks=2 if name == "interleaved_1f1b" else 1)
    assert found.makespan <= makespan
    assert found.peak_activations.max() <= peak
    if span_bubble is not None:
        assert found.stage_span_bubble <= span_bubble + 5e-5


def test_bubble_of_dual_pipe():
    for stages, count in ((4, 8), (8, 20), (8, 40)):
        found = simulated("dualpipe", stages, count, 2)
        assert found.makespan == 3 * count + (stages / 2 - 1) * (3 + 2 - 3)  # (PP / 2 - 1) (F&B + B - 3 W)
        assert found.peak_activations.max() == stages + 1


# ------------------------------------------------------------------------------------------------------- all schedules

MEMORY = {
    "gpipe": lambda r: r.micro_batches,
    "1f1b": lambda r: min(r.stages, r.micro_batches),
    "interleaved_1f1b": lambda r: min(r.micro_batches, r.stages + (r.chunks > 1) * (r.stages - 1) / r.chunks),
    "looped_bfs": lambda r: r.micro_batches,
    "chimera": lambda r: r.stages,
    "chimera_forward_doubling": lambda r: 2 * r.stages,
    "chimera_backward_halving": lambda r: r.stages,
    "gems": lambda r: 1,
    "pipedream": lambda r: r.stages,
    "pipedream_2bw": lambda r: r.stages,
    "zb_h1": lambda r: r.stages,
    "zb_h2": lambda r: 2 * r.stages - 0.5,
    "zb_v": lambda r: r.stages,
    "v_half": lambda r: r.stages // 2 + 1,
    "v_min": lambda r: -(-(r.stages + 2) // 3),
    "dualpipe": lambda r: r.stages + 1,
    "dualpipe_v": lambda r: r.stages + 1,
    "hanayo": lambda r: r.stages,
}


@st.composite
def requests(draw):
    stages, micro_batches = draw(st.integers(1, 12)), draw(st.integers(1, 24))
    return Request(stages, micro_batches, draw(st.integers(1, 4)), 2 * draw(st.integers(1, 3)))


@pytest.mark.parametrize("name", SCHEDULES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(request=requests(), backward=st.sampled_from([1.0, 2.0, 2.7]), comm=st.sampled_from([0.0, 0.25]))
def test_complete_without_deadlock_and_within_memory(name, request, backward, comm):
    parts = SCHEDULES[name].chunks_of(request)
    costs = Costs.of(request.stages * parts, parts, 1.0, backward, None, comm)
    try:
        schedule = build(name, request, costs)
    except ValueError:
        assume(False)  # there is none for such numbers
    found = simulate(schedule, costs)
    assert validate(rows_of(found)).errors == []
    assert found.peak_activations.max() <= MEMORY[name](request) + 1e-9
    last = schedule.offsets[1:] - 1
    assert np.allclose(found.activations[last], 0)
    assert 0 <= found.bubble_ratio < 1
    assert sum(found.phase_bubbles) == pytest.approx(found.bubble_ratio, abs=1e-9)
    path = found.critical_path
    assert found.start[path[0]] == 0
    assert found.end[path[-1]] == found.makespan


def test_memory_that_is_asked_for():
    costs = Costs.of(8, 1, 1.0, 2.0, None, 0.0)
    slow = simulate(build("zb_h1", Request(8, 16, max_activations=4), costs), costs)
    assert slow.peak_activations.max() <= 4
    assert slow.makespan > 55
    with pytest.raises(ValueError, match="zb_h1 needs more than max_activations 0.5"):
        build("zb_h1", Request(8, 16, max_activations=0.5), costs)


def test_deadlocks_tell_who_waits():
    schedule = build("1f1b", Request(2, 2), Costs.of(2, 1, 1.0, 1.0, None, 0.0))
    schedule.kind[:] = schedule.kind[::-1]
    with pytest.raises(
        DeadlockError, match="worker 0 cannot start B of stage 0 on micro-batch 0: it waits for the forw"
    ):
        simulate(schedule, Costs.of(2, 1, 1.0, 1.0, None, 0.0))
