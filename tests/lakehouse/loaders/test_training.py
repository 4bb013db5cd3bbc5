"""Logs of distributed training as rows of trace tables."""

import pytest

NCCL = """# nThread 1 nGpus 2 minBytes 1048576 maxBytes 2097152 step: 2(factor) warmup iters: 5 iters: 20
# Collective test starting: all_reduce_perf
#  Rank  0 Group  0 Pid  21 on      node0 device  0 [0x07] NVIDIA A100-SXM4-80GB
#  Rank  1 Group  0 Pid  21 on      node0 device  1 [0x0f] NVIDIA A100-SXM4-80GB
#
#                                                              out-of-place                       in-place
#       size         count      type   redop    root     time   algbw   busbw #wrong     time   algbw   busbw #wrong
#        (B)    (elements)                               (us)  (GB/s)  (GB/s)            (us)  (GB/s)  (GB/s)
     1048576        262144     float     sum      -1    61.23   17.12   17.12      0    60.11   17.44   17.44      0
     2097152        524288     float     sum      -1    70.50   29.75   29.75    N/A    69.00   30.39   30.39    N/A
# Out of bounds values : 0 OK
"""
#: The first lines of a table of vTrain (MIT, KAIST 2024).
VTRAIN = """size(B),count,type,time(ns),busbw(GB/s),time(ns),busbw(GB/s)
1048576,262144,float,92790,19.78,92150,19.91
2097152,524288,float,93250,39.36,92970,39.47
"""
MEGATRON = """  data_parallel_size .............................. 2
  global_batch_size ............................... 16
  hidden_size ..................................... 2304
  micro_batch_size ................................ 4
  num_attention_heads ............................. 24
  num_layers ...................................... 24
  pipeline_model_parallel_size .................... 1
  seq_length ...................................... 2048
  tensor_model_parallel_size ...................... 4
  world_size ...................................... 8
training ...
 iteration      100/     500 | consumed samples:         1600 | elapsed time per iteration (ms): 3523.1 | throughput per GPU (TFLOP/s/GPU): 137.5 | learning rate: 1.5E-04 | global batch size:    16 | lm loss: 9.1E+00 |
 [2024-01-01] iteration      200/     500 | consumed samples:         3200 | elapsed time per iteration (ms): 3520.0 | global batch size:    32 |
"""


def test_nccl(load):
    common = {"device": "NVIDIA A100-SXM4-80GB", "gpus": 2, "op": "all_reduce"}
    assert load("collective_trace", NCCL, "nccl") == [
        {**common, "bytes": 1048576, "count": 262144, "time_ns": 61230, "bus_gbps": 17.12},
        {**common, "bytes": 2097152, "count": 524288, "time_ns": 70500, "bus_gbps": 29.75},
    ]
    in_place = {"bus_gbps": "in_place_bus_gbps", "time_ns": "in_place_time_ns"}
    assert [(row["time_ns"], row["bus_gbps"]) for row in load("collective_trace", NCCL, "nccl", columns=in_place)] == [
        (60110, 17.44),
        (69000, 30.39),
    ]


def test_nccl_of_vtrain(load):
    rows = load("collective_trace", VTRAIN, "nccl", name="AR_GPU8_1M_1024M_LUT", columns={"device": "'A100'"})
    assert rows[0] == {
        "device": "A100",
        "gpus": 8,
        "op": "all_reduce",
        "bytes": 1048576,
        "count": 262144,
        "time_ns": 92790,
        "bus_gbps": 19.78,
    }
    assert rows[1]["time_ns"] == 93250


def test_a_line_of_nccl_that_breaks_off(load):
    with pytest.raises(ValueError, match="line 9: this is no whole line of measurements: 1048576"):
        load("collective_trace", NCCL[: NCCL.index("61.23")], "nccl")


def test_megatron(load):
    told = {
        "run": "run",
        "gpus": 8,
        "micro_batch": 4,
        "hidden": 2304,
        "heads": 24,
        "layers": 24,
        "seq": 2048,
        "tp": 4,
        "dp": 2,
        "pp": 1,
    }
    assert load("training_run_log", MEGATRON, "megatron") == [
        {**told, "global_batch": 16, "iteration_ms": 3523.1},
        {**told, "global_batch": 32, "iteration_ms": 3520.0},
    ]
    flops = {"params": "tflops_per_gpu"}  # other columns that the loader finds
    assert load("training_run_log", MEGATRON, "megatron", columns=flops)[0]["params"] == 137.5
    with pytest.raises(ValueError, match="line 1: there is no time of an iteration"):
        load("training_run_log", " iteration 1/ 5 | elapsed time per iteration (ms): | ", "megatron")


def test_dlrm(load):
    text = '{"table": 0, "indices": [5, 6, 5], "offsets": [0, 2, 2]}\n{"table": 3, "sample": 10, "indices": [7], "offsets": [0]}\n'
    assert load("embedding_trace", text, "dlrm") == [
        {"table_id": 0, "sample": 0, "row_id": 5},
        {"table_id": 0, "sample": 0, "row_id": 6},
        {"table_id": 0, "sample": 2, "row_id": 5},
        {"table_id": 3, "sample": 10, "row_id": 7},
    ]


@pytest.mark.parametrize(
    "batch",
    ['{"table": 0, "indices": [5], "offsets": [0, 2]}', '{"table": 0, "indices": [5], "offsets": [1]}', '{"indices": [5], "offsets": [0]}',
     '{"table": 0, "indices": [5, 6], "offsets": [0, 2, 1]}', '{"table": 0, "indices": [5], "offsets": []}'],
)  # fmt: skip
def test_batches_that_do_not_fit(load, batch):
    with pytest.raises(ValueError, match="line 2: there are no table, indices and offsets that fit each other: "):
        load("embedding_trace", '{"table": 0, "indices": [5], "offsets": [0]}\n' + batch, "dlrm")


def test_a_batch_that_breaks_off(load):
    with pytest.raises(ValueError, match="line 1: this is no JSON object"):
        load("embedding_trace", '{"table": 0, "indi', "dlrm")
