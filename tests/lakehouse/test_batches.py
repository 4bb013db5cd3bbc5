"""Frames and their batches: every row of the frame once an epoch, in an order that follows from seed and epoch."""

import collections
import datetime as dt
import gc
import itertools
import pickle
import sys
import threading
from decimal import Decimal

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

import ironlake
from ironlake.lakehouse import forms
from ironlake.lakehouse.batches import Batches
from ironlake.lakehouse.blocks import BlockOrder
from ironlake.lakehouse.frame import Frame, source_of
from ironlake.lakehouse.reader import Reader
from ironlake.lakehouse.shuffle import Deck, permutation, taken

FILES, GROUP, ROWS = 4, 50, 1000


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """A table of four files with five row groups each, in two partitions."""
    lake = ironlake.open(tmp_path_factory.mktemp("lake"))
    for file in range(FILES):
        first = file * ROWS // FILES
        ids = np.arange(first, first + ROWS // FILES)
        rows = {
            "id": pa.array(ids, pa.int64()),
            "x": pa.array(ids * 0.5, pa.float64()),
            "features": pa.array([[i, i + 1, i + 2] for i in ids], pa.list_(pa.float32())),
            "name": pa.array([f"n{i}" if i % 10 else None for i in ids]),
            "half": pa.array([file % 2] * len(ids), pa.int32()),
        }
        write_deltalake(lake.root / "t", pa.table(rows), mode="append", partition_by=["half"])
    for path in (lake.root / "t").rglob("*.parquet"):
        pq.write_table(pq.read_table(path, partitioning=None), path, row_group_size=GROUP)  # same rows in groups
    return lake


def ids(batches):
    return [batch["id"].tolist() if isinstance(batch, dict) else batch["id"].to_pylist() for batch in batches]


def flat(batches):
    return [row for batch in ids(batches) for row in batch]


# --------------------------------------------------------------------------------------------------------------- frames


def test_a_frame_is_a_relation(lake):
    frame = lake.table("t")
    assert isinstance(frame, Frame)
    assert isinstance(frame, duckdb.DuckDBPyRelation)
    assert frame.aggregate("count(*), sum(id)").fetchall() == [(ROWS, 499500)]
    assert lake.sql("SELECT max(id) FROM frame").fetchall() == [(999,)]
    few = frame.filter("id < 3").select("id", "x")
    assert few.union(few).order("id").fetchall() == [(i, i / 2) for i in (0, 0, 1, 1, 2, 2)]
    assert few.join(frame.select("id").set_alias("other"), "id").to_arrow_table().num_rows == 3
    assert pa.table(few).column_names == ["id", "x"]
    assert few.columns == ["id", "x"]
    assert few.id.fetchall() == [(0,), (1,), (2,)]
    assert frame.limit(2).fetchall() == lake.sql("FROM frame LIMIT 2").fetchall()
    copied = ironlake.open(lake.root.parent / "copy")
    copied.write("few", few, mode="overwrite")
    assert copied.table("few").count("*").fetchall() == [(3,)]


def test_conditions_leave_files_out(lake):
    frame = lake.table("t")
    few = frame.filter("id < 100").filter(duckdb.ColumnExpression("half") == 0)
    assert len(source_of(few).files) == 1
    assert few.sql_query().count(".parquet'") == 1
    assert few.select("id").filter("id >= 90").fetchall() == [(i,) for i in range(90, 100)]
    assert len(source_of(few.select("id, x").filter("id = 999")).files) == 0
    assert few.filter("id = 999").fetchall() == []
    renamed = frame.select("id + 900 AS id").filter("id = 901")
    assert renamed.fetchall() == [(901,)]
    assert len(source_of(frame.filter("id IN (SELECT 5)")).files) == FILES
    assert len(source_of(lake.table("t", where="id > 900")).files) == 1
    named = frame.set_alias("named").filter("named.id < 3")
    assert named.fetchall() == frame.filter("id < 3").fetchall()


# --------------------------------------------------------------------------------------------------------------- orders


@pytest.mark.parametrize("form", ["numpy", "arrow"])
@pytest.mark.parametrize("shuffle", ["block", "full", "stored"])
def test_every_row_once_an_epoch(lake, shuffle, form):
    batches = lake.table("t").batches(64, shuffle=shuffle, format=form, buffer_rows=170, columns=["id", "features"])
    epochs = [ids(batches), ids(batches)]
    for epoch in epochs:
        assert [len(batch) for batch in epoch] == [64] * 15 + [40]
        assert sorted(row for batch in epoch for row in batch) == list(range(ROWS))
    if shuffle == "stored":
        assert epochs[0] == epochs[1] == [list(range(at, min(at + 64, ROWS))) for at in range(0, ROWS, 64)]
    else:
        assert epochs[0] != epochs[1]
    batches.set_epoch(0)
    assert ids(batches) == epochs[0]
    assert batches.epoch == 1


def test_columns_stay_together_and_features_are_a_matrix(lake):
    for shuffle in ("block", "full", "stored"):
        for batch in lake.table("t").batches(64, shuffle=shuffle, buffer_rows=170):
            number = batch["id"]
            assert (batch["x"] == number / 2).all()
            assert batch["features"].shape == (len(number), 3)
            assert batch["features"].dtype == np.float32
            assert (batch["features"] == number[:, None] + np.arange(3)).all()
            assert batch["name"].tolist() == [f"n{i}" if i % 10 else None for i in number]
            assert (batch["half"] == number // 250 % 2).all()


def test_seeds_and_versions_decide_the_order(lake):
    frame = lake.table("t")
    first = flat(frame.batches(seed=1, buffer_rows=200))
    assert first == flat(lake.table("t", version=FILES - 1).batches(seed=1, buffer_rows=200))
    assert first != flat(frame.batches(seed=2, buffer_rows=200))
    assert flat(frame.batches(shuffle="full", seed=1)) != flat(frame.batches(shuffle="full", seed=2))


def test_blocks_are_mixed_inside_the_buffer(lake):
    order = flat(lake.table("t").batches(shuffle="block", buffer_rows=200))
    for start in range(0, ROWS, 200):
        part = order[start : start + 200]
        assert len({row // GROUP for row in part}) == 4
        assert part != sorted(part)
    assert [row // GROUP for row in order[::200]] != sorted(row // GROUP for row in order[::200])


@pytest.mark.parametrize("shuffle", ["block", "full", "stored"])
def test_shards_share_the_rows(lake, shuffle):
    def shard(rank):
        return flat(lake.table("t").batches(shuffle=shuffle, shard=(rank, 3), buffer_rows=200))

    parts = [shard(rank) for rank in range(3)]
    assert sorted(itertools.chain(*parts)) == list(range(ROWS))
    assert all(200 < len(part) < 500 for part in parts)


def test_filters_and_expressions(lake):
    frame = lake.table("t").filter("id % 7 = 0 AND id < 400").select("id, x * 2 AS twice, list_sum(features) AS total")
    batches = frame.batches(10, buffer_rows=60)
    assert len(batches.files) == 2
    rows = {int(i): (t, s) for batch in batches for i, t, s in zip(*batch.values(), strict=True)}
    assert rows == {i: (i, 3 * i + 3) for i in range(0, 400, 7)}
    assert flat(lake.table("t").filter("id < 0").batches()) == []
    # A buffer is filled from as many row groups as it takes.
    order = flat(lake.table("t").filter("id % 50 = 0").batches(shuffle="block", buffer_rows=100))
    assert sorted(order) == list(range(0, ROWS, 50))


def test_instants_are_those_of_the_session(tmp_path):
    lake = ironlake.open(tmp_path)
    times = pa.array([dt.datetime(2020, 1, 1, hour, tzinfo=dt.UTC) for hour in range(24)], pa.timestamp("us", "UTC"))
    lake.write("t", pa.table({"id": range(24), "moment": times}))
    lake.sql("SET TimeZone = 'Asia/Tokyo'")
    frame = lake.table("t").filter("moment < TIMESTAMPTZ '2020-01-01 12:00:00' AND hour(moment) > 9")
    assert sorted(flat(frame.batches())) == [row for (row,) in frame.select("id").fetchall()] == [1, 2]


# ------------------------------------------------------------------------------------------- tables of all kinds, types


def test_deletion_vectors_mapped_columns_and_later_ones(tmp_path):
    lake = ironlake.open(tmp_path)
    lake.write("t", pa.table({"id": range(100), "old": range(100)}))
    lake["t"].rename_column("old", "new")
    lake["t"].delete("id % 3 = 0", deletion_vectors=True)
    lake["t"].add_columns({"later": pa.float64()})
    lake.write("t", pa.table({"id": range(100, 120), "new": range(100, 120), "later": np.ones(20)}), mode="append")
    for shuffle in ("block", "full", "stored"):
        seen = {}
        for batch in lake.table("t").batches(7, shuffle=shuffle, buffer_rows=30):
            assert (batch["id"] == batch["new"]).all()
            seen |= dict(zip(batch["id"].tolist(), batch["later"].tolist(), strict=True))
        assert sorted(seen) == [i for i in range(120) if i % 3 or i >= 100]
        assert all((value == 1) if i >= 100 else np.isnan(value) for i, value in seen.items())
    assert flat(lake.table("t", version=0).batches(shuffle="stored")) == list(range(100))


def test_row_groups_are_read_as_they_are_stored_or_by_a_query(tmp_path, monkeypatch):
    queried = []
    select = Reader._selected
    monkeypatch.setattr(Reader, "_selected", lambda self, blocks: queried.append(len(blocks)) or select(self, blocks))
    monkeypatch.setattr(forms, "PIECE_ROWS", 16)
    monkeypatch.setattr(forms, "_DEALT_ROWS", 50)
    lake = ironlake.open(tmp_path)
    ids = np.arange(500)
    lake.write("t", pa.table({"id": ids, "x": ids / 4, "pair": pa.array(np.repeat([[1, 2]], len(ids), 0).tolist())}))
    lake["t"].add_columns({"later": pa.int64()})
    later = pa.array(range(500, 510))
    lake.write("t", pa.table({"id": later, "x": [0.5] * 10, "pair": [[3, 4]] * 10, "later": later}), mode="append")
    frame = lake.table("t")
    wanted = frame.order("id").to_arrow_table()
    for columns, queries in ((["x", "pair", "id"], []), (["id", "later"], [1])):
        for shuffle in ("block", "stored"):
            queried.clear()
            rows = pa.Table.from_batches(frame.batches(60, columns=columns, format="arrow", shuffle=shuffle))
            assert queried == queries
            assert rows.equals(wanted.select(columns)) == (shuffle == "stored")
            assert rows.sort_by("id").equals(wanted.select(columns))
    for batch in frame.batches(60, columns=["x", "pair", "id"]):
        old = batch["id"] < 500
        assert (batch["x"] == np.where(old, batch["id"] / 4, 0.5)).all()
        assert (batch["pair"] == np.where(old[:, None], [1, 2], [3, 4])).all()
    assert queried == [1]
    assert flat(frame.filter("id < 9").batches(columns="id", shuffle="stored")) == list(range(9))
    assert queried == [1, 1]


def test_types(tmp_path):
    lake = ironlake.open(tmp_path)
    day, time = dt.date(2020, 2, 29), dt.datetime(2020, 2, 29, 1, 2, 3, 4)
    columns = {
        "flag": pa.array([True, False, True]),
        "tiny": pa.array([1, 2, -3], pa.int8()),
        "price": pa.array([Decimal("1.25"), None, Decimal("-0.50")], pa.decimal128(9, 2)),
        "day": pa.array([day, None, day]),
        "time": pa.array([time, None, time], pa.timestamp("us")),
        "bytes": pa.array([b"a", None, b""]),
        "struct": pa.array([{"a": 1}, None, {"a": 2}]),
        "grid": pa.array([[[1, 2], [3, 4]]] * 3, pa.list_(pa.list_(pa.int16()))),
        "single": pa.array([1.5, None, 2.5], pa.float32()),
    }
    lake.write("t", pa.table(columns))
    for shuffle in ("stored", "block"):
        (batch,) = lake.table("t").batches(shuffle=shuffle)
        order = np.argsort(-batch["tiny"].astype(float), kind="stable")
        rows = {name: values[order] for name, values in batch.items()}
        assert rows["flag"].tolist() == [False, True, True]
        assert rows["price"][1:].tolist() == [1.25, -0.5]
        assert np.isnan(rows["price"][0])
        assert rows["day"].tolist() == [None, day, day]
        assert rows["time"].tolist() == [None, time, time]
        assert rows["bytes"].tolist() == [None, b"a", b""]
        assert rows["struct"].tolist() == [None, {"a": 1}, {"a": 2}]
        assert rows["grid"].shape == (3, 2, 2)
        assert rows["grid"][0].tolist() == [[1, 2], [3, 4]]
        assert rows["single"][1:].tolist() == [1.5, 2.5]
    (batch,) = lake.table("t").select("grid[1]::SMALLINT[2] AS fixed").batches()
    assert batch["fixed"].tolist() == [[1, 2]] * 3
    (batch,) = lake.table("t").batches(format="arrow", shuffle="stored")
    assert batch.to_pylist() == pa.table(columns).to_pylist()


def test_values_that_are_no_array(tmp_path):
    lake = ironlake.open(tmp_path)
    lake.write("t", pa.table({"i": [1, None], "ragged": [[1.0], [1.0, 2.0]], "missing": [[1.0], None]}))
    frame = lake.table("t")
    with pytest.raises(ValueError, match="column 'i' has 1 NULLs, for which arrays of int64 have no value"):
        list(frame.batches(columns="i"))
    with pytest.raises(ValueError, match="column 'ragged' has lists of . and of . elements.*format='arrow'"):
        list(frame.batches(columns="ragged"))
    with pytest.raises(ValueError, match="column 'missing' has 1 NULLs in the place of lists"):
        list(frame.batches(columns="missing"))
    (batch,) = frame.batches(columns=["ragged", "missing"], format="arrow", shuffle="stored")
    assert batch.to_pylist() == [{"ragged": [1.0], "missing": [1.0]}, {"ragged": [1.0, 2.0], "missing": None}]
    # Lists that differ from batch to batch are found too.
    lake.write("u", pa.table({"id": [1], "ragged": [[1.0]]}))
    lake.write("u", pa.table({"id": [2], "ragged": [[1.0, 2.0]]}), mode="append")
    with pytest.raises(ValueError, match="lists of 1 and of 2 elements"):
        list(lake.table("u").batches(shuffle="stored", buffer_rows=1))


# ------------------------------------------------------------------------------------------------------- life and errors


def test_stopping_early_leaves_no_thread(lake):
    before = threading.active_count()
    for _ in range(3):
        for _ in lake.table("t").batches(8, buffer_rows=50):
            break
    gc.collect()
    for thread in threading.enumerate():
        if thread.name.startswith("ThreadPoolExecutor"):
            thread.join(60)
    assert threading.active_count() <= before


def test_two_iterations_at_once(lake):
    batches = lake.table("t").batches(100, buffer_rows=200)
    pairs = list(zip(batches, batches, strict=True))
    assert sorted(row for first, _ in pairs for row in first["id"].tolist()) == list(range(ROWS))
    assert pairs[0][0]["id"].tolist() != pairs[0][1]["id"].tolist()


def test_pickled_batches_are_the_same(lake):
    batches = lake.table("t").filter("id < 500").batches(100, buffer_rows=200)
    copied = pickle.loads(pickle.dumps(batches))
    assert isinstance(copied, Batches)
    assert ids(copied) == ids(batches)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_rows": 0}, "argument batch_rows is 0; expected a whole number from 1 on"),
        ({"buffer_rows": -1}, "argument buffer_rows is -1"),
        ({"buffer_mb": 0}, "argument buffer_mb is 0; expected a number of megabytes above 0"),
        ({"seed": -1}, "argument seed is -1"),
        ({"shuffle": "some"}, "argument shuffle is 'some'; expected one of 'block', 'full', 'stored'"),
        ({"format": "pandas"}, "argument format is 'pandas'; expected one of 'numpy', 'arrow', 'torch'"),
        ({"shard": (2, 2)}, r"argument shard is \(2, 2\); expected \(rank, size\)"),
        ({"columns": ["idd"]}, "there is no column 'idd'; the columns are 'id', 'x'"),
        ({"columns": []}, "argument columns names none"),
    ],
)
def test_arguments(lake, arguments, message):
    with pytest.raises(ValueError, match=rf"Frame.batches\('t'\): {message}"):
        lake.table("t").batches(**arguments)


@pytest.mark.parametrize("expression", ["sum(x) OVER ()", "count(*)", "(SELECT max(id) FROM t)"])
def test_frames_that_are_more_than_rows(lake, expression):
    with pytest.raises(ValueError, match="more than filters and expressions on single rows"):
        lake.table("t").select(f"{expression} AS id").batches()


# --------------------------------------------------------------------------------------------------------------- pieces


def test_block_order():
    sizes = np.array([5, 3, 9, 1, 4])
    order = BlockOrder(sizes)
    assert [order.take(8).tolist() for _ in range(4)] == [[0, 1], [2], [3, 4], []]
    assert not order
    for seed in range(20):
        order, taken = BlockOrder(sizes, np.random.default_rng(seed), (seed % 2, 2)), []
        while order:
            step = order.take(6).tolist()
            assert sum(sizes[step]) <= 6 or len(step) == 1
            taken += step
        assert len(set(taken)) == len(taken) == (2 if seed % 2 else 3)


def test_permutations_are_uniform():
    counts = np.zeros((4, 4))
    for seed in range(4000):
        counts[np.arange(4), permutation(4, seed * 7919)] += 1
    assert abs(counts / 4000 - 0.25).max() < 0.03
    assert np.sort(permutation(1000, 3)).tolist() == list(range(1000))


def test_decks_are_uniform():
    """Each of the 24 orders of two rows of one piece, shuffled, and two of another is as likely as any."""
    seen = collections.Counter()
    for seed in range(1200):
        pieces = [
            {"id": taken(np.array(rows), permutation(2, 7919 * seed + k))} for k, rows in enumerate(([0, 1], [2, 3]))
        ]
        deck = Deck(pieces, np.random.default_rng(seed))
        seen[tuple(row for count in (1, 3) for row in deck.deal(count)["id"].tolist())] += 1
        assert deck.left == 0
    assert len(seen) == 24
    assert max(abs(count - 50) for count in seen.values()) < 30  # four standard deviations


@pytest.mark.parametrize("dtype", ["u1", "f4", "M8[us]", "O", "S3", "i2"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 2), (0,)])
def test_rows_of_all_kinds_are_dealt(dtype, shape):
    rows = np.arange(20 * int(np.prod(shape))).reshape(20, *shape).astype(dtype)
    order = permutation(5, 1)
    ids = np.arange(20)
    pieces = [{"id": taken(ids[:5], order), "rows": taken(rows[:5], order)}, {"id": ids[5:], "rows": rows[5:]}]
    deck = Deck(pieces, np.random.default_rng(1))
    for dealt in (deck.deal(7), deck.deal(13)):
        assert dealt["rows"].dtype == rows.dtype
        assert (dealt["rows"] == rows[dealt["id"]]).all()


# ---------------------------------------------------------------------------------------------------------------- torch


def test_without_torch(lake, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.data", None)
    with pytest.raises(ModuleNotFoundError, match="format='torch' needs PyTorch: pip install torch"):
        lake.table("t").batches(format="torch")


def test_a_data_set_of_torch(lake):
    torch = pytest.importorskip("torch")
    data = lake.table("t").batches(100, format="torch", columns=["id", "features"], buffer_rows=200)
    for batch in torch.utils.data.DataLoader(data, batch_size=None):
        assert (batch["features"][:, 0] == batch["id"]).all()
    workers = torch.utils.data.DataLoader(data, batch_size=None, num_workers=2, multiprocessing_context="spawn")
    assert sorted(itertools.chain(*(batch["id"].tolist() for batch in workers))) == list(range(ROWS))
    with pytest.raises(ValueError, match="column 'name' is no number but object, for which torch has no tensors"):
        list(lake.table("t").batches(format="torch", columns="name"))
