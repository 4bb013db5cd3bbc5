"""Pipeline schedules made and simulated, beside the same event simulation in plain Python.

    python benchmarks/pipelines.py [--stages 16] [--micro-batches 64]

The zero-bubble authors' schedulers take 158 ms (ZB-H1), 285 ms (ZB-V) and 3.4 s (V-Half) for 16 stages and 64
micro-batches on a machine with two cores; they are not run here, since they are not packaged.
"""

from __future__ import annotations

import argparse

import duckdb
from harness import Benchmark

from ironlake.kernels.distributed_training.pipelines import simulator_kernels
from ironlake.kernels.distributed_training.pipelines.catalogue import SCHEDULES, Request, build
from ironlake.kernels.distributed_training.pipelines.costs import Costs
from ironlake.kernels.distributed_training.pipelines.simulator import simulate


def costs_of(name: str, request: Request) -> Costs:
    chunks = SCHEDULES[name].chunks_of(request)
    return Costs.of(request.stages * chunks, chunks, 1.0, 2.0, None, 0.0)


def whole(name: str, request: Request) -> None:
    """Make and simulate a schedule."""
    costs = costs_of(name, request)
    simulate(build(name, request, costs), costs)


def in_python(request: Request):
    """The event simulation of 1F1B by the interpreter."""
    costs = costs_of("1f1b", request)
    made = build("1f1b", request, costs)
    loop = simulator_kernels.run.py_func
    columns = (made.offsets, made.kind, made.pipeline, made.stage, made.unit, 1, made.paired, made.worker_of)
    return lambda: loop(*columns, made.units, costs.durations(made), 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stages", type=int, default=16)
    parser.add_argument("--micro-batches", type=int, default=64)
    arguments, _ = parser.parse_known_args()
    request = Request(arguments.stages, arguments.micro_batches, chunks=2)
    operations = 2 * request.stages * request.micro_batches
    cases = {"1f1b, simulated in Python": in_python(request)}
    for name in SCHEDULES:
        cases[name] = lambda name=name: whole(name, request)
    Benchmark(f"schedules of {request.stages} stages, {request.micro_batches} micro-batches", operations, cases).run(3)
    large = Request(64, 1024)
    costs = costs_of("1f1b", large)
    made = build("1f1b", large, costs)
    cases = {"simulate": lambda: simulate(made, costs), "make and simulate": lambda: whole("1f1b", large)}
    Benchmark("1F1B of 64 stages, 1,024 micro-batches", len(made.kind), cases).run(5)
    con = duckdb.connect()
    con.execute("CREATE TABLE ops AS FROM pipeline_schedule(stages := 64, micro_batches := 2048)")
    columns = "worker, op, stage, chunk, pipeline, micro_batch, start_time, end_time"
    query = f"SELECT strlen(pipeline_trace_json({columns})) FROM ops"
    [(size,)] = con.sql(query).fetchall()
    cases = {"as a Chrome trace": lambda: con.sql(query).fetchall()}
    seconds = Benchmark("operations as a trace", 2 * 64 * 2048, cases).run(3)
    print(f"{size / 1e6 / seconds['as a Chrome trace']:.0f} MB/s of JSON")


if __name__ == "__main__":
    main()
